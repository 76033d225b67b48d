//! Advisory locks: locks on numbers, which mean what the clients agree on.
//!
//! `table.rs` decides: a pure state machine of requests, grants and releases without time, threads or waiting. `handle.rs`
//! lets functions wait for what it decides. A lock belongs to a session, and within it either to the session itself
//! (until unlocked as often as locked, or its end) or to its transaction (until that ends).

mod handle;
mod table;
#[cfg(test)]
mod tests;

pub use handle::AdvisoryLocks;
pub use table::{Key, LockReading, Mode, Scope, Wanted};
