//! Generated columns: an expression over the other columns of its row, bound once and kept.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, Volatility};
use kernels::ScalarExpr;
use sql::ast;
use types::SqlState;

use crate::stream::substitute;
use crate::{PlanError, Planner};

/// A bound generated column.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedColumn {
    /// Columns of the row that it reads, ascending.
    pub reads: Vec<usize>,
    /// Over the columns of `reads`, in that order.
    pub expr: ScalarExpr,
    pub data_type: DataType,
}

impl Planner {
    /// Binds `expr` over the row's `columns`; `generated` are those that are computed themselves. `target`: the declared
    /// type, `None` to take the expression's.
    ///
    /// Errors: 42P17 if it reads a generated column or its value depends on more than the row; those of binding.
    pub fn bind_generated(
        &self,
        expr: &ast::Expr,
        columns: &SchemaRef,
        generated: &[usize],
        target: Option<&DataType>,
    ) -> Result<GeneratedColumn, PlanError> {
        self.check_immutable(expr, columns)?;
        let bound = match target {
            Some(target) => self.bind_assignment(expr, columns, None, target)?,
            None => self.bind_expr(expr, columns, None)?,
        };
        let reads = bound.scalar.columns();
        if let Some(column) = reads.iter().find(|column| generated.contains(column)) {
            let name = columns.field(*column).name();
            return Err(PlanError::Invalid {
                state: SqlState::InvalidObjectDefinition,
                message: format!("cannot use generated column \"{name}\" in column generation expression"),
                hint: Some("A generated column cannot reference another generated column.".into()),
            });
        }
        let place = |column| reads.iter().position(|read| *read == column).expect("its columns are listed");
        let expr = substitute(&bound.scalar, &|column| ScalarExpr::Column(place(column)));
        Ok(GeneratedColumn { reads, expr, data_type: bound.data_type })
    }

    fn check_immutable(&self, expr: &ast::Expr, columns: &SchemaRef) -> Result<(), PlanError> {
        let schema = DFSchema::try_from(columns.as_ref().clone()).map_err(PlanError::from)?;
        let bound = self.binder().bind(expr, &schema)?;
        let mut immutable = true;
        bound.apply(|node| {
            if let Expr::ScalarFunction(call) = node {
                immutable &= call.func.signature().volatility == Volatility::Immutable;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match immutable {
            true => Ok(()),
            false => Err(PlanError::Invalid {
                state: SqlState::InvalidObjectDefinition,
                message: "generation expression is not immutable".into(),
                hint: Some("Its value may depend on the columns of the row only.".into()),
            }),
        }
    }
}
