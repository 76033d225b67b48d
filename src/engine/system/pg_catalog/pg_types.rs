//! Built-in types and the functions that read and write them, from files generated out of PostgreSQL 15; how types are
//! named, and the relations that list them.

use std::sync::{Arc, OnceLock};

use datafusion::logical_expr::TableSource;

use super::layout::{Layout, Row};
use super::oids;
use crate::system::table::Cell;

/// A row of `pg_type`.
#[derive(Debug)]
pub struct Type {
    pub oid: u32,
    pub name: &'static str,
    pub element: u32,
    pub array: u32,
    fields: Vec<&'static str>,
}

/// A row of `pg_proc`.
#[derive(Debug)]
pub struct Procedure {
    pub oid: u32,
    pub name: &'static str,
    fields: Vec<&'static str>,
}

pub fn types() -> &'static [Type] {
    static TYPES: OnceLock<Vec<Type>> = OnceLock::new();
    TYPES.get_or_init(|| {
        lines(include_str!("static/types.tsv"))
            .map(|fields| Type {
                oid: number(fields[0]),
                name: fields[1],
                element: number(fields[8]),
                array: number(fields[9]),
                fields,
            })
            .collect()
    })
}

pub fn procedures() -> &'static [Procedure] {
    static PROCEDURES: OnceLock<Vec<Procedure>> = OnceLock::new();
    PROCEDURES.get_or_init(|| {
        let rows = lines(include_str!("static/procedures.tsv"));
        rows.map(|fields| Procedure { oid: number(fields[0]), name: fields[1], fields }).collect()
    })
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().map(|line| line.split('\t').collect())
}

fn number(text: &str) -> u32 {
    text.parse().expect("the file is generated")
}

pub fn by_oid(oid: u32) -> Option<&'static Type> {
    types().iter().find(|t| t.oid == oid)
}

pub fn procedure_by_oid(oid: u32) -> Option<&'static Procedure> {
    procedures().iter().find(|p| p.oid == oid)
}

pub fn procedure_by_name(name: &str) -> Option<&'static Procedure> {
    procedures().iter().find(|p| p.name == name)
}

/// Names of the SQL standard, by `typname`.
const SPELLED: [(&str, &str); 14] = [
    ("bool", "boolean"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("varchar", "character varying"),
    ("bpchar", "character"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("time", "time without time zone"),
    ("timetz", "time with time zone"),
    ("varbit", "bit varying"),
    ("char", "\"char\""),
];

/// Other names that SQL accepts.
const ALIASES: [(&str, &str); 8] = [
    ("int", "int4"),
    ("decimal", "numeric"),
    ("dec", "numeric"),
    ("float", "float8"),
    ("string", "text"),
    ("char", "bpchar"),
    ("time", "time"),
    ("timestamp", "timestamp"),
];

/// Postgres' `format_type`: the SQL name, with the modifier if it is not negative.
pub fn format(oid: u32, modifier: i32) -> String {
    let Some(found) = by_oid(oid) else { return if oid == 0 { "-".into() } else { "???".into() } };
    if found.element != 0 && found.name.starts_with('_') {
        return format!("{}[]", format(found.element, modifier));
    }
    let spelled = SPELLED.iter().find(|(name, _)| *name == found.name).map_or(found.name, |(_, spelled)| spelled);
    match found.name {
        "numeric" if modifier >= 4 => {
            let packed = modifier - 4;
            format!("numeric({},{})", packed >> 16, ((packed & 0x7ff) ^ 0x400) - 0x400)
        }
        "varchar" | "bpchar" if modifier >= 4 => format!("{spelled}({})", modifier - 4),
        "timestamp" | "timestamptz" | "time" | "timetz" if modifier >= 0 => match spelled.split_once(' ') {
            Some((first, rest)) => format!("{first}({modifier}) {rest}"),
            None => spelled.to_string(),
        },
        _ => spelled.to_string(),
    }
}

/// The type of that name in any spelling.
pub fn by_name(text: &str) -> Option<&'static Type> {
    let text = text.trim();
    if let Some(element) = text.strip_suffix("[]") {
        return by_oid(by_name(element)?.array);
    }
    let text = text.strip_prefix("pg_catalog.").unwrap_or(text);
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return types().iter().find(|t| t.name == quoted);
    }
    let plain = text.split('(').next().unwrap_or(text).trim().to_lowercase();
    let rest = text.split_once(')').map_or("", |(_, rest)| rest.trim());
    let plain = if rest.is_empty() { plain } else { format!("{plain} {rest}") };
    let alias = ALIASES.iter().find(|(alias, _)| *alias == plain).map(|(_, name)| *name);
    let spelled = SPELLED.iter().find(|(_, spelled)| *spelled == plain).map(|(name, _)| *name);
    let name = alias.or(spelled).unwrap_or(&plain);
    types().iter().find(|t| t.name == name)
}

