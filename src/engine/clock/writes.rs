//! A journaled write of tables as statements and recovery make it.

use std::sync::Arc;

use dataflow::FeedBatch;
use tokio::sync::oneshot;
use types::{DeltaBatch, Epoch, ObjectId};

use super::{ClockMessage, EnginePorts};

/// A journaled write on its way into an epoch; atomic over tables.
pub struct TableWrite {
    pub position: u64,
    pub writes: Vec<TableRows>,
    pub reply: Option<oneshot::Sender<Epoch>>,
}

pub struct TableRows {
    pub table: ObjectId,
    pub columns: Arc<Vec<usize>>,
    pub rows: DeltaBatch,
    /// What these rows alone say about the table's watermark, if it has one.
    pub watermark: Option<i64>,
}

impl From<TableWrite> for ClockMessage {
    fn from(write: TableWrite) -> ClockMessage {
        let tables = write.writes.into_iter().map(|TableRows { table, columns, rows, watermark }| {
            let (count, bytes) = (rows.num_rows(), rows.memory_bytes());
            let batch = FeedBatch { relation: table, columns, rows, errors: vec![] };
            coordinator::TableRows { table, watermark, rows: count, bytes, batch }
        });
        let tables: Vec<coordinator::TableRows<<EnginePorts as coordinator::Ports>::Batch>> = tables.collect();
        ClockMessage::Table(coordinator::TableWrite { position: write.position, tables, reply: write.reply })
    }
}
