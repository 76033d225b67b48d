//! The entry points: one [`Planner`] per statement, over one catalog snapshot.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use catalog::{Catalog, ColumnEntry, NameBinding};
use dataflow::DataflowGraph;
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, LogicalPlan};
use kernels::{OnError, ScalarExpr};
use sql::ast;
use types::{EventTimeBound, ObjectId};

use crate::bind::{Binder, names, subquery};
use crate::environment::NoEnvironment;
use crate::{Environment, PlanError, analyze, stream};

/// What of a session shapes plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSession {
    /// IANA name or fixed offset; used where text becomes `timestamptz`.
    pub time_zone: String,
    /// Schemas searched for unqualified names, first match wins.
    pub search_path: Vec<String>,
}

impl Default for PlanSession {
    fn default() -> Self {
        PlanSession { time_zone: "UTC".into(), search_path: vec![catalog::DEFAULT_SCHEMA.into()] }
    }
}

/// A query ready for DataFusion.
#[derive(Debug, Clone)]
pub struct PlannedQuery {
    /// Analysed (types coerced), not optimised: the engine optimises with its own session. Scans carry
    /// [`crate::RelationSource`]; windows are [`crate::WindowNode`]s until `lower_windows_for_batch`.
    pub logical: LogicalPlan,
    /// Output names as Postgres gives them (`count`, `?column?`; repeats allowed) and types. Same order as
    /// `logical.schema()`, whose names are internal.
    pub schema: SchemaRef,
    /// Types of `$1`, `$2`, …; text where nothing tells.
    pub parameter_types: Vec<DataType>,
    /// Catalog relations it reads, views expanded; ascending, without repetition. Plain views themselves aren't named.
    pub relations: Vec<ObjectId>,
    /// All objects it names, plain views instead of what they read; ascending, without repetition. Whether an optimiser
    /// still finds a use for them means nothing.
    pub depends_on: Vec<ObjectId>,
    /// What the names in its text mean.
    pub names: Vec<NameBinding>,
    /// The session's, in which instants are shown and times without zone are meant.
    pub time_zone: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewPlanOptions {
    pub emit_on_window_close: bool,
    /// `on_error`.
    pub on_error: OnError,
}

/// A materialized view ready to be journaled and rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedView {
    pub graph: DataflowGraph,
    pub columns: Vec<ColumnEntry>,
    /// Columns that identify a row of the view.
    pub key: Option<Vec<usize>>,
    /// Never retracts.
    pub append_only: bool,
    /// For views on this view: (column, bound) with allowed lateness taken off.
    pub bounds: Vec<(usize, EventTimeBound)>,
    /// Objects named by the query, plain views instead of what they read; ascending.
    pub depends_on: Vec<ObjectId>,
    /// What the names in its text mean.
    pub names: Vec<NameBinding>,
    /// For the client: state that nothing bounds, recompute without a key.
    pub notices: Vec<String>,
}

/// A scalar expression over given columns, in both forms.
#[derive(Debug, Clone)]
pub struct BoundExpr {
    /// Analysed; for DataFusion.
    pub logical: Expr,
    /// For our own kernels.
    pub scalar: ScalarExpr,
    pub data_type: DataType,
}

/// Plans statements against one catalog snapshot.
#[derive(Debug, Clone)]
pub struct Planner {
    catalog: Arc<Catalog>,
    session: PlanSession,
    environment: Arc<dyn Environment>,
}

impl Planner {
    pub fn new(catalog: Arc<Catalog>, session: PlanSession) -> Self {
        Planner { catalog, session, environment: Arc::new(NoEnvironment) }
    }

    /// With system relations and session functions.
    pub fn with_environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    pub fn plan_query(&self, query: &ast::Query) -> Result<PlannedQuery, PlanError> {
        self.plan_query_with_parameters(query, &[])
    }

    /// `parameters`: types the client declared for `$1`, `$2`, …; `None` or missing ones are inferred.
    pub fn plan_query_with_parameters(
        &self,
        query: &ast::Query,
        parameters: &[Option<DataType>],
    ) -> Result<PlannedQuery, PlanError> {
        self.plan_bound(query, parameters, None)
    }

    /// A VALUES list of an INSERT: every value is cast to its column of `columns` by itself, so the types of different
    /// rows need not have anything in common.
    pub fn plan_values(
        &self,
        query: &ast::Query,
        parameters: &[Option<DataType>],
        columns: &SchemaRef,
    ) -> Result<PlannedQuery, PlanError> {
        self.plan_bound(query, parameters, Some(columns))
    }

    fn plan_bound(
        &self,
        query: &ast::Query,
        parameters: &[Option<DataType>],
        values: Option<&SchemaRef>,
    ) -> Result<PlannedQuery, PlanError> {
        let mut binder = self.binder();
        let bound = binder.query(query, parameters, values)?;
        let schema = names::output_schema(&bound);
        let parameter_types = binder.parameter_types(&bound, parameters)?;
        let bound = binder.show_output(bound)?;
        let logical = analyze::analyze(bound, binder.options())?;
        let schema = names::with_types_of(&schema, logical.schema());
        let (relations, depends_on) = binder.relations(&logical);
        let time_zone = self.session.time_zone.clone();
        let names = binder.name_bindings();
        Ok(PlannedQuery { logical, schema, parameter_types, relations, depends_on, names, time_zone })
    }

    /// Plans `query` as the materialized view `relation`. `columns` renames the output; empty keeps its names.
    pub fn plan_view(
        &self,
        relation: ObjectId,
        query: &ast::Query,
        columns: &[ast::Ident],
        options: ViewPlanOptions,
    ) -> Result<PlannedView, PlanError> {
        let planned = self.plan_query(query)?;
        if !planned.parameter_types.is_empty() {
            return Err(PlanError::invalid(types::SqlState::UndefinedParameter, "there is no parameter $1"));
        }
        subquery::refuse_in_view(&planned.logical)?;
        let columns = names::view_columns(&planned.schema, columns)?;
        let optimized = analyze::optimize_for_stream(planned.logical)?;
        let view = stream::plan_view(&self.catalog, relation, &optimized, columns, planned.depends_on, options)?;
        Ok(PlannedView { names: planned.names, ..view })
    }

    /// Binds an expression over `columns` (DEFAULT, generated columns, UPDATE, DELETE). No subqueries, aggregates or
    /// window functions. `relation` qualifies the columns, so that `t.x` works.
    pub fn bind_expr(
        &self,
        expr: &ast::Expr,
        columns: &SchemaRef,
        relation: Option<&str>,
    ) -> Result<BoundExpr, PlanError> {
        let schema = match relation {
            Some(name) => DFSchema::try_from_qualified_schema(name, columns),
            None => DFSchema::try_from(columns.as_ref().clone()),
        }
        .map_err(PlanError::from)?;
        self.binder().scalar(expr, &schema)
    }

    /// Like [`bind_expr`](Self::bind_expr), then cast to `target` as an assignment does.
    pub fn bind_assignment(
        &self,
        expr: &ast::Expr,
        columns: &SchemaRef,
        relation: Option<&str>,
        target: &DataType,
    ) -> Result<BoundExpr, PlanError> {
        let schema = match relation {
            Some(name) => DFSchema::try_from_qualified_schema(name, columns),
            None => DFSchema::try_from(columns.as_ref().clone()),
        }
        .map_err(PlanError::from)?;
        self.binder().assignment(expr, &schema, target)
    }

    pub(crate) fn binder(&self) -> Binder {
        Binder::new(self.catalog.clone(), self.session.clone(), self.environment.clone())
    }
}
