//! The last operator of every dataflow: keeps its output readable.
//! Collects an epoch's changes, applies what they amount to at its seal, and passes the same net change on, so that
//! dataflows reading this relation can follow it.
//!
//! State tables: 0 the rows (keyed: puts and deletes, key columns first; else whole rows with weights), 1 the errors.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use types::limits::BATCH_BYTES_MAX;
use types::{DIFF_COLUMN, DeltaBatch, EpochRecord, ErrorDelta, SqlState};

use crate::arrangement::{Errors, Shard};
use crate::dirt::{Dirt, slices_of};
use crate::spec::MaterializeSpec;
use crate::{BuildContext, Cut, Operator, OperatorError, Output, Progress, RestoredTable, TableCut, TableKind};

const ROWS_TABLE: u16 = 0;
const ERRORS_TABLE: u16 = 1;

pub struct MaterializeOperator {
    spec: MaterializeSpec,
    shard: Arc<Shard>,
    batch_rows: usize,
    /// Changes of the epoch that is not sealed yet.
    pending: Vec<DeltaBatch>,
    pending_errors: Vec<ErrorDelta>,
    /// Applied, not passed on yet; `Some` while a seal is under way.
    leaving: Option<VecDeque<DeltaBatch>>,
    /// Changes of a bag since the last cut; those of keyed relations are tracked by the shard itself.
    dirt: Dirt,
    dirty_errors: Errors,
}

impl MaterializeOperator {
    pub fn new(spec: &MaterializeSpec, ctx: &BuildContext) -> Self {
        MaterializeOperator {
            spec: spec.clone(),
            shard: (ctx.shard)(spec.relation),
            batch_rows: ctx.batch_rows,
            pending: vec![],
            pending_errors: vec![],
            leaving: None,
            dirt: Dirt::new(&spec.schema),
            dirty_errors: Errors::all_named(),
        }
    }

    /// Applies the epoch and queues its net change for those who follow.
    fn apply(&mut self, record: &EpochRecord, out: &mut Output) -> Result<VecDeque<DeltaBatch>, OperatorError> {
        let net = self.shard.net(std::mem::take(&mut self.pending))?;
        let errors = std::mem::take(&mut self.pending_errors);
        self.dirty_errors.add(&errors);
        out.errors.extend(errors.iter().cloned());
        self.shard.apply_net(record.epoch, net.clone(), errors)?;
        if self.shard.key().is_none() {
            self.dirt.add(&net, self.shard.row_count())?;
        }
        Ok(net.iter().flat_map(|delta| slices_of(delta, self.batch_rows)).collect())
    }
}

impl Operator for MaterializeOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        if !batch.is_empty() {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn on_errors(&mut self, errors: Vec<ErrorDelta>, _out: &mut Output) {
        self.pending_errors.extend(errors);
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        let mut leaving = match self.leaving.take() {
            Some(leaving) => leaving,
            None => self.apply(record, out)?,
        };
        let (mut rows, mut bytes) = (0, 0);
        while let Some(next) = leaving.front() {
            if rows > 0 && (rows + next.num_rows() > self.batch_rows || bytes > BATCH_BYTES_MAX) {
                self.leaving = Some(leaving);
                return Ok(Progress::More);
            }
            rows += next.num_rows();
            bytes += next.memory_bytes();
            out.push(leaving.pop_front().expect("looked at just now"));
        }
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        let errors = std::mem::replace(&mut self.dirty_errors, Errors::all_named());
        let mut cut = Cut::default();
        match self.shard.key() {
            Some(key) => {
                let (rows, width) = (self.shard.cut_keyed().expect("deleted keys can be read back"), key.len());
                cut.add(move || {
                    let (kind, vnode_columns) = (TableKind::Keyed { key_columns: width }, (0..width).collect());
                    Ok(TableCut { table: ROWS_TABLE, kind, vnode_columns, batches: rows.gather()? })
                });
            }
            None => self.dirt.cut(&mut cut, ROWS_TABLE, (0..self.spec.schema.fields().len()).collect()),
        }
        cut.add(move || {
            let batches = vec![error_batch(&errors.to_vec())];
            Ok(TableCut { table: ERRORS_TABLE, kind: TableKind::Multiset, vnode_columns: vec![], batches })
        });
        cut
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        match (table.table, self.shard.key()) {
            (ROWS_TABLE, Some(_)) => self.shard.restore_keyed(table.batch),
            (ROWS_TABLE, None) => self.shard.restore_rows(table.batch),
            (ERRORS_TABLE, _) => {
                self.shard.restore_errors(&errors_of(table.batch)?);
                Ok(())
            }
            (other, _) => Err(OperatorError::internal(format!("a relation has no state table {other}"))),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.shard.memory_bytes() + self.dirt.memory_bytes() + self.dirty_errors.memory_bytes()
    }
}

fn error_batch(errors: &[ErrorDelta]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("state", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("row", DataType::Utf8, true),
        Field::new(DIFF_COLUMN, DataType::Int64, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.state.code()))),
        Arc::new(StringArray::from_iter_values(errors.iter().map(|e| &e.message))),
        Arc::new(StringArray::from_iter(errors.iter().map(|e| e.row.as_deref()))),
        Arc::new(Int64Array::from_iter_values(errors.iter().map(|e| e.diff))),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length")
}

