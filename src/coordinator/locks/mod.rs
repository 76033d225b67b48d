//! Locks of transactions: on rows that are written, on tables that are written or defined.
//!
//! `table.rs` decides: a pure state machine of requests, grants and releases without time, threads or waiting. The engine's
//! statements wait for what it decides (`engine/locks`), the simulation drives it step by step.

mod table;
#[cfg(test)]
mod tests;

pub use table::{LockReading, LockTable, Mode, OwnerId, Request, Resource, Ticket};
