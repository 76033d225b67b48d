//! Words on sqlparser's token stream. Our statements use words that sqlparser has no keyword for (SUBSCRIBE, EMIT,
//! WATERMARK …), so they are matched by text: unquoted, ignoring case.

use sqlparser::ast::{self, Ident};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use crate::error::Failure;

pub(crate) type Parsed<T> = Result<T, Failure>;

pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// True if the next token is `word`.
pub(crate) fn at(p: &Parser, word: &str) -> bool {
    is_word(&p.peek_token_ref().token, word)
}

/// True if the next tokens are `words`.
pub(crate) fn at_all(p: &Parser, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| is_word(&p.peek_nth_token_ref(n).token, word))
}

/// Takes `word` if it is next.
pub(crate) fn accept(p: &mut Parser, word: &str) -> bool {
    let found = at(p, word);
    if found {
        p.advance_token();
    }
    found
}

/// Takes all of `words` if they are next, or nothing.
pub(crate) fn accept_all(p: &mut Parser, words: &[&str]) -> bool {
    let found = at_all(p, words);
    if found {
        for _ in words {
            p.advance_token();
        }
    }
    found
}

/// Takes the first of `words` that is next.
pub(crate) fn accept_one<'w>(p: &mut Parser, words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().find(|word| accept(p, word))
}

pub(crate) fn expect(p: &mut Parser, word: &str) -> Parsed<()> {
    if accept(p, word) { Ok(()) } else { Err(unexpected(p, word)) }
}

pub(crate) fn expect_all(p: &mut Parser, words: &[&str]) -> Parsed<()> {
    words.iter().try_for_each(|word| expect(p, word))
}

/// A syntax error at the next token.
pub(crate) fn unexpected(p: &Parser, expected: &str) -> Failure {
    match p.expected_ref::<()>(expected, p.peek_token_ref()) {
        Err(error) => error.into(),
        Ok(()) => unreachable!("`expected_ref` always fails"),
    }
}

/// Where the next token starts; line 0 at the end of the text.
pub(crate) fn here(p: &Parser) -> Location {
    p.peek_token_ref().span.start
}

/// True at the end of the statement.
pub(crate) fn at_end(p: &Parser) -> bool {
    matches!(p.peek_token_ref().token, Token::EOF | Token::SemiColon)
}

/// The lower-case text of the next token if it is an unquoted word.
pub(crate) fn peek_word(p: &Parser) -> Option<String> {
    match &p.peek_token_ref().token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_lowercase()),
        _ => None,
    }
}

/// A name as Postgres folds it: lower case unless quoted.
pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A name made of one identifier, folded.
pub(crate) fn parse_name(p: &mut Parser) -> Parsed<String> {
    Ok(folded(&p.parse_identifier()?))
}

pub(crate) fn parse_if_exists(p: &mut Parser) -> bool {
    accept_all(p, &["IF", "EXISTS"])
}

pub(crate) fn parse_if_not_exists(p: &mut Parser) -> bool {
    accept_all(p, &["IF", "NOT", "EXISTS"])
}

/// `item, item, …`
pub(crate) fn comma_separated<T>(p: &mut Parser, mut item: impl FnMut(&mut Parser) -> Parsed<T>) -> Parsed<Vec<T>> {
    let mut items = vec![item(p)?];
    while p.consume_token(&Token::Comma) {
        items.push(item(p)?);
    }
    Ok(items)
}

/// `(item, item, …)`, at least one.
pub(crate) fn parenthesised<T>(p: &mut Parser, item: impl FnMut(&mut Parser) -> Parsed<T>) -> Parsed<Vec<T>> {
    p.expect_token(&Token::LParen)?;
    let items = comma_separated(p, item)?;
    p.expect_token(&Token::RParen)?;
    Ok(items)
}

/// `(a, b)` if there is one, else nothing.
pub(crate) fn optional_idents(p: &mut Parser) -> Parsed<Vec<Ident>> {
    if p.peek_token_ref().token == Token::LParen { parenthesised(p, |p| Ok(p.parse_identifier()?)) } else { Ok(vec![]) }
}

pub(crate) fn parse_object_name(p: &mut Parser) -> Parsed<ast::ObjectName> {
    if !matches!(p.peek_token_ref().token, Token::Word(_)) {
        return Err(unexpected(p, "a name"));
    }
    Ok(p.parse_object_name(false)?)
}

/// Takes `token` if it is next and says nothing about it.
pub(crate) fn skip(p: &mut Parser, token: &Token) {
    if p.peek_token_ref().token == *token {
        p.advance_token();
    }
}
