//! Refuses statements whose tree would be too deep to walk recursively, before building it.
//!
//! sqlparser bounds parentheses and subqueries by itself, but chains of infix operators (`a + b + c …`) become trees as
//! deep as they are long. The bound here is an upper estimate from the tokens: operators since the last comma, summed
//! over the open parentheses.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Deepest tree of operators accepted; walking one level costs some kilobytes of stack in a debug build.
const OPERATOR_DEPTH_MAX: usize = 300;

/// The place of the first token that nests too deeply.
pub(crate) fn too_deep(tokens: &[TokenWithSpan]) -> Option<Location> {
    let mut levels = vec![0usize];
    let mut depth = 0usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => levels.push(0),
            Token::RParen | Token::RBracket if levels.len() > 1 => depth -= levels.pop().unwrap_or(0),
            Token::Comma => depth -= std::mem::take(levels.last_mut()?),
            Token::SemiColon => {
                levels = vec![0];
                depth = 0;
            }
            other if is_operator(other) => {
                *levels.last_mut()? += 1;
                depth += 1;
                if depth > OPERATOR_DEPTH_MAX {
                    return Some(token.span.start);
                }
            }
            _ => {}
        }
    }
    None
}

/// Levels that an ordinary thread's stack certainly holds.
const SHALLOW_DEPTH_MAX: usize = 12;

/// True if parsing may recurse further than an ordinary thread's stack allows for: sqlparser needs up to 50 kB a level
/// in a debug build. Estimated from parentheses and from prefixes that open a level without one.
pub(crate) fn needs_large_stack(tokens: &[TokenWithSpan]) -> bool {
    let (mut depth, mut depth_max, mut prefixes) = (0usize, 0usize, 0usize);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::SemiColon => (depth, prefixes) = (0, 0),
            Token::Word(word) if matches!(word.keyword, Keyword::NOT | Keyword::CASE) => prefixes += 1,
            Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark => prefixes += 1,
            _ => {}
        }
        depth_max = depth_max.max(depth + prefixes);
    }
    depth_max > SHALLOW_DEPTH_MAX
}

/// Anything that can put one tree below another.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
        ),
        Token::EOF
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::Period
        | Token::Placeholder(_)
        | Token::RParen
        | Token::RBracket
        | Token::RArrow => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn check(sql: &str) -> bool {
        let tokens = Tokenizer::new(&crate::HighwaterDialect {}, sql).tokenize_with_location().unwrap();
        too_deep(&tokens).is_some()
    }

    #[test]
    fn long_operator_chains_are_refused_and_long_lists_are_not() {
        assert!(check(&format!("SELECT {}1", "1 + ".repeat(5_000))));
        assert!(check(&format!("SELECT {}1", "(1 + ".repeat(5_000))));
        assert!(!check(&format!("SELECT {}1", "1 + ".repeat(250))));
        assert!(!check(&format!("INSERT INTO t VALUES (-1){}", ", (-1)".repeat(20_000))));
    }
}
