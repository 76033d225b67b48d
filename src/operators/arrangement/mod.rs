//! A readable relation: rows at stable ids in column pages, shared by the operator that writes and the sessions that
//! read. One `Shard` per worker; a reader combines the shards of all workers at one epoch.
//!
//! The writer applies one sealed epoch at a time under the shard's lock; a reader holds the lock only to clone page
//! pointers. Pages a reader holds are copied before they change, others change in place.
//! Per-epoch net deltas are kept from `retain_from` on, so that a reader below the frontier can undo them and a
//! subscription can follow them.
//!
//! `shard` is the door. Inside: `rows` (the writer: pages, `index`, free slots; `keyed` and `bag` say what a change
//! means), `segments` (large insertions as they came), `page_table` → `page` → `column` (storage by cell width, see `layout`), `gather` (pages back to Arrow),
//! `history` (net deltas), `snapshot` (readers), `cut` (checkpoints of keyed relations), `errors`, `net`
//! (consolidation by hash).

mod bag;
mod column;
mod cut;
mod errors;
mod gather;
mod history;
mod index;
mod keyed;
mod layout;
mod net;
mod overlay;
mod page;
mod page_table;
mod rows;
mod segments;
mod shard;
mod snapshot;

pub(crate) use column::Store;
pub(crate) use errors::Errors;
pub(crate) use gather::{gather, take_rows};
pub(crate) use index::RowIndex;
pub(crate) use layout::{Incoming, Layout};
pub(crate) use net::net;
pub use overlay::Overlay;
pub(crate) use page_table::{PageTable, place};
pub(crate) use rows::{Prepared, Rows, hashes_of};
pub use shard::Shard;
pub use snapshot::{ShardSnapshot, first_error};

#[cfg(test)]
mod tests;
