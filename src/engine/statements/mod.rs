//! Statements, one per file. This module only dispatches and holds what several of them need.

pub mod building;
pub mod comment;
pub mod copy;
pub mod create_materialized_view;
pub mod create_schema;
pub mod create_source;
pub mod create_table;
mod create_table_as;
pub mod create_view;
pub mod cursor;
pub mod delete;
pub mod drop;
mod error_views;
pub mod explain;
pub mod found_rows;
pub mod insert;
mod insert_rows;
mod keeping_tables;
mod late_rows;
pub mod names;
mod on_conflict;
pub mod prepare;
pub mod query;
mod refresh;
mod replaced_view;
pub mod settings;
pub mod show;
pub mod subscribe;
pub mod transaction;
pub mod unique;
pub mod update;
pub mod write;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use catalog::{Catalog, CatalogObject};
use plan::{PlanSession, Planner};
use sql::{ParsedStatement, Statement};
use types::{SqlError, ToSqlState};

use crate::api::{Described, Response};
use crate::engine::Shared;
use crate::session::Session;
use crate::system::SessionEnvironment;

/// What a statement needs of its session besides the session itself; can outlive it.
#[derive(Clone)]
pub struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) environment: Arc<SessionEnvironment>,
    pub(crate) session: PlanSession,
    pub(crate) temporary_schema: String,
}

impl Context {
    /// The object a statement names: unqualified names are looked up along the search path.
    pub(crate) fn find<'a>(
        &self,
        catalog: &'a Catalog,
        schema: Option<&str>,
        name: &str,
    ) -> Option<&'a Arc<CatalogObject>> {
        match schema {
            Some("pg_temp") => catalog.find(Some(&self.temporary_schema), name),
            Some(schema) => catalog.find(Some(schema), name),
            None => self.session.search_path.iter().find_map(|schema| catalog.find(Some(schema), name)),
        }
    }

    /// Like [`find`](Self::find), with Postgres' error.
    pub(crate) fn resolve<'a>(
        &self,
        catalog: &'a Catalog,
        schema: Option<&str>,
        name: &str,
    ) -> Result<&'a Arc<CatalogObject>, SqlError> {
        let schema = self.find(catalog, schema, name).map(|object| object.schema.as_str()).or(schema);
        // A schema that cannot be: nothing along the search path has the name.
        catalog.resolve(Some(schema.unwrap_or_default()), name).map_err(|e| e.to_sql_error())
    }

    /// A planner over the catalog as it is now.
    pub(crate) fn planner(&self) -> Planner {
        let catalog = self.shared.catalog().seen_from(&self.temporary_schema);
        Planner::new(catalog, self.session.clone()).with_environment(self.environment.clone())
    }
}

/// A complete tag.
pub(crate) fn tag(text: impl Into<String>) -> Result<Response, SqlError> {
    Ok(Response::Command { tag: text.into() })
}

/// Types of parameters and result.
pub(crate) fn describe(
    context: &Context,
    session: &Session,
    statement: &Statement,
    parameters: &[Option<DataType>],
) -> Result<Described, SqlError> {
    match statement {
        Statement::Query(query) => query::describe(context, query, parameters),
        Statement::Insert(insert) => insert::describe(context, insert, parameters),
        Statement::Update(update) => update::describe(context, update, parameters),
        Statement::Delete(delete) => delete::describe(context, delete, parameters),
        Statement::Subscribe(subscribe) => subscribe::describe(context, subscribe),
        Statement::Explain { .. } => Ok(explain::described()),
        Statement::Show(show) => show::describe(show),
        Statement::Describe { .. } => Ok(show::describe_columns()),
        Statement::Declare { statement, .. } => {
            let inner = describe(context, session, statement, parameters)?;
            Ok(Described { columns: None, ..inner })
        }
        Statement::Fetch { name, .. } => cursor::describe(session, name),
        Statement::Execute { name, .. } => prepare::describe(session, name),
        _ => Ok(Session::nothing()),
    }
}

