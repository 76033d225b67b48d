//! Every type in both formats against what Postgres prints and sends.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use bytes::BytesMut;

use super::{Cursor, EncodeError, Format, RowEncoder, pg_type};

fn encode(array: impl Array + 'static, format: Format) -> Vec<Option<Vec<u8>>> {
    let array: ArrayRef = Arc::new(array);
    let cursor = Cursor::new(&array).expect("a supported type");
    (0..array.len())
        .map(|row| {
            let mut out = BytesMut::new();
            cursor.field(row, format, &mut out).expect("an encodable value");
            let length = i32::from_be_bytes(*out.first_chunk().expect("a length"));
            if length == -1 {
                assert_eq!(out.len(), 4);
                return None;
            }
            assert_eq!(out.len(), 4 + length as usize);
            Some(out[4..].to_vec())
        })
        .collect()
}

#[track_caller]
fn check_text(array: impl Array + 'static, expected: &[&str]) {
    let actual: Vec<String> = encode(array, Format::Text)
        .into_iter()
        .map(|value| value.map_or("NULL".to_owned(), |value| String::from_utf8(value).expect("text")))
        .collect();
    assert_eq!(actual, expected);
}

#[track_caller]
fn check_binary(array: impl Array + 'static, expected: &[&str]) {
    let hex = |value: Vec<u8>| value.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let actual: Vec<String> =
        encode(array, Format::Binary).into_iter().map(|value| value.map_or("NULL".to_owned(), hex)).collect();
    let expected: Vec<String> = expected.iter().map(|e| e.replace(' ', "")).collect();
    assert_eq!(actual, expected);
}

#[test]
fn booleans_and_null() {
    check_text(BooleanArray::from(vec![Some(true), Some(false), None]), &["t", "f", "NULL"]);
    check_binary(BooleanArray::from(vec![Some(true), Some(false), None]), &["01", "00", "NULL"]);
    check_text(NullArray::new(2), &["NULL", "NULL"]);
}

#[test]
fn integers_of_every_width() {
    check_text(Int8Array::from(vec![i8::MIN, 0, 127]), &["-128", "0", "127"]);
    check_binary(Int8Array::from(vec![-1]), &["ffff"]);
    check_binary(UInt8Array::from(vec![255]), &["00ff"]);
    check_binary(Int16Array::from(vec![258]), &["0102"]);
    check_binary(UInt16Array::from(vec![65535]), &["0000ffff"]);
    check_text(
        Int32Array::from(vec![i32::MIN, 9, 10, 99, 100, 12345]),
        &["-2147483648", "9", "10", "99", "100", "12345"],
    );
    check_binary(Int32Array::from(vec![1]), &["00000001"]);
    check_binary(UInt32Array::from(vec![u32::MAX]), &["ffffffff"]);
    check_text(Int64Array::from(vec![i64::MIN, i64::MAX]), &["-9223372036854775808", "9223372036854775807"]);
    check_binary(Int64Array::from(vec![-2]), &["fffffffffffffffe"]);
    check_text(UInt64Array::from(vec![u64::MAX]), &["18446744073709551615"]);
}

#[test]
fn floats_print_as_postgres_prints_them() {
    let values =
        vec![0.0, -0.0, 1.0, -1.5, 0.1, 100000.0, 123456789012345.0, 1e15, 1.5e300, 1e-4, 1e-5, 1.25e-7, 5e-324];
    check_text(
        Float64Array::from(values),
        &[
            "0",
            "-0",
            "1",
            "-1.5",
            "0.1",
            "100000",
            "123456789012345",
            "1e+15",
            "1.5e+300",
            "0.0001",
            "1e-05",
            "1.25e-07",
            "5e-324",
        ],
    );
    check_text(
        Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1234.5678]),
        &["NaN", "Infinity", "-Infinity", "1234.5678"],
    );
    check_text(
        Float32Array::from(vec![0.1f32, 999999.0, 1e6, 3.4028235e38]),
        &["0.1", "999999", "1e+06", "3.4028235e+38"],
    );
    check_binary(Float32Array::from(vec![1.0f32]), &["3f800000"]);
    check_binary(Float64Array::from(vec![-2.0]), &["c000000000000000"]);
}

