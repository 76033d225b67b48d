//! Statements and clauses we know but don't have: 0A000 with a hint, instead of a syntax error.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Location;

use crate::error::Failure;
use crate::tokens;

/// First word, what is not supported, what to do instead.
const STATEMENTS: [(&str, &str, &str); 26] = [
    ("alter", "ALTER is not supported", "DROP the object and CREATE it again."),
    ("analyze", "ANALYZE is not supported", "There are no statistics to collect."),
    ("vacuum", "VACUUM is not supported", "Space is reclaimed by checkpoints."),
    ("grant", "GRANT is not supported", "Roles do not exist yet; the server listens on loopback only."),
    ("revoke", "REVOKE is not supported", "Roles do not exist yet; the server listens on loopback only."),
    ("truncate", "TRUNCATE is not supported", "Use DELETE without WHERE."),
    ("merge", "MERGE is not supported", "Use INSERT … ON CONFLICT DO NOTHING, UPDATE and DELETE."),
    ("call", "CALL is not supported", "Procedures do not exist."),
    ("do", "DO is not supported", "Procedures do not exist."),
    ("lock", "LOCK is not supported", "Reads are strictly serializable without locks."),
    ("listen", "LISTEN is not supported", "Use SUBSCRIBE to be told of changes."),
    ("notify", "NOTIFY is not supported", "Use SUBSCRIBE to be told of changes."),
    ("move", "MOVE is not supported", "Use FETCH."),
    ("checkpoint", "CHECKPOINT is not supported", "Checkpoints run by themselves; FLUSH waits for admitted rows."),
    ("cluster", "CLUSTER is not supported", "Leave it out."),
    ("reindex", "REINDEX is not supported", "Leave it out."),
    ("reassign", "REASSIGN is not supported", "Roles do not exist yet."),
    ("security", "SECURITY LABEL is not supported", "Leave it out."),
    ("import", "IMPORT is not supported", "Use CREATE SOURCE."),
    ("load", "LOAD is not supported", "Extensions do not exist."),
    ("recover", "RECOVER is not supported", "Recovery runs by itself at start."),
    ("use", "USE is not supported", "Connect to the database; there is one, \"highwater\"."),
    ("kill", "KILL is not supported", "Use SELECT pg_cancel_backend(pid) or CANCEL JOBS."),
    ("pragma", "PRAGMA is not supported", "Use SET and SHOW."),
    ("tail", "TAIL is not supported", "Use SUBSCRIBE."),
    ("replace", "REPLACE is not supported", "Use UPDATE, or DELETE and INSERT."),
];

/// Kind of object, hint. `CREATE x` and `DROP x` are refused alike.
const OBJECTS: [(&str, &str); 25] = [
    ("INDEX", "Views are indexed by their inferred key; filter by it, or make a view with the key you need."),
    ("UNIQUE", "Views are indexed by their inferred key; a table's PRIMARY KEY is unique."),
    ("SINK", "Read changes with SUBSCRIBE, or COPY (SUBSCRIBE …) TO STDOUT."),
    ("SECRET", "Put the value into the WITH options of the source."),
    ("CONNECTION", "Put the options into the source."),
    ("FUNCTION", "Write the expression in a view."),
    ("PROCEDURE", "Procedures do not exist."),
    ("AGGREGATE", "Use the built-in aggregates."),
    ("TYPE", "Use the built-in types."),
    ("DOMAIN", "Use the built-in types."),
    ("SEQUENCE", "Generate keys in the client."),
    ("TRIGGER", "Use a materialized view, and SUBSCRIBE to it."),
    ("RULE", "Use a view."),
    ("DATABASE", "There is one database, \"highwater\"; use schemas, or another data directory."),
    ("ROLE", "Roles do not exist yet; the server listens on loopback only."),
    ("USER", "Roles do not exist yet; the server listens on loopback only."),
    ("GROUP", "Roles do not exist yet; the server listens on loopback only."),
    ("EXTENSION", "Extensions do not exist."),
    ("SERVER", "Use CREATE SOURCE."),
    ("FOREIGN", "Use CREATE SOURCE."),
    ("SUBSCRIPTION", "Use the statement SUBSCRIBE."),
    ("PUBLICATION", "Use the statement SUBSCRIBE."),
    ("POLICY", "Row security does not exist."),
    ("CAST", "Use the built-in casts."),
    ("UNLOGGED", "Create an ordinary table."),
];

/// A refusal of the statement that begins here, if its first word is one we know.
pub(crate) fn statement(p: &Parser) -> Option<Failure> {
    let word = tokens::peek_word(p)?;
    let (_, message, hint) = STATEMENTS.iter().find(|(first, ..)| *first == word)?;
    Some(Failure::unsupported(tokens::here(p), *message, *hint))
}

/// A refusal of `CREATE x`, standing at x.
pub(crate) fn create(p: &Parser, start: Location) -> Option<Failure> {
    object(p, "CREATE", start)
}

/// A refusal of `DROP x`, standing at x.
pub(crate) fn drop(p: &Parser) -> Option<Failure> {
    object(p, "DROP", tokens::here(p))
}

fn object(p: &Parser, verb: &str, place: Location) -> Option<Failure> {
    let (kind, hint) = OBJECTS.iter().find(|(kind, _)| tokens::at(p, kind))?;
    Some(Failure::unsupported(place, format!("{verb} {kind} is not supported"), *hint))
}
