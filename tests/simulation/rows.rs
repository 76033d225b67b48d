//! Rows as numbers, and as the Arrow batches that operators take and give.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use operators::arrangement::{Shard, ShardSnapshot};
use types::{DeltaBatch, Epoch};

use crate::schema::{Bag, Row};

pub fn schema(width: usize) -> SchemaRef {
    let field = |at: usize| Field::new(format!("c{at}"), DataType::Int64, true);
    Arc::new(Schema::new((0..width).map(field).collect::<Vec<_>>()))
}

/// `rows` are not empty.
pub fn batch(rows: &[Row]) -> RecordBatch {
    let width = rows[0].len();
    let column = |at: usize| Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row[at]))) as ArrayRef;
    RecordBatch::try_new(schema(width), (0..width).map(column).collect()).expect("columns of one length")
}

pub fn delta(changes: &[(Row, i64)]) -> DeltaBatch {
    let rows: Vec<Row> = changes.iter().map(|(row, _)| row.clone()).collect();
    DeltaBatch::new(batch(&rows), changes.iter().map(|(_, diff)| *diff).collect::<Vec<i64>>())
}

pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let cells: Vec<&Int64Array> = batch.columns().iter().map(|column| column.as_primitive::<Int64Type>()).collect();
    assert!(cells.iter().all(|cells| cells.null_count() == 0), "the views have no NULL");
    (0..batch.num_rows()).map(|row| cells.iter().map(|cells| cells.value(row)).collect()).collect()
}

/// What all shards of a relation hold at an epoch.
pub fn contents(shards: &[Arc<Shard>], epoch: Epoch) -> Bag {
    let mut bag = Bag::new();
    for shard in shards {
        add(&mut bag, shard.snapshot(epoch));
    }
    bag
}

fn add(bag: &mut Bag, snapshot: ShardSnapshot) {
    for batch in snapshot.batches(None) {
        for row in rows_of(&batch) {
            *bag.entry(row).or_default() += 1;
        }
    }
}

/// Adds changes, dropping what sums up to nothing.
pub fn apply(bag: &mut Bag, changes: &[(Row, i64)]) {
    for (row, diff) in changes {
        let weight = bag.entry(row.clone()).or_default();
        *weight += diff;
        if *weight == 0 {
            bag.remove(row);
        }
    }
}

/// Sums equal rows.
pub fn net(changes: Vec<(Row, i64)>) -> Vec<(Row, i64)> {
    let mut net: BTreeMap<Row, i64> = BTreeMap::new();
    apply(&mut net, &changes);
    net.into_iter().collect()
}
