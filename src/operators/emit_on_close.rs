//! EMIT ON WINDOW CLOSE above operators that don't hold back themselves: rows wait in the bucket of their window end
//! and leave once, net, when the window has closed. What comes for a closed window (allowed lateness) leaves with its
//! epoch, as a correction. Linear in the rows, so any distribution over workers gives the same sum.
//!
//! State: table 0, a multiset of the waiting rows, vnodes by all columns.

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, consolidate};

use crate::aggregate::window_ends;
use crate::spec::CloseSpec;
use crate::window::check_time_column;
use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable, TableCut, TableKind};

/// Batches a bucket gathers before equal rows are summed.
const BUCKET_BATCHES_MAX: usize = 64;

pub struct EmitOnCloseOperator {
    spec: CloseSpec,
    schema: Option<SchemaRef>,
    waiting: BTreeMap<i64, Bucket>,
    /// Rows that have left and that the last cut still has, as retractions.
    retired: Vec<DeltaBatch>,
    /// Rows of the seal in progress, last first.
    leaving: Vec<DeltaBatch>,
}

/// The rows of one window end.
#[derive(Default)]
struct Bucket {
    /// The last cut has these.
    saved: Vec<DeltaBatch>,
    fresh: Vec<DeltaBatch>,
}

impl EmitOnCloseOperator {
    pub fn new(spec: &CloseSpec) -> Result<Self, OperatorError> {
        Ok(EmitOnCloseOperator {
            spec: spec.clone(),
            schema: None,
            waiting: BTreeMap::new(),
            retired: vec![],
            leaving: vec![],
        })
    }

    /// Puts rows into the buckets of their window ends.
    fn add(&mut self, batch: &DeltaBatch, saved: bool) -> Result<(), OperatorError> {
        if self.schema.is_none() {
            check_time_column(&batch.schema(), self.spec.column)?;
            self.schema = Some(batch.schema());
        }
        let ends = window_ends(batch.rows().column(self.spec.column));
        let mut order: Vec<u32> = (0..ends.len() as u32).collect();
        order.sort_by_key(|row| ends[*row as usize]);
        for rows in order.chunk_by(|a, b| ends[*a as usize] == ends[*b as usize]) {
            let part =
                if rows.len() == ends.len() { batch.clone() } else { batch.take(&UInt32Array::from(rows.to_vec())) };
            let bucket = self.waiting.entry(ends[rows[0] as usize]).or_default();
            let pieces = if saved { &mut bucket.saved } else { &mut bucket.fresh };
            pieces.push(part);
            if pieces.len() >= BUCKET_BATCHES_MAX {
                let all = DeltaBatch::concat(&batch.schema(), pieces);
                *pieces = vec![consolidate(&all)?];
            }
        }
        Ok(())
    }

    /// Takes out what has closed and cuts it into batches.
    fn close(&mut self, record: &EpochRecord) -> Result<(), OperatorError> {
        let bound = self.spec.bound.at(&record.watermarks);
        let mut closed = vec![];
        while let Some(entry) = self.waiting.first_entry() {
            if !self.spec.passed(*entry.key(), bound) {
                break;
            }
            let bucket = entry.remove();
            self.retired.extend(bucket.saved.iter().map(DeltaBatch::negate));
            closed.extend(bucket.saved.into_iter().chain(bucket.fresh));
        }
        let Some(schema) = self.schema.as_ref().filter(|_| !closed.is_empty()) else { return Ok(()) };
        let net = consolidate(&DeltaBatch::concat(schema, &closed))?;
        let starts: Vec<usize> = (0..net.num_rows()).step_by(BATCH_ROWS_MAX).collect();
        self.leaving = starts.into_iter().rev().map(|start| slice(&net, start, BATCH_ROWS_MAX)).collect();
        Ok(())
    }
}

/// At most `len` rows from `start` on, sharing the arrays.
pub(crate) fn slice(delta: &DeltaBatch, start: usize, len: usize) -> DeltaBatch {
    let len = len.min(delta.num_rows() - start);
    let rows = delta.rows().slice(start, len);
    match delta.diffs() {
        None => DeltaBatch::inserts(rows),
        Some(diffs) => DeltaBatch::new(rows, diffs.slice(start, len)),
    }
}

