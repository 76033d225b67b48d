//! SHOW and DESCRIBE.

use sqlparser::parser::Parser;

use crate::drop;
use crate::statement::{Show, Statement};
use crate::tokens::{self, Parsed, accept, accept_all, accept_one, expect};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    expect(p, "SHOW")?;
    Ok(Statement::Show(parse_what(p)?))
}

fn parse_what(p: &mut Parser) -> Parsed<Show> {
    let lists: [(&[&str], Show); 8] = [
        (&["SOURCES"], Show::Sources),
        (&["TABLES"], Show::Tables),
        (&["VIEWS"], Show::Views),
        (&["MATERIALIZED", "VIEWS"], Show::MaterializedViews),
        (&["SCHEMAS"], Show::Schemas),
        (&["DATABASES"], Show::Databases),
        (&["JOBS"], Show::Jobs),
        (&["WATERMARKS"], Show::Watermarks),
    ];
    for (words, show) in lists {
        if accept_all(p, words) {
            return Ok(show);
        }
    }
    if accept(p, "ALL") {
        return Ok(Show::Parameter(None));
    }
    if accept(p, "COLUMNS") {
        accept_one(p, &["FROM", "IN"]);
        return Ok(Show::Columns(tokens::parse_object_name(p)?));
    }
    if accept(p, "CREATE") {
        drop::accept_kind(p);
        return Ok(Show::Create(tokens::parse_object_name(p)?));
    }
    let spelled_out: [(&[&str], &str); 3] = [
        (&["TIME", "ZONE"], "timezone"),
        (&["TRANSACTION", "ISOLATION", "LEVEL"], "transaction_isolation"),
        (&["SESSION", "AUTHORIZATION"], "session_authorization"),
    ];
    for (words, name) in spelled_out {
        if accept_all(p, words) {
            return Ok(Show::Parameter(Some(name.to_owned())));
        }
    }
    Ok(Show::Parameter(Some(parse_parameter_name(p)?)))
}

/// `name` or `extension.name`, folded to lower case: parameters ignore case even in quotes.
pub(crate) fn parse_parameter_name(p: &mut Parser) -> Parsed<String> {
    let name = tokens::parse_object_name(p)?;
    let parts: Vec<String> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.to_lowercase()).collect();
    Ok(parts.join("."))
}

/// `DESCRIBE [kind] name`.
pub(crate) fn parse_describe(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    drop::accept_kind(p);
    Ok(Statement::Describe { name: tokens::parse_object_name(p)? })
}
