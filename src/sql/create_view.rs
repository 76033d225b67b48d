//! `CREATE VIEW` and `CREATE MATERIALIZED VIEW … [EMIT ON WINDOW CLOSE]`.

use sqlparser::parser::Parser;

use crate::error::Failure;
use crate::statement::{CreateMaterializedView, CreateView, Statement};
use crate::tokens::{self, Parsed, accept_all, at_all, expect};
use crate::{options, query};

/// After CREATE [OR REPLACE] [TEMPORARY] VIEW.
pub(crate) fn parse_view(p: &mut Parser, or_replace: bool, temporary: bool) -> Parsed<Statement> {
    let if_not_exists = tokens::parse_if_not_exists(p);
    let name = tokens::parse_object_name(p)?;
    let columns = tokens::optional_idents(p)?;
    expect(p, "AS")?;
    let query = query::parse_query(p)?;
    if at_all(p, &["EMIT", "ON"]) {
        return Err(Failure::unsupported(
            tokens::here(p),
            "EMIT ON WINDOW CLOSE needs a materialized view",
            "Use CREATE MATERIALIZED VIEW.",
        ));
    }
    Ok(Statement::CreateView(CreateView { name, or_replace, temporary, if_not_exists, columns, query }))
}

/// After CREATE MATERIALIZED VIEW.
pub(crate) fn parse_materialized_view(p: &mut Parser) -> Parsed<Statement> {
    let if_not_exists = tokens::parse_if_not_exists(p);
    let name = tokens::parse_object_name(p)?;
    let columns = tokens::optional_idents(p)?;
    let options = options::parse_with(p)?;
    expect(p, "AS")?;
    let query = query::parse_query(p)?;
    accept_with_data(p)?;
    let emit_on_window_close = accept_all(p, &["EMIT", "ON", "WINDOW", "CLOSE"]);
    Ok(Statement::CreateMaterializedView(CreateMaterializedView {
        name,
        if_not_exists,
        columns,
        options,
        query,
        emit_on_window_close,
    }))
}

/// `WITH DATA` is what we do anyway; `WITH NO DATA` is refused.
pub(crate) fn accept_with_data(p: &mut Parser) -> Parsed<()> {
    let place = tokens::here(p);
    if accept_all(p, &["WITH", "NO", "DATA"]) {
        return Err(Failure::unsupported(place, "WITH NO DATA is not supported", "Leave it out, or use LIMIT 0."));
    }
    accept_all(p, &["WITH", "DATA"]);
    Ok(())
}