impl Operator for EmitOnCloseOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.add(&batch, false)
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        if self.leaving.is_empty() {
            self.close(record)?;
        }
        if let Some(batch) = self.leaving.pop() {
            out.push(batch);
        }
        Ok(if self.leaving.is_empty() { Progress::DONE } else { Progress::More })
    }

    fn checkpoint(&mut self) -> Cut {
        let Some(schema) = &self.schema else { return Cut::default() };
        let vnode_columns = (0..schema.fields().len()).collect();
        let mut deltas = std::mem::take(&mut self.retired);
        for bucket in self.waiting.values_mut() {
            deltas.extend(bucket.fresh.iter().cloned());
            bucket.saved.append(&mut bucket.fresh);
        }
        let mut cut = Cut::default();
        cut.add(move || {
            let batches = deltas.iter().map(DeltaBatch::to_record_batch).collect();
            Ok(TableCut { table: 0, kind: TableKind::Multiset, vnode_columns, batches })
        });
        cut
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        let batch = DeltaBatch::from_record_batch(table.batch)?;
        self.add(&batch, true)
    }

    fn memory_bytes(&self) -> usize {
        let waiting = self.waiting.values().flat_map(|b| b.saved.iter().chain(&b.fresh));
        waiting.chain(&self.retired).chain(&self.leaving).map(DeltaBatch::memory_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::aggregate::tests::close;
    use crate::changelog::check;

    #[test]
    fn rows_wait_for_their_window_and_leave_net() {
        check(
            || Box::new(EmitOnCloseOperator::new(&close(1, true, 5)).unwrap()),
            "v:int e:ts
             + 1 10
             +2 2 10
             - 2 10
             + 3 20
             + 4 null
             seal 1 w=9
             checkpoint
             + 5 10
             - 1 10
             seal 2 w=9.5
             checkpoint
             seal 3 w=10
             checkpoint
             - 5 10
             + 6 10
             seal 4 w=12
             checkpoint
             - 3 20
             seal 5 w=20
             checkpoint
             seal 6 w=end",
            expect![[r#"
                seal 1:
                seal 2:
                seal 3:
                + 2 10
                + 5 10
                seal 4:
                - 5 10
                + 6 10
                seal 5:
                seal 6:
                + 4 null
            "#]],
        );
    }

    #[test]
    fn much_leaves_in_bounded_batches_and_its_memory_returns() {
        let mut operator = EmitOnCloseOperator::new(&close(1, true, 0)).unwrap();
        let rows: Vec<_> = (0..1000).map(|i| (vec![format!("{i}"), "10".into()], 1)).collect();
        let mut out = Output::default();
        for offset in 0..200 {
            let batch = crate::changelog::rows(&crate::changelog::schema("v:int e:ts"), &rows);
            let shifted = arrow::array::Int64Array::from_iter_values((0..1000).map(|i| i + offset * 1000));
            let columns = vec![std::sync::Arc::new(shifted) as _, batch.rows().column(1).clone()];
            let batch = arrow::array::RecordBatch::try_new(batch.schema(), columns).unwrap();
            operator.on_batch(0, DeltaBatch::inserts(batch), &mut out).unwrap();
        }
        let mut watermarks = types::Watermarks::default();
        watermarks.set(crate::changelog::SOURCE, types::WATERMARK_END);
        let record = EpochRecord::new(1, 0, watermarks);
        let mut left = vec![];
        loop {
            let progress = operator.on_seal(&record, &mut out).unwrap();
            left.push(out.rows.drain(..).map(|b| b.num_rows()).sum::<usize>());
            if progress != Progress::More {
                break;
            }
        }
        assert_eq!((left.iter().sum::<usize>(), left.len()), (200_000, 4));
        assert_eq!(operator.memory_bytes(), 0);
        assert!(operator.checkpoint().gather().unwrap().is_empty(), "what was never saved needs no retraction");
    }
}
