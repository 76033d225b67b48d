//! `split_index(text, separator, index)` of Flink: the part at `index`, from 0; NULL where there is none.
//! Postgres' `split_part` counts from 1 and gives an empty text instead.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SplitIndex {
    signature: Signature,
}

impl SplitIndex {
    pub fn new() -> Self {
        let types = vec![DataType::Utf8, DataType::Utf8, DataType::Int64];
        SplitIndex { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SplitIndex {
    fn name(&self) -> &str {
        "split_index"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let [texts, separators, indexes] = take_function_args("split_index", args.args)?;
        let (texts, separators) = (texts.into_array(rows)?, separators.into_array(rows)?);
        let indexes = indexes.into_array(rows)?;
        let (texts, separators) = (texts.as_string::<i32>(), separators.as_string::<i32>());
        let indexes = indexes.as_primitive::<Int64Type>();
        let part = |row: usize| {
            let given = texts.is_valid(row) && separators.is_valid(row) && indexes.is_valid(row);
            given.then(|| part(texts.value(row), separators.value(row), indexes.value(row))).flatten()
        };
        let parts: ArrayRef = Arc::new(StringArray::from_iter((0..rows).map(part)));
        match scalar {
            true => ScalarValue::try_from_array(&parts, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(parts)),
        }
    }
}

/// An empty separator separates nothing.
fn part<'a>(text: &'a str, separator: &str, index: i64) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    if separator.is_empty() {
        return (index == 0).then_some(text);
    }
    text.split(separator).nth(index)
}
