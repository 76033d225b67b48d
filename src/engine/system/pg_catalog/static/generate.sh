#!/bin/sh
# Writes the fixed part of the system catalogs as PostgreSQL 15 has it: which columns each relation has, and the rows
# that describe built-in types. Run against an empty PostgreSQL 15: DSN=... ./generate.sh
set -eu
q() { psql "$DSN" -X -A -t -F '	' -c "$1"; }

# schema, relation, kind, OID, columns as name:type OID[!] where ! means NOT NULL; domains as their base type
q "SELECT n.nspname, c.relname, c.relkind, CASE WHEN c.oid < 12000 THEN c.oid ELSE 0 END,
     string_agg(a.attname || ':' || CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
                || CASE WHEN a.attnotnull THEN '!' ELSE '' END, ' ' ORDER BY a.attnum)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 JOIN pg_type t ON t.oid = a.atttypid
   WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v')
   GROUP BY 1, 2, 3, 4 ORDER BY 1, 2" > relations.tsv

q "SELECT oid, typname, typlen, typbyval, typtype, typcategory, typispreferred, typdelim, typelem, typarray,
     typsubscript::oid, typinput::oid, typoutput::oid, typreceive::oid, typsend::oid, typalign, typstorage,
     typcollation
   FROM pg_type WHERE oid < 10000 AND typtype <> 'c' ORDER BY oid" > types.tsv

q "SELECT p.oid, p.proname, p.prokind, p.provolatile, p.proretset, p.prorettype, p.pronargs, p.proargtypes
   FROM pg_proc p WHERE p.oid IN (SELECT unnest(ARRAY[typinput::oid, typoutput, typreceive, typsend, typsubscript])
     FROM pg_type WHERE oid < 10000 AND typtype <> 'c') ORDER BY 1" > procedures.tsv

q "SELECT rngtypid, rngsubtype, rngmultitypid, rngcollation, rngsubopc, rngcanonical::oid, rngsubdiff::oid
   FROM pg_range ORDER BY 1" > ranges.tsv