pub(crate) async fn execute(
    session: &mut Session,
    parsed: &ParsedStatement,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    transaction::check_modes(session, &parsed.statement)?;
    if transaction::is_query(&parsed.statement) {
        session.transaction.begun();
    }
    if !is_definition(&parsed.statement) {
        return dispatch(session, parsed, parameters).await;
    }
    transaction::before_definition(session).await?;
    let response = dispatch(session, parsed, parameters).await?;
    if let Response::Command { tag } = &response {
        session.transaction.defined(tag);
    }
    Ok(response)
}

/// Statements that change the catalog.
fn is_definition(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateSource(_)
            | Statement::CreateTable(_)
            | Statement::CreateView(_)
            | Statement::CreateMaterializedView(_)
            | Statement::CreateSchema { .. }
            | Statement::Drop(_)
            | Statement::Comment { .. }
    )
}

async fn dispatch(
    session: &mut Session,
    parsed: &ParsedStatement,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    match &parsed.statement {
        Statement::CreateSource(create) => create_source::execute(session, create, &parsed.text).await,
        Statement::CreateTable(create) => create_table::execute(session, create, &parsed.text).await,
        Statement::CreateView(create) => create_view::execute(session, create, &parsed.text).await,
        Statement::CreateMaterializedView(create) => {
            create_materialized_view::execute(session, create, &parsed.text).await
        }
        Statement::CreateSchema { name, if_not_exists } => create_schema::execute(session, name, *if_not_exists).await,
        Statement::Drop(drop) => drop::execute(session, drop).await,
        Statement::Comment { kind, name, column, text } => {
            comment::execute(session, *kind, name, column.as_ref(), text.as_deref()).await
        }
        Statement::Insert(insert) => insert::execute(session, insert, parameters).await,
        Statement::Update(update) => update::execute(session, update, parameters).await,
        Statement::Delete(delete) => delete::execute(session, delete, parameters).await,
        Statement::Query(query) => query::execute(session, query, parameters).await,
        Statement::Subscribe(subscribe) => subscribe::execute(session, subscribe).await,
        Statement::CopyTo { from, options } => copy::execute(session, from, options).await,
        Statement::Explain { options, statement } => explain::execute(session, *options, statement).await,
        Statement::Show(show) => show::execute(session, show),
        Statement::Describe { name } => show::describe_relation(session, name),
        Statement::Set { local, name, value } => settings::set(session, *local, name, value.as_deref()),
        Statement::Reset { name } => settings::reset(session, name.as_deref()),
        Statement::Flush => settings::flush(session).await,
        Statement::Wait => settings::wait(session).await,
        Statement::Refresh { name } => refresh::execute(session, name).await,
        Statement::CancelJobs { ids } => settings::cancel_jobs(session, ids),
        Statement::Unlisten => tag("UNLISTEN"),
        Statement::DiscardAll => settings::discard_all(session).await,
        Statement::Begin { modes, start } => transaction::begin(session, modes, *start),
        Statement::SetTransaction { session: all, modes } => transaction::set_transaction(session, *all, modes),
        Statement::Commit => transaction::commit(session).await,
        Statement::Rollback => transaction::rollback(session),
        Statement::Savepoint { action, name } => transaction::savepoint(session, *action, name),
        Statement::Prepare { name, statement } => prepare::prepare(session, name, statement),
        Statement::Execute { name, parameters: arguments } => {
            prepare::execute(session, name, arguments, parameters).await
        }
        Statement::Deallocate { name } => prepare::deallocate(session, name.as_deref()),
        Statement::Declare { name, statement, .. } => cursor::declare(session, name, statement, parameters).await,
        Statement::Fetch { name, count, timeout_ms } => cursor::fetch(session, name, *count, *timeout_ms).await,
        Statement::Close { name } => cursor::close(session, name.as_deref()),
    }
}
