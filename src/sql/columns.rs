//! The parenthesised part of CREATE SOURCE and CREATE TABLE: columns, PRIMARY KEY, WATERMARK.
//!
//! Generated columns come as `GENERATED ALWAYS AS (expr) STORED`, as RisingWave's `name type AS expr`, or as Flink's
//! `name AS expr`, whose type is `DataType::Unspecified`: the expression's.

use sqlparser::ast::{self, ColumnOption, GeneratedAs, Ident};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use types::SqlState;

use crate::error::Failure;
use crate::statement::{ColumnDefinition, WatermarkDefinition};
use crate::tokens::{self, Parsed, accept, accept_all, at, at_all, expect, folded, unexpected};

/// What stands between the parentheses.
#[derive(Debug, Default)]
pub(crate) struct ColumnList {
    pub(crate) columns: Vec<ColumnDefinition>,
    /// Of the table-level PRIMARY KEY.
    pub(crate) primary_key: Vec<Ident>,
    pub(crate) watermark: Option<WatermarkDefinition>,
}

/// `(column | PRIMARY KEY (…) | WATERMARK FOR … , …)`, possibly empty.
pub(crate) fn parse(p: &mut Parser) -> Parsed<ColumnList> {
    let mut list = ColumnList::default();
    p.expect_token(&Token::LParen)?;
    if p.consume_token(&Token::RParen) {
        return Ok(list);
    }
    tokens::comma_separated(p, |p| parse_element(p, &mut list))?;
    p.expect_token(&Token::RParen)?;
    check(&list)?;
    Ok(list)
}

fn parse_element(p: &mut Parser, list: &mut ColumnList) -> Parsed<()> {
    let place = tokens::here(p);
    if at_all(p, &["WATERMARK", "FOR"]) {
        let watermark = parse_watermark(p)?;
        if list.watermark.replace(watermark).is_some() {
            return Err(Failure::invalid(
                place,
                SqlState::InvalidTableDefinition,
                "more than one watermark is not allowed",
            ));
        }
        return Ok(());
    }
    if at(p, "CONSTRAINT") {
        expect(p, "CONSTRAINT")?;
        p.parse_identifier()?;
        if !at_all(p, &["PRIMARY", "KEY"]) {
            return Err(unsupported_constraint(p));
        }
    }
    if accept_all(p, &["PRIMARY", "KEY"]) {
        let key = tokens::parenthesised(p, |p| Ok(p.parse_identifier()?))?;
        accept_all(p, &["NOT", "ENFORCED"]);
        if !std::mem::replace(&mut list.primary_key, key).is_empty() {
            return Err(Failure::invalid(
                place,
                SqlState::InvalidTableDefinition,
                "multiple primary keys are not allowed",
            ));
        }
        return Ok(());
    }
    let constraint = at_all(p, &["FOREIGN", "KEY"])
        || ["CHECK", "UNIQUE", "EXCLUDE"].iter().any(|word| at(p, word))
            && p.peek_nth_token_ref(1).token == Token::LParen;
    if constraint {
        return Err(unsupported_constraint(p));
    }
    let column = parse_column(p)?;
    list.columns.push(column);
    Ok(())
}

fn unsupported_constraint(p: &Parser) -> Failure {
    let word = tokens::peek_word(p).unwrap_or_default().to_uppercase();
    Failure::unsupported(
        tokens::here(p),
        format!("{word} constraints are not supported"),
        "PRIMARY KEY and NOT NULL are enforced; check other rules in a view.",
    )
}

fn parse_watermark(p: &mut Parser) -> Parsed<WatermarkDefinition> {
    tokens::expect_all(p, &["WATERMARK", "FOR"])?;
    let column = p.parse_identifier()?;
    expect(p, "AS")?;
    Ok(WatermarkDefinition { column, expr: p.parse_expr()? })
}

