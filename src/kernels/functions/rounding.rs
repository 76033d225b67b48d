//! `trunc(numeric[, places])`, `floor(numeric)`, `ceil(numeric)`: DataFusion's leave zeros behind the cut (12.55 → 12.50);
//! Postgres' result has `places` digits (12.5), or none. Everything but the scale of the result is DataFusion's.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Rounding {
    inner: Arc<ScalarUDF>,
}

impl Rounding {
    /// In place of a function of DataFusion.
    pub fn of(inner: Arc<ScalarUDF>) -> Self {
        Rounding { inner }
    }
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    /// The scale shrinks to the number of places where that is a constant.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let places = match args.scalar_arguments.get(1) {
            None => Some(0),
            Some(places) => places.and_then(whole_number),
        };
        let field = self.inner.return_field_from_args(args)?;
        let cut = |scale: i8, places: i64| places.clamp(0, scale.max(0) as i64) as i8;
        let data_type = match (field.data_type(), places) {
            (DataType::Decimal128(precision, scale), Some(places)) => {
                DataType::Decimal128(*precision, cut(*scale, places))
            }
            (DataType::Decimal256(precision, scale), Some(places)) => {
                DataType::Decimal256(*precision, cut(*scale, places))
            }
            _ => return Ok(field),
        };
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let shown = args.return_type().clone();
        if shown.is_decimal() {
            // What rounds away from zero may need one more digit: ceil(9.99).
            let wide = match args.args[0].data_type() {
                DataType::Decimal128(precision, scale) if precision < DECIMAL128_MAX_PRECISION => {
                    DataType::Decimal128(precision + 1, scale)
                }
                other => other,
            };
            args.args[0] = args.args[0].cast_to(&wide, None)?;
            args.return_field = Arc::new(args.return_field.as_ref().clone().with_data_type(args.args[0].data_type()));
        }
        let value = self.inner.invoke_with_args(args)?;
        if value.data_type() == shown { Ok(value) } else { value.cast_to(&shown, None) }
    }
}

fn whole_number(scalar: &ScalarValue) -> Option<i64> {
    match scalar.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(value)) => value,
        _ => None,
    }
}
