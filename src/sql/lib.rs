//! SQL text → [`Statement`]. The only crate that tokenises; everything below the root keeps sqlparser's AST, so the
//! planner can hand queries to DataFusion unchanged.
//!
//! Our own statements are parsed by recursive descent on sqlparser's token stream: no text is ever rewritten.
//! Window table functions in all spellings are normalised here into one shape (`window_tvf.rs`).

mod statement;

pub use sqlparser::ast;
pub use statement::*;