fn errors_of(batch: &RecordBatch) -> Result<Vec<ErrorDelta>, OperatorError> {
    let text = |column: usize| {
        let array = batch.columns().get(column).and_then(|c| c.as_string_opt::<i32>());
        array.ok_or_else(|| OperatorError::internal("a checkpointed error has no text"))
    };
    let (states, messages, rows) = (text(0)?, text(1)?, text(2)?);
    let diffs = batch.columns().get(3).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let diffs = diffs.ok_or_else(|| OperatorError::internal("a checkpointed error has no diff"))?;
    let error = |row: usize| {
        let state = SqlState::from_code(states.value(row))
            .ok_or_else(|| OperatorError::internal(format!("unknown SQLSTATE {}", states.value(row))))?;
        let named = rows.is_valid(row).then(|| rows.value(row).to_string());
        Ok(ErrorDelta { row: named, ..ErrorDelta::new(state, messages.value(row), diffs.value(row)) })
    };
    (0..batch.num_rows()).map(error).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use types::ObjectId;
    use types::limits::BATCH_ROWS_MAX;

    use super::*;
    use crate::changelog;

    fn build(key: Option<Vec<usize>>) -> impl Fn() -> Box<dyn Operator> {
        move || {
            let schema = changelog::schema("k:int v:text");
            let shard = Shard::new(schema.clone(), key.clone());
            let spec = MaterializeSpec {
                relation: ObjectId(7),
                key: key.clone(),
                schema,
                append_only: false,
                errors_apart: false,
            };
            let ctx = BuildContext {
                worker: 0,
                workers: 1,
                batch_rows: BATCH_ROWS_MAX,
                shard: Arc::new(move |_| shard.clone()),
            };
            Box::new(MaterializeOperator::new(&spec, &ctx))
        }
    }

    #[test]
    fn only_the_net_change_leaves_and_restored_rows_can_be_retracted() {
        changelog::check(
            build(Some(vec![0])),
            "
              k:int v:text
            + 1     a
            + 2     b
            - 2     b
            + 2     c
            seal 1
            checkpoint
            - 1     a
            + 1     aa
            seal 2
            checkpoint
            - 1     aa
            - 2     c
            + 2     d
            seal 3
            checkpoint
            - 2     d
            seal 4
            ",
            expect![[r#"
                seal 1:
                + 1 a
                + 2 c
                seal 2:
                - 1 a
                + 1 aa
                seal 3:
                - 1 aa
                - 2 c
                + 2 d
                seal 4:
                - 2 d
            "#]],
        );
    }

    #[test]
    fn a_bag_keeps_weights_over_a_restart() {
        changelog::check(
            build(None),
            "
              k:int v:text
            +3 1     a
            - 1     a
            + null  null
            seal 1
            checkpoint
            -2 1     a
            +2 1     b
            seal 2
            checkpoint
            - 1     b
            - null  null
            seal 3
            checkpoint
            - 1     b
            seal 4
            ",
            expect![[r#"
                seal 1:
                + null null
                +2 1 a
                seal 2:
                -2 1 a
                +2 1 b
                seal 3:
                - 1 b
                - null null
                seal 4:
                - 1 b
            "#]],
        );
    }

    #[test]
    fn errors_are_kept_over_a_restart_and_heal() {
        let error = |diff| ErrorDelta {
            row: Some("(k: 0)".into()),
            ..ErrorDelta::new(SqlState::DivisionByZero, "division by zero", diff)
        };
        let shard = Shard::new(changelog::schema("k:int v:text"), None);
        let spec = MaterializeSpec {
            relation: ObjectId(7),
            key: None,
            schema: shard.schema(),
            append_only: false,
            errors_apart: false,
        };
        let own = shard.clone();
        let ctx =
            BuildContext { worker: 0, workers: 1, batch_rows: BATCH_ROWS_MAX, shard: Arc::new(move |_| own.clone()) };
        let mut operator = MaterializeOperator::new(&spec, &ctx);
        let mut out = Output::default();
        let record = |epoch| EpochRecord::new(epoch, 0, Default::default());
        operator.on_errors(vec![error(2)], &mut out);
        operator.on_seal(&record(1), &mut out).unwrap();
        assert_eq!(out.errors, vec![error(2)]);
        assert_eq!(shard.snapshot(1).error().map(|e| e.state), Some(SqlState::DivisionByZero));
        let cut = operator.checkpoint().gather().unwrap();
        let restored = Shard::new(shard.schema(), None);
        let own = restored.clone();
        let ctx =
            BuildContext { worker: 0, workers: 1, batch_rows: BATCH_ROWS_MAX, shard: Arc::new(move |_| own.clone()) };
        let mut operator = MaterializeOperator::new(&spec, &ctx);
        operator.restore(RestoredTable { table: cut[0].table, batch: &cut[0].batches[0] }).unwrap();
        restored.set_frontier(1);
        assert!(restored.snapshot(1).error().is_some());
        operator.on_errors(vec![error(-2)], &mut out);
        operator.on_seal(&record(2), &mut out).unwrap();
        assert!(restored.snapshot(2).error().is_none() && restored.snapshot(1).error().is_some());
    }

    #[test]
    fn a_large_epoch_leaves_in_bounded_steps() {
        let mut operator = build(None)();
        let cells = |n: usize| (0..n).map(|i| (vec![i.to_string(), "x".into()], 1 + i as i64 % 2)).collect::<Vec<_>>();
        let batch = changelog::rows(&changelog::schema("k:int v:text"), &cells(100_000));
        let mut out = Output::default();
        operator.on_batch(0, batch, &mut out).unwrap();
        let record = EpochRecord::new(1, 0, Default::default());
        let mut sizes = vec![];
        loop {
            let progress = operator.on_seal(&record, &mut out).unwrap();
            sizes.push(out.rows.drain(..).map(|b| b.num_rows()).sum::<usize>());
            if progress == Progress::DONE {
                break;
            }
        }
        assert_eq!(sizes, vec![BATCH_ROWS_MAX, 100_000 - BATCH_ROWS_MAX]);
    }
}
