//! Completion by prefix: keywords, then names of relations and columns as the server's information schema has them.

use std::sync::{Arc, Mutex};

use reedline::{Completer, CompletionResult, Span, Suggestion};
use tokio_postgres::{Client, SimpleQueryMessage};

const KEYWORDS: &[&str] = &[
    "AND",
    "APPEND ONLY",
    "AS",
    "BEGIN",
    "BETWEEN",
    "CASE",
    "CAST",
    "CLOSE",
    "COALESCE",
    "COMMIT",
    "COPY",
    "COUNT(*)",
    "CREATE MATERIALIZED VIEW",
    "CREATE SOURCE",
    "CREATE TABLE",
    "CREATE VIEW",
    "CUMULATE",
    "DECLARE",
    "DELETE FROM",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "EMIT ON WINDOW CLOSE",
    "ENCODE",
    "END",
    "EXISTS",
    "EXPLAIN",
    "FETCH",
    "FILTER",
    "FLUSH",
    "FORMAT PLAIN ENCODE",
    "FROM",
    "GROUP BY",
    "HAVING",
    "HOP",
    "INNER JOIN",
    "INSERT INTO",
    "INTERVAL",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LEFT JOIN",
    "LIMIT",
    "NOT",
    "NULL",
    "ON CONFLICT DO NOTHING",
    "ORDER BY",
    "OVER",
    "PARTITION BY",
    "PRIMARY KEY",
    "PROGRESS",
    "RETURNING",
    "ROLLBACK",
    "ROW_NUMBER()",
    "SELECT",
    "SESSION",
    "SET",
    "SHOW CREATE",
    "SHOW JOBS",
    "SHOW MATERIALIZED VIEWS",
    "SHOW SOURCES",
    "SHOW TABLES",
    "SHOW VIEWS",
    "SHOW WATERMARKS",
    "SNAPSHOT",
    "SUBSCRIBE",
    "TABLE",
    "THEN",
    "TIMESTAMP",
    "TUMBLE",
    "UNION ALL",
    "UPDATE",
    "VALUES",
    "WAIT",
    "WATERMARK FOR",
    "WHEN",
    "WHERE",
    "WITH",
    "window_end",
    "window_start",
];

const NAME_QUERIES: &[&str] = &[
    "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
    "SELECT DISTINCT column_name FROM information_schema.columns \
     WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
];

/// Names of the connected server, shared between the prompt and the completer.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Vec<String>>>);

impl Names {
    /// Asks the server; names stay as they were if it has no information schema.
    pub(super) async fn load(&self, client: &Client) {
        let mut names = vec![];
        for query in NAME_QUERIES {
            let Ok(messages) = client.simple_query(query).await else { return };
            names.extend(messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(quoted),
                _ => None,
            }));
        }
        names.sort();
        names.dedup();
        *self.0.lock().expect("no code panics while it holds this lock") = names;
    }
}

/// A name as it must be written.
fn quoted(name: &str) -> String {
    let plain =
        name.chars().enumerate().all(|(n, c)| c == '_' || c.is_ascii_lowercase() || n > 0 && c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

pub(super) struct SqlCompleter {
    pub(super) names: Names,
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let names = self.names.0.lock().expect("no code panics while it holds this lock");
        let (start, found) = candidates(line, pos, &names);
        let suggestion = |value: String| Suggestion {
            value,
            span: Span::new(start, pos),
            append_whitespace: true,
            ..Suggestion::default()
        };
        CompletionResult::fresh(found.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// Where the word before the cursor begins, and what it may become. Names come first.
fn candidates(line: &str, pos: usize, names: &[String]) -> (usize, Vec<String>) {
    let before = &line[..pos];
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || "_\"".contains(c)))
        .map_or(0, |n| n + before[n..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    if word.is_empty() {
        return (start, vec![]);
    }
    let lower = word.trim_start_matches('"').to_lowercase();
    let matches = |candidate: &str| candidate.trim_start_matches('"').to_lowercase().starts_with(&lower);
    let lower_case = !word.chars().any(char::is_uppercase);
    let keywords = KEYWORDS
        .iter()
        .filter(|keyword| matches(keyword))
        .map(|keyword| if lower_case { keyword.to_lowercase() } else { (*keyword).to_owned() });
    (start, names.iter().filter(|name| matches(name)).cloned().chain(keywords).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_keywords_in_the_case_typed() {
        let names = vec!["selection".to_owned(), quoted("dateTime")];
        assert_eq!(candidates("sel", 3, &names), (0, vec!["selection".to_owned(), "select".to_owned()]));
        assert_eq!(candidates("x, SEL", 6, &[]), (3, vec!["SELECT".to_owned()]));
        assert_eq!(candidates("a.date", 6, &names), (2, vec!["\"dateTime\"".to_owned()]));
        assert_eq!(candidates("ü ", 3, &names).1, Vec::<String>::new());
    }
}
