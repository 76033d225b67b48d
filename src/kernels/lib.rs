//! What we use of DataFusion's physical layer: expressions over batches, and recompute of touched keys.
//! Owns the persisted form of both, so nothing above stores a DataFusion type.

mod error;
mod expr;
mod recompute;

pub use error::KernelError;
pub use expr::{CompiledExpr, Literal, ScalarExpr};
pub use recompute::{RecomputeKind, RecomputeSpec};
