//! One generated column: a pure function from row number to value.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::ConnectorError;
use crate::format::rows::type_name;
use crate::options::{OptionBag, parse_duration_us};

const DAY_US: i64 = 86_400_000_000;
const LENGTH_MAX: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Column {
    data_type: DataType,
    seed: u64,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    /// start, start + 1, …
    Sequence {
        start: i64,
        end: Option<i64>,
    },
    /// Whole numbers in [min, max].
    Whole {
        min: i64,
        max: i64,
    },
    /// Numbers in [min, max).
    Real {
        min: f64,
        max: f64,
    },
    Text {
        length: usize,
    },
    Boolean,
    /// Up to `max_past_us` before the base, which moves on by `step_ns` a row if the past is relative.
    Time {
        base_us: i64,
        max_past_us: i64,
        step_ns: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Random,
}

impl Column {
    /// Takes the `fields.<name>.…` options of one column. `start_us` is the moment of creation, `gap_ns` the time
    /// between rows.
    pub fn take(
        bag: &mut OptionBag,
        index: usize,
        field: &Field,
        start_us: i64,
        gap_ns: u64,
    ) -> Result<Self, ConnectorError> {
        use DataType::*;
        let option = |name: &str| format!("fields.{}.{name}", field.name());
        let kind = bag.choice(&option("kind"), &[("sequence", Kind::Sequence), ("random", Kind::Random)])?;
        let seed = bag.integer_from(&option("seed"), 0)?.unwrap_or(index as u64);
        let is_number = matches!(field.data_type(), Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(..));
        let values = match field.data_type() {
            _ if is_number && kind == Some(Kind::Sequence) => take_sequence(bag, &option, field.data_type())?,
            _ if kind == Some(Kind::Sequence) => {
                return Err(ConnectorError::InvalidOption {
                    name: option("kind"),
                    value: "sequence".into(),
                    expected: format!("'random' for type {}", type_name(field.data_type())),
                });
            }
            Float32 | Float64 => {
                let min = bag.parsed(&option("min"), "a number", finite)?.unwrap_or(0.0);
                let max = bag.parsed(&option("max"), "a number not below min", |v| finite(v).filter(|m| *m >= min))?;
                Values::Real { min, max: max.unwrap_or(min + 1_000.0) }
            }
            _ if is_number => take_whole(bag, &option, field.data_type())?,
            Utf8 => {
                let length = bag.parsed(&option("length"), "an integer from 0 to 1048576", |v| {
                    v.parse().ok().filter(|n| *n <= LENGTH_MAX)
                })?;
                Values::Text { length: length.unwrap_or(10) as usize }
            }
            Boolean => Values::Boolean,
            Timestamp(TimeUnit::Microsecond, _) => {
                let past =
                    bag.parsed(&option("max_past"), "a duration such as '1 day' or '2h 37min'", parse_duration_us)?;
                let mode = bag.choice(&option("max_past_mode"), &[("absolute", false), ("relative", true)])?;
                let step_ns = if mode.unwrap_or(false) { gap_ns } else { 0 };
                Values::Time { base_us: start_us, max_past_us: past.unwrap_or(DAY_US), step_ns }
            }
            other => {
                return Err(ConnectorError::ColumnType {
                    column: field.name().clone(),
                    data_type: type_name(other),
                    expected:
                        "smallint, integer, bigint, real, double precision, numeric, varchar, boolean, timestamp \
                               or timestamptz"
                            .into(),
                });
            }
        };
        Ok(Column { data_type: field.data_type().clone(), seed, values })
    }

    /// Rows after which a sequence is over.
    pub fn rows_max(&self) -> Option<u64> {
        match self.values {
            Values::Sequence { start, end: Some(end) } => {
                Some(u64::try_from(i128::from(end) - i128::from(start) + 1).unwrap_or(u64::MAX))
            }
            _ => None,
        }
    }

    /// The values of these rows.
    pub fn values(&self, rows: &[u64]) -> ArrayRef {
        let random = |row: u64| mix(mix(self.seed.wrapping_add(1)) ^ row);
        match &self.values {
            Values::Sequence { start, .. } => {
                self.whole(rows.iter().map(|row| start.saturating_add(i64::try_from(*row).unwrap_or(i64::MAX))))
            }
            Values::Whole { min, max } => self.whole(rows.iter().map(|row| within(random(*row), *min, *max))),
            Values::Real { min, max } => {
                let values = rows.iter().map(|row| min + unit(random(*row)) * (max - min));
                match self.data_type {
                    DataType::Float32 => Arc::new(Float32Array::from_iter_values(values.map(|v| v as f32))),
                    _ => Arc::new(Float64Array::from_iter_values(values)),
                }
            }
            Values::Text { length } => {
                let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * length);
                let mut text = String::with_capacity(*length);
                for row in rows {
                    text.clear();
                    let mut state = random(*row);
                    while text.len() < *length {
                        state = mix(state);
                        // Ten letters or digits from each 64 bits.
                        let left = length - text.len();
                        text.extend((0..10.min(left)).map(|nth| letter(state >> (6 * nth))));
                    }
                    builder.append_value(&text);
                }
                Arc::new(builder.finish())
            }
            Values::Boolean => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(random(*row) >> 63 == 1)))),
            Values::Time { base_us, max_past_us, step_ns } => {
                let zone = match &self.data_type {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    other => unreachable!("{other} has no times"),
                };
                let values = rows.iter().map(|row| {
                    let moved = u128::from(*row) * u128::from(*step_ns) / 1_000;
                    let base = base_us.saturating_add(i64::try_from(moved).unwrap_or(i64::MAX));
                    base.saturating_sub(within(random(*row), 0, *max_past_us))
                });
                Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone_opt(zone))
            }
        }
    }

    fn whole(&self, values: impl Iterator<Item = i64>) -> ArrayRef {
        // Options were checked against the type; a sequence without end stops at the largest value.
        match &self.data_type {
            DataType::Int16 => Arc::new(Int16Array::from_iter_values(values.map(|v| v.min(i16::MAX.into()) as i16))),
            DataType::Int32 => Arc::new(Int32Array::from_iter_values(values.map(|v| v.min(i32::MAX.into()) as i32))),
            DataType::Float32 => Arc::new(Float32Array::from_iter_values(values.map(|v| v as f32))),
            DataType::Float64 => Arc::new(Float64Array::from_iter_values(values.map(|v| v as f64))),
            DataType::Decimal128(precision, scale) => {
                let unit = 10i128.pow((*scale).max(0) as u32);
                Arc::new(
                    Decimal128Array::from_iter_values(values.map(|v| i128::from(v) * unit))
                        .with_precision_and_scale(*precision, *scale)
                        .expect("the declared type is valid"),
                )
            }
            _ => Arc::new(Int64Array::from_iter_values(values)),
        }
    }
}

