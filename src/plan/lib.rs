//! Binding and planning: query AST → logical plan → graph of incremental operators, and EXPLAIN.
//!
//! Everything here is synchronous and pure: catalog snapshot and AST in, plan out. Names, types and functions are
//! bound by [`Planner`] on DataFusion's planning sub-crates with our own context, types and rules; windows and patterns
//! enter as the extension nodes [`WindowNode`] and [`MatchNode`]. From there two roads lead on: ad-hoc queries leave as an analysed logical plan
//! whose windows [`lower_windows_for_batch`] turns into plain nodes; views go through `stream/`, one file per logical
//! node, into a [`dataflow::DataflowGraph`]. A streaming query never becomes a DataFusion physical plan.
//!
//! Where to read: `planner.rs` (the entry points), `bind/` (AST → logical plan), `analyze/` (our rules),
//! `stream/mod.rs` (logical plan → operators), `batch/` (windows for ad-hoc queries), `explain.rs`.

mod analyze;
mod batch;
mod bind;
mod environment;
mod error;
mod errors;
mod explain;
mod generated;
mod match_node;
mod planner;
mod stream;
mod table;
mod watermark;
mod window_node;

pub use batch::{lower_scalars_for_batch, lower_windows_for_batch};
pub use bind::catalog_syntax::like_with_backslash;
pub use bind::data_type::{assignable, data_type, type_name};
pub use bind::subquery::{RowSubquery, RowSubqueryKind};
pub use bind::wire_type::{wire_type, with_wire_type};
pub use environment::{Environment, RelationSource, ScanRole, mark_target, relation_of};
pub use error::PlanError;
pub use errors::plan_errors;
pub use explain::{explain_graph, explain_query, explain_view};
pub use generated::GeneratedColumn;
pub use match_node::MatchNode;
pub use planner::{BoundExpr, PlanSession, PlannedQuery, PlannedView, Planner, ViewPlanOptions};
pub use table::{TableChanges, plan_table};
pub use watermark::watermark_delay;
pub use window_node::{WindowFunction, WindowNode};

#[cfg(test)]
mod tests;
