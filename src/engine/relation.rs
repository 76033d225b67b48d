//! The engine's run-time objects beside the catalog: readable relations and running sources.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use connectors::admission::{Admission, AdmissionOptions};
use connectors::{ConfiguredSource, SourceConfig};
use dataflow::DataflowGraph;
use operators::arrangement::{Shard, first_error};
use operators::spec::OperatorSpec;
use types::{Epoch, ObjectId, SqlError};

use catalog::{CatalogObject, ObjectBody, WatermarkEntry};

use crate::feed::FeedControl;
use crate::keeper::Keeper;
use crate::retention::Retention;
use crate::source_stats::SourceStats;

/// A relation kept by a dataflow: a table, a materialized view, the query behind a subscription.
pub struct Relation {
    pub id: ObjectId,
    pub schema: SchemaRef,
    /// By worker.
    pub shards: Arc<Vec<Arc<Shard>>>,
    pub graph: Arc<DataflowGraph>,
    /// Its errors are rows of another relation.
    errors_apart: bool,
    pub retention: Retention,
}

impl Relation {
    /// Empty shards for the relation that `graph` keeps, and that the catalog describes as `object` if it is in it.
    pub fn new(graph: Arc<DataflowGraph>, workers: usize, object: Option<&CatalogObject>) -> Arc<Relation> {
        let dataflow::NodeKind::Operator(OperatorSpec::Materialize(spec)) = &graph.output().kind else {
            panic!("a graph ends with its Materialize");
        };
        let schema = spec.schema.clone();
        let empty = if spec.errors_apart { Shard::with_errors_apart } else { Shard::new };
        let shards = (0..workers).map(|_| empty(schema.clone(), spec.key.clone())).collect();
        let (id, shards, errors_apart) = (graph.relation, Arc::new(shards), spec.errors_apart);
        let retention = Retention::new(object.map_or(0, retain_history_us));
        Arc::new(Relation { id, schema, shards, graph: graph.clone(), errors_apart, retention })
    }

    /// The first error that the relation holds at `epoch`, over all workers (an error and its retraction may lie in
    /// different shards), unless it can be read in spite of them.
    pub fn error_at(&self, epoch: Epoch) -> Option<SqlError> {
        if self.errors_apart {
            return None;
        }
        let snapshots: Vec<_> = self.shards.iter().map(|shard| shard.snapshot(epoch)).collect();
        first_error(&snapshots)
    }
}

/// The option `retain_history` of a view, checked when it was created.
fn retain_history_us(object: &CatalogObject) -> i64 {
    let ObjectBody::MaterializedView(view) = &object.body else { return 0 };
    let option = view.options.iter().find(|(name, _)| name == "retain_history");
    option.and_then(|(_, value)| connectors::parse_duration_us(value)).unwrap_or(0)
}

/// A source of the catalog with its connector.
pub struct SourceRuntime {
    pub id: ObjectId,
    pub name: String,
    pub config: Arc<dyn SourceConfig>,
    pub watermark: Option<WatermarkEntry>,
    pub stats: Arc<SourceStats>,
    pub keeper: Option<Arc<Keeper>>,
    pub feed: Mutex<SourceFeed>,
    /// Held from seeing that the feed has not been started until its first reader is there and it has: whoever comes
    /// second would be created as if nothing had been read yet.
    pub starting: Mutex<()>,
}

/// Whether and how the shared feed runs.
#[derive(Default)]
pub struct SourceFeed {
    pub control: Option<Sender<FeedControl>>,
    /// Columns that the feed was asked to decode; each request asks for all before it too.
    pub asked: BTreeSet<usize>,
    /// Columns that every chunk carries which is not in an epoch yet. Only these may a new reader rely on.
    pub carried: BTreeSet<usize>,
}

impl SourceRuntime {
    pub fn new(
        id: ObjectId,
        name: String,
        configured: ConfiguredSource,
        watermark: Option<WatermarkEntry>,
        stats: Arc<SourceStats>,
        keeper: Option<Arc<Keeper>>,
    ) -> Arc<SourceRuntime> {
        let config = configured.config;
        Arc::new(SourceRuntime {
            id,
            name,
            config,
            watermark,
            stats,
            keeper,
            feed: Mutex::default(),
            starting: Mutex::default(),
        })
    }

    /// Admission before the first row.
    pub fn new_admission(&self) -> Admission {
        Admission::new(self.admission_options())
    }

    fn admission_options(&self) -> AdmissionOptions {
        let entry = self.watermark.as_ref();
        AdmissionOptions {
            time_column: entry.map(|w| w.column),
            delay_us: entry.map_or(0, |w| w.delay_us),
            allowed_lateness_us: entry.map_or(0, |w| w.allowed_lateness_us),
            idle_timeout_us: entry.map_or(i64::MAX, |w| w.idle_timeout_us),
            max_future_us: entry.map_or(i64::MAX, |w| w.max_future_us),
            follow_clock: entry.is_some_and(|w| w.follow_clock),
        }
    }

    pub fn started(&self) -> bool {
        self.feed.lock().expect("not poisoned").control.is_some()
    }

    /// `columns` with the event-time column, ascending; all of a source that keeps what it leaves out.
    pub fn projection(&self, columns: &BTreeSet<usize>) -> Vec<usize> {
        if self.keeper.is_some() {
            return (0..self.config.schema().fields().len()).collect();
        }
        let mut columns = columns.clone();
        columns.extend(self.watermark.as_ref().map(|w| w.column));
        columns.into_iter().collect()
    }

    /// The admission for rows projected to `columns`.
    pub fn place_time_column(&self, admission: &mut Admission, columns: &[usize]) {
        let time = self.watermark.as_ref().map(|w| w.column);
        admission.options.time_column = time.and_then(|t| columns.iter().position(|c| *c == t));
    }
}
