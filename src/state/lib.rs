//! Durability: the journal, run files, manifests and the facts store, behind one facade.
//!
//! Synchronous code on named threads; no DataFusion, no timely, no tokio. What it does on disk goes through [`Disk`], so
//! it runs on a simulated one ([`testing`]) as well. The engine uses [`DurableStore`]:
//!
//! ```text
//! DurableStore::open(dir, options) -> (store, Recovered { manifest, state, entries, facts })
//! store.journal().append(kind, payload) -> position     queued; durable after sync_up_to(position)
//! store.journal().append_lazy(kind, payload)            carried by the next sync, at the latest after 100 ms
//! store.journal().sync_up_to(position)                  blocks; many waiters share one fdatasync
//! store.journal().subscribe(Box<dyn Fn(u64) + Send>)    called after every sync with the durable position
//! store.commit_checkpoint(Checkpoint { .. }) -> CheckpointStats
//! store.compact_once() -> Option<CompactionStats>       on a background thread of the engine
//! store.drop_relations(&[ObjectId])                     their state so far goes with the next commit
//! store.put_facts(&[(key, Some(value))])                catalog, offsets, …: what can be rebuilt, of any size
//! store.facts(prefix) -> Vec<(key, value)>
//! store.rebuild_facts(&[(key, value)])                  at every start: makes them what manifest + journal say
//! ```
//!
//! Positions number journal entries from 1; a manifest's `journal_position` p says that the entries ≤ p are part of
//! its state, so recovery replays those > p.
//!
//! Directory: `FORMAT` (written last on creation), `LOCK`, `RESERVE`, `CURRENT-A`, `CURRENT-B`, `journal/*.log`,
//! `runs/*.run`, `manifests/*`, `facts/` (sled).
//!
//! Order of a commit: journal synced → runs written and synced → manifest written and synced → CURRENT switched →
//! old manifests, runs and journal segments deleted. Before the switch a crash gives the old checkpoint, after it the
//! new one. A failed fsync stops the process, for a later one may succeed without the data being there.

mod backend;
mod block;
mod commit;
mod compaction;
mod data_dir;
mod disk;
mod error;
mod facts;
mod journal;
mod live;
mod manifest;
mod merge;
mod merge_sorted;
mod recovery;
mod run;
mod store;
pub mod testing;

pub use backend::{FactWrite, Failing, MemoryBackend, Mirror, SledBackend, StateBackend};
pub use block::{BlockKind, StateBlock, TableId};
pub use commit::{Checkpoint, CheckpointStats, CommitStep};
pub use compaction::{CompactionPolicy, CompactionStats};
pub use data_dir::DataDir;
pub use disk::{Access, Disk, DiskFile, Entry, FatalHandler, Permissions, RealDisk};
pub use error::StateError;
pub use journal::{Drive, Journal, JournalEntry, JournalOptions, JournalStep};
pub use manifest::{Manifest, ManifestStore, RunRef};
pub use recovery::{FactsStatus, Recovered, StateReader};
pub use run::{BlockInfo, RunName, RunReader, RunWriter, WrittenRun};
pub use store::{DurableStore, FactsBackend, StoreOptions};

#[cfg(test)]
mod data_dir_tests;
#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
pub(crate) mod tests;
