//! The database: sessions, statements, epochs, reads, durability. Everything a client can do, without the wire.
//!
//! Where to read: `engine.rs` (what is shared), `recovery/` (opening), `clock/` (input → epochs), crate `coordinator`
//! (which epoch a query reads), `feed/` + `history.rs` (sources), `keeper.rs` (what sources leave out), `derived.rs`
//! (columns that are computed), `tables/` (writes), `locks/` and `transaction.rs` (who may write what), `dataflows.rs`
//! (bringing a
//! view to life), `checkpoint.rs`, `session.rs` + `statements/` (one file per statement), `sessions.rs` (who
//! is connected), `advisory/` (locks that clients agree on), `reads/` (DataFusion),
//! `system/` (system relations). Threads: hw-clock, hw-checkpoint, hw-journal (state), hw-src-*, timely's workers,
//! hw-query; nothing CPU-bound runs on the caller's runtime.

mod advisory;
mod api;
mod caught;
mod checkpoint;
mod checkpoint_records;
mod clock;
mod compaction;
mod config;
mod dataflows;
mod derived;
mod engine;
mod failures;
mod feed;
mod gate;
mod history;
mod jobs;
mod keeper;
mod late_counts;
mod left_out;
mod locks;
mod log;
mod logged;
mod metrics;
mod outside;
mod parameters;
mod priority;
mod reads;
mod rebuild;
mod recovery;
mod relation;
mod retention;
mod session;
mod sessions;
mod source_stats;
mod statements;
mod system;
mod tables;
mod time;
mod transaction;
mod work;
mod zone;

pub use api::{Column, Described, Notice, NoticeSeverity, Prepared, Response, RowStream, TransactionStatus};
pub use config::EngineConfig;
pub use engine::Engine;
pub use metrics::{MetricKind, MetricSample};
pub use session::Session;
pub use sessions::{Registration, SessionLimits, SessionRegistry, Signals};
