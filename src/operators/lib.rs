//! Incremental operators over Z-set batches. Each is told its input, sealed per epoch, and never sees timely, a clock,
//! a thread or a file: `dataflow` hosts them, `state` stores what they cut.
//!
//! [`spec`] is the read-only description the planner makes and the catalog persists; [`Operator`] the mutable thing
//! with state. To add an operator: a variant in `spec.rs`, a file beside its nearest neighbour, a changelog test.

pub mod aggregate;
pub mod arrangement;
mod bits;
#[cfg(test)]
mod changelog;
mod construct;
mod cut;
mod dirt;
mod emit_on_close;
mod error_rows;
mod filter_project;
mod guarded;
mod join;
mod match_on_close;
mod materialize;
mod operator;
mod recompute;
mod session;
mod session_aggregate;
pub mod spec;
mod timeline;
mod top_n;
mod union;
mod window;

pub use aggregate::{AggregateOperator, PartialAggregateOperator};
pub use cut::{Cut, RestoredTable, TableCut, TableKind};
pub use emit_on_close::EmitOnCloseOperator;
pub use error_rows::{ErrorRowsOperator, IgnoreErrorsOperator};
pub use filter_project::FilterProjectOperator;
pub use guarded::guarded;
pub use join::JoinOperator;
pub use match_on_close::MatchOnCloseOperator;
pub use materialize::MaterializeOperator;
pub use operator::{BuildContext, Operator, OperatorError, Output, Progress};
pub use recompute::RecomputeOperator;
pub use session::SessionOperator;
pub use session_aggregate::SessionAggregateOperator;
pub use top_n::TopNOperator;
pub use union::UnionOperator;
pub use window::WindowOperator;
