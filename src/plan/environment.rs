//! What a query sees besides the catalog: how a relation appears in a logical plan, and the seam through which the
//! engine adds system relations and session functions. Separate because both the planner and the engine implement
//! against it.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{Expr, LogicalPlan, ScalarUDF, TableSource};
use types::ObjectId;

use crate::{PlanError, PlannedQuery};

/// A catalog relation inside a logical plan. The engine walks the `TableScan`s of a planned query, takes this out of
/// each ([`relation_of`]) and puts its own provider in.
#[derive(Debug, Clone)]
pub struct RelationSource {
    pub id: ObjectId,
    pub schema: SchemaRef,
    pub role: ScanRole,
}

/// What a scan stands for in a statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanRole {
    /// The relation as it is.
    Plain,
    /// What is changed ([`mark_target`]); other scans of the same table are not.
    Target,
    /// The rows that an INSERT gives, which ON CONFLICT calls `excluded`.
    Proposed,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The relation that a scan reads; `None` for other nodes and for table functions.
pub fn relation_of(plan: &LogicalPlan) -> Option<&RelationSource> {
    match plan {
        LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<RelationSource>(),
        _ => None,
    }
}

/// Marks the relations in FROM, in their order: what the statement changes, then the rows that it gives. Subqueries may
/// read the same table: their scans stay as they are.
pub fn mark_target(mut planned: PlannedQuery) -> Result<PlannedQuery, PlanError> {
    let mut roles = [ScanRole::Target, ScanRole::Proposed].into_iter();
    let marked = planned.logical.transform_down(|node| {
        let Some(relation) = relation_of(&node).cloned() else { return Ok(Transformed::no(node)) };
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Some(role) = roles.next() else { return Ok(Transformed::no(LogicalPlan::TableScan(scan))) };
        scan.source = Arc::new(RelationSource { role, ..relation });
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    planned.logical = marked.map_err(PlanError::from)?.data;
    Ok(planned)
}

/// What the engine adds to a catalog snapshot for one session.
pub trait Environment: std::fmt::Debug + Send + Sync {
    /// A system relation (`pg_catalog`, `information_schema`, `hw_catalog`). `schema` is `None` for unqualified
    /// names, which look in `pg_catalog` before the search path, as in Postgres.
    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableSource>> {
        let _ = (schema, name);
        None
    }

    /// A function in FROM, e.g. `generate_series(1, 10)`; arguments are bound, possibly not constant.
    fn table_function(&self, name: &str, arguments: &[Expr]) -> Option<Arc<dyn TableSource>> {
        let _ = (name, arguments);
        None
    }

    /// What stands for the recursive reference of WITH RECURSIVE while it runs; `None` refuses it.
    fn work_table(&self, name: &str, schema: &SchemaRef) -> Option<Arc<dyn TableSource>> {
        let _ = (name, schema);
        None
    }

    /// Types of the arguments of a function that [`scalar_function`](Self::scalar_function) gives, for parameters in
    /// their place; `None` where they may be anything.
    fn argument_types(&self, function: &str, arguments: usize) -> Option<Vec<DataType>> {
        let _ = (function, arguments);
        None
    }

    /// A scalar function that depends on the session, e.g. `current_schema()`. Overrides the built-in ones.
    fn scalar_function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let _ = name;
        None
    }
}

/// Adds nothing.
#[derive(Debug)]
pub(crate) struct NoEnvironment;

impl Environment for NoEnvironment {}
