//! `lpad`, `rpad` and `repeat` as in Postgres: lengths are in characters, negative ones are 0, an empty fill pads nothing,
//! and a result that is too large is refused before it is made.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion_functions::utils::make_scalar_function;

use super::result_size::ResultSize;
use crate::KernelError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Left,
    Right,
    Repeat,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Padding {
    kind: Kind,
    signature: Signature,
}

/// The three functions.
pub(super) fn functions() -> [ScalarUDF; 3] {
    let two = TypeSignature::Exact(vec![DataType::Utf8, DataType::Int64]);
    let three = TypeSignature::Exact(vec![DataType::Utf8, DataType::Int64, DataType::Utf8]);
    let pad = Signature::one_of(vec![two.clone(), three], Volatility::Immutable);
    let repeat = Signature::new(two, Volatility::Immutable);
    let of = |kind, signature| ScalarUDF::new_from_impl(Padding { kind, signature });
    [of(Kind::Left, pad.clone()), of(Kind::Right, pad), of(Kind::Repeat, repeat)]
}

impl ScalarUDFImpl for Padding {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Left => "lpad",
            Kind::Right => "rpad",
            Kind::Repeat => "repeat",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = self.kind;
        make_scalar_function(move |args: &[ArrayRef]| padded(kind, args).map_err(KernelError::into_datafusion), vec![])(
            &args.args,
        )
    }
}

fn padded(kind: Kind, args: &[ArrayRef]) -> Result<ArrayRef, KernelError> {
    let (texts, counts, fills) = match args {
        [texts, counts] => (texts, counts, None),
        [texts, counts, fills] => (texts, counts, Some(fills.as_string::<i32>())),
        _ => return Err(KernelError::internal("padding takes two or three arguments")),
    };
    let rows: Vec<Option<Parts>> = texts
        .as_string::<i32>()
        .iter()
        .zip(counts.as_primitive::<Int64Type>())
        .enumerate()
        .map(|(row, (text, count))| {
            let fill = match fills {
                Some(fills) => fills.is_valid(row).then(|| fills.value(row)),
                None => Some(" "),
            };
            Some(Parts::new(kind, text?, count?, fill?))
        })
        .collect();
    let mut size = ResultSize::default();
    rows.iter().flatten().try_for_each(|parts| size.add(parts.bytes()))?;
    let mut results = StringBuilder::with_capacity(rows.len(), size.bytes());
    let mut buffer = String::new();
    for parts in rows {
        buffer.clear();
        let value = parts.map(|parts| {
            parts.write(kind, &mut buffer);
            buffer.as_str()
        });
        results.append_option(value);
    }
    Ok(Arc::new(results.finish()))
}

/// A result as its parts: the text, the fill so many times, and the beginning of one more.
#[derive(Debug)]
struct Parts<'a> {
    text: &'a str,
    fill: &'a str,
    times: u64,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn new(kind: Kind, text: &'a str, count: i64, fill: &'a str) -> Self {
        let count = u64::try_from(count).unwrap_or(0);
        if kind == Kind::Repeat {
            let times = if text.is_empty() { 0 } else { count };
            return Parts { text: "", fill: text, times, rest: "" };
        }
        let length = text.chars().count() as u64;
        let fill_length = fill.chars().count() as u64;
        if count <= length || fill_length == 0 {
            return Parts { text: beginning(text, count), fill, times: 0, rest: "" };
        }
        let missing = count - length;
        let (times, rest) = (missing / fill_length, missing % fill_length);
        Parts { text, fill, times, rest: beginning(fill, rest) }
    }

    fn bytes(&self) -> u64 {
        let fills = (self.fill.len() as u64).saturating_mul(self.times);
        fills.saturating_add((self.text.len() + self.rest.len()) as u64)
    }

    fn write(&self, kind: Kind, to: &mut String) {
        to.reserve(self.bytes() as usize);
        if kind == Kind::Right {
            to.push_str(self.text);
        }
        // Measured before: it fits into memory.
        to.push_str(&self.fill.repeat(self.times as usize));
        to.push_str(self.rest);
        if kind == Kind::Left {
            to.push_str(self.text);
        }
    }
}

/// The first `count` characters.
fn beginning(text: &str, count: u64) -> &str {
    let end = usize::try_from(count).ok().and_then(|count| text.char_indices().nth(count));
    end.map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind, text: &str, count: i64, fill: &str) -> String {
        let mut buffer = String::new();
        Parts::new(kind, text, count, fill).write(kind, &mut buffer);
        buffer
    }

    #[test]
    fn lengths_are_in_characters() {
        assert_eq!(value(Kind::Left, "hé", 6, "日x"), "日x日xhé");
        assert_eq!(value(Kind::Right, "hé", 5, "日x"), "hé日x日");
        assert_eq!(value(Kind::Right, "日本語", 2, " "), "日本");
    }

    #[test]
    fn nothing_is_negative() {
        assert_eq!(value(Kind::Left, "ab", -1, " "), "");
        assert_eq!(value(Kind::Repeat, "ab", i64::MIN, ""), "");
        assert_eq!(value(Kind::Repeat, "", i64::MAX, ""), "");
    }

    #[test]
    fn an_empty_fill_only_cuts() {
        assert_eq!(value(Kind::Left, "abc", 9, ""), "abc");
        assert_eq!(value(Kind::Left, "abc", 2, ""), "ab");
    }

    #[test]
    fn a_value_too_large_is_refused_unmade() {
        let args: [ArrayRef; 2] = [
            Arc::new(arrow::array::StringArray::from(vec!["x", "y"])),
            Arc::new(arrow::array::Int64Array::from(vec![1, 2_000_000_000])),
        ];
        let error = padded(Kind::Repeat, &args).expect_err("two gigabytes");
        assert_eq!(error.to_string(), "requested length too large");
    }
}
