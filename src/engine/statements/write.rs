//! What INSERT, UPDATE and DELETE share: the target table, its writer's lock, constraints, RETURNING, and the way of
//! a delta into the journal or into the open transaction block.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use catalog::{CatalogObject, ObjectBody, TableBody};
use futures::StreamExt;
use kernels::CompiledExpr;
use sql::ast;
use tokio::sync::MutexGuard;
use types::{DeltaBatch, Epoch, SqlError, SqlState, ToSqlState, canonical};

use super::{Context, names};
use crate::api::{Column, Response};
use crate::session::Session;
use crate::tables::{self, TableChange, TableWriter, Ticket, WriterState};

/// A table that is being written.
pub(crate) struct Target {
    pub object: Arc<CatalogObject>,
    pub schema: SchemaRef,
}

impl Target {
    pub fn resolve(context: &Context, name: &ast::ObjectName) -> Result<Target, SqlError> {
        let (schema, name) = names::split(name)?;
        let catalog = context.shared.catalog();
        let object = context.resolve(&catalog, schema.as_deref(), &name)?.clone();
        if !matches!(object.body, ObjectBody::Table(_)) {
            let message = format!("cannot change {} \"{name}\"", object.kind_name());
            return Err(SqlError::new(SqlState::WrongObjectType, message)
                .with_hint("Only tables can be written; views follow their inputs."));
        }
        Ok(Target { schema: object.arrow_schema(), object })
    }

    pub fn body(&self) -> &TableBody {
        match &self.object.body {
            ObjectBody::Table(body) => body,
            _ => unreachable!("checked by resolve"),
        }
    }

    /// UPDATE and DELETE need rows that can be taken back.
    pub fn check_updatable(&self) -> Result<(), SqlError> {
        if self.body().source.is_some() {
            let message = format!("cannot change rows of table \"{}\", which has a connector", self.object.name);
            return Err(SqlError::new(SqlState::WrongObjectType, message)
                .with_hint("Its rows follow the connector; leave rows out in a view on it."));
        }
        if self.body().append_only {
            let message = format!("table \"{}\" is append-only", self.object.name);
            return Err(SqlError::new(SqlState::WrongObjectType, message)
                .with_hint("Create the table without APPEND ONLY to update or delete its rows."));
        }
        Ok(())
    }

    /// A connector that upserts, or that has a watermark, writes alone.
    pub fn check_insertable(&self) -> Result<(), SqlError> {
        let body = self.body();
        let why = match (&body.source, body.primary_key.is_empty(), &body.watermark) {
            (Some(_), false, _) => "Rows of its connector replace those with the same key.",
            (Some(_), true, Some(_)) => "Its connector alone moves the watermark.",
            _ => return Ok(()),
        };
        let message = format!("cannot insert into table \"{}\", which has a connector", self.object.name);
        Err(SqlError::new(SqlState::WrongObjectType, message)
            .with_detail(why)
            .with_hint("Insert into a table of its own, and combine both with UNION ALL in a view."))
    }

    /// 23502 if a NOT NULL column of `rows` holds NULL.
    pub fn check_not_null(&self, rows: &RecordBatch) -> Result<(), SqlError> {
        for (position, column) in self.object.columns.iter().enumerate() {
            if column.not_null && rows.column(position).null_count() > 0 {
                let (column, table) = (&column.name, &self.object.name);
                let message =
                    format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint");
                return Err(SqlError::new(SqlState::NotNullViolation, message));
            }
        }
        Ok(())
    }
}

/// Holds a table's writer lock; the latest writes are awaited on demand.
pub(crate) struct Writing<'a> {
    context: Context,
    target: &'a Target,
    state: MutexGuard<'a, WriterState>,
}

