//! What a crash, or many clients at once, must not change. The real binary, killed with SIGKILL at random moments under
//! load (`crash.rs`), while objects are being built (`building.rs`), with tables fed by connectors (`stored.rs`); the bank
//! test: invariants that every read and every subscription must see (`bank/`); and a view that outgrows the memory limit
//! (`memory_limit.rs`).
//!
//! Nothing here waits for a fixed time in order to be right; the random pauses only choose where a kill falls.

mod accounts;
mod bank;
mod building;
mod clicks;
#[path = "../compare/mod.rs"]
mod compare;
mod crash;
mod ddl;
mod inputs;
mod ledger;
mod memory_limit;
#[path = "../process/mod.rs"]
mod process;
mod resume;
mod rotating;
mod stock;
mod stored;
mod views;
