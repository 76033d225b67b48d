//! A view against the query it stands for: two answers side by side, or one statement that must find no difference.
#![allow(dead_code, reason = "each test binary uses its part")]

use tokio_postgres::Client;

use crate::process::{Row, describe, sorted};

/// Rows of a difference that are shown.
const SHOWN: usize = 8;

/// Rows of `found` and `expected` (both sorted) that the other doesn't have; empty if they are the same multiset.
pub fn difference(found: &[Row], expected: &[Row]) -> String {
    let mut lines = vec![];
    let (mut f, mut e) = (found.iter().peekable(), expected.iter().peekable());
    loop {
        match (f.peek(), e.peek()) {
            (None, None) => break,
            (Some(row), None) => {
                lines.push(format!("  unexpected {}", text(row)));
                f.next();
            }
            (None, Some(row)) => {
                lines.push(format!("  missing    {}", text(row)));
                e.next();
            }
            (Some(a), Some(b)) if a == b => {
                f.next();
                e.next();
            }
            (Some(a), Some(b)) if a < b => {
                lines.push(format!("  unexpected {}", text(a)));
                f.next();
            }
            (Some(_), Some(b)) => {
                lines.push(format!("  missing    {}", text(b)));
                e.next();
            }
        }
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

fn text(row: &Row) -> String {
    let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
    cells.join(" | ")
}

/// Fails unless a view and a query give the same rows. The database must be at rest.
pub async fn same(client: &Client, view: &str, query: &str, when: &str) {
    let found = sorted(client, &format!("SELECT * FROM {view}")).await;
    let expected = sorted(client, query).await;
    let difference = difference(&found, &expected);
    assert!(difference.is_empty(), "{when}: {view} is not {query}\n{difference}");
}

/// One statement whose answer is empty if view and query agree at its epoch.
pub async fn difference_query(client: &Client, view: &str, query: &str) -> Result<String, tokio_postgres::Error> {
    let columns = client.prepare(&format!("SELECT * FROM {view}")).await?;
    let columns: Vec<String> = columns.columns().iter().map(|c| format!("\"{}\"", c.name())).collect();
    let columns = columns.join(", ");
    Ok(format!(
        "SELECT {columns}, sum(d) AS d FROM (SELECT {columns}, 1 AS d FROM {view} UNION ALL \
         SELECT {columns}, -1 AS d FROM ({query}) q) u GROUP BY {columns} HAVING sum(d) <> 0"
    ))
}

/// Fails if the statement of [`difference_query`] finds something.
pub fn none(rows: &[Row], what: &str) {
    let shown: Vec<String> = rows.iter().take(SHOWN).map(text).collect();
    assert!(
        rows.is_empty(),
        "{what}: {} rows differ within one snapshot (last column: + view, - query)\n{}",
        rows.len(),
        shown.join("\n")
    );
}

/// An error that is an answer, not the connection's end, is a failure.
pub fn only_disconnected(error: &tokio_postgres::Error, what: &str) {
    assert!(crate::process::disconnected(error), "{what}: {}", describe(error));
}
