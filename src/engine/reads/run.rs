//! Executes a planned query at one epoch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use operators::arrangement::Overlay;
use plan::{PlannedQuery, RelationSource, RowSubquery, ScanRole, relation_of};
use tokio::task::JoinError;
use types::{ObjectId, SqlError, SqlState, ToSqlState};

use super::endless::{check_bounded, endless_limit};
use super::match_exec::WithPatterns;
use super::produced::{AbortOnDrop, produced, task_failed};
use super::provider::{RelationProvider, Shards};
use super::row_subquery::BoundSubquery;
use super::source_scan::SourceProvider;
use crate::api::RowStream;
use crate::engine::Shared;
use coordinator::oracle::Pin;

/// Batches that may wait for a slow client.
const QUEUE_BATCHES_MAX: usize = 4;

/// Runs a query; the stream delivers batches as they come. Dropping it cancels.
pub(crate) async fn run(
    shared: Arc<Shared>,
    planned: PlannedQuery,
    parameters: Vec<ArrayRef>,
    reading: Reading,
) -> Result<RowStream, SqlError> {
    let handle = shared.query_handle.clone();
    let prepared = handle.spawn(async move { prepare(&shared, planned, parameters, reading).await });
    let (plan, state, schema) = AbortOnDrop(prepared).joined().await??;
    Ok(produced(&handle, QUEUE_BATCHES_MAX, |sender| async move {
        let mut stream = execute_stream(plan, state.task_ctx()).map_err(error)?;
        while let Some(batch) = stream.next().await {
            let batch = rename(batch.map_err(error)?, &schema)?;
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    }))
}

/// The physical plan as text, for EXPLAIN VERBOSE.
pub(crate) async fn explain_physical(shared: &Arc<Shared>, planned: PlannedQuery) -> Result<Vec<String>, SqlError> {
    let (plan, _, _) = prepare(shared, planned, vec![], Reading::default()).await?;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    Ok(text.lines().map(str::to_string).collect())
}

/// What a statement reads beside what is committed.
#[derive(Clone, Default)]
pub(crate) struct Reading {
    /// The epoch, if it has been chosen.
    pub pin: Option<Arc<Pin>>,
    /// What the transaction has done to tables.
    pub own: Arc<HashMap<ObjectId, Arc<Overlay>>>,
    /// Rows that stand for all of the target's (`plan::mark_target`).
    pub target: Option<RecordBatch>,
    /// Rows that an INSERT gives.
    pub proposed: Option<RecordBatch>,
}

/// The same with its epoch.
struct ReadView {
    pin: Arc<Pin>,
    own: Arc<HashMap<ObjectId, Arc<Overlay>>>,
    target: Option<RecordBatch>,
    proposed: Option<RecordBatch>,
}

/// The epoch at which a query reads, chosen now unless it has been; waits until all that it reads has sealed it.
///
/// Errors: 72000 if a relation is younger than the epoch of a transaction that reads at one instant.
pub(crate) async fn pinned(shared: &Shared, planned: &PlannedQuery, reading: &Reading) -> Result<Arc<Pin>, SqlError> {
    let kept: Vec<ObjectId> = planned.relations.iter().copied().filter(|id| shared.relation(*id).is_some()).collect();
    let pin = match &reading.pin {
        None => Arc::new(shared.oracle.pin(&kept)),
        Some(pin) => {
            kept.iter().try_for_each(|id| shared.oracle.pin_at(*id, pin.epoch()).map(drop))?;
            pin.clone()
        }
    };
    shared.oracle.wait_sealed(&kept, pin.epoch()).await?;
    Ok(pin)
}

type Prepared = (Arc<dyn ExecutionPlan>, SessionState, arrow::datatypes::SchemaRef);

async fn prepare(
    shared: &Arc<Shared>,
    planned: PlannedQuery,
    parameters: Vec<ArrayRef>,
    reading: Reading,
) -> Result<Prepared, SqlError> {
    let pin = pinned(shared, &planned, &reading).await?;
    let view = ReadView { pin, own: reading.own, target: reading.target, proposed: reading.proposed };
    let (schema, zone) = (planned.schema.clone(), planned.time_zone);
    let mut logical = planned.logical;
    if !parameters.is_empty() {
        let values: Result<Vec<ScalarValue>, _> =
            parameters.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect();
        logical = logical.with_param_values(ParamValues::from(values.map_err(error)?)).map_err(error)?;
    }
    check_bounded(shared, &logical)?;
    let state = match endless_limit(shared, &logical) {
        // Rows trickle in: operators must not collect more of them than the query asks for.
        Some(rows) => session_state(1, Some(rows)),
        None => session_state(std::thread::available_parallelism().map_or(1, |n| n.get()), None),
    };
    let logical = readable(shared, logical, &view, &zone)?;
    let physical = state.create_physical_plan(&logical).await.map_err(error)?;
    Ok((physical, state, schema))
}

/// A plan that DataFusion can run: windows lowered, providers under the scans, also of subqueries that run per row.
/// `zone`: the session's time zone.
fn readable(shared: &Arc<Shared>, logical: LogicalPlan, view: &ReadView, zone: &str) -> Result<LogicalPlan, SqlError> {
    let logical = plan::lower_windows_for_batch(logical).map_err(|e| e.to_sql_error())?;
    let logical = plan::lower_scalars_for_batch(logical, zone).map_err(|e| e.to_sql_error())?;
    let logical = attach_providers(shared, logical, view)?;
    bind_subqueries(shared, logical, view, zone)
}

fn bind_subqueries(
    shared: &Arc<Shared>,
    logical: LogicalPlan,
    view: &ReadView,
    zone: &str,
) -> Result<LogicalPlan, SqlError> {
    let mut state = None;
    let external = |error: SqlError| DataFusionError::External(Box::new(error));
    let bound = logical.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| {
                let Some(query) = RowSubquery::of(&expr).cloned() else { return Ok(Transformed::no(expr)) };
                let Expr::ScalarFunction(call) = expr else { unreachable!("a subquery is a call") };
                check_bounded(shared, &query.plan).map_err(external)?;
                let plan = readable(shared, query.plan.as_ref().clone(), view, zone).map_err(external)?;
                // One partition: nothing is spawned for a few rows.
                let state = state.get_or_insert_with(|| Arc::new(session_state(1, None))).clone();
                let function = ScalarUDF::from(BoundSubquery::new(query, plan, state));
                Ok(Transformed::yes(function.call(call.args)))
            })
        })
    });
    Ok(bound.map_err(error)?.data)
}