impl Type {
    /// What `pg_attribute` repeats of a column's type.
    pub fn attribute(&self) -> Row {
        vec![
            ("attlen", integer(self.fields[2])),
            ("attbyval", boolean(self.fields[3])),
            ("attalign", self.fields[15].into()),
            ("attstorage", self.fields[16].into()),
            ("attcollation", integer(self.fields[17])),
            ("attndims", i32::from(self.element != 0 && self.name.starts_with('_')).into()),
        ]
    }
}

fn boolean(text: &str) -> Cell {
    Cell::Bool(text == "t")
}

fn integer(text: &str) -> Cell {
    Cell::Int(text.parse().expect("the file is generated"))
}

pub fn pg_type(layout: &Layout) -> Arc<dyn TableSource> {
    let row = |t: &Type| -> Row {
        let f = &t.fields;
        vec![
            ("oid", integer(f[0])),
            ("typname", f[1].into()),
            ("typnamespace", oids::PG_CATALOG.into()),
            ("typowner", oids::OWNER.into()),
            ("typlen", integer(f[2])),
            ("typbyval", boolean(f[3])),
            ("typtype", f[4].into()),
            ("typcategory", f[5].into()),
            ("typispreferred", boolean(f[6])),
            ("typisdefined", true.into()),
            ("typdelim", f[7].into()),
            ("typelem", integer(f[8])),
            ("typarray", integer(f[9])),
            ("typsubscript", integer(f[10])),
            ("typinput", integer(f[11])),
            ("typoutput", integer(f[12])),
            ("typreceive", integer(f[13])),
            ("typsend", integer(f[14])),
            ("typalign", f[15].into()),
            ("typstorage", f[16].into()),
            ("typtypmod", (-1).into()),
            ("typcollation", integer(f[17])),
        ]
    };
    layout.table(types().iter().map(row).collect())
}

pub fn pg_proc(layout: &Layout) -> Arc<dyn TableSource> {
    let row = |p: &Procedure| -> Row {
        let f = &p.fields;
        let arguments = f[7].split_whitespace().map(integer).collect();
        vec![
            ("oid", integer(f[0])),
            ("proname", f[1].into()),
            ("pronamespace", oids::PG_CATALOG.into()),
            ("proowner", oids::OWNER.into()),
            ("prolang", 12.into()),
            ("procost", 1.into()),
            ("prokind", f[2].into()),
            ("proisstrict", true.into()),
            ("provolatile", f[3].into()),
            ("proretset", boolean(f[4])),
            ("proparallel", "s".into()),
            ("prorettype", integer(f[5])),
            ("pronargs", integer(f[6])),
            ("proargtypes", Cell::List(arguments)),
            ("prosrc", f[1].into()),
        ]
    };
    layout.table(procedures().iter().map(row).collect())
}

pub fn pg_range(layout: &Layout) -> Arc<dyn TableSource> {
    let columns =
        ["rngtypid", "rngsubtype", "rngmultitypid", "rngcollation", "rngsubopc", "rngcanonical", "rngsubdiff"];
    let rows = lines(include_str!("static/ranges.tsv"));
    layout.table(rows.map(|fields| columns.into_iter().zip(fields.into_iter().map(integer)).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_sql_names() {
        assert_eq!(format(23, -1), "integer");
        assert_eq!(format(1007, -1), "integer[]");
        assert_eq!(format(1184, -1), "timestamp with time zone");
        assert_eq!(format(1700, ((10 << 16) | 2) + 4), "numeric(10,2)");
        assert_eq!(format(1043, 14), "character varying(10)");
        assert_eq!(format(18, -1), "\"char\"");
        assert_eq!(format(22, -1), "int2vector");
        assert_eq!(format(987_654, -1), "???");
    }

    #[test]
    fn types_are_found_by_every_name() {
        let oid = |name| by_name(name).map(|t| t.oid);
        assert_eq!(oid("int4"), Some(23));
        assert_eq!(oid("INTEGER"), Some(23));
        assert_eq!(oid("pg_catalog.int4[]"), Some(1007));
        assert_eq!(oid("timestamp without time zone"), Some(1114));
        assert_eq!(oid("timestamp(3) with time zone"), Some(1184));
        assert_eq!(oid("varchar(10)"), Some(1043));
        assert_eq!(oid("numeric(10, 2)"), Some(1700));
        assert_eq!(oid("\"char\""), Some(18));
        assert_eq!(oid("char"), Some(1042));
        assert_eq!(oid("hstore"), None);
    }
}
