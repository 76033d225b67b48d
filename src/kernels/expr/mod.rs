//! Scalar expressions: the persisted form ([`ScalarExpr`], made by [`from_logical`]) and its compiled form over Arrow
//! batches ([`CompiledExpr`]). The persisted form knows nothing of DataFusion, so plans survive its upgrades.

pub(crate) mod arithmetic;
pub(crate) mod cast;
mod compile;
mod evaluate;
mod from_logical;
mod literal;
mod null_on_error;
#[cfg(test)]
mod tests;
pub(crate) mod zone;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

pub use cast::cast_array;
pub use compile::CompiledExpr;
pub(crate) use compile::physical;
pub use evaluate::{Evaluated, OnError, evaluate_delta};
pub use from_logical::from_logical;
pub use literal::{Literal, scalar_value_to_literal};

/// A bound expression over the columns of one input, persisted with the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ScalarExpr {
    Column(usize),
    Literal(Literal),
    /// `op` as Postgres spells it (`+`, `AND`, `~*`, `||`, `IS DISTINCT FROM`). IS [NOT] TRUE, FALSE and UNKNOWN are
    /// IS [NOT] DISTINCT FROM a boolean literal; BETWEEN is two comparisons.
    Binary {
        op: String,
        left: Box<ScalarExpr>,
        right: Box<ScalarExpr>,
    },
    Not(Box<ScalarExpr>),
    /// NULL where the operation itself fails; its operands fail as they do.
    NullOnError(Box<ScalarExpr>),
    Negative(Box<ScalarExpr>),
    IsNull(Box<ScalarExpr>),
    IsNotNull(Box<ScalarExpr>),
    Case {
        operand: Option<Box<ScalarExpr>>,
        branches: Vec<(ScalarExpr, ScalarExpr)>,
        otherwise: Option<Box<ScalarExpr>>,
    },
    Cast {
        arg: Box<ScalarExpr>,
        to: DataType,
        try_cast: bool,
    },
    InList {
        arg: Box<ScalarExpr>,
        list: Vec<ScalarExpr>,
        negated: bool,
    },
    /// LIKE with backslash as escape character.
    Like {
        arg: Box<ScalarExpr>,
        pattern: Box<ScalarExpr>,
        negated: bool,
        case_insensitive: bool,
    },
    /// A scalar function by name, with the return type it was bound to.
    Function {
        name: String,
        args: Vec<ScalarExpr>,
        return_type: DataType,
        nullable: bool,
    },
}

impl ScalarExpr {
    /// `left op right`.
    pub fn binary(op: &str, left: ScalarExpr, right: ScalarExpr) -> ScalarExpr {
        ScalarExpr::Binary { op: op.to_string(), left: Box::new(left), right: Box::new(right) }
    }

    /// The input columns this expression reads, ascending, each once.
    pub fn columns(&self) -> Vec<usize> {
        let mut columns = vec![];
        self.collect_columns(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    fn collect_columns(&self, columns: &mut Vec<usize>) {
        if let ScalarExpr::Column(column) = self {
            columns.push(*column);
        }
        self.children().into_iter().for_each(|child| child.collect_columns(columns));
    }

    /// The direct subexpressions, in evaluation order.
    pub fn children(&self) -> Vec<&ScalarExpr> {
        match self {
            ScalarExpr::Column(_) | ScalarExpr::Literal(_) => vec![],
            ScalarExpr::Binary { left, right, .. } => vec![left, right],
            ScalarExpr::Not(arg)
            | ScalarExpr::NullOnError(arg)
            | ScalarExpr::Negative(arg)
            | ScalarExpr::IsNull(arg)
            | ScalarExpr::IsNotNull(arg)
            | ScalarExpr::Cast { arg, .. } => vec![arg],
            ScalarExpr::Case { operand, branches, otherwise } => {
                let mut children: Vec<&ScalarExpr> = operand.iter().map(|e| &**e).collect();
                children.extend(branches.iter().flat_map(|(when, then)| [when, then]));
                children.extend(otherwise.iter().map(|e| &**e));
                children
            }
            ScalarExpr::InList { arg, list, .. } => std::iter::once(&**arg).chain(list).collect(),
            ScalarExpr::Like { arg, pattern, .. } => vec![arg, pattern],
            ScalarExpr::Function { args, .. } => args.iter().collect(),
        }
    }
}
