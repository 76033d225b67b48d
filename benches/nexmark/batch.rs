//! The batch side: the same query by DataFusion over the same arrays, one partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use catalog::Catalog;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use plan::{PlanSession, Planner, relation_of};

use crate::cpu::{self, Measured};
use crate::data::Tables;
use crate::stream::query_of;

pub struct Batched {
    pub rows: usize,
    pub checksum: u64,
    pub measured: Measured,
}

pub fn run(catalog: &Arc<Catalog>, tables: &Tables, text: &str) -> Result<Batched, String> {
    let planner = Planner::new(catalog.clone(), PlanSession::default());
    let planned = planner.plan_query(&query_of(text)).map_err(|e| e.to_string())?;
    let lowered = plan::lower_windows_for_batch(planned.logical).map_err(|e| e.to_string())?;
    let logical = lowered
        .transform_up_with_subqueries(|node| {
            let Some(id) = relation_of(&node).map(|source| source.id) else { return Ok(Transformed::no(node)) };
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            let batches = tables[&id].clone();
            let renamed = batches.iter().map(|b| RecordBatch::try_new(scan.source.schema(), b.columns().to_vec()));
            let renamed: Result<Vec<RecordBatch>, _> = renamed.collect();
            scan.source = provider_as_source(Arc::new(MemTable::try_new(scan.source.schema(), vec![renamed?])?));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })
        .map_err(|e| e.to_string())?
        .data;
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.time_zone = Some("UTC".into());
    let context = SessionContext::new_with_config(config);
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let (batches, measured) = cpu::measure(|| {
        threads.block_on(async {
            let frame = context.execute_logical_plan(logical).await?;
            frame.collect().await
        })
    });
    let (rows, checksum) = cpu::checksum(&batches.map_err(|e| e.to_string())?);
    Ok(Batched { rows, checksum, measured })
}
