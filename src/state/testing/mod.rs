//! Doubles for tests of this crate and of those above: a disk that forgets. Nothing in the product uses them.

mod contents;
mod names;
mod random;
mod simulated_disk;

pub use simulated_disk::{Fault, SimulatedDisk};
