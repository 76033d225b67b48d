//! Generated columns: their ranges, their determinism, and where sequences end.

use std::collections::HashSet;

use arrow::array::AsArray;
use arrow::datatypes::DataType::{Boolean, Decimal128, Float32, Float64, Int16, Int32, Int64, Utf8};
use arrow::datatypes::{Date32Type, Float64Type, Int16Type, Int64Type, TimestampMicrosecondType};

use crate::testing::{TIMESTAMP, all_columns, check_resume_everywhere, columns, read_all, shown, source};
use crate::{ConnectorError, FormatSpec, Offsets, OpenRequest, SourceConfig, configure};

const DATAGEN: (&str, &str) = ("connector", "datagen");
const UNPACED: (&str, &str) = ("datagen.rows.per.second", "0");

/// The first `rows` rows of the only split.
fn first(config: &dyn SourceConfig, rows: u64) -> arrow::array::RecordBatch {
    let until = Some(Offsets::from([("0".to_string(), rows)]));
    let chunks = read_all(config, OpenRequest { until, ..all_columns(config) }).unwrap();
    assert_eq!(chunks.len(), 1);
    chunks.into_iter().next().unwrap().rows
}

#[test]
fn sequences_run_from_start_to_end_over_all_splits() {
    let options = [
        DATAGEN,
        UNPACED,
        ("datagen.split.num", "3"),
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "5"),
        ("fields.id.end", "15"),
        ("fields.amount.kind", "sequence"),
        ("fields.amount.end", "100"),
    ];
    let config = source(&options, &[("id", Int32), ("amount", Decimal128(10, 2))]).unwrap().config;
    assert!(config.bounded());
    let mut rows = shown(&read_all(config.as_ref(), all_columns(config.as_ref())).unwrap());
    rows.sort_by_key(|row| row.split('|').next().unwrap().parse::<i32>().unwrap());
    let expected: Vec<String> = (0..11).map(|n| format!("{}|{n}.00", n + 5)).collect();
    assert_eq!(rows, expected);
    check_resume_everywhere(config.as_ref());
}

#[test]
fn a_sequence_ends_where_its_type_does() {
    let options = [DATAGEN, UNPACED, ("fields.n.kind", "sequence"), ("fields.n.start", "32760")];
    let config = source(&options, &[("n", Int16)]).unwrap().config;
    let chunks = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap();
    let values = chunks[0].rows.column(0).as_primitive::<Int16Type>().values().to_vec();
    assert_eq!(values, (32_760..=32_767).collect::<Vec<i16>>());
}

#[test]
fn random_values_fill_their_ranges() {
    let options = [
        DATAGEN,
        UNPACED,
        ("fields.i.min", "-3"),
        ("fields.i.max", "3"),
        ("fields.f.min", "0.5"),
        ("fields.f.max", "0.75"),
        ("fields.t.length", "23"),
        ("fields.at.max_past", "2h 37min"),
    ];
    let declared = [("i", Int64), ("f", Float64), ("t", Utf8), ("b", Boolean), ("at", TIMESTAMP), ("g", Float32)];
    let configured = source(&options, &declared).unwrap();
    assert!(!configured.config.bounded());
    let rows = first(configured.config.as_ref(), 5_000);
    let whole: HashSet<i64> = rows.column(0).as_primitive::<Int64Type>().values().iter().copied().collect();
    assert_eq!(whole, (-3..=3).collect());
    let real = rows.column(1).as_primitive::<Float64Type>().values();
    assert!(real.iter().all(|v| (0.5..0.75).contains(v)));
    assert!(real.iter().any(|v| *v < 0.51) && real.iter().any(|v| *v > 0.74));
    let texts: HashSet<&str> = rows.column(2).as_string::<i32>().iter().flatten().collect();
    assert!(
        texts.len() == 5_000 && texts.iter().all(|t| t.len() == 23 && t.bytes().all(|b| b.is_ascii_alphanumeric()))
    );
    let trues = rows.column(3).as_boolean().true_count();
    assert!((2_300..2_700).contains(&trues), "{trues}");
    let times = rows.column(4).as_primitive::<TimestampMicrosecondType>().values();
    let (min, max) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    let span = (2 * 60 + 37) * 60_000_000;
    assert!(max - min <= span && max - min > span / 100 * 99);
    assert!(*max <= crate::generator::wall_clock_us());
}

#[test]
fn equal_seeds_give_equal_columns_and_different_ones_do_not() {
    let options = [
        DATAGEN,
        UNPACED,
        ("fields.a.seed", "7"),
        ("fields.b.seed", "7"),
        ("fields.a.max", "1000000"),
        ("fields.b.max", "1000000"),
        ("fields.c.max", "1000000"),
    ];
    let config = source(&options, &[("a", Int64), ("b", Int64), ("c", Int64)]).unwrap().config;
    let rows = first(config.as_ref(), 100);
    assert_eq!(rows.column(0), rows.column(1));
    assert_ne!(rows.column(0), rows.column(2));
    assert_eq!(rows, first(config.as_ref(), 100));
}

#[test]
fn resolved_options_fix_the_times() {
    let options = [DATAGEN, UNPACED];
    let configured = source(&options, &[("at", TIMESTAMP)]).unwrap();
    let again = configure(&configured.resolved_options, &FormatSpec::default(), &columns(&[("at", TIMESTAMP)]));
    assert_eq!(first(again.unwrap().config.as_ref(), 100), first(configured.config.as_ref(), 100));
}

#[test]
fn wrong_options_are_refused() {
    let refuse = |name: &str, value: &str, data_type: arrow::datatypes::DataType| {
        let error = source(&[DATAGEN, (name, value)], &[("x", data_type)]).unwrap_err();
        assert!(matches!(&error, ConnectorError::InvalidOption { name: n, .. } if n == name), "{error}");
    };
    refuse("fields.x.kind", "sequence", Utf8);
    refuse("fields.x.kind", "chaos", Int64);
    refuse("fields.x.max", "-1", Int64);
    refuse("fields.x.min", "40000", Int16);
    refuse("fields.x.length", "-1", Utf8);
    refuse("fields.x.max_past", "yesterday", TIMESTAMP);
    refuse("datagen.split.num", "0", Int64);
    let unknown = source(&[DATAGEN, ("fields.y.min", "1")], &[("x", Int64)]).unwrap_err();
    assert!(matches!(unknown, ConnectorError::UnknownOption { .. }));
    let date = source(&[DATAGEN], &[("x", <Date32Type as arrow::datatypes::ArrowPrimitiveType>::DATA_TYPE)]);
    assert!(matches!(date, Err(ConnectorError::ColumnType { .. })));
}
