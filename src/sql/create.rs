//! CREATE …: finds out what is created and sends it to its file.

use sqlparser::parser::Parser;

use crate::error::Failure;
use crate::statement::Statement;
use crate::tokens::{self, Parsed, accept, accept_all, accept_one, expect, unexpected};
use crate::{create_source, create_table, create_view, refused};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    let start = tokens::here(p);
    expect(p, "CREATE")?;
    let or_replace = accept_all(p, &["OR", "REPLACE"]);
    let temporary = accept_one(p, &["TEMPORARY", "TEMP"]).is_some();
    if accept(p, "VIEW") {
        return create_view::parse_view(p, or_replace, temporary);
    }
    if or_replace {
        return Err(Failure::unsupported(
            start,
            "OR REPLACE is only supported for views",
            "DROP the object first; a materialized view is rebuilt from its sources.",
        ));
    }
    if let Some(what) = accept_one(p, &["TABLE", "SOURCE"]) {
        if temporary {
            return Err(Failure::unsupported(
                start,
                "temporary tables and sources are not supported",
                "Create an ordinary one and DROP it when done; CREATE TEMPORARY VIEW exists.",
            ));
        }
        return if what == "TABLE" { create_table::parse(p) } else { create_source::parse(p) };
    }
    if accept_all(p, &["MATERIALIZED", "VIEW"]) {
        return create_view::parse_materialized_view(p);
    }
    if accept(p, "SCHEMA") {
        let if_not_exists = tokens::parse_if_not_exists(p);
        let name = tokens::parse_object_name(p)?;
        return Ok(Statement::CreateSchema { name, if_not_exists });
    }
    Err(refused::create(p, start).unwrap_or_else(|| unexpected(p, "SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SCHEMA")))
}
