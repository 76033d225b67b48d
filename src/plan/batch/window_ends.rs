//! The window ends of a time, as a function: `bigint → bigint[]`, microseconds. HOP and CUMULATE only.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Builder, ListBuilder};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use operators::spec::WindowKind;

/// Calls the function of `kind` on `micros`.
pub(super) fn call(kind: WindowKind, micros: Expr) -> Expr {
    let (step_us, size_us, offset_us, cumulate) = match kind {
        WindowKind::Hop { slide_us, size_us, offset_us } => (slide_us, size_us, offset_us, false),
        WindowKind::Cumulate { step_us, size_us, offset_us } => (step_us, size_us, offset_us, true),
        WindowKind::Tumble { size_us, offset_us } => (size_us, size_us, offset_us, false),
    };
    let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
    let ends = WindowEnds { step_us, size_us, offset_us, cumulate, signature };
    ScalarUDF::from(ends).call(vec![micros])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowEnds {
    step_us: i64,
    size_us: i64,
    offset_us: i64,
    cumulate: bool,
    signature: Signature,
}

impl WindowEnds {
    /// First and last end; all those between in steps.
    fn range(&self, time: i64) -> (i64, i64) {
        if self.cumulate {
            let start = floor(time, self.size_us, self.offset_us);
            let first = floor(time, self.step_us, start) + self.step_us;
            return (first, start + self.size_us);
        }
        // Window starts s with s ≤ time < s + size, from the last one down.
        let last_start = floor(time, self.step_us, self.offset_us);
        let inside = time - last_start;
        if inside >= self.size_us {
            // Gaps between windows: this time is in none.
            return (1, 0);
        }
        let earlier = (self.size_us - 1 - inside) / self.step_us;
        (last_start - earlier * self.step_us + self.size_us, last_start + self.size_us)
    }
}

/// The largest `offset + k × unit` that is ≤ `time`.
fn floor(time: i64, unit: i64, offset: i64) -> i64 {
    time - (time - offset).rem_euclid(unit)
}

impl ScalarUDFImpl for WindowEnds {
    fn name(&self) -> &str {
        "__window_ends"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args[0].to_array(args.number_rows)?;
        let mut lists = ListBuilder::new(Int64Builder::new());
        for time in times.as_primitive::<Int64Type>() {
            if let Some(time) = time {
                let (mut end, last) = self.range(time);
                while end <= last {
                    lists.values().append_value(end);
                    end += self.step_us;
                }
            }
            lists.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish()) as ArrayRef))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(step_us: i64, size_us: i64, offset_us: i64, cumulate: bool, time: i64) -> Vec<i64> {
        let signature = Signature::any(1, Volatility::Immutable);
        let function = WindowEnds { step_us, size_us, offset_us, cumulate, signature };
        let (first, last) = function.range(time);
        (first..=last).step_by(step_us as usize).collect()
    }

    #[test]
    fn hop_covers_every_window_of_a_time() {
        assert_eq!(ends(2, 10, 0, false, 7), [8, 10, 12, 14, 16]);
        assert_eq!(ends(2, 10, 0, false, -1), [0, 2, 4, 6, 8]);
        assert_eq!(ends(2, 10, 1, false, 7), [9, 11, 13, 15, 17]);
    }

    #[test]
    fn hop_whose_slide_is_not_a_divisor() {
        // Starts are multiples of 4; 9 is in [0, 10), [4, 14), [8, 18).
        assert_eq!(ends(4, 10, 0, false, 9), [10, 14, 18]);
        // 10 is no longer in [0, 10).
        assert_eq!(ends(4, 10, 0, false, 10), [14, 18]);
    }

    #[test]
    fn hop_with_gaps_drops_what_is_between() {
        assert_eq!(ends(10, 4, 0, false, 3), [4]);
        assert_eq!(ends(10, 4, 0, false, 4), Vec::<i64>::new());
    }

    #[test]
    fn cumulate_ends_grow_by_step() {
        assert_eq!(ends(2, 6, 0, true, 3), [4, 6]);
        assert_eq!(ends(2, 6, 0, true, 6), [8, 10, 12]);
        assert_eq!(ends(2, 6, 1, true, 0), [1]);
    }
}