fn decimals(values: Vec<i128>, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn numerics() {
    check_text(decimals(vec![0, 5, -5, 12345, -1234500], 10, 2), &["0.00", "0.05", "-0.05", "123.45", "-12345.00"]);
    check_text(decimals(vec![12, 0], 5, -3), &["12000", "0"]);
    check_text(decimals(vec![10i128.pow(37) + 1], 38, 38), &["0.10000000000000000000000000000000000001"]);
    // ndigits, weight, sign, dscale, digits: as Postgres' numeric_send.
    check_binary(
        decimals(vec![0, 12345, -12345, 1, 100_000_000, -5_000_000], 10, 2),
        &[
            "0000 0000 0000 0002",
            "0002 0000 0000 0002 007b 1194",
            "0002 0000 4000 0002 007b 1194",
            "0001 ffff 0000 0002 0064",
            "0001 0001 0000 0002 0064",
            "0001 0001 4000 0002 0005",
        ],
    );
    check_binary(decimals(vec![12], 5, -3), &["0002 0001 0000 0000 0001 07d0"]);
    let wide = Decimal256Array::from(vec![i256::from_i128(-12345)]).with_precision_and_scale(50, 2).unwrap();
    check_text(wide.clone(), &["-123.45"]);
    check_binary(wide, &["0002 0000 4000 0002 007b 1194"]);
}

#[test]
fn text_and_bytes() {
    check_text(StringArray::from(vec![Some("a"), Some(""), None, Some("ü")]), &["a", "", "NULL", "ü"]);
    check_text(LargeStringArray::from(vec!["x"]), &["x"]);
    check_text(
        StringViewArray::from(vec!["a longer string than twelve bytes"]),
        &["a longer string than twelve bytes"],
    );
    check_text(BinaryArray::from(vec![&[0u8, 171, 255][..]]), &["\\x00abff"]);
    check_binary(BinaryArray::from(vec![&[0u8, 171, 255][..]]), &["00abff"]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    check_text(dictionary, &["a", "NULL", "a"]);
}

#[test]
fn dates_and_times() {
    check_text(
        Date32Array::from(vec![0, 19723, -719162, -719163, 2932897, i32::MAX, i32::MIN]),
        &["1970-01-01", "2024-01-01", "0001-01-01", "0001-12-31 BC", "10000-01-01", "infinity", "-infinity"],
    );
    check_binary(Date32Array::from(vec![10957, 0, i32::MAX]), &["00000000", "ffffd533", "7fffffff"]);
    check_text(
        Time64MicrosecondArray::from(vec![0, 3_661_000_001, 86_399_500_000, 86_400_000_000]),
        &["00:00:00", "01:01:01.000001", "23:59:59.5", "24:00:00"],
    );
    check_text(Time32SecondArray::from(vec![60]), &["00:01:00"]);
    check_binary(Time64MicrosecondArray::from(vec![1]), &["0000000000000001"]);
}

#[test]
fn leap_days_of_every_kind_of_century() {
    // 2000-02-29, 2000-03-01, 1900-02-28, 1900-03-01, 2024-02-29, 2023-12-31
    check_text(
        Date32Array::from(vec![11016, 11017, -25509, -25508, 19782, 19722]),
        &["2000-02-29", "2000-03-01", "1900-02-28", "1900-03-01", "2024-02-29", "2023-12-31"],
    );
}

#[test]
fn timestamps() {
    let micros = vec![1_704_067_200_000_000, 1_704_067_200_500_000, -1, i64::MAX, i64::MIN];
    check_text(
        TimestampMicrosecondArray::from(micros.clone()),
        &["2024-01-01 00:00:00", "2024-01-01 00:00:00.5", "1969-12-31 23:59:59.999999", "infinity", "-infinity"],
    );
    check_text(
        TimestampMicrosecondArray::from(vec![micros[1], -62_198_755_200_000_000]).with_timezone("UTC"),
        &["2024-01-01 00:00:00.5+00", "0002-01-01 00:00:00+00 BC"],
    );
    let summer = 1_720_000_000_000_000;
    check_text(
        TimestampMicrosecondArray::from(vec![micros[1], summer, -4_000_000_000_000_000]).with_timezone("Europe/Berlin"),
        &["2024-01-01 01:00:00.5+01", "2024-07-03 11:46:40+02", "1843-03-31 17:46:48+00:53:28"],
    );
    check_text(TimestampMicrosecondArray::from(vec![summer]).with_timezone("-03:30"), &["2024-07-03 06:16:40-03:30"]);
    check_text(TimestampSecondArray::from(vec![0]), &["1970-01-01 00:00:00"]);
    check_text(TimestampMillisecondArray::from(vec![1]), &["1970-01-01 00:00:00.001"]);
    check_text(TimestampNanosecondArray::from(vec![1_500]), &["1970-01-01 00:00:00.000001"]);
    check_binary(
        TimestampMicrosecondArray::from(vec![946_684_800_000_000, 0, i64::MAX]),
        &["0000000000000000", "fffca2fec4c82000", "7fffffffffffffff"],
    );
}

#[test]
fn a_timestamp_before_what_the_wire_can_say_is_an_error() {
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN + 1]));
    let mut out = BytesMut::new();
    let encoded = Cursor::new(&array).unwrap().field(0, Format::Binary, &mut out);
    assert!(matches!(encoded, Err(EncodeError::OutOfRange("timestamp"))));
}

