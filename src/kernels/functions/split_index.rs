//! `split_index(text, separator, index)` of Flink: the part at `index`, from 0; NULL where there is none.
//! Postgres' `split_part` counts from 1 and gives an empty text instead.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion_functions::utils::make_scalar_function;

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
        make_scalar_function(parts, vec![])(&args.args)
    }
}

fn parts(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let [texts, separators, indexes] = take_function_args("split_index", arguments)?;
    let (texts, separators) = (texts.as_string::<i32>(), separators.as_string::<i32>());
    let rows = texts.iter().zip(separators).zip(indexes.as_primitive::<Int64Type>());
    let parts = rows.map(|((text, separator), index)| part(text?, separator?, index?));
    Ok(Arc::new(StringArray::from_iter(parts)))
}

/// An empty separator separates nothing.
fn part<'a>(text: &'a str, separator: &str, index: i64) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    if separator.is_empty() {
        return (index == 0).then_some(text);
    }
    text.split(separator).nth(index)
}
