//! Values in binary form, as Postgres' receive functions accept them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, UInt32Array,
    IntervalMonthDayNanoArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::IntervalMonthDayNano;
use types::{SqlError, SqlState};

use super::text::hyphenated;
use super::{array, numeric};
use crate::encode::pg_type;

/// Days and microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

pub fn decode(oid: u32, value: &[u8]) -> Result<ArrayRef, SqlError> {
    let mut fields = Fields { oid, rest: value };
    let array: ArrayRef = match oid {
        pg_type::BOOL => Arc::new(BooleanArray::from(vec![fields.take::<1>()? != [0]])),
        pg_type::INT2 => Arc::new(Int16Array::from(vec![fields.i16()?])),
        pg_type::INT4 => Arc::new(Int32Array::from(vec![fields.i32()?])),
        pg_type::OID => Arc::new(UInt32Array::from(vec![u32::from_be_bytes(fields.take()?)])),
        pg_type::INT8 => Arc::new(Int64Array::from(vec![fields.i64()?])),
        pg_type::FLOAT4 => Arc::new(Float32Array::from(vec![f32::from_be_bytes(fields.take()?)])),
        pg_type::FLOAT8 => Arc::new(Float64Array::from(vec![f64::from_be_bytes(fields.take()?)])),
        pg_type::NUMERIC => read_numeric(&mut fields)?,
        pg_type::BYTEA => Arc::new(BinaryArray::from(vec![fields.all()])),
        pg_type::DATE => Arc::new(Date32Array::from(vec![days(fields.i32()?)?])),
        pg_type::TIME => Arc::new(Time64MicrosecondArray::from(vec![fields.i64()?])),
        pg_type::TIMESTAMP => Arc::new(TimestampMicrosecondArray::from(vec![micros(fields.i64()?)?])),
        pg_type::TIMESTAMPTZ => {
            Arc::new(TimestampMicrosecondArray::from(vec![micros(fields.i64()?)?]).with_timezone("UTC"))
        }
        pg_type::INTERVAL => Arc::new(IntervalMonthDayNanoArray::from(vec![interval(&mut fields)?])),
        pg_type::UUID => {
            let digits: String = fields.take::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
            Arc::new(StringArray::from(vec![hyphenated(&digits)]))
        }
        pg_type::JSONB => match fields.take::<1>()? {
            [1] => fields.text()?,
            _ => return Err(fields.malformed()),
        },
        _ if pg_type::element_of(oid).is_some() => array::from_binary(&mut fields)?,
        _ => fields.text()?,
    };
    match fields.rest {
        [] => Ok(array),
        _ => Err(fields.malformed()),
    }
}

/// A value being read; every read checks what is left.
pub struct Fields<'a> {
    oid: u32,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], SqlError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], SqlError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(head)
    }

    pub fn i16(&mut self) -> Result<i16, SqlError> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    pub fn i32(&mut self) -> Result<i32, SqlError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn i64(&mut self) -> Result<i64, SqlError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn text(&mut self) -> Result<ArrayRef, SqlError> {
        let text = std::str::from_utf8(self.all()).map_err(|_| self.malformed())?;
        Ok(Arc::new(StringArray::from(vec![text])))
    }

    pub fn malformed(&self) -> SqlError {
        let message = format!("incorrect binary data format in a parameter of type {}", pg_type::name(self.oid));
        SqlError::new(SqlState::InvalidBinaryRepresentation, message)
    }

    pub fn left(&self) -> usize {
        self.rest.len()
    }
}

fn read_numeric(fields: &mut Fields<'_>) -> Result<ArrayRef, SqlError> {
    let count = usize::try_from(fields.i16()?).map_err(|_| fields.malformed())?;
    let weight = fields.i16()?;
    let sign = u16::from_be_bytes(fields.take()?);
    let scale = u16::from_be_bytes(fields.take()?);
    if fields.left() != count * 2 {
        return Err(fields.malformed());
    }
    let digits = (0..count).map(|_| fields.i16()).collect::<Result<Vec<_>, _>>()?;
    numeric::from_binary(&digits, weight, sign, scale)
}

fn interval(fields: &mut Fields<'_>) -> Result<IntervalMonthDayNano, SqlError> {
    let micros = fields.i64()?;
    let days = fields.i32()?;
    let months = fields.i32()?;
    let nanoseconds = micros.checked_mul(1_000).ok_or_else(|| out_of_range("interval"))?;
    Ok(IntervalMonthDayNano { months, days, nanoseconds })
}

fn days(days: i32) -> Result<i32, SqlError> {
    match days {
        i32::MAX | i32::MIN => Ok(days),
        _ => days.checked_add(EPOCH_DAYS).ok_or_else(|| out_of_range("date")),
    }
}

fn micros(micros: i64) -> Result<i64, SqlError> {
    match micros {
        i64::MAX | i64::MIN => Ok(micros),
        _ => micros.checked_add(EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp")),
    }
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range"))
}
