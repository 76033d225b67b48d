//! DELETE: the rows a query finds, retracted.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use sql::{Delete, ast};
use types::SqlError;

use super::write::{self, Target};
use super::{Context, found_rows, query};
use crate::api::{Described, Response};
use crate::session::Session;
use crate::tables::Written;

pub(crate) fn describe(
    context: &Context,
    delete: &Delete,
    parameters: &[Option<DataType>],
) -> Result<Described, SqlError> {
    let target = Target::resolve(context, &delete.table)?;
    let found = affected_rows(&target, &delete.table, delete.alias.as_ref(), vec![], delete.selection.as_ref())?;
    let parameters = query::plan(context, &found, parameters)?.parameter_types;
    Ok(Described { parameters, columns: write::returning_columns(context, &target, &delete.returning)? })
}

pub(crate) async fn execute(
    session: &mut Session,
    delete: &Delete,
    parameters: &[ArrayRef],
) -> Result<Response, SqlError> {
    let context = session.context();
    let target = Target::open(session, &context, &delete.table).await?;
    target.check_updatable()?;
    let found = affected_rows(&target, &delete.table, delete.alias.as_ref(), vec![], delete.selection.as_ref())?;
    let hints: Vec<Option<DataType>> = parameters.iter().map(|p| Some(p.data_type().clone())).collect();
    let planned = query::plan(&context, &found, &hints)?;
    let rows = found_rows::find(session, &context, &target, planned, parameters).await?.rows;
    let response = write::answer(&context, &target, &delete.returning, &rows.rows, "DELETE")?;
    session.transaction.work().write(target.written(Written::Deleted(rows)));
    Ok(response)
}

/// `SELECT all columns, extra… FROM table [alias] WHERE selection` as an AST.
pub(crate) fn affected_rows(
    target: &Target,
    name: &ast::ObjectName,
    alias: Option<&ast::Ident>,
    extra: Vec<ast::Expr>,
    selection: Option<&ast::Expr>,
) -> Result<ast::Query, SqlError> {
    let mut query = sql::select_from(name, alias);
    let ast::SetExpr::Select(select) = query.body.as_mut() else { unreachable!("a select was made") };
    let columns = target.object.columns.iter().map(|c| ast::Expr::Identifier(ast::Ident::with_quote('"', &c.name)));
    select.projection = columns
        .chain(extra)
        .enumerate()
        .map(|(i, expr)| ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::new(format!("c{i}")) })
        .collect();
    select.selection = selection.cloned();
    Ok(query)
}
