//! Finds the real place of a syntax error inside a subquery.
//!
//! sqlparser tries several readings of a parenthesis in FROM and reports the failure of the last, at the parenthesis.
//! So after a failure every `(SELECT …)` before it is parsed by itself, and the innermost one that fails is believed.

use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::dialect::HighwaterDialect;
use crate::tokens;

/// The error of the innermost subquery that fails by itself, else `error`.
pub(crate) fn sharpen(error: ParserError, tokens: &[TokenWithSpan], recursion_limit: usize) -> ParserError {
    let visible: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let opens = |n: usize| {
        visible[n].token == Token::LParen
            && visible.get(n + 1).is_some_and(|t| ["SELECT", "WITH"].iter().any(|word| tokens::is_word(&t.token, word)))
    };
    // Later parentheses are either inside of earlier ones or beside them; a failure beside needs the earlier ones to
    // be right, so the last failing one whose predecessors fail too is the innermost around the first mistake.
    let mut found = None;
    for start in (0..visible.len()).filter(|n| opens(*n)) {
        let end = matching(&visible, start);
        if found.as_ref().is_some_and(|(_, outer_end)| start > *outer_end) {
            break;
        }
        let inner: Vec<TokenWithSpan> = visible[start + 1..=end].iter().map(|token| (*token).clone()).collect();
        if let Some(inner_error) = failure_of(inner, recursion_limit) {
            found = Some((inner_error, end));
        }
    }
    found.map_or(error, |(inner_error, _)| inner_error)
}

/// Index of the parenthesis that closes the one at `start`, or of the last token.
fn matching(visible: &[&TokenWithSpan], start: usize) -> usize {
    let mut depth = 0usize;
    for (n, token) in visible.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n;
        }
    }
    visible.len() - 1
}

/// The tokens are a query and the parenthesis that closes it.
fn failure_of(tokens: Vec<TokenWithSpan>, recursion_limit: usize) -> Option<ParserError> {
    let mut parser =
        Parser::new(&HighwaterDialect {}).with_recursion_limit(recursion_limit).with_tokens_with_locations(tokens);
    let parsed = parser.parse_query().and_then(|_| parser.expect_token(&Token::RParen));
    parsed.err().filter(|error| matches!(error, ParserError::ParserError(_)))
}
