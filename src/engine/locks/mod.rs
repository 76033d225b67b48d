//! Locks of transactions: on rows that are written, on tables that are written or defined.
//!
//! `table.rs` decides: a pure state machine of requests, grants and releases without time, threads or waiting, so a test
//! or a simulation drives it step by step. `handle.rs` lets statements wait for what it decides. A lock belongs to a
//! transaction and is let go at its end, or at ROLLBACK TO for those taken since the savepoint.

mod handle;
mod table;
#[cfg(test)]
mod tests;

pub use handle::{Locks, Owner};
pub use table::{LockReading, Mode, Resource};
