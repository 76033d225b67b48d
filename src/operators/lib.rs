//! Incremental operators over Z-set batches. Each is told its input, sealed per epoch, and never sees timely, a clock,
//! a thread or a file: `dataflow` hosts them, `state` stores what they cut.
//!
//! [`spec`] is the read-only description the planner makes and the catalog persists; [`Operator`] the mutable thing
//! with state. To add an operator: a variant in `spec.rs`, a file beside its nearest neighbour, a changelog test.

pub mod arrangement;
#[cfg(test)]
mod changelog;
mod dirt;
pub mod join;
pub mod materialize;
mod operator;
pub mod spec;
pub mod top_n;
pub mod union;

pub use operator::{BuildContext, Cut, Operator, OperatorError, Output, Progress, RestoredTable, TableCut, TableKind};