impl<'a> Writing<'a> {
    pub async fn lock(context: &Context, target: &'a Target, writer: &'a TableWriter) -> Writing<'a> {
        Writing { context: context.clone(), target, state: writer.lock.lock().await }
    }

    /// Waits until every earlier write of the table is visible, so that its rows can be read.
    pub async fn settle(&mut self) -> Result<(), SqlError> {
        let mut last: Option<Epoch> = None;
        for pending in self.state.pending.drain(..) {
            last = last.max(pending.await.ok());
        }
        if let Some(epoch) = last {
            self.context.shared.oracle.wait_sealed(&[self.target.object.id], epoch).await?;
        }
        Ok(())
    }

    /// Appends a change and releases the lock. The ticket resolves when it is durable and admitted.
    pub fn append(mut self, changes: Vec<TableChange>) -> Result<Ticket, SqlError> {
        let mut ticket = tables::append(&self.context.shared, changes)?;
        // The next writer may have to wait for this one too: share the answer.
        let (tell, heard) = tokio::sync::oneshot::channel();
        let (own, admitted) = tokio::sync::oneshot::channel();
        let original = std::mem::replace(&mut ticket.admitted, admitted);
        self.context.shared.query_handle.spawn(async move {
            if let Ok(epoch) = original.await {
                // Whoever no longer listens doesn't need it.
                let _ = tell.send(epoch);
                let _ = own.send(epoch);
            }
        });
        self.state.pending.retain_mut(|pending| pending.is_terminated_or_empty());
        self.state.pending.push(heard);
        Ok(ticket)
    }
}

/// Whether a receiver still waits; answered ones are kept until somebody settles.
trait Waiting {
    fn is_terminated_or_empty(&mut self) -> bool;
}

impl Waiting for tokio::sync::oneshot::Receiver<Epoch> {
    fn is_terminated_or_empty(&mut self) -> bool {
        !self.is_terminated()
    }
}

/// Waits for the acknowledgement of a write.
pub(crate) async fn acknowledged(ticket: Ticket) -> Result<Epoch, SqlError> {
    let lost = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    ticket.admitted.await.map_err(lost)
}

/// Evaluates `expr` per row and coerces it to a column's type, as an assignment does.
pub(crate) fn assign(
    context: &Context,
    expr: &ast::Expr,
    rows: &RecordBatch,
    relation: Option<&str>,
    target: &DataType,
) -> Result<ArrayRef, SqlError> {
    let schema = rows.schema();
    let bound = context.planner().bind_assignment(expr, &schema, relation, target).map_err(|e| e.to_sql_error())?;
    let compiled = CompiledExpr::compile(&bound.scalar, &schema).map_err(|e| e.to_sql_error())?;
    compiled.evaluate(rows).map_err(|e| e.to_sql_error())
}

/// 42804 if values of type `found` can't be assigned to a column.
pub(crate) fn check_assignable(found: &DataType, target: &DataType, column: &str) -> Result<(), SqlError> {
    if plan::assignable(found, target) {
        return Ok(());
    }
    let (found, wanted) = (plan::type_name(found), plan::type_name(target));
    let message = format!("column \"{column}\" is of type {wanted} but expression is of type {found}");
    Err(SqlError::new(SqlState::DatatypeMismatch, message)
        .with_hint("You will need to rewrite or cast the expression."))
}

/// Casts result columns of a query to a column's type, as an assignment does.
pub(crate) fn coerce(array: &ArrayRef, target: &DataType, column: &str) -> Result<ArrayRef, SqlError> {
    if array.data_type() == target {
        return Ok(array.clone());
    }
    check_assignable(array.data_type(), target, column)?;
    kernels::cast_array(array, target, false).map_err(|e| e.to_sql_error())
}

/// Columns that RETURNING gives.
pub(crate) fn returning_columns(
    context: &Context,
    target: &Target,
    returning: &[ast::SelectItem],
) -> Result<Option<Vec<Column>>, SqlError> {
    if returning.is_empty() {
        return Ok(None);
    }
    let empty = RecordBatch::new_empty(target.schema.clone());
    let rows = returning_rows(context, target, returning, &empty)?;
    Ok(Some(Column::of_schema(&rows.schema())))
}

