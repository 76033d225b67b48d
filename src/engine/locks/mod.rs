//! Locks of transactions as statements take them: the lock table (`coordinator::locks`) decides, and whoever has to wait
//! awaits its decision here. A lock belongs to a transaction and is let go at its end, or at ROLLBACK TO for those taken
//! since the savepoint.

mod handle;
#[cfg(test)]
mod tests;

pub use coordinator::locks::{LockReading, Mode, Resource};
pub use handle::{Locks, Owner};
