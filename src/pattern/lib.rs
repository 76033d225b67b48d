//! Row patterns: finds, in the rows of one partition, what MATCH_RECOGNIZE asks for.
//!
//! Pure: it knows neither SQL nor Arrow. A pattern is a tree (`tree.rs`), becomes a program (`compile.rs`, `program.rs`), and a
//! search walks the rows with it (`search.rs`, `run.rs`). Conditions are asked of whoever has the rows (`rows.rs`).
//!
//! The answer is the one that ISO/IEC 9075-2 calls preferred: of all matches from the first row that has any, the first in the
//! lexicographic order of choices. The search walks choices in that order and depth first, so the first match it meets is the
//! answer, and a choice that waits for rows to come is exactly what keeps a match from being final. What it remembers of places
//! it left in vain (`visited.rs`) bounds the work per row. `reference.rs` is the slow, obvious form of the same, for tests.

mod compile;
mod label;
mod path;
mod program;
pub mod reference;
mod rows;
mod run;
mod search;
mod skip;
mod tree;
mod visited;

pub use compile::compile;
pub use label::{Label, LabelSet, VARIABLES_MAX};
pub use path::Path;
pub use program::{CompileError, Dependence, End, INSTRUCTIONS_MAX, Program, Read};
pub use rows::Rows;
pub use run::{STEPS_BASE_MAX, STEPS_PER_ROW_MAX};
pub use search::{Match, Search, SearchError, Step};
pub use skip::{AfterMatch, SkipFault};
pub use tree::Pattern;

#[cfg(test)]
mod tests;
