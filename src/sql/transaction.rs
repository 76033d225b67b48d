//! BEGIN, COMMIT, ROLLBACK, savepoints, and the modes of a transaction.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::error::Failure;
use crate::statement::{SavepointAction, Statement, TransactionModes};
use crate::tokens::{self, Parsed, accept, accept_all, accept_one, expect, peek_word, unexpected};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    let place = tokens::here(p);
    match accept_one(p, &["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"]) {
        Some("BEGIN") => {
            accept_one(p, &["WORK", "TRANSACTION"]);
            Ok(Statement::Begin { modes: parse_modes(p)?, start: false })
        }
        Some("START") => {
            expect(p, "TRANSACTION")?;
            Ok(Statement::Begin { modes: parse_modes(p)?, start: true })
        }
        Some("SAVEPOINT") => savepoint(p, SavepointAction::Define),
        Some("RELEASE") => {
            accept(p, "SAVEPOINT");
            savepoint(p, SavepointAction::Release)
        }
        Some(verb) => {
            if accept(p, "PREPARED") {
                return Err(Failure::unsupported(
                    place,
                    "two-phase commit is not supported",
                    "Use an ordinary transaction.",
                ));
            }
            accept_one(p, &["WORK", "TRANSACTION"]);
            if verb == "ROLLBACK" && accept(p, "TO") {
                accept(p, "SAVEPOINT");
                return savepoint(p, SavepointAction::RollBackTo);
            }
            let place = tokens::here(p);
            if accept_all(p, &["AND", "CHAIN"]) {
                return Err(Failure::unsupported(place, "AND CHAIN is not supported", "Send BEGIN after it."));
            }
            accept_all(p, &["AND", "NO", "CHAIN"]);
            Ok(if verb == "COMMIT" || verb == "END" { Statement::Commit } else { Statement::Rollback })
        }
        None => Err(unexpected(p, "a transaction command")),
    }
}

fn savepoint(p: &mut Parser, action: SavepointAction) -> Parsed<Statement> {
    Ok(Statement::Savepoint { action, name: tokens::folded(&p.parse_identifier()?) })
}

/// `ISOLATION LEVEL … | READ ONLY | READ WRITE | [NOT] DEFERRABLE`, any number, commas optional.
pub(crate) fn parse_modes(p: &mut Parser) -> Parsed<TransactionModes> {
    let mut modes = TransactionModes::default();
    while !tokens::at_end(p) {
        if accept_all(p, &["ISOLATION", "LEVEL"]) {
            modes.isolation = Some(parse_isolation(p)?);
        } else if accept_all(p, &["READ", "ONLY"]) {
            modes.read_only = Some(true);
        } else if accept_all(p, &["READ", "WRITE"]) {
            modes.read_only = Some(false);
        } else if accept_all(p, &["NOT", "DEFERRABLE"]) {
            modes.deferrable = Some(false);
        } else if accept(p, "DEFERRABLE") {
            modes.deferrable = Some(true);
        } else {
            return Err(unexpected(p, "a transaction mode"));
        }
        tokens::skip(p, &Token::Comma);
    }
    Ok(modes)
}

fn parse_isolation(p: &mut Parser) -> Parsed<String> {
    let levels: [&[&str]; 4] =
        [&["SERIALIZABLE"], &["REPEATABLE", "READ"], &["READ", "COMMITTED"], &["READ", "UNCOMMITTED"]];
    for words in levels {
        if accept_all(p, words) {
            return Ok(words.join(" ").to_lowercase());
        }
    }
    let found = peek_word(p);
    debug_assert!(found.as_deref() != Some("serializable"), "accepted above");
    Err(unexpected(p, "an isolation level"))
}
