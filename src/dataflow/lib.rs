//! The only crate that knows timely: workers, epochs, exchange, hosting of operators, progress.

mod graph;

pub use graph::{DataflowGraph, Edge, Exchange, Node, NodeKind};
