//! What a statement without rows says when it is done. The client library reports only how many rows a command
//! touched, so the words come from the statement itself.

use sql::{ObjectKind, Statement};

/// The tag Postgres would print, e.g. `CREATE TABLE`, `INSERT 0 3`.
pub(crate) fn of(text: &str, rows: u64) -> String {
    let parsed = sql::parse(text).ok();
    let statement = parsed.as_deref().and_then(|parsed| parsed.first()).map(|one| &one.statement);
    match statement.and_then(|statement| known(statement, rows)) {
        Some(tag) => tag,
        None => text.split_whitespace().next().unwrap_or_default().to_uppercase(),
    }
}

fn known(statement: &Statement, rows: u64) -> Option<String> {
    let words = match statement {
        Statement::CreateSource(_) => "CREATE SOURCE",
        Statement::CreateTable(create) if create.query.is_some() => return Some(format!("SELECT {rows}")),
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateView(_) => "CREATE VIEW",
        Statement::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::Drop(drop) => match drop.kind {
            ObjectKind::Source => "DROP SOURCE",
            ObjectKind::Table => "DROP TABLE",
            ObjectKind::View => "DROP VIEW",
            ObjectKind::MaterializedView => "DROP MATERIALIZED VIEW",
            ObjectKind::Schema => "DROP SCHEMA",
            ObjectKind::Index => "DROP INDEX",
        },
        Statement::Insert(_) => return Some(format!("INSERT 0 {rows}")),
        Statement::Update(_) => return Some(format!("UPDATE {rows}")),
        Statement::Delete(_) => return Some(format!("DELETE {rows}")),
        Statement::CancelJobs { .. } => "CANCEL JOBS",
        Statement::DiscardAll => "DISCARD ALL",
        Statement::Deallocate { .. } => "DEALLOCATE",
        Statement::Declare { .. } => "DECLARE CURSOR",
        Statement::Close { .. } => "CLOSE CURSOR",
        Statement::Savepoint { action, .. } => action.tag(),
        Statement::Begin { start: false, .. } => "BEGIN",
        Statement::Begin { start: true, .. } => "START TRANSACTION",
        Statement::Commit => "COMMIT",
        Statement::Rollback => "ROLLBACK",
        Statement::Query(_) => return Some(format!("SELECT {rows}")),
        _ => return None,
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags() {
        assert_eq!(super::of("create table t (a int)", 0), "CREATE TABLE");
        assert_eq!(super::of("insert into t values (1)", 1), "INSERT 0 1");
        assert_eq!(super::of("drop materialized view v", 0), "DROP MATERIALIZED VIEW");
        assert_eq!(super::of("set a = 1", 0), "SET");
        assert_eq!(super::of("frobnicate", 0), "FROBNICATE");
    }
}
