//! The persisted form into DataFusion's physical expressions, with arithmetic and casts replaced by ours, which fail
//! where Postgres fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{self, BinaryExpr, Column};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use types::SqlState;

use super::ScalarExpr;
use super::arithmetic::Arithmetic;
use super::cast::PostgresCast;
use super::null_on_error::NullOnError;
use crate::error::panic_text;
use crate::{KernelError, functions};

/// An expression ready to run on batches of one schema.
#[derive(Debug, Clone)]
pub struct CompiledExpr {
    kind: Kind,
    data_type: DataType,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A column passes by reference.
    Column(usize),
    Computed(Arc<dyn PhysicalExpr>),
}

impl CompiledExpr {
    /// Errors: `Unsupported` for a function or operator without a kernel, `Internal` if `expr` does not fit `input`.
    pub fn compile(expr: &ScalarExpr, input: &Schema) -> Result<Self, KernelError> {
        let compiled = physical(expr, input)?;
        let data_type = compiled.data_type(input).map_err(KernelError::from_planning)?;
        let kind = match expr {
            ScalarExpr::Column(column) => Kind::Column(*column),
            _ => Kind::Computed(compiled),
        };
        Ok(CompiledExpr { kind, data_type })
    }

    /// One value per row. Errors: the `Evaluation` of some failing row; [`evaluate_delta`](super::evaluate_delta)
    /// tells them apart. `TooLarge` if fewer rows may fit. A panic of a library is the `Evaluation` of some row: it may
    /// not take the rows beside it along.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, KernelError> {
        match &self.kind {
            Kind::Column(column) => Ok(batch.column(*column).clone()),
            Kind::Computed(expr) => {
                let evaluate = || expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
                match catch_unwind(AssertUnwindSafe(evaluate)) {
                    Ok(result) => result.map_err(KernelError::from_evaluation),
                    Err(panic) => Err(KernelError::of_panic(panic.as_ref()).unwrap_or_else(|| {
                        let message = format!("an expression hit a bug in the server: {}", panic_text(panic.as_ref()));
                        KernelError::evaluation(SqlState::InternalError, message)
                    })),
                }
            }
        }
    }

    pub fn data_type(&self) -> DataType {
        self.data_type.clone()
    }
}

/// The operator spelled `op`, if expressions may hold it.
pub(super) fn operator(op: &str) -> Option<Operator> {
    use Operator::*;
    let supported = [
        Eq,
        NotEq,
        Lt,
        LtEq,
        Gt,
        GtEq,
        Plus,
        Minus,
        Multiply,
        Divide,
        Modulo,
        And,
        Or,
        RegexMatch,
        RegexIMatch,
        RegexNotMatch,
        RegexNotIMatch,
        LikeMatch,
        ILikeMatch,
        NotLikeMatch,
        NotILikeMatch,
        IsDistinctFrom,
        IsNotDistinctFrom,
        BitwiseAnd,
        BitwiseOr,
        BitwiseXor,
        BitwiseShiftRight,
        BitwiseShiftLeft,
        StringConcat,
    ];
    supported.into_iter().find(|candidate| candidate.to_string() == op)
}

/// What functions are told about the session: views are frozen in UTC.
pub(crate) fn config() -> Arc<ConfigOptions> {
    let mut options = ConfigOptions::default();
    options.execution.time_zone = Some("UTC".to_string());
    Arc::new(options)
}

