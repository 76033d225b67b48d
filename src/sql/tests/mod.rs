//! Tests of the whole crate through `parse`. `summary` renders a statement compactly; `check` and `check_error` are the
//! only callers of the parser.

mod errors;
mod intervals;
mod match_recognize;
mod nexmark;
mod statements;
mod summary;
mod windows;

use expect_test::Expect;
use types::ToSqlState;

use crate::parse;

/// Every statement of `sql`, one line each.
fn check(sql: &str, expected: Expect) {
    let rendered: Vec<String> = match parse(sql) {
        Ok(parsed) => parsed.iter().map(|one| summary::summary_of(&one.statement)).collect(),
        Err(error) => panic!("{sql}: {:?}", error.to_sql_error()),
    };
    expected.assert_eq(&rendered.join("\n"));
}

/// `SQLSTATE @position message | detail | hint` of each text.
fn check_errors(texts: &[&str], expected: Expect) {
    let rendered: Vec<String> = texts.iter().map(|sql| rendered_error(sql)).collect();
    expected.assert_eq(&rendered.join("\n"));
}

fn rendered_error(sql: &str) -> String {
    let Err(error) = parse(sql) else { panic!("accepted: {sql}") };
    let error = error.to_sql_error();
    let position = error.position.map(|position| format!(" @{position}")).unwrap_or_default();
    let more: Vec<String> = [error.detail, error.hint].into_iter().flatten().map(|text| format!(" | {text}")).collect();
    format!("{}{position} {}{}", error.state, error.message, more.concat())
}
