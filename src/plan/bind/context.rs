//! The context that DataFusion's binder asks: relations from the catalog snapshot, functions, types, options.
//! Plain views are expanded here: their text is parsed and bound as a nested query.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use catalog::{Catalog, CatalogError, CatalogObject, NameBinding, ObjectBody};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use sql::ast;
use types::SqlState;

use super::catalog_syntax::ARRAY_SUBQUERY;
use super::data_type::PostgresTypes;
use super::function_relation::FunctionRelations;
use super::match_relation::MatchRelations;
use super::window_relation::WindowRelations;
use super::{Binder, functions, subquery};
use crate::{Environment, PlanError, PlanSession, RelationSource, ScanRole};

/// How deep plain views may nest.
const VIEW_DEPTH_MAX: usize = 64;

pub(crate) struct Context {
    catalog: Arc<Catalog>,
    session: PlanSession,
    pub environment: Arc<dyn Environment>,
    pub options: ConfigOptions,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    /// What each name of the text resolved to, by schema and name as written. What the views among them read is theirs.
    pub bound: RefCell<BTreeMap<(Option<String>, String), NameBinding>>,
    /// Inside a view: what its names mean, whatever they would mean to the session.
    given: Vec<NameBinding>,
    depth: usize,
}

impl Context {
    pub fn new(catalog: Arc<Catalog>, session: PlanSession, environment: Arc<dyn Environment>) -> Self {
        let mut options = ConfigOptions::default();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.collect_spans = true;
        options.execution.time_zone = Some(session.time_zone.clone());
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        Context {
            catalog,
            session,
            environment,
            options,
            relation_planners: vec![Arc::new(WindowRelations), Arc::new(MatchRelations), Arc::new(FunctionRelations)],
            bound: RefCell::default(),
            given: vec![],
            depth: 0,
        }
    }

    fn resolve(&self, name: &TableReference) -> Result<Arc<dyn TableSource>, PlanError> {
        if let Some(database) = name.catalog()
            && !["highwater", "postgres"].contains(&database)
        {
            return Err(PlanError::unsupported(
                format!("cross-database references are not implemented: \"{name}\""),
                "The only database is \"highwater\".",
            ));
        }
        if let Some(given) = self.given.iter().find(|given| is_named(given, name)) {
            let object = self.catalog.get(given.object).ok_or_else(|| undefined(name))?;
            return self.source(object, given.columns);
        }
        if let Some(source) = self.environment.system_relation(name.schema(), name.table()) {
            return Ok(source);
        }
        let object = self.find(name).ok_or_else(|| undefined(name))?;
        object.check_complete()?;
        let written = (name.schema().map(str::to_owned), name.table().to_owned());
        let (schema, table) = written.clone();
        let columns = object.columns.len();
        self.bound.borrow_mut().insert(written, NameBinding { schema, name: table, object: object.id, columns });
        self.source(object, columns)
    }

    /// What a name means to the session.
    fn find(&self, name: &TableReference) -> Option<&Arc<CatalogObject>> {
        match name.schema() {
            // Schemas of temporary objects are in no list; a session has its own on its search path.
            Some("pg_temp") => {
                let own = self.session.search_path.iter().find(|s| s.starts_with(catalog::TEMPORARY_SCHEMA));
                own.and_then(|schema| self.catalog.find(Some(schema), name.table()))
            }
            Some(schema) if !self.catalog.schemas.iter().chain(&self.session.search_path).any(|s| s == schema) => None,
            Some(schema) => self.catalog.find(Some(schema), name.table()),
            None => self.session.search_path.iter().find_map(|s| self.catalog.find(Some(s), name.table())),
        }
    }

    /// `columns`: how many of a view's columns are meant.
    fn source(&self, object: &Arc<CatalogObject>, columns: usize) -> Result<Arc<dyn TableSource>, PlanError> {
        match &object.body {
            ObjectBody::View { query, names, .. } => self.expand_view(object, query, names, columns),
            ObjectBody::Source(_) | ObjectBody::Table(_) | ObjectBody::MaterializedView(_) => {
                Ok(Arc::new(RelationSource { id: object.id, schema: planned_schema(object), role: ScanRole::Plain }))
            }
        }
    }

