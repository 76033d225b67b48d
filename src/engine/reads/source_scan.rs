//! A source read ad hoc: from its start, with the same admission as its views, on a blocking thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use connectors::{OpenRequest, ReadEvent};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use tokio::sync::mpsc;

use crate::relation::SourceRuntime;
use crate::time::now_us;

/// Chunks read ahead of the query.
const READ_AHEAD: usize = 2;
/// Longest wait of the reader before it looks whether the query still wants rows.
const WAIT: Duration = Duration::from_millis(50);

/// A source as a DataFusion table.
pub struct SourceProvider {
    pub source: Arc<SourceRuntime>,
    pub schema: SchemaRef,
}

impl fmt::Debug for SourceProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {}", self.source.name)
    }
}

#[async_trait]
impl TableProvider for SourceProvider {
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
        let partition = SourcePartition { source: self.source.clone(), schema: schema.clone(), columns };
        let scan = StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, vec![], false, limit)?;
        Ok(Arc::new(scan))
    }
}

struct SourcePartition {
    source: Arc<SourceRuntime>,
    schema: SchemaRef,
    /// Wanted columns, in the order of the query.
    columns: Vec<usize>,
}

impl fmt::Debug for SourcePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {}", self.source.name)
    }
}

impl PartitionStream for SourcePartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        // The builder's stream ends with the task's own result, so a panic can't pass for the end of the source.
        let mut tasks = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), READ_AHEAD);
        let sender = tasks.tx();
        let (source, schema, columns) = (self.source.clone(), self.schema.clone(), self.columns.clone());
        tasks.spawn_blocking(move || read(&source, &schema, &columns, &sender));
        tasks.build()
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn read(
    source: &SourceRuntime,
    schema: &SchemaRef,
    columns: &[usize],
    sender: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    let wanted = columns.iter().copied().collect();
    let projection = source.projection(&wanted);
    let positions: Vec<usize> =
        columns.iter().map(|c| projection.iter().position(|p| p == c).expect("projected")).collect();
    let mut admission = source.new_admission();
    source.place_time_column(&mut admission, &projection);
    let request = OpenRequest { projection, ..OpenRequest::default() };
    let mut reader = source.config.open(request).map_err(external)?;
    for partition in reader.partitions() {
        admission.enter(&partition.name, now_us());
    }
    loop {
        match reader.next(WAIT).map_err(external)? {
            ReadEvent::Chunk(chunk) => {
                let rows = admission.admit(&chunk, now_us()).rows;
                let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                let columns = positions.iter().map(|p| rows.column(*p).clone()).collect();
                let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
                if sender.blocking_send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
            ReadEvent::PartitionAdded(name) => {
                admission.enter(&name, now_us());
            }
            ReadEvent::PartitionTroubled(trouble) => return Err(external(trouble.error)),
            ReadEvent::PartitionIdentified { .. }
            | ReadEvent::PartitionEnded(_)
            | ReadEvent::PartitionRecovered(_)
            | ReadEvent::Noted { .. } => {}
            ReadEvent::Idle if sender.is_closed() => return Ok(()),
            ReadEvent::Idle => {}
            ReadEvent::End => return Ok(()),
        }
    }
}