fn take_sequence(
    bag: &mut OptionBag,
    option: &dyn Fn(&str) -> String,
    data_type: &DataType,
) -> Result<Values, ConnectorError> {
    let (low, high) = whole_range(data_type);
    let expected = format!("an integer from {low} to {high}");
    let start = bag.parsed(&option("start"), &expected, |v| in_range(v, low, high))?.unwrap_or(0);
    let expected = format!("an integer from {start} to {high}");
    let end = bag.parsed(&option("end"), &expected, |v| in_range(v, start, high))?;
    // What doesn't fit the type ends the sequence; 64 bits nobody lives to see the end of.
    let end = end.or((*data_type != DataType::Int64 && high < i64::MAX).then_some(high));
    Ok(Values::Sequence { start, end })
}

fn take_whole(
    bag: &mut OptionBag,
    option: &dyn Fn(&str) -> String,
    data_type: &DataType,
) -> Result<Values, ConnectorError> {
    let (low, high) = whole_range(data_type);
    let expected = format!("an integer from {low} to {high}");
    let min = bag.parsed(&option("min"), &expected, |v| in_range(v, low, high))?.unwrap_or(0);
    let expected = format!("an integer from {min} to {high}");
    let max = bag.parsed(&option("max"), &expected, |v| in_range(v, min, high))?;
    Ok(Values::Whole { min, max: max.unwrap_or(min.saturating_add(1_000).min(high)) })
}

/// Whole numbers that the type holds exactly.
fn whole_range(data_type: &DataType) -> (i64, i64) {
    let digits = |n: u32| 10i64.checked_pow(n).map_or(i64::MAX, |limit| limit - 1);
    match data_type {
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Float32 => (-(1 << 24), 1 << 24),
        DataType::Float64 => (-(1 << 53), 1 << 53),
        DataType::Decimal128(precision, scale) => {
            let high = digits((i32::from(*precision) - i32::from(*scale)).max(0) as u32);
            (-high, high)
        }
        _ => (i64::MIN, i64::MAX),
    }
}

fn in_range(text: &str, low: i64, high: i64) -> Option<i64> {
    text.parse().ok().filter(|n| (low..=high).contains(n))
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// A well-mixed function of 64 bits (the finisher of splitmix64).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `bits` mapped onto [min, max], evenly but for one part in 2^64 of the range.
fn within(bits: u64, min: i64, max: i64) -> i64 {
    let width = (i128::from(max) - i128::from(min) + 1) as u128;
    (i128::from(min) + ((u128::from(bits) * width) >> 64) as i128) as i64
}

/// `bits` mapped onto [0, 1).
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

fn letter(bits: u64) -> char {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ab";
    LETTERS[(bits & 63) as usize] as char
}