/// `expr` as a physical expression over columns of `input` by position.
pub(crate) fn physical(expr: &ScalarExpr, input: &Schema) -> Result<Arc<dyn PhysicalExpr>, KernelError> {
    let child = |e: &ScalarExpr| physical(e, input);
    let planned = KernelError::from_planning;
    match expr {
        ScalarExpr::Column(column) => {
            let field = input.fields().get(*column);
            let field = field.ok_or_else(|| KernelError::internal(format!("no input column {column}")))?;
            Ok(Arc::new(Column::new(field.name(), *column)))
        }
        ScalarExpr::Literal(literal) => Ok(expressions::lit(literal.to_scalar_value()?)),
        ScalarExpr::Binary { op, left, right } => {
            let op = operator(op).ok_or_else(|| KernelError::unsupported(format!("operator \"{op}\"")))?;
            binary(child(left)?, op, child(right)?, input)
        }
        ScalarExpr::Not(arg) => expressions::not(child(arg)?).map_err(planned),
        ScalarExpr::NullOnError(arg) => {
            let inner = child(arg)?;
            let data_type = inner.data_type(input).map_err(planned)?;
            Ok(Arc::new(NullOnError::new(inner, data_type)))
        }
        ScalarExpr::Negative(arg) => negative(child(arg)?, input),
        ScalarExpr::IsNull(arg) => expressions::is_null(child(arg)?).map_err(planned),
        ScalarExpr::IsNotNull(arg) => expressions::is_not_null(child(arg)?).map_err(planned),
        ScalarExpr::Case { operand, branches, otherwise } => {
            let operand = operand.as_deref().map(child).transpose()?;
            let branches = branches.iter().map(|(when, then)| Ok((child(when)?, child(then)?)));
            let branches = branches.collect::<Result<Vec<_>, KernelError>>()?;
            let otherwise = otherwise.as_deref().map(child).transpose()?;
            expressions::case(operand, branches, otherwise).map_err(planned)
        }
        ScalarExpr::Cast { arg, to, try_cast } => PostgresCast::build(child(arg)?, to, *try_cast, input),
        ScalarExpr::InList { arg, list, negated } => {
            let list = list.iter().map(child).collect::<Result<Vec<_>, _>>()?;
            expressions::in_list(child(arg)?, list, negated, input).map_err(planned)
        }
        ScalarExpr::Like { arg, pattern, negated, case_insensitive } => {
            expressions::like(*negated, *case_insensitive, child(arg)?, child(pattern)?, input).map_err(planned)
        }
        ScalarExpr::Function { name, args, return_type, nullable: _ } => {
            let args = args.iter().map(child).collect::<Result<Vec<_>, _>>()?;
            function(name, args, return_type, input)
        }
    }
}

/// The scalar function `name` over `args`; what it returns must still be what the plan was bound to.
fn function(
    name: &str,
    args: Vec<Arc<dyn PhysicalExpr>>,
    return_type: &DataType,
    input: &Schema,
) -> Result<Arc<dyn PhysicalExpr>, KernelError> {
    let udf = functions::scalar_function(name);
    let udf = udf.ok_or_else(|| KernelError::unsupported(format!("function \"{name}\"")))?;
    let call = ScalarFunctionExpr::try_new(udf, args, input, config()).map_err(KernelError::from_planning)?;
    if !call.return_type().equals_datatype(return_type) {
        let found = call.return_type();
        return Err(KernelError::internal(format!(
            "function \"{name}\" returns {found}, the plan was bound to {return_type}"
        )));
    }
    Ok(Arc::new(call))
}

/// Numeric arithmetic is ours; comparisons, logic, strings, dates and intervals are DataFusion's.
pub(crate) fn binary(
    left: Arc<dyn PhysicalExpr>,
    op: Operator,
    right: Arc<dyn PhysicalExpr>,
    input: &Schema,
) -> Result<Arc<dyn PhysicalExpr>, KernelError> {
    let types = (left.data_type(input), right.data_type(input));
    let (left_type, right_type) =
        (types.0.map_err(KernelError::from_planning)?, types.1.map_err(KernelError::from_planning)?);
    let arithmetic =
        matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo);
    let plain = BinaryExpr::new(left.clone(), op, right.clone()).with_fail_on_overflow(true);
    if arithmetic && left_type.is_numeric() && right_type.is_numeric() {
        let result = plain.data_type(input).map_err(KernelError::from_planning)?;
        return Ok(Arc::new(Arithmetic::new(left, op, right, result)));
    }
    if arithmetic {
        plain.data_type(input).map_err(KernelError::from_planning)?;
        return Ok(Arc::new(plain));
    }
    expressions::binary(left, op, right, input).map_err(KernelError::from_planning)
}

/// Integers go through checked subtraction: −(−2^63) overflows.
fn negative(arg: Arc<dyn PhysicalExpr>, input: &Schema) -> Result<Arc<dyn PhysicalExpr>, KernelError> {
    let data_type = arg.data_type(input).map_err(KernelError::from_planning)?;
    if data_type.is_integer() {
        let zero = ScalarValue::new_zero(&data_type).map_err(KernelError::from_planning)?;
        return binary(expressions::lit(zero), Operator::Minus, arg, input);
    }
    expressions::negative(arg, input).map_err(KernelError::from_planning)
}
