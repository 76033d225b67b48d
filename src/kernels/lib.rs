//! What we use of DataFusion's physical layer: expressions over batches, and recompute of touched keys.
//! Owns the persisted form of both, so nothing above stores a DataFusion type. SQL functions live in [`functions`].

mod error;
mod expr;
pub mod functions;
mod recompute;
mod type_text;

pub use error::KernelError;
pub use expr::{
    CompiledExpr, Evaluated, Literal, OnError, ScalarExpr, cast_array, evaluate_delta, from_logical,
    scalar_value_to_literal,
};
pub use recompute::{
    FrameBound, FrameSpec, MatchColumn, MatchExpr, MatchLimit, MatchOutput, MatchProgress, MatchSource, MatchSpec,
    MatchValue, MatchVisit, Matched, ROW_LABEL, ROW_MATCH_NUMBER, RecomputeCall, RecomputeKind, RecomputeSort,
    RecomputeSpec, Recomputed, Recomputer, StreamMatcher, match_row_schema,
};
pub use type_text::postgres_types_in;
