//! Who decides what is in an epoch, and which epoch a reader sees. No threads, no clock, no disk, no Arrow.
//!
//! * `machine/`: the epoch clock as a pure machine: what happened goes in, what is to be done comes out. Both are data
//!   (ids and values), so a simulation can decide every interleaving and a test is ten lines.
//! * `driver/`: feeds the machine and carries its effects out on `Ports`, which the engine implements on its threads
//!   and the simulation on a pretended world. It keeps what the machine knows by ticket only: rows, graphs, replies.
//!
//! * `oracle.rs`: how far each relation has sealed, and which epoch a query reads; shared by clock, workers and sessions.
//! * `locks/`: who holds which row or table, who waits, who would wait for himself.
//!
//! Invariants: epochs only grow; a durable write enters exactly one epoch, in journal order; nothing is acknowledged
//! before its epoch is on its way; what an epoch decided about sources is logged before any later epoch is.

pub mod driver;
pub mod locks;
pub mod machine;
pub mod oracle;

pub use driver::{Driver, Entered, Message, Ports, Reply, SourceChunk, SourceEntry, StopFeed, TableRows, TableWrite};
pub use machine::{
    CheckpointPlan, Effect, EpochEntry, History, Input, JoinPoint, Machine, Now, Readable, SourceOptions, SourceState,
    Start, Ticket,
};
