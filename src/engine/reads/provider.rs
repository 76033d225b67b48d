//! A kept relation as a DataFusion table: one partition per worker's shard, pages converted as the scan advances.
//! Small and rarely edited: `#[async_trait]` here costs compile time (docs/architecture.md, Build).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use operators::arrangement::Shard;

use coordinator::oracle::Pin;

/// A relation at the pinned epoch.
#[derive(Debug)]
pub struct RelationProvider {
    pub schema: SchemaRef,
    pub shards: Shards,
    pub pin: Arc<Pin>,
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
        let partitions = self.shards.0.iter().map(partition).collect();
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
        let renamed = batches.map(move |batch| {
            let _held = &pin;
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            Ok(arrow::array::RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
        });
        let stream = futures::stream::iter(renamed);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}