/// `batch_rows`: how many rows operators collect before they pass them on, if not DataFusion's default.
fn session_state(partitions: usize, batch_rows: Option<usize>) -> SessionState {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_information_schema(false);
    if let Some(rows) = batch_rows {
        let rows = rows.clamp(1, config.batch_size());
        config = config.with_batch_size(rows);
    }
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("UTC".into());
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_query_planner(Arc::new(WithPatterns))
        .build();
    // now() is one moment for the whole statement.
    let options = state.config_options().clone();
    state.execution_props_mut().mark_start_execution(options);
    state
}

/// Puts a provider at the pinned epoch under every scan of a catalog relation, also inside subqueries.
fn attach_providers(shared: &Arc<Shared>, logical: LogicalPlan, view: &ReadView) -> Result<LogicalPlan, SqlError> {
    let mut failure = None;
    let attached = logical.transform_up_with_subqueries(|node| {
        let Some(relation) = relation_of(&node).cloned() else { return Ok(Transformed::no(node)) };
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        match provider(shared, &relation, view) {
            Ok(source) => scan.source = source,
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(attached.map_err(error)?.data),
    }
}

fn provider(
    shared: &Arc<Shared>,
    relation: &RelationSource,
    view: &ReadView,
) -> Result<Arc<dyn datafusion::logical_expr::TableSource>, SqlError> {
    let (id, schema) = (relation.id, relation.schema.clone());
    let stand_in = match relation.role {
        ScanRole::Plain => &None,
        ScanRole::Target => &view.target,
        ScanRole::Proposed => &view.proposed,
    };
    if let Some(rows) = stand_in {
        let rows = rename(rows.clone(), &schema)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(error)?;
        return Ok(provider_as_source(Arc::new(table)));
    }
    if let Some(relation) = shared.relation(id) {
        // It may have failed since its epoch was waited for.
        if let Some(error) = shared.oracle.failure(id) {
            return Err(error);
        }
        if let Some(error) = relation.error_at(view.pin.epoch()) {
            return Err(error);
        }
        let (shards, own) = (Shards(relation.shards.clone()), view.own.get(&id).cloned());
        let provider = RelationProvider { schema, shards, pin: view.pin.clone(), own };
        return Ok(provider_as_source(Arc::new(provider)));
    }
    if let Some(source) = shared.unstored_source(id) {
        return Ok(provider_as_source(Arc::new(SourceProvider { source, schema })));
    }
    Err(SqlError::new(SqlState::UndefinedTable, format!("relation with OID {id} was dropped")))
}

/// The client's column names on a batch.
fn rename(batch: RecordBatch, schema: &arrow::datatypes::SchemaRef) -> Result<RecordBatch, SqlError> {
    let fields: Vec<arrow::datatypes::Field> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(f, c)| arrow::datatypes::Field::new(f.name(), c.data_type().clone(), true))
        .collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &options)
        .map_err(|e| SqlError::internal(e.to_string()))
}

/// A DataFusion error as the client should see it.
pub(crate) fn error(error: DataFusionError) -> SqlError {
    if let DataFusionError::External(external) = error.find_root() {
        if let Some(error) = external.downcast_ref::<SqlError>() {
            return error.clone();
        }
        if let Some(error) = external.downcast_ref::<connectors::ConnectorError>() {
            return error.to_sql_error();
        }
        // A panic in one of the tasks that DataFusion spawns.
        if let Some(error) = external.downcast_ref::<Arc<JoinError>>() {
            return task_failed(error);
        }
    }
    kernels::KernelError::from_evaluation(error).to_sql_error()
}
