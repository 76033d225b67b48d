//! Brings window table functions in FROM into the shape of `window_call.rs`, whatever their spelling.

use sqlparser::ast::TableFactor;

use crate::tokens::Parsed;
use crate::window_call;

/// Leaves other relations as they are.
pub(crate) fn normalise(factor: &mut TableFactor) -> Parsed<()> {
    if let Some(call) = window_call::interpret(factor) {
        *factor = call?.into_factor();
    }
    Ok(())
}
