//! Numeric arithmetic that fails as Postgres' does: integer overflow, division by zero also of floats, floats that leave
//! their range. DataFusion's own wraps integers and lets floats become infinite.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, RecordBatch, Scalar, new_empty_array};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, Float64Type, Schema};
use arrow::error::ArrowError;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use types::SqlState;

use super::cast::postgres_type_name;
use crate::KernelError;
use crate::error::division_by_zero;

#[derive(Debug, Clone, Eq)]
pub(crate) struct Arithmetic {
    left: Arc<dyn PhysicalExpr>,
    op: Operator,
    right: Arc<dyn PhysicalExpr>,
    result: DataType,
}

impl Arithmetic {
    /// Both sides numeric, coerced to types the Arrow kernel of `op` takes; `result` is what that kernel returns.
    pub fn new(
        left: Arc<dyn PhysicalExpr>,
        op: Operator,
        right: Arc<dyn PhysicalExpr>,
        result: DataType,
    ) -> Arithmetic {
        Arithmetic { left, op, right, result }
    }
}

/// `left op right` with Postgres' errors. `op` is one of + − * / %.
pub(crate) fn arithmetic(left: &ColumnarValue, op: Operator, right: &ColumnarValue) -> Result<ColumnarValue> {
    let kernel = |l: &dyn Datum, r: &dyn Datum| {
        let result = match op {
            Operator::Plus => numeric::add(l, r),
            Operator::Minus => numeric::sub(l, r),
            Operator::Multiply => numeric::mul(l, r),
            Operator::Divide => rounded_quotient(l, r).map_or_else(|| numeric::div(l, r), Ok),
            _ => numeric::rem(l, r),
        };
        let result = result.map_err(|error| match error {
            ArrowError::DivideByZero => division_by_zero().into_datafusion(),
            ArrowError::ArithmeticOverflow(_) => out_of_range(l.get().0.data_type()).into_datafusion(),
            other => other.into(),
        })?;
        if result.data_type().is_floating() {
            check_floats(l, op, r, &result).map_err(KernelError::into_datafusion)?;
        }
        Ok(result)
    };
    use ColumnarValue as V;
    match (left, right) {
        (V::Array(l), V::Array(r)) => kernel(l, r).map(V::Array),
        (V::Array(l), V::Scalar(r)) => kernel(l, &r.to_scalar()?).map(V::Array),
        (V::Scalar(l), V::Array(r)) => kernel(&l.to_scalar()?, r).map(V::Array),
        (V::Scalar(l), V::Scalar(r)) => {
            let array = kernel(&l.to_scalar()?, &r.to_scalar()?)?;
            ScalarValue::try_from_array(&array, 0).map(V::Scalar)
        }
    }
}

/// A quotient of decimals with its last digit rounded, as in Postgres; the kernel cuts the rest off. `None` for other
/// types, where there is no room for one digit more, and where it fails: the kernel then says why.
fn rounded_quotient(left: &dyn Datum, right: &dyn Datum) -> Option<ArrayRef> {
    let (values, is_scalar) = left.get();
    let finer = round_to(values, &one_digit_more(values.data_type())?).ok()?;
    let result =
        numeric::div(&new_empty_array(values.data_type()), &new_empty_array(right.get().0.data_type())).ok()?;
    let finer = if is_scalar { numeric::div(&Scalar::new(finer), right) } else { numeric::div(&finer, right) };
    round_to(&finer.ok()?, result.data_type()).ok()
}

/// The decimal type with one digit more behind the point. `None` for other types, and where there is no room.
pub(crate) fn one_digit_more(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Decimal128(precision, scale) if *scale < DECIMAL128_MAX_SCALE => {
            Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION.min(precision + 1), scale + 1))
        }
        _ => None,
    }
}

/// Decimals with the digits of `data_type`, rounded half away from zero. Errors: those that do not fit.
pub(crate) fn round_to(decimals: &dyn Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(decimals, data_type, &CastOptions { safe: false, ..CastOptions::default() })
}

/// "bigint out of range" and its siblings.
pub(crate) fn out_of_range(data_type: &DataType) -> KernelError {
    let message = match data_type {
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric field overflow".to_string(),
        other => format!("{} out of range", postgres_type_name(other)),
    };
    KernelError::evaluation(SqlState::NumericValueOutOfRange, message)
}

/// Looks closer only if some result is infinite or NaN, which finite data never is, or a product or quotient is zero.
fn check_floats(left: &dyn Datum, op: Operator, right: &dyn Datum, result: &ArrayRef) -> Result<(), KernelError> {
    let as_f64 = |array: &dyn Array| cast(array, &DataType::Float64).expect("floats widen to f64");
    let wide = as_f64(result);
    let values = wide.as_primitive::<Float64Type>();
    let scales = matches!(op, Operator::Multiply | Operator::Divide);
    if values.values().iter().all(|v| v.is_finite() && !(scales && *v == 0.0)) {
        return Ok(());
    }
    let ((l, l_scalar), (r, r_scalar)) = (left.get(), right.get());
    let (l, r) = (as_f64(l), as_f64(r));
    let (l, r) = (l.as_primitive::<Float64Type>(), r.as_primitive::<Float64Type>());
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|v| !v.is_finite() || *v == 0.0) else { continue };
        let (a, b) = (l.value(if l_scalar { 0 } else { row }), r.value(if r_scalar { 0 } else { row }));
        if matches!(op, Operator::Divide | Operator::Modulo) && b == 0.0 && !a.is_nan() {
            return Err(division_by_zero());
        }
        let vanished = match op {
            Operator::Multiply => a != 0.0 && b != 0.0,
            Operator::Divide => a != 0.0 && b.is_finite(),
            _ => false,
        };
        if value == 0.0 && vanished {
            return Err(KernelError::evaluation(SqlState::NumericValueOutOfRange, "value out of range: underflow"));
        }
        if value.is_infinite() && a.is_finite() && b.is_finite() {
            return Err(KernelError::evaluation(SqlState::NumericValueOutOfRange, "value out of range: overflow"));
        }
    }
    Ok(())
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.left.eq(&other.left) && self.right.eq(&other.right) && self.result == other.result
    }
}

impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.op.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, self.op, self.right)
    }
}

impl PhysicalExpr for Arithmetic {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        Ok(self.left.nullable(input)? || self.right.nullable(input)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        arithmetic(&self.left.evaluate(batch)?, self.op, &self.right.evaluate(batch)?)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let (left, right) = (children[0].clone(), children[1].clone());
        Ok(Arc::new(Arithmetic::new(left, self.op, right, self.result.clone())))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
