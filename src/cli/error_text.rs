//! Errors and notices as psql prints them: severity and message, the line with a caret, DETAIL and HINT.

use tokio_postgres::error::{DbError, ErrorPosition};
use types::SqlError;

/// One error or notice as text; `statement` is what the position refers to.
pub(crate) fn of_db_error(error: &DbError, statement: Option<&str>) -> String {
    let position = match error.position() {
        Some(ErrorPosition::Original(position)) => Some(*position),
        _ => None,
    };
    let marked = statement.zip(position).map(|(text, position)| marked_line(text, position)).unwrap_or_default();
    format!("{}:  {}{marked}{}", error.severity(), error.message(), additions(error.detail(), error.hint()))
}

/// Any client error; those of the server with their parts.
pub(crate) fn of_client_error(error: &tokio_postgres::Error, statement: Option<&str>) -> String {
    match error.as_db_error() {
        Some(error) => of_db_error(error, statement),
        None => {
            let mut text = format!("ERROR:  {error}");
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                text.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            text
        }
    }
}

pub(crate) fn of_sql_error(error: &SqlError) -> String {
    format!("{}{}", error.message, additions(error.detail.as_deref(), error.hint.as_deref()))
}

/// 1-based line of a 1-based character position.
pub(crate) fn line_of(text: &str, position: u32) -> usize {
    1 + text.chars().take(position.saturating_sub(1) as usize).filter(|c| *c == '\n').count()
}

fn additions(detail: Option<&str>, hint: Option<&str>) -> String {
    let detail = detail.map(|detail| format!("\nDETAIL:  {detail}")).unwrap_or_default();
    let hint = hint.map(|hint| format!("\nHINT:  {hint}")).unwrap_or_default();
    detail + &hint
}

/// `LINE n: text` and a caret below the position.
fn marked_line(text: &str, position: u32) -> String {
    let number = line_of(text, position);
    let Some(line) = text.split('\n').nth(number - 1) else { return String::new() };
    let before: usize = text.split('\n').take(number - 1).map(|line| line.chars().count() + 1).sum();
    let column = (position as usize).saturating_sub(before + 1);
    let label = format!("LINE {number}: ");
    format!("\n{label}{}\n{}^", line.trim_end(), " ".repeat(label.len() + column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_position() {
        assert_eq!(marked_line("select 1;\nselec ü x", 18), "\nLINE 2: selec ü x\n               ^");
        assert_eq!(marked_line("a", 1), "\nLINE 1: a\n        ^");
        assert_eq!(line_of("a\nb\nc", 3), 2);
    }

    #[test]
    fn details_and_hints_follow() {
        let error = SqlError::unsupported("no", "Do.").with_detail("Because.");
        assert_eq!(of_sql_error(&error), "no\nDETAIL:  Because.\nHINT:  Do.");
    }
}
