//! `CREATE SOURCE [IF NOT EXISTS] name (columns) WITH (options) [FORMAT … ENCODE …]`.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::statement::{CreateSource, Statement};
use crate::tokens::{self, Parsed, folded};
use crate::{columns, options};

/// After CREATE SOURCE. A table-level PRIMARY KEY is marked on its columns.
pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    let if_not_exists = tokens::parse_if_not_exists(p);
    let name = tokens::parse_object_name(p)?;
    // Connectors that know their columns (nexmark) do without the list.
    let mut list =
        if p.peek_token_ref().token == Token::LParen { columns::parse(p)? } else { columns::ColumnList::default() };
    for key in &list.primary_key {
        let column = list.columns.iter_mut().find(|column| folded(&column.name) == folded(key));
        column.expect("checked by the column list").primary_key = true;
    }
    let options = options::parse_with(p)?;
    let format = options::parse_format(p)?;
    Ok(Statement::CreateSource(CreateSource {
        name,
        if_not_exists,
        columns: list.columns,
        watermark: list.watermark,
        options,
        format,
    }))
}