fn parse_column(p: &mut Parser) -> Parsed<ColumnDefinition> {
    if !matches!(p.peek_token_ref().token, Token::Word(_)) {
        return Err(unexpected(p, "a column definition"));
    }
    let name = p.parse_identifier()?;
    let data_type = if at(p, "AS") { ast::DataType::Unspecified } else { p.parse_data_type()? };
    let mut column =
        ColumnDefinition { name, data_type, not_null: false, primary_key: false, default: None, generated: None };
    loop {
        let place = tokens::here(p);
        if accept(p, "AS") {
            column.generated = Some(p.parse_expr()?);
            continue;
        }
        if at(p, "METADATA") {
            return Err(Failure::unsupported(
                place,
                "METADATA columns are not supported",
                "Declare only columns that are in the data.",
            ));
        }
        if accept(p, "CONSTRAINT") {
            p.parse_identifier()?;
        }
        match p.parse_optional_column_option()? {
            Some(option) => apply_option(&mut column, option).map_err(|failure| failure.placed(place))?,
            None => return Ok(column),
        }
        accept_all(p, &["NOT", "ENFORCED"]);
    }
}

fn apply_option(column: &mut ColumnDefinition, option: ColumnOption) -> Parsed<()> {
    match option {
        ColumnOption::NotNull => column.not_null = true,
        ColumnOption::Null => {}
        ColumnOption::PrimaryKey(_) => column.primary_key = true,
        ColumnOption::Default(expr) => column.default = Some(expr),
        ColumnOption::Generated { generated_as, generation_expr: Some(expr), .. } => match generated_as {
            GeneratedAs::Always | GeneratedAs::ExpStored => column.generated = Some(expr),
            GeneratedAs::ByDefault => return Err(unsupported_option("GENERATED BY DEFAULT")),
        },
        ColumnOption::Generated { .. } => return Err(unsupported_option("GENERATED … AS IDENTITY")),
        ColumnOption::Unique(_) => return Err(unsupported_option("UNIQUE")),
        ColumnOption::ForeignKey(_) => return Err(unsupported_option("REFERENCES")),
        ColumnOption::Check(_) => return Err(unsupported_option("CHECK")),
        ColumnOption::Collation(name) => {
            let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
            if !["C", "c", "default", "POSIX", "posix"].contains(&name.as_str()) {
                return Err(types::SqlError::unsupported(
                    format!("collation \"{name}\" is not supported"),
                    "Text is compared by bytes, as with COLLATE \"C\".",
                )
                .into());
            }
        }
        other => return Err(unsupported_option(&other.to_string())),
    }
    Ok(())
}

fn unsupported_option(what: &str) -> Failure {
    types::SqlError::unsupported(
        format!("column option {what} is not supported"),
        "Columns may have NOT NULL, DEFAULT, PRIMARY KEY and GENERATED ALWAYS AS (…) STORED.",
    )
    .into()
}

/// Names are unique, the key and the watermark name columns, and the key is given once.
fn check(list: &ColumnList) -> Parsed<()> {
    for (n, column) in list.columns.iter().enumerate() {
        if list.columns[..n].iter().any(|other| folded(&other.name) == folded(&column.name)) {
            return Err(Failure::invalid(
                column.name.span.start,
                SqlState::DuplicateColumn,
                format!("column \"{}\" specified more than once", folded(&column.name)),
            ));
        }
    }
    let named = list.primary_key.iter().chain(list.watermark.iter().map(|watermark| &watermark.column));
    for name in named {
        if !list.columns.iter().any(|column| folded(&column.name) == folded(name)) {
            return Err(Failure::invalid(
                name.span.start,
                SqlState::UndefinedColumn,
                format!("column \"{}\" named in key or watermark does not exist", folded(name)),
            ));
        }
    }
    let mut keys = list.columns.iter().filter(|column| column.primary_key);
    let second = if list.primary_key.is_empty() { keys.nth(1) } else { keys.next() };
    match second {
        Some(column) => Err(Failure::invalid(
            column.name.span.start,
            SqlState::InvalidTableDefinition,
            "multiple primary keys are not allowed",
        )),
        None => Ok(()),
    }
}
