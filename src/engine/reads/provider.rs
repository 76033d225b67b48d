//! A kept relation as a DataFusion table: one partition per worker's shard, pages converted as the scan advances.
//! Small and rarely edited: `#[async_trait]` here costs compile time (docs/architecture.md, Build).

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use operators::arrangement::{Overlay, Shard};

use coordinator::oracle::Pin;

/// A relation at the pinned epoch.
#[derive(Debug)]
pub struct RelationProvider {
    pub schema: SchemaRef,
    pub shards: Shards,
    pub pin: Arc<Pin>,
    /// What the reading transaction has done to it.
    pub own: Option<Arc<Overlay>>,
}

#[derive(Clone)]
pub struct Shards(pub Arc<Vec<Arc<Shard>>>);

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} shards", self.0.len())
    }
}

#[async_trait]
impl TableProvider for RelationProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let partition = |shard: &Arc<Shard>| {
            let (shard, pin) = (shard.clone(), self.pin.clone());
            let partition = ShardPartition { schema: schema.clone(), columns: columns.clone(), shard, pin };
            Arc::new(partition) as Arc<dyn PartitionStream>
        };
        let partitions = match &self.own {
            None => self.shards.0.iter().map(partition).collect(),
            // What the transaction has taken away may lie in any shard.
            Some(own) => {
                let (shards, pin, overlay) = (self.shards.clone(), self.pin.clone(), own.clone());
                vec![Arc::new(OwnPartition { schema: schema.clone(), columns, shards, pin, overlay }) as _]
            }
        };
        let scan = StreamingTableExec::try_new(schema.clone(), partitions, None, vec![], false, limit)?;
        Ok(Arc::new(scan))
    }
}

struct ShardPartition {
    schema: SchemaRef,
    columns: Vec<usize>,
    shard: Arc<Shard>,
    pin: Arc<Pin>,
}

impl std::fmt::Debug for ShardPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shard at epoch {}", self.pin.epoch())
    }
}

impl PartitionStream for ShardPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pin = self.pin.clone();
        let batches = self.shard.snapshot(pin.epoch()).batches(Some(&self.columns));
        let schema = self.schema.clone();
        let named = batches.map(move |batch| {
            let _held = &pin;
            renamed(&schema, &batch)
        });
        let stream = futures::stream::iter(named);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}

/// A whole relation as a transaction sees it that has changed it.
#[derive(Debug)]
struct OwnPartition {
    schema: SchemaRef,
    columns: Vec<usize>,
    shards: Shards,
    pin: Arc<Pin>,
    overlay: Arc<Overlay>,
}

impl PartitionStream for OwnPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pin = self.pin.clone();
        let snapshots: Vec<_> = self.shards.0.iter().map(|shard| shard.snapshot(pin.epoch())).collect();
        let batches = self.overlay.over(snapshots.into_iter().flat_map(|snapshot| snapshot.batches(None)));
        let (schema, columns) = (self.schema.clone(), self.columns.clone());
        let projected = batches.map(move |batch| {
            let _held = &pin;
            renamed(&schema, &batch.project(&columns)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(projected)))
    }
}

/// The batch under the names of the plan.
fn renamed(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}
