//! Arithmetic and casts as functions: what ad-hoc queries call in place of DataFusion's operators, which wrap integers,
//! let floats become infinite and cut fractions off. The kernels are the ones that views run.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::KernelError;
use crate::expr::arithmetic::arithmetic;
use crate::expr::cast::postgres_type_name;
use crate::expr::zone::cast_array_in;

/// `left op right` of two numeric arguments that are coerced already. `None` if `op` is no arithmetic.
pub fn checked_operator(op: Operator) -> Option<Arc<ScalarUDF>> {
    let name = match op {
        Operator::Plus => "checked_add",
        Operator::Minus => "checked_subtract",
        Operator::Multiply => "checked_multiply",
        Operator::Divide => "checked_divide",
        Operator::Modulo => "checked_modulo",
        _ => return None,
    };
    let signature = Signature::any(2, Volatility::Immutable);
    Some(Arc::new(ScalarUDF::new_from_impl(CheckedOperator { name, op, signature })))
}

/// The cast to `to` as a function of one argument, in the time zone of a session.
pub fn postgres_cast(to: &DataType, try_cast: bool, zone: &str) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(CastFunction { to: to.clone(), try_cast, zone: zone.to_string(), signature }))
}

/// The value of a cast of a literal, of an operator between two numeric literals, or of the difference of two literal
/// timestamps. `None` for other expressions. `zone`: in which times without zone are meant.
///
/// Errors: `Evaluation`, as evaluating it would.
pub fn constant(expr: &Expr, zone: &str) -> Result<Option<ScalarValue>, KernelError> {
    match expr {
        Expr::Cast(cast) => constant_cast(&cast.expr, cast.field.data_type(), false, zone),
        Expr::TryCast(cast) => constant_cast(&cast.expr, cast.field.data_type(), true, zone),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (Expr::Literal(left, _), Expr::Literal(right, _)) = (left.as_ref(), right.as_ref()) else {
                return Ok(None);
            };
            let numeric = |value: &ScalarValue| !value.is_null() && value.data_type().is_numeric();
            let moment = |value: &ScalarValue| !value.is_null() && matches!(value.data_type(), DataType::Timestamp(..));
            let difference = *op == Operator::Minus && moment(left) && moment(right);
            if !difference && (checked_operator(*op).is_none() || !numeric(left) || !numeric(right)) {
                return Ok(None);
            }
            let (left, right) = (ColumnarValue::Scalar(left.clone()), ColumnarValue::Scalar(right.clone()));
            match arithmetic(&left, *op, &right).map_err(KernelError::from_evaluation)? {
                ColumnarValue::Scalar(value) => Ok(Some(value)),
                ColumnarValue::Array(_) => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn constant_cast(arg: &Expr, to: &DataType, try_cast: bool, zone: &str) -> Result<Option<ScalarValue>, KernelError> {
    let Expr::Literal(value, _) = arg else { return Ok(None) };
    if value.is_null() || !arrow::compute::can_cast_types(&value.data_type(), to) {
        return Ok(None);
    }
    let array = value.to_array().map_err(KernelError::from_evaluation)?;
    let array = cast_array_in(&array, to, try_cast, zone)?;
    ScalarValue::try_from_array(&array, 0).map(Some).map_err(KernelError::from_evaluation)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedOperator {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for CheckedOperator {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [left, right] = take_function_args(self.name, arg_types)?;
        BinaryTypeCoercer::new(left, &self.op, right).get_result_type()
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = take_function_args(self.name, args.args)?;
        arithmetic(&left, self.op, &right)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CastFunction {
    to: DataType,
    try_cast: bool,
    zone: String,
    signature: Signature,
}

impl CastFunction {
    fn cast(&self, value: &ColumnarValue) -> Result<ColumnarValue> {
        let cast =
            |array| cast_array_in(array, &self.to, self.try_cast, &self.zone).map_err(KernelError::into_datafusion);
        match value {
            ColumnarValue::Array(array) => cast(array).map(ColumnarValue::Array),
            ColumnarValue::Scalar(scalar) => {
                let array = cast(&scalar.to_array()?)?;
                ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
            }
        }
    }
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        if self.try_cast { "try_cast_as" } else { "cast_as" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// With the target, so that two casts of one expression have different names.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("{}_{}({})", self.name(), postgres_type_name(&self.to), args.join(",")))
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = self.try_cast || args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.to.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = take_function_args(self.name(), args.args)?;
        self.cast(&value)
    }
}