fn intervals(values: Vec<(i32, i32, i64)>) -> IntervalMonthDayNanoArray {
    let value = |(months, days, micros)| IntervalMonthDayNano { months, days, nanoseconds: micros * 1_000 };
    IntervalMonthDayNanoArray::from(values.into_iter().map(value).collect::<Vec<_>>())
}

#[test]
fn intervals_in_postgres_style() {
    let second = 1_000_000;
    check_text(
        intervals(vec![
            (0, 0, 0),
            (14, 3, 14_706_700_000),
            (1, 1, 0),
            (0, 0, -3_600 * second),
            (-14, 0, second),
            (0, -1, second),
            (12, -2, 0),
            (-1, 1, 0),
            (0, 0, 100 * 3_600 * second),
        ]),
        &[
            "00:00:00",
            "1 year 2 mons 3 days 04:05:06.7",
            "1 mon 1 day",
            "-01:00:00",
            "-1 years -2 mons +00:00:01",
            "-1 days +00:00:01",
            "1 year -2 days",
            "-1 mons +1 day",
            "100:00:00",
        ],
    );
    check_binary(intervals(vec![(1, 2, 3)]), &["0000000000000003 00000002 00000001"]);
    check_text(DurationMillisecondArray::from(vec![90_000]), &["00:01:30"]);
    check_text(IntervalYearMonthArray::from(vec![13]), &["1 year 1 mon"]);
}

