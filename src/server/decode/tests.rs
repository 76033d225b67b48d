//! Parameters in both formats, good and bad.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Field, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use bytes::BytesMut;

use super::parameter;
use crate::encode::{Cursor, Format, pg_type};

fn text(oid: u32, value: &str) -> Result<ArrayRef, String> {
    let target = pg_type::data_type(oid).expect("a known type");
    let decoded = parameter(oid, Format::Text, Some(value.as_bytes()), &target);
    decoded.map_err(|error| format!("{} {}", error.state.code(), error.message))
}

/// What the value prints as after a round trip, or the error.
fn printed(oid: u32, value: &str) -> String {
    let array = match text(oid, value) {
        Ok(array) => array,
        Err(error) => return error,
    };
    let mut out = BytesMut::new();
    Cursor::new(&array).unwrap().text(0, &mut out).unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn text_values() {
    let cases = [
        (pg_type::BOOL, "TRUE", "t"),
        (pg_type::BOOL, " of ", "f"),
        (pg_type::BOOL, "o", "22P02 invalid input syntax for type boolean: \"o\""),
        (pg_type::INT4, " -7 ", "-7"),
        (pg_type::INT4, "1.5", "22P02 invalid input syntax for type integer: \"1.5\""),
        (pg_type::INT4, "3000000000", "22003 value \"3000000000\" is out of range for type integer"),
        (pg_type::INT8, "", "22P02 invalid input syntax for type bigint: \"\""),
        (pg_type::FLOAT8, "-Infinity", "-Infinity"),
        (pg_type::FLOAT8, "nan", "NaN"),
        (pg_type::FLOAT8, "1e400", "22003 value \"1e400\" is out of range for type double precision"),
        (pg_type::BYTEA, "\\x00fF", "\\x00ff"),
        (pg_type::BYTEA, "a\\\\\\001", "\\x615c01"),
        (pg_type::BYTEA, "\\x0", "22P02 invalid input syntax for type bytea: \"\\x0\""),
        (pg_type::UUID, "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (pg_type::UUID, "x", "22P02 invalid input syntax for type uuid: \"x\""),
        (pg_type::DATE, "2024-02-29", "2024-02-29"),
        (pg_type::DATE, "2024-02-29 10:00:00", "2024-02-29"),
        (pg_type::DATE, "infinity", "infinity"),
        (pg_type::DATE, "2023-02-29", "22007 invalid input syntax for type date: \"2023-02-29\""),
        (pg_type::TIME, "01:02:03.5", "01:02:03.5"),
        (pg_type::TIMESTAMP, "2024-01-01 00:00:00.25", "2024-01-01 00:00:00.25"),
        (pg_type::TIMESTAMPTZ, "2024-01-01 02:00:00+02", "2024-01-01 00:00:00+00"),
        (pg_type::TIMESTAMPTZ, "2024-01-01T00:00:00Z", "2024-01-01 00:00:00+00"),
        (pg_type::TIMESTAMP, "soon", "22007 invalid input syntax for type timestamp: \"soon\""),
        (pg_type::INTERVAL, "1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
        (pg_type::INTERVAL, "@ 1.5 hours 2 weeks ago", "-14 days -01:30:00"),
        (pg_type::INTERVAL, "0.5 mon 1.5 days", "16 days 12:00:00"),
        (pg_type::INTERVAL, "3 days 90 seconds 5 microseconds", "3 days 00:01:30.000005"),
        (pg_type::INTERVAL, "P1Y2M3DT4H5M6.7S", "1 year 2 mons 3 days 04:05:06.7"),
        (pg_type::INTERVAL, "90", "00:01:30"),
        (pg_type::INTERVAL, "1 parsec", "22007 invalid input syntax for type interval: \"1 parsec\""),
        (pg_type::INTERVAL, "", "22007 invalid input syntax for type interval: \"\""),
        (pg_type::JSON, "{\"a\": 1}", "{\"a\": 1}"),
        (1007, "{1, NULL,3}", "{1,NULL,3}"),
        (1009, r#"{"a, b",c d,"NULL","q\""}"#, r#"{"a, b","c d","NULL","q\""}"#),
        (1009, "{}", "{}"),
        (1009, "{a", "22P02 malformed array literal: \"{a\""),
        (1009, "{a,}", "22P02 malformed array literal: \"{a,}\""),
    ];
    for (oid, value, expected) in cases {
        assert_eq!(printed(oid, value), expected, "{value}");
    }
}

fn decimal(value: &str, precision: u8, scale: i8) -> String {
    let target = DataType::Decimal128(precision, scale);
    match parameter(pg_type::NUMERIC, Format::Text, Some(value.as_bytes()), &target) {
        Ok(array) => array_value_to_string(&array, 0).unwrap(),
        Err(error) => error.state.code().to_owned(),
    }
}

#[test]
fn numerics_take_the_scale_of_the_target() {
    let cases = [
        ("123.45", "123.45"),
        ("-0.005", "-0.01"),
        ("1e3", "1000.00"),
        ("12.5e-1", "1.25"),
        (".5", "0.50"),
        ("0.000", "0.00"),
        ("123456789.00", "22003"),
        ("NaN", "0A000"),
        ("1.2.3", "22P02"),
        ("", "22P02"),
        ("99999999999999999999999999999999999999999", "22003"),
    ];
    for (value, expected) in cases {
        assert_eq!(decimal(value, 10, 2), expected, "{value}");
    }
}

#[test]
fn binary_values_come_back_as_they_were_sent() {
    let values = [
        (pg_type::BOOL, "t"),
        (pg_type::INT2, "-2"),
        (pg_type::INT4, "70000"),
        (pg_type::INT8, "-9223372036854775808"),
        (pg_type::FLOAT4, "1.5"),
        (pg_type::FLOAT8, "1e-05"),
        (pg_type::BYTEA, "\\x0001"),
        (pg_type::TEXT, "grüß"),
        (pg_type::DATE, "1999-12-31"),
        (pg_type::DATE, "-infinity"),
        (pg_type::TIME, "23:59:59.999999"),
        (pg_type::TIMESTAMP, "1969-12-31 23:59:59.5"),
        (pg_type::TIMESTAMPTZ, "infinity"),
        (pg_type::INTERVAL, "1 mon -2 days +00:00:03"),
        (1016, "{1,NULL,-3}"),
        (1009, "{}"),
        (1115, "{\"2024-01-01 00:00:00\"}"),
    ];
    for (oid, value) in values {
        let sent = text(oid, value).unwrap();
        let mut out = BytesMut::new();
        Cursor::new(&sent).unwrap().binary(0, &mut out).unwrap();
        let received = parameter(oid, Format::Binary, Some(&out), sent.data_type()).unwrap();
        assert_eq!(&received, &sent, "{value}");
    }
}

#[test]
fn binary_numerics() {
    let target = DataType::Decimal128(38, 4);
    for (value, hex) in [
        (1_234_500, "0002 0000 0000 0002 007b 1194"),
        (-1_234_500, "0002 0000 4000 0002 007b 1194"),
        (0, "0000 0000 0000 0000"),
        (10_000_000_000_000, "0001 0002 0000 0000 000a"),
        (1, "0001 ffff 0000 0004 0001"),
    ] {
        let array = parameter(pg_type::NUMERIC, Format::Binary, Some(&bytes(hex)), &target).unwrap();
        assert_eq!(array.as_primitive::<Decimal128Type>().value(0), value, "{hex}");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.replace(' ', "");
    hex.as_bytes().chunks(2).map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 16).unwrap()).collect()
}

#[test]
fn broken_binary_values_are_refused() {
    let cases = [
        (pg_type::INT4, "000001"),
        (pg_type::INT4, "0000000001"),
        (pg_type::BOOL, ""),
        (pg_type::TEXT, "ff"),
        (pg_type::JSONB, "027b7d"),
        (pg_type::NUMERIC, "0002 0000 0000 0002 007b"),
        (pg_type::NUMERIC, "0001 0000 0000 0000 2710"),
        (pg_type::NUMERIC, "0000 0000 1234 0000"),
        (1007, "00000001 00000000 00000017 7fffffff 00000001"),
        (1007, "00000001 00000000 000003ef 00000001 00000001 00000000"),
        (1007, "00000007 00000000 00000017"),
        (1007, "00000001 00000000 00000017 00000001 00000001 00000008 00000001"),
    ];
    for (oid, hex) in cases {
        let target = pg_type::data_type(oid).unwrap();
        let error = parameter(oid, Format::Binary, Some(&bytes(hex)), &target).unwrap_err();
        assert_eq!(error.state.code(), "22P03", "{hex}: {error}");
    }
}

#[test]
fn values_are_converted_to_what_the_statement_expects() {
    let wide = parameter(pg_type::INT4, Format::Binary, Some(&[0, 0, 0, 5]), &DataType::Int64).unwrap();
    assert_eq!(wide.as_primitive::<Int64Type>().value(0), 5);
    let day = parameter(pg_type::TEXT, Format::Text, Some(b"2024-01-01"), &DataType::Date32).unwrap();
    assert_eq!(day.as_primitive::<Date32Type>().value(0), 19723);
    let narrow = parameter(pg_type::INT8, Format::Text, Some(b"70000"), &DataType::Int16).unwrap_err();
    assert_eq!(narrow.state.code(), "22003");
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let nanos = parameter(pg_type::TIMESTAMP, Format::Text, Some(b"1970-01-01 00:00:01"), &nanos).unwrap();
    assert_eq!(array_value_to_string(&nanos, 0).unwrap(), "1970-01-01T00:00:01");
}

#[test]
fn null_has_the_described_type() {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    let null = parameter(1007, Format::Binary, None, &list).unwrap();
    assert!(null.is_null(0) && null.data_type() == &list);
}

#[test]
fn a_uuid_and_a_jsonb_arrive_as_text() {
    let uuid = bytes("a0eebc999c0b4ef8bb6d6bb9bd380a11");
    let uuid = parameter(pg_type::UUID, Format::Binary, Some(&uuid), &DataType::Utf8).unwrap();
    assert_eq!(uuid.as_string::<i32>().value(0), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    let json = parameter(pg_type::JSONB, Format::Binary, Some(b"\x01{}"), &DataType::Utf8).unwrap();
    assert_eq!(json.as_string::<i32>().value(0), "{}");
}

#[test]
fn infinity_is_the_largest_timestamp() {
    let array = text(pg_type::TIMESTAMP, "infinity").unwrap();
    assert_eq!(array.as_primitive::<TimestampMicrosecondType>().value(0), i64::MAX);
}
