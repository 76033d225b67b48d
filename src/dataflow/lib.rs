//! The only crate that knows timely: workers, epochs, exchange, hosting of operators, progress.
//!
//! `graph.rs` is the persisted plan; `runtime.rs` the workers as the engine sees them; `worker.rs` one worker's loop;
//! `render.rs` graph → timely; `host.rs` one operator inside timely; `ports.rs` what goes into a dataflow; `taps.rs` views on
//! views.
//! Invariants: all workers carry out the same commands in one order; an operator seals epochs in order, and only
//! those that concern its dataflow; nothing here reads a clock except to bound the work per activation.

mod command;
mod container;
mod exchange;
mod graph;
mod host;
mod pace;
mod ports;
mod render;
mod runtime;
mod stats;
mod stepped;
mod taps;
mod worker;

pub use command::{CreateDataflow, Event, FeedBatch, RestoredBatch, RestoredState, Start};
pub use graph::{DataflowGraph, Edge, Exchange, Node, NodeKind};
pub use pace::{Pace, Trip};
pub use runtime::{DataflowError, Runtime};
pub use stats::{OperatorReading, StatsRegistry};
pub use stepped::Stepped;

#[cfg(test)]
mod tests;
