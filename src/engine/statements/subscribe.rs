//! SUBSCRIBE: a relation's changes as they are sealed. On a view or table it follows that relation's own deltas; on
//! any other query a dataflow is built for it that lives as long as the stream.
//!
//! A subscription is a moving pin: the epochs it has not delivered yet stay readable. Columns: `hw_epoch`, `hw_diff`,
//! `hw_progressed` (with PROGRESS), then the relation's. Within an epoch retractions come first.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::ObjectBody;
use plan::ViewPlanOptions;
use sql::{Subscribe, SubscribeTarget, ast};
use types::{DeltaBatch, Epoch, SqlError, ToSqlState};

use super::{Context, names};
use crate::api::{Column, Described, Response, RowStream};
use crate::dataflows;
use crate::engine::Shared;
use crate::reads::{RowSender, produced};
use crate::relation::Relation;
use crate::session::Session;
use coordinator::oracle::{Pin, too_old};

/// Batches that may wait for a slow client.
const QUEUE_BATCHES_MAX: usize = 16;

enum Target {
    Kept(Arc<Relation>),
    Query(Box<ast::Query>),
}

fn target(context: &Context, subscribe: &Subscribe) -> Result<Target, SqlError> {
    match &subscribe.target {
        SubscribeTarget::Query(query) => Ok(Target::Query(query.clone())),
        SubscribeTarget::Relation(name) => {
            let (schema, bare) = names::split(name)?;
            let catalog = context.shared.catalog();
            let object = context.resolve(&catalog, schema.as_deref(), &bare)?;
            match &object.body {
                ObjectBody::Table(_) | ObjectBody::MaterializedView(_) => {
                    let relation = context.shared.relation(object.id);
                    relation.map(Target::Kept).ok_or_else(|| SqlError::internal("relation is not running"))
                }
                ObjectBody::Source(_) | ObjectBody::View { .. } => {
                    Ok(Target::Query(Box::new(sql::select_from(name, None))))
                }
            }
        }
    }
}

fn output_schema(relation: &SchemaRef, progress: bool) -> SchemaRef {
    let mut fields = vec![Field::new("hw_epoch", DataType::Int64, false), Field::new("hw_diff", DataType::Int64, true)];
    if progress {
        fields.push(Field::new("hw_progressed", DataType::Boolean, false));
    }
    fields.extend(relation.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields))
}

pub(crate) fn describe(context: &Context, subscribe: &Subscribe) -> Result<Described, SqlError> {
    let schema = match target(context, subscribe)? {
        Target::Kept(relation) => relation.schema.clone(),
        Target::Query(query) => super::query::plan(context, &query, &[])?.schema,
    };
    let columns = Some(Column::of_schema(&output_schema(&schema, subscribe.progress)));
    Ok(Described { parameters: vec![], columns })
}

pub(crate) async fn execute(session: &mut Session, subscribe: &Subscribe) -> Result<Response, SqlError> {
    let (columns, stream) = open(session, subscribe).await?;
    Ok(Response::Rows { columns, stream, tag: "SELECT" })
}

/// The columns and the endless stream of a subscription.
pub(crate) async fn open(session: &mut Session, subscribe: &Subscribe) -> Result<(Vec<Column>, RowStream), SqlError> {
    let context = session.context();
    let shared = context.shared.clone();
    let (relation, temporary) = match target(&context, subscribe)? {
        Target::Kept(relation) => (relation, None),
        Target::Query(query) => {
            let (relation, temporary) = build(session, &context, &query).await?;
            (relation, Some(temporary))
        }
    };
    let schema = output_schema(&relation.schema, subscribe.progress);
    let columns = Column::of_schema(&schema);
    let pin = match subscribe.as_of {
        None => shared.oracle.pin(&[relation.id]),
        Some(_) if temporary.is_some() => {
            return Err(SqlError::unsupported(
                "AS OF needs a table or a materialized view",
                "The dataflow of a query lives with its subscription: make a view with retain_history.",
            ));
        }
        Some(epoch) => {
            let pin = shared.oracle.pin_at(relation.id, epoch)?;
            if !relation.retention.keeps(&relation.shards, epoch) {
                return Err(too_old(epoch));
            }
            pin
        }
    };
    shared.oracle.wait_sealed(&[relation.id], pin.epoch()).await?;
    let (handle, progress, snapshot) = (shared.query_handle.clone(), subscribe.progress, subscribe.snapshot);
    let stream = produced(&handle, QUEUE_BATCHES_MAX, |sender| async move {
        let _temporary = temporary;
        Follower { shared, relation, schema, progress, sender }.follow(pin, snapshot).await
    });
    Ok((columns, stream))
}

/// Builds the dataflow of a query for the life of one subscription.
async fn build(
    session: &Session,
    context: &Context,
    query: &ast::Query,
) -> Result<(Arc<Relation>, Temporary), SqlError> {
    let shared = context.shared.clone();
    shared.check_memory()?;
    let id = shared.allocate_id();
    let options = ViewPlanOptions::default();
    let planned = context.planner().plan_view(id, query, &[], options).map_err(|e| e.to_sql_error())?;
    planned.notices.iter().for_each(|notice| session.notice(notice));
    let job = shared.jobs.start("SUBSCRIBE");
    let temporary = Temporary { shared: shared.clone(), id };
    let built = tokio::task::spawn_blocking(move || {
        let relation = dataflows::build(&shared, Arc::new(planned.graph), &job, true)?;
        // The clock must know it before an epoch of it can be chosen.
        dataflows::barrier(&shared)?;
        Ok::<_, SqlError>(relation)
    });
    let relation = built.await.map_err(|e| SqlError::internal(e.to_string()))??;
    Ok((relation, temporary))
}

