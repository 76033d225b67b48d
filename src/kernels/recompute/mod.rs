//! Keyed recompute: the general mechanism. Keep the input by key; once per seal run DataFusion's own operator over the
//! rows of all touched keys, the key leading every partition, sort and group; the operator emits the difference.

mod spec;

pub use spec::{FrameBound, FrameSpec, RecomputeCall, RecomputeKind, RecomputeSort, RecomputeSpec};
