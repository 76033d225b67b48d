//! SQL text → [`Statement`]. The only crate that tokenises; everything below the root keeps sqlparser's AST, so the
//! planner can hand queries to DataFusion unchanged.
//!
//! Our own statements are parsed by recursive descent on sqlparser's token stream: no text is ever rewritten.
//! Window table functions in all spellings are normalised here into one shape (`window_tvf.rs`), and grouped windows
//! (`GROUP BY TUMBLE(…)`) into window table functions (`grouped_windows.rs`). The planner reads them back with
//! [`window_call`] and evaluates constant intervals with [`interval_us`]. MATCH_RECOGNIZE has a grammar of its own
//! (`match_recognize/`); the planner reads it with [`match_clause`].
//!
//! Start at `parse.rs`; each statement family has a file named after it.

mod columns;
mod compose;
mod copy;
mod create;
mod create_source;
mod create_table;
mod create_view;
mod cursor;
mod dialect;
mod dml;
mod drop;
mod error;
mod explain;
mod grouped_windows;
mod interval;
mod match_recognize;
mod nesting;
mod options;
mod parse;
mod position;
mod prepared;
mod query;
mod refused;
mod relations;
mod session_keys;
mod set;
mod show;
mod statement;
mod subquery_error;
mod subscribe;
mod tokens;
mod transaction;
mod window_call;
mod window_tvf;

#[cfg(test)]
mod tests;

pub use compose::{select_columns_from, select_from};
pub use dialect::HighwaterDialect;
pub use error::SqlParseError;
pub use interval::{interval_text_us, interval_us};
pub use match_recognize::{MatchClause, MatchOrder, MatchPattern, MatchRows, MatchSkip, is_match_clause, match_clause};
pub use parse::{parse, parse_expression};
pub use relations::rename_relations;
pub use sqlparser::ast;
pub use statement::*;
pub use window_call::{WindowCall, WindowCallKind, window_call};