/// Removes a subscription's dataflow when the subscription ends.
struct Temporary {
    shared: Arc<Shared>,
    id: types::ObjectId,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let (shared, id) = (self.shared.clone(), self.id);
        self.shared.query_handle.spawn_blocking(move || dataflows::remove(&shared, id));
    }
}

struct Follower {
    shared: Arc<Shared>,
    relation: Arc<Relation>,
    schema: SchemaRef,
    progress: bool,
    sender: RowSender,
}

impl Follower {
    /// Sends the snapshot, then every change, until the client goes. Errors: why the relation went.
    async fn follow(&self, mut pin: Pin, snapshot: bool) -> Result<(), SqlError> {
        let mut seen = pin.epoch();
        if let Some(error) = self.relation.error_at(seen) {
            return Err(error);
        }
        if snapshot && !self.send_snapshot(seen).await {
            return Ok(());
        }
        if self.progress && !self.send(vec![self.progress_row(seen)]).await {
            return Ok(());
        }
        let mut moved = self.shared.oracle.subscribe();
        loop {
            moved.borrow_and_update();
            let frontier = self.reached()?;
            if frontier > seen {
                let batches = self.changes(seen, frontier);
                if !self.send(batches).await {
                    return Ok(());
                }
                seen = frontier;
                pin.advance(seen);
                continue;
            }
            tokio::select! {
                changed = moved.changed() => changed.expect("the oracle lives as long as what it is shared with"),
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    /// Up to where the relation is complete, unless it has failed, is gone, or holds an error there. What is applied
    /// beyond it does not count: one worker may have an error whose retraction another is about to apply.
    fn reached(&self) -> Result<Epoch, SqlError> {
        let frontier = self.shared.oracle.progress(self.relation.id).unwrap_or_else(|| {
            let message = "the subscribed relation was dropped";
            Err(SqlError::new(types::SqlState::UndefinedTable, message))
        })?;
        self.relation.error_at(frontier).map_or(Ok(frontier), Err)
    }

    async fn send(&self, batches: Vec<RecordBatch>) -> bool {
        for batch in batches {
            if self.sender.send(batch).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn send_snapshot(&self, epoch: Epoch) -> bool {
        for shard in self.relation.shards.iter() {
            for rows in shard.snapshot(epoch).batches(None) {
                let batch = self.batch(epoch, &DeltaBatch::inserts(rows));
                if !self.send(vec![batch]).await {
                    return false;
                }
            }
        }
        true
    }

    /// Changes of the epochs in (after, upto], epoch by epoch, retractions before insertions.
    fn changes(&self, after: Epoch, upto: Epoch) -> Vec<RecordBatch> {
        let mut by_epoch: std::collections::BTreeMap<Epoch, Vec<DeltaBatch>> = Default::default();
        for shard in self.relation.shards.iter() {
            for (epoch, deltas) in shard.deltas(after, upto) {
                by_epoch.entry(epoch).or_default().extend(deltas.iter().cloned());
            }
        }
        let mut batches = vec![];
        for (epoch, deltas) in by_epoch {
            let all = DeltaBatch::concat(&self.relation.schema, &deltas);
            let order = retractions_first(&all);
            batches.push(self.batch(epoch, &order.map_or(all.clone(), |order| all.take(&order))));
        }
        if self.progress {
            batches.push(self.progress_row(upto));
        }
        batches
    }

    fn batch(&self, epoch: Epoch, delta: &DeltaBatch) -> RecordBatch {
        let rows = delta.num_rows();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![epoch as i64; rows])),
            Arc::new(Int64Array::from(delta.diffs_to_vec())),
        ];
        if self.progress {
            columns.push(Arc::new(BooleanArray::from(vec![false; rows])));
        }
        columns.extend(delta.rows().columns().iter().cloned());
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the subscription's schema")
    }

    /// Says that everything up to `epoch` has been sent.
    fn progress_row(&self, epoch: Epoch) -> RecordBatch {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![epoch as i64])),
            new_null_array(&DataType::Int64, 1),
            Arc::new(BooleanArray::from(vec![true])),
        ];
        columns.extend(self.relation.schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)));
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the subscription's schema")
    }
}

/// The order that puts negative diffs first; `None` if nothing moves.
fn retractions_first(delta: &DeltaBatch) -> Option<UInt32Array> {
    delta.diffs()?;
    let rows = 0..delta.num_rows() as u32;
    let (minus, plus): (Vec<u32>, Vec<u32>) = rows.partition(|row| delta.diff(*row as usize) < 0);
    (!minus.is_empty() && !plus.is_empty()).then(|| minus.into_iter().chain(plus).collect::<Vec<u32>>().into())
}
