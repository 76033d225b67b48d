//! DROP and COMMENT ON.

use sqlparser::ast;
use sqlparser::parser::Parser;
use types::SqlState;

use crate::error::Failure;
use crate::refused;
use crate::statement::{Drop, ObjectKind, Statement};
use crate::tokens::{self, Parsed, accept, accept_all, accept_one, expect, unexpected};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "DROP")?;
    let Some(kind) = accept_kind(p) else {
        return Err(
            refused::drop(p).unwrap_or_else(|| unexpected(p, "SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SCHEMA"))
        );
    };
    let if_exists = tokens::parse_if_exists(p);
    let names = tokens::comma_separated(p, tokens::parse_object_name)?;
    let cascade = accept_one(p, &["CASCADE", "RESTRICT"]) == Some("CASCADE");
    Ok(Statement::Drop(Drop { kind, names, if_exists, cascade }))
}

pub(crate) fn accept_kind(p: &mut Parser) -> Option<ObjectKind> {
    if accept_all(p, &["MATERIALIZED", "VIEW"]) {
        return Some(ObjectKind::MaterializedView);
    }
    let kind = accept_one(p, &["SOURCE", "TABLE", "VIEW", "SCHEMA", "INDEX"])?;
    Some(match kind {
        "SOURCE" => ObjectKind::Source,
        "TABLE" => ObjectKind::Table,
        "VIEW" => ObjectKind::View,
        "SCHEMA" => ObjectKind::Schema,
        _ => ObjectKind::Index,
    })
}

/// `COMMENT ON kind name IS 'text' | NULL`; a column is named `relation.column` and its relation's kind is left open
/// as `Table`.
pub(crate) fn parse_comment(p: &mut Parser) -> Parsed<Statement> {
    tokens::expect_all(p, &["COMMENT", "ON"])?;
    let place = tokens::here(p);
    let (kind, name, column) = if accept(p, "COLUMN") {
        let mut name = tokens::parse_object_name(p)?;
        let column = match name.0.pop() {
            Some(ast::ObjectNamePart::Identifier(column)) if !name.0.is_empty() => column,
            _ => return Err(Failure::invalid(place, SqlState::SyntaxError, "column name must be qualified")),
        };
        (ObjectKind::Table, name, Some(column))
    } else {
        let Some(kind) = accept_kind(p) else {
            return Err(Failure::unsupported(
                place,
                "comments on this kind of object are not supported",
                "Comment on a source, table, view, materialized view, schema or column.",
            ));
        };
        (kind, tokens::parse_object_name(p)?, None)
    };
    expect(p, "IS")?;
    let text = if accept(p, "NULL") { None } else { Some(p.parse_literal_string()?) };
    Ok(Statement::Comment { kind, name, column, text })
}
