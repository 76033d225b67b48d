//! MATCH_RECOGNIZE in an ad-hoc query: a physical node around the kernel that views run. It collects its input, one
//! partition of the plan holding whole partitions of the clause, and gives all matches at once.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::TryStreamExt;
use kernels::Recomputer;
use plan::MatchNode;
use types::ToSqlState;

/// Plans queries as DataFusion does, and our own node.
#[derive(Debug)]
pub(super) struct WithPatterns;

#[async_trait]
impl QueryPlanner for WithPatterns {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WithPatterns)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for WithPatterns {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        match node.as_any().downcast_ref::<MatchNode>() {
            Some(node) => Ok(Some(Arc::new(MatchExec::new(node, inputs[0].clone())?))),
            None => Ok(None),
        }
    }
}

#[derive(Debug)]
struct MatchExec {
    input: Arc<dyn ExecutionPlan>,
    recomputer: Arc<Recomputer>,
    key: Vec<usize>,
    text: String,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl MatchExec {
    fn new(node: &MatchNode, input: Arc<dyn ExecutionPlan>) -> Result<MatchExec> {
        let spec = node.recompute();
        let recomputer = Recomputer::compile(&spec).map_err(external)?;
        let (schema, text) = (spec.output.clone(), node.text.clone());
        Ok(MatchExec::over(input, Arc::new(recomputer), spec.key, text, schema))
    }

    fn over(
        input: Arc<dyn ExecutionPlan>,
        recomputer: Arc<Recomputer>,
        key: Vec<usize>,
        text: String,
        schema: SchemaRef,
    ) -> MatchExec {
        let partitions =
            datafusion::physical_plan::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let equivalences = EquivalenceProperties::new(schema.clone());
        let properties = PlanProperties::new(equivalences, partitions, EmissionType::Final, Boundedness::Bounded);
        MatchExec { input, recomputer, key, text, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for MatchExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MatchExec: {}", self.text)
    }
}

impl ExecutionPlan for MatchExec {
    fn name(&self) -> &str {
        "MatchExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        if self.key.is_empty() {
            return vec![Distribution::SinglePartition];
        }
        let schema = self.input.schema();
        let column = |key: &usize| Arc::new(Column::new(schema.field(*key).name(), *key)) as Arc<dyn PhysicalExpr>;
        vec![Distribution::KeyPartitioned(self.key.iter().map(column).collect())]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let (recomputer, key) = (self.recomputer.clone(), self.key.clone());
        let (text, schema) = (self.text.clone(), self.schema.clone());
        Ok(Arc::new(MatchExec::over(children.remove(0), recomputer, key, text, schema)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let recomputer = self.recomputer.clone();
        let matches = async move {
            let rows = input.try_collect::<Vec<_>>().await?;
            let batches = recomputer.run(&rows).map_err(external)?;
            Ok::<_, DataFusionError>(futures::stream::iter(batches.into_iter().map(Ok)))
        };
        let stream = futures::stream::once(matches).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

fn external(error: kernels::KernelError) -> DataFusionError {
    DataFusionError::External(Box::new(error.to_sql_error()))
}