    /// The columns of the relation of this name; `None` if there is none.
    pub fn columns_of(&self, name: &ast::ObjectName) -> Option<Vec<String>> {
        let parts: Option<Vec<&ast::Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
        let fold = |ident: &ast::Ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        };
        let reference = match parts?.as_slice() {
            [table] => TableReference::bare(fold(table)),
            [schema, table] => TableReference::partial(fold(schema), fold(table)),
            _ => return None,
        };
        let source = self.resolve(&reference).ok()?;
        Some(source.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    fn expand_view(
        &self,
        view: &CatalogObject,
        query: &str,
        given: &[NameBinding],
        columns: usize,
    ) -> Result<Arc<dyn TableSource>, PlanError> {
        if self.depth >= VIEW_DEPTH_MAX {
            return Err(PlanError::invalid(
                SqlState::StatementTooComplex,
                format!("views are nested more than {VIEW_DEPTH_MAX} deep"),
            ));
        }
        let mut statements =
            sql::parse(query).map_err(|error| PlanError::Sql(types::ToSqlState::to_sql_error(&error)))?;
        let Some(sql::Statement::Query(query)) = statements.pop().map(|parsed| parsed.statement) else {
            return Err(PlanError::internal(format!("the text of view \"{}\" is not a query", view.name)));
        };
        let mut binder = Binder::new(self.catalog.clone(), self.session.clone(), self.environment.clone());
        binder.context.depth = self.depth + 1;
        binder.context.given = given.to_vec();
        let plan = binder.query(&query, &[], None)?;
        let names = view.columns.iter().take(columns).map(|column| column.name.as_str());
        let exprs =
            plan.schema().columns().into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name));
        let exprs: Vec<Expr> = exprs.collect();
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        Ok(Arc::new(ViewSource { schema: Arc::new(plan.schema().as_arrow().clone()), plan }))
    }
}

fn is_named(binding: &NameBinding, name: &TableReference) -> bool {
    binding.name == name.table() && binding.schema.as_deref() == name.schema()
}

fn undefined(name: &TableReference) -> PlanError {
    let name = match name.schema() {
        Some(schema) => format!("{schema}.{}", name.table()),
        None => name.table().to_string(),
    };
    PlanError::Catalog(CatalogError::UndefinedRelation { name })
}

/// With what a table promises about NULL: NOT IN, for example, is an anti join only without them.
fn planned_schema(object: &CatalogObject) -> SchemaRef {
    let schema = object.arrow_schema();
    if !matches!(object.body, ObjectBody::Table(_)) {
        return schema;
    }
    let fields = schema.fields().iter().zip(&object.columns);
    let fields = fields.map(|(field, column)| field.as_ref().clone().with_nullable(!column.not_null));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A plain view; the plan builder inlines its plan.
struct ViewSource {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.resolve(&name).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn get_table_function_source(&self, name: &str, arguments: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let name = name.trim_start_matches("pg_catalog.").to_lowercase();
        self.environment.table_function(&name, &arguments).ok_or_else(|| {
            let hint = Some("No table function of this name takes these arguments.".into());
            DataFusionError::External(Box::new(PlanError::UndefinedFunction { name, hint }))
        })
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        self.environment.work_table(name, &schema).ok_or_else(|| {
            let refused = PlanError::unsupported("WITH RECURSIVE is not supported here", "");
            DataFusionError::External(Box::new(refused))
        })
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        functions::expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(PostgresTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        if name == ARRAY_SUBQUERY {
            return Some(Arc::new(subquery::array_marker()));
        }
        self.environment.scalar_function(name).or_else(|| functions::registry().scalar.get(name).cloned())
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        functions::registry().aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        functions::registry().window.get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        functions::registry().scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        functions::registry().aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        functions::registry().window.keys().cloned().collect()
    }
}