#[test]
fn arrays_of_one_dimension() {
    let ints =
        ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), Some(vec![]), None]);
    check_text(ints.clone(), &["{1,NULL,3}", "{}", "NULL"]);
    check_binary(
        ints,
        &[
            "00000001 00000001 00000017 00000003 00000001 00000004 00000001 ffffffff 00000004 00000003",
            "00000000 00000000 00000017",
            "NULL",
        ],
    );
    let mut texts = ListBuilder::new(StringBuilder::new());
    for text in ["a b", "", "null", "x", "q\"\\", "{"] {
        texts.values().append_value(text);
    }
    texts.append(true);
    check_text(texts.finish(), &[r#"{"a b","","null",x,"q\"\\","{"}"#]);
}

fn nested(outer: Vec<usize>, inner: Vec<usize>) -> ListArray {
    let count = inner.iter().sum::<usize>() as i32;
    let values = Int32Array::from_iter_values(1..=count);
    let field = |data_type: &DataType| Arc::new(Field::new_list_field(data_type.clone(), true));
    let lists = ListArray::new(field(&DataType::Int32), OffsetBuffer::from_lengths(inner), Arc::new(values), None);
    let data_type = lists.data_type().clone();
    ListArray::new(field(&data_type), OffsetBuffer::from_lengths(outer), Arc::new(lists), None)
}

#[test]
fn arrays_of_more_dimensions() {
    let rectangle = nested(vec![2], vec![2, 2]);
    assert_eq!(pg_type::oid(rectangle.data_type()), 1007);
    check_text(rectangle.clone(), &["{{1,2},{3,4}}"]);
    check_binary(
        rectangle,
        &["00000002 00000000 00000017 00000002 00000001 00000002 00000001 \
           00000004 00000001 00000004 00000002 00000004 00000003 00000004 00000004"],
    );
    let ragged: ArrayRef = Arc::new(nested(vec![2], vec![2, 1]));
    let refused = Cursor::new(&ragged).unwrap().field(0, Format::Binary, &mut BytesMut::new());
    assert!(matches!(refused, Err(EncodeError::RaggedArray)));
}

#[test]
fn records() {
    let fields: Vec<(FieldRef, ArrayRef)> = vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1), None]))),
        (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(vec![r#"x "y" \"#, ""]))),
    ];
    let records = StructArray::from(fields);
    check_text(records.clone(), &[r#"(1,"x ""y"" \\")"#, r#"(,"")"#]);
    check_binary(records.slice(1, 1), &["00000002 00000017 ffffffff 00000019 00000000"]);
}

#[test]
fn a_slice_of_a_list_keeps_to_its_rows() {
    let ints = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)]), Some(vec![Some(2)])]);
    check_text(ints.slice(1, 1), &["{2}"]);
}

#[test]
fn types_are_built_in_ones() {
    let list = |data_type| DataType::List(Arc::new(Field::new_list_field(data_type, true)));
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let cases = [
        (DataType::Boolean, 16, 1),
        (DataType::Int8, 21, 2),
        (DataType::UInt16, 23, 4),
        (DataType::UInt32, 26, 4),
        (DataType::UInt64, 1700, -1),
        (DataType::Float32, 700, 4),
        (DataType::Utf8View, 25, -1),
        (DataType::Binary, 17, -1),
        (DataType::Date32, 1082, 4),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), 1114, 8),
        (zone.clone(), 1184, 8),
        (DataType::Interval(IntervalUnit::MonthDayNano), 1186, 16),
        (list(DataType::Int64), 1016, -1),
        (list(zone), 1185, -1),
        (list(list(DataType::Utf8)), 1009, -1),
    ];
    for (data_type, oid, size) in cases {
        assert_eq!((pg_type::oid(&data_type), pg_type::size(oid)), (oid, size), "{data_type}");
    }
    // numeric(10,2) as in pg_attribute.
    assert_eq!(pg_type::modifier(&DataType::Decimal128(10, 2)), 655366);
    assert_eq!(pg_type::modifier(&DataType::Int32), -1);
}

#[test]
fn a_data_row_is_one_message() {
    let batch = RecordBatch::try_from_iter(vec![
        ("a", Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef),
        ("b", Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef),
    ])
    .unwrap();
    let rows = RowEncoder::new(&batch, &[Format::Binary, Format::Text]).unwrap();
    let mut out = BytesMut::new();
    // The buffer is full after the first row.
    assert_eq!(rows.data_rows(0, 2, &mut out, 1).unwrap(), 1);
    assert_eq!(out.as_ref(), b"D\0\0\0\x13\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01x");
    out.clear();
    assert_eq!(rows.data_rows(1, 2, &mut out, usize::MAX).unwrap(), 2);
    assert_eq!(out.as_ref(), b"D\0\0\0\x0f\0\x02\xff\xff\xff\xff\0\0\0\x01y");
}
