//! `pg_sleep`: the one function that waits. It is asynchronous, so that it occupies no query thread and ends at once when
//! the statement is cancelled or times out.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub const NAME: &str = "pg_sleep";

const VOID: u32 = 2278;

pub fn function() -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(Sleep { signature })).into_scalar_udf()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(plan::with_wire_type(Field::new(NAME, DataType::Utf8, true), VOID)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        unreachable!("DataFusion awaits asynchronous functions")
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    /// Sleeps for every row in turn; NULL does not sleep, and nobody sleeps into the past.
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let seconds = args.args[0].to_array(args.number_rows)?;
        let seconds = seconds.as_primitive::<Float64Type>().clone();
        for row in (0..seconds.len()).filter(|row| seconds.is_valid(*row)) {
            let time = Duration::try_from_secs_f64(seconds.value(row).max(0.0)).unwrap_or(Duration::MAX);
            tokio::time::sleep(time).await;
        }
        let nothing: StringArray = seconds.iter().map(|slept| slept.map(|_| "")).collect();
        Ok(ColumnarValue::Array(Arc::new(nothing) as ArrayRef))
    }
}