/// RETURNING over the written rows.
pub(crate) fn returning_rows(
    context: &Context,
    target: &Target,
    returning: &[ast::SelectItem],
    rows: &RecordBatch,
) -> Result<RecordBatch, SqlError> {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (vec![], vec![]);
    for item in returning {
        let (expr, alias) = match item {
            ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..) => {
                fields.extend(rows.schema().fields().iter().map(|f| f.as_ref().clone()));
                arrays.extend(rows.columns().iter().cloned());
                continue;
            }
            ast::SelectItem::UnnamedExpr(expr) => (expr, None),
            ast::SelectItem::ExprWithAlias { expr, alias } => (expr, Some(names::fold(alias))),
            other => return Err(SqlError::unsupported(format!("RETURNING {other} is not supported"), "Name columns.")),
        };
        let planner = context.planner();
        let bound = planner.bind_expr(expr, &target.schema, Some(&target.object.name)).map_err(|e| e.to_sql_error())?;
        let compiled = CompiledExpr::compile(&bound.scalar, &target.schema).map_err(|e| e.to_sql_error())?;
        let name = alias.unwrap_or_else(|| match expr {
            ast::Expr::Identifier(ident) => names::fold(ident),
            _ => "?column?".to_string(),
        });
        fields.push(Field::new(name, bound.data_type.clone(), true));
        arrays.push(compiled.evaluate(rows).map_err(|e| e.to_sql_error())?);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|e| SqlError::internal(e.to_string()))
}

/// The answer of a write: its tag, or the RETURNING rows.
pub(crate) fn answer(
    context: &Context,
    target: &Target,
    returning: &[ast::SelectItem],
    rows: &RecordBatch,
    verb: &'static str,
) -> Result<Response, SqlError> {
    if returning.is_empty() {
        return super::tag(format!("{verb} {}", rows.num_rows()));
    }
    let rows = returning_rows(context, target, returning, rows)?;
    let columns = Column::of_schema(&rows.schema());
    let stream = futures::stream::once(async move { Ok(rows) }).boxed();
    Ok(Response::Rows { columns, stream, tag: verb })
}

/// Sends a delta on its way: into the open block, or to the journal and then into an epoch.
pub(crate) async fn commit_delta(
    session: &mut Session,
    writing: Writing<'_>,
    delta: DeltaBatch,
) -> Result<(), SqlError> {
    let change = TableChange::new(writing.target.object.id, delta);
    commit_changes(session, writing, vec![change]).await
}

/// The same for a write that concerns other tables too; all of it or nothing happens.
pub(crate) async fn commit_changes(
    session: &mut Session,
    writing: Writing<'_>,
    mut changes: Vec<TableChange>,
) -> Result<(), SqlError> {
    changes.retain(|change| !change.is_empty());
    if changes.is_empty() {
        return Ok(());
    }
    if session.transaction.is_open() {
        drop(writing);
        changes.into_iter().for_each(|change| session.transaction.write(change));
        return Ok(());
    }
    acknowledged(writing.append(changes)?).await.map(|_| ())
}

/// Refuses a statement that would need to see the block's own writes.
pub(crate) fn check_own_writes(session: &Session, target: &Target) -> Result<(), SqlError> {
    if session.transaction.is_open() && session.transaction.wrote(target.object.id) {
        return Err(SqlError::unsupported(
            format!("table \"{}\" was already written in this transaction block", target.object.name),
            "COMMIT first: a block does not read its own writes.",
        ));
    }
    Ok(())
}

/// Row encodings of the key columns, for duplicate checks.
pub(crate) fn key_rows(rows: &RecordBatch, key: &[usize]) -> Result<arrow::row::Rows, SqlError> {
    let fields = key.iter().map(|c| SortField::new(rows.column(*c).data_type().clone())).collect();
    let columns: Vec<ArrayRef> = key.iter().map(|c| canonical(rows.column(*c))).collect();
    RowConverter::new(fields)
        .and_then(|converter| converter.convert_columns(&columns))
        .map_err(|e| SqlError::internal(e.to_string()))
}

pub(crate) fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, SqlError> {
    concat_batches(schema, batches).map_err(|e| SqlError::internal(e.to_string()))
}
