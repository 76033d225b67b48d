//! The vocabulary every layer shares: time, change, identity, errors, limits, memory.
//!
//! No I/O, no threads, no clock. Everything else in the workspace may import this crate; it imports none of ours.
//! Words are defined in docs/glossary.md.

mod canonical;
mod delta;
mod epoch;
mod error;
mod hash;
pub mod limits;
mod memory;
mod object;
mod row_text;
mod sqlstate;
mod watermark;

pub use canonical::{canonical, canonical_columns, canonical_f32, canonical_f64};
pub use delta::{DIFF_COLUMN, DeltaBatch, ErrorDelta, consolidate, slice_bytes, with_diff};
pub use epoch::{Epoch, EpochRecord, Incarnation};
pub use error::{SqlError, ToSqlState, TypesError};
pub use hash::{VNODE_COUNT, hash_bytes, hash_columns, hash_columns_into, vnode_of, worker_of};
pub use memory::{MemoryBudget, MemoryUse};
pub use object::ObjectId;
pub use row_text::{row_text, values_text};
pub use sqlstate::SqlState;
pub use watermark::{EventTimeBound, WATERMARK_END, WATERMARK_NONE, Watermarks};

#[cfg(test)]
mod tests;
