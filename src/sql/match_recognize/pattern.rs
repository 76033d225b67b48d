//! The grammar of PATTERN ( … ). The tokeniser knows operators of expressions, not of patterns (`+?` and `*|` are one
//! token to it), so symbols are read character by character.

use sqlparser::ast::Ident;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token};
use types::SqlState;

use super::MatchPattern;
use crate::error::Failure;
use crate::tokens::{Parsed, is_word};

/// How deep groups may nest.
const DEPTH_MAX: usize = 50;

#[derive(Debug, Clone, PartialEq)]
enum Symbol {
    Name(Ident),
    Number(u32),
    Character(char),
}

/// `( … )`, with its parentheses.
pub(super) fn parse(p: &mut Parser) -> Parsed<MatchPattern> {
    let mut symbols = Symbols { all: collect(p)?, next: 0, depth: 0 };
    symbols.expect('(')?;
    let pattern = symbols.alternation()?;
    symbols.expect(')')?;
    Ok(pattern)
}

/// Takes the tokens up to the closing parenthesis.
fn collect(p: &mut Parser) -> Parsed<Vec<(Symbol, Location)>> {
    p.expect_token(&Token::LParen)?;
    p.prev_token();
    let mut symbols = vec![];
    let mut depth = 0usize;
    loop {
        let token = p.next_token();
        let place = token.span.start;
        match &token.token {
            Token::EOF => return Err(crate::tokens::unexpected(p, "a row pattern and )")),
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        match token.token {
            Token::Word(word) => {
                let ident = Ident { value: word.value, quote_style: word.quote_style, span: token.span };
                symbols.push((Symbol::Name(ident), place));
            }
            Token::Number(digits, _) => {
                let number = digits.to_string().parse().map_err(|_| bad_bound(place))?;
                symbols.push((Symbol::Number(number), place));
            }
            other => {
                let text = other.to_string();
                symbols.extend(text.chars().zip(0..).map(|(c, n)| (Symbol::Character(c), later(place, n))));
            }
        }
        if depth == 0 {
            return Ok(symbols);
        }
    }
}

fn later(place: Location, characters: u64) -> Location {
    Location::new(place.line, place.column + characters)
}

fn bad_bound(place: Location) -> Failure {
    Failure::invalid(place, SqlState::SyntaxError, "a bound of a quantifier must be a whole number below 4294967296")
}

struct Symbols {
    all: Vec<(Symbol, Location)>,
    next: usize,
    depth: usize,
}

impl Symbols {
    fn peek(&self) -> Option<&Symbol> {
        self.all.get(self.next).map(|(symbol, _)| symbol)
    }

    fn place(&self) -> Location {
        self.all.get(self.next).or(self.all.last()).map_or(Location::empty(), |(_, place)| *place)
    }

    fn at(&self, c: char) -> bool {
        self.peek() == Some(&Symbol::Character(c))
    }

    fn accept(&mut self, c: char) -> bool {
        let found = self.at(c);
        self.next += usize::from(found);
        found
    }

    /// `{-` or `-}`
    fn accept_pair(&mut self, first: char, second: char) -> bool {
        let behind = self.all.get(self.next + 1).map(|(symbol, _)| symbol);
        let found = self.at(first) && behind == Some(&Symbol::Character(second));
        self.next += if found { 2 } else { 0 };
        found
    }

    fn expect(&mut self, c: char) -> Parsed<()> {
        if self.accept(c) { Ok(()) } else { Err(self.wrong(&format!("expected {c}"))) }
    }

    fn wrong(&self, detail: &str) -> Failure {
        let near = match self.peek() {
            Some(Symbol::Name(name)) => name.value.clone(),
            Some(Symbol::Number(number)) => number.to_string(),
            Some(Symbol::Character(c)) => c.to_string(),
            None => ")".into(),
        };
        let message = format!("syntax error in row pattern at or near \"{near}\"");
        let error = types::SqlError::new(SqlState::SyntaxError, message).with_detail(format!("Parser {detail}."));
        Failure::from(error).placed(self.place())
    }

    fn alternation(&mut self) -> Parsed<MatchPattern> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("row pattern is nested more than {DEPTH_MAX} deep");
            return Err(Failure::invalid(self.place(), SqlState::StatementTooComplex, message));
        }
        let mut branches = vec![self.concatenation()?];
        while self.accept('|') {
            branches.push(self.concatenation()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { MatchPattern::Alternate(branches) })
    }

    fn concatenation(&mut self) -> Parsed<MatchPattern> {
        let mut parts = vec![self.quantified()?];
        while !(self.peek().is_none() || [')', '|', ','].iter().any(|c| self.at(*c)) || self.at_exclusion_end()) {
            parts.push(self.quantified()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { MatchPattern::Concat(parts) })
    }

    fn at_exclusion_end(&self) -> bool {
        let behind = self.all.get(self.next + 1).map(|(symbol, _)| symbol);
        self.at('-') && behind == Some(&Symbol::Character('}'))
    }

    fn quantified(&mut self) -> Parsed<MatchPattern> {
        let body = Box::new(self.primary()?);
        let place = self.place();
        let (min, max) = if self.accept('*') {
            (0, None)
        } else if self.accept('+') {
            (1, None)
        } else if self.accept('?') {
            (0, Some(1))
        } else if self.at('{') && !self.at_exclusion_start() {
            self.bounds()?
        } else {
            return Ok(*body);
        };
        if max == Some(0) || max.is_some_and(|max| max < min) {
            let message = "the upper bound of a quantifier must be at least one and not below the lower bound";
            return Err(Failure::invalid(place, SqlState::SyntaxError, message));
        }
        Ok(MatchPattern::Repeat { body, min, max, greedy: !self.accept('?') })
    }

    fn at_exclusion_start(&self) -> bool {
        let behind = self.all.get(self.next + 1).map(|(symbol, _)| symbol);
        self.at('{') && behind == Some(&Symbol::Character('-'))
    }

    /// `{n}`, `{n,}`, `{n,m}`, `{,m}`
    fn bounds(&mut self) -> Parsed<(u32, Option<u32>)> {
        self.expect('{')?;
        let min = self.number();
        let bounds = if self.accept(',') { (min.unwrap_or(0), self.number()) } else { (min.unwrap_or(0), min) };
        if min.is_none() && bounds.1.is_none() {
            return Err(self.wrong("expected a bound"));
        }
        self.expect('}')?;
        Ok(bounds)
    }

    fn number(&mut self) -> Option<u32> {
        let Some(Symbol::Number(number)) = self.peek() else { return None };
        let number = *number;
        self.next += 1;
        Some(number)
    }

    fn primary(&mut self) -> Parsed<MatchPattern> {
        if self.accept('^') {
            return Ok(MatchPattern::Start);
        }
        if self.accept('$') {
            return Ok(MatchPattern::End);
        }
        if self.accept_pair('{', '-') {
            let body = self.alternation()?;
            if !self.accept_pair('-', '}') {
                return Err(self.wrong("expected -}"));
            }
            return Ok(MatchPattern::Exclude(Box::new(body)));
        }
        if self.accept('(') {
            if self.accept(')') {
                return Ok(MatchPattern::Empty);
            }
            let body = self.alternation()?;
            self.expect(')')?;
            return Ok(body);
        }
        let Some(Symbol::Name(name)) = self.peek().cloned() else {
            return Err(self.wrong("expected a variable, a group, ^ or $"));
        };
        self.next += 1;
        let word = Token::make_word(&name.value, name.quote_style);
        if is_word(&word, "PERMUTE") && self.accept('(') {
            let mut members = vec![self.alternation()?];
            while self.accept(',') {
                members.push(self.alternation()?);
            }
            self.expect(')')?;
            return Ok(MatchPattern::Permute(members));
        }
        Ok(MatchPattern::Variable(name))
    }
}

/// Words without a place in the text have an empty span.
pub(super) fn place_of(ident: &Ident) -> Location {
    let Span { start, .. } = ident.span;
    start
}
