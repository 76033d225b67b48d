//! What INSERT, UPDATE and DELETE share: the target table, constraints, RETURNING. What they write is given to the
//! session's transaction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::{CatalogObject, ObjectBody, TableBody};
use futures::StreamExt;
use kernels::CompiledExpr;
use sql::ast;
use types::{SqlError, SqlState, ToSqlState};

use super::{Context, names};
use crate::api::{Column, Response};
use crate::locks::{Mode, Resource};
use crate::session::Session;
use crate::tables::{RowsWritten, Written};

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

    /// The table for writing: until the transaction ends nobody drops it.
    pub async fn open(session: &mut Session, context: &Context, name: &ast::ObjectName) -> Result<Target, SqlError> {
        loop {
            let target = Target::resolve(context, name)?;
            let id = target.object.id;
            session.lock(&[(Resource::Table(id), Mode::Share)]).await?;
            // Whoever had it before may have dropped it.
            if context.shared.catalog().get(id).is_some() {
                return match context.shared.oracle.failure(id) {
                    None => Ok(target),
                    Some(failure) => Err(failure),
                };
            }
        }
    }

    pub fn body(&self) -> &TableBody {
        match &self.object.body {
            ObjectBody::Table(body) => body,
            _ => unreachable!("checked by resolve"),
        }
    }

    /// What a statement has done to the table.
    pub fn written(&self, kind: Written) -> RowsWritten {
        RowsWritten { table: self.object.id, keyed: !self.body().primary_key.is_empty(), kind, late: 0 }
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

pub(crate) fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, SqlError> {
    concat_batches(schema, batches).map_err(|e| SqlError::internal(e.to_string()))
}
