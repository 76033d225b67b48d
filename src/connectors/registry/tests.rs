//! CREATE SOURCE options: both dialects, and refusals by name.

use arrow::datatypes::DataType::{Int64, Utf8};
use types::ToSqlState;

use super::*;
use crate::testing::{columns, pairs, source};
use crate::{Freshness, IdleAdvance};

fn risingwave(encode: &str, format_options: &[(&str, &str)]) -> FormatSpec {
    FormatSpec { format: "PLAIN".into(), encode: encode.into(), options: pairs(format_options) }
}

#[test]
fn both_dialects_configure_a_file() {
    let declared = columns(&[("a", Int64)]);
    let ours = [("connector", "file"), ("path", "/tmp/x"), ("follow", "true")];
    let format = risingwave("CSV", &[("without_header", "false"), ("delimiter", "\\t")]);
    let configured = configure(&pairs(&ours), &format, &declared).unwrap();
    assert!(!configured.config.bounded());
    let flink = [
        ("connector", "filesystem"),
        ("path", "file:///tmp/x"),
        ("format", "csv"),
        ("header", "true"),
        ("csv.field-delimiter", "\t"),
        ("source.monitor-interval", "1 s"),
    ];
    let other = configure(&pairs(&flink), &FormatSpec::default(), &declared).unwrap();
    assert_eq!(format!("{:?}", configured.config), format!("{:?}", other.config));
}

#[test]
fn shared_options_have_defaults_and_are_read() {
    let file = [("connector", "file"), ("path", "x"), ("format", "json")];
    assert_eq!(source(&file, &[("a", Int64)]).unwrap().options, SourceOptions::default());
    let given = [
        ("idle_timeout", "5 minutes"),
        ("idle_advance", "wall_clock"),
        ("max_future", "1 day"),
        ("allowed_lateness", "500ms"),
        ("late_rows", "late"),
        ("dead_letter", "bad"),
        ("freshness", "bound"),
    ];
    let options: Vec<_> = file.iter().chain(&given).copied().collect();
    let expected = SourceOptions {
        idle_timeout_us: 300_000_000,
        idle_advance: IdleAdvance::WallClock,
        max_future_us: 86_400_000_000,
        allowed_lateness_us: 500_000,
        late_rows: Some("late".into()),
        dead_letter: Some("bad".into()),
        freshness: Freshness::Bound,
    };
    assert_eq!(source(&options, &[("a", Int64)]).unwrap().options, expected);
}

#[test]
fn refusals_name_what_is_wrong_and_what_is_known() {
    let check = |options: &[(&str, &str)], state: &str, message: &str, told: &str| {
        let error = source(options, &[("a", Utf8)]).unwrap_err().to_sql_error();
        assert_eq!((error.state.code(), error.message.as_str()), (state, message));
        let parts = [error.detail.clone(), error.hint.clone()];
        assert!(error.hint.is_some(), "{error:?}");
        assert!(parts.iter().flatten().any(|part| part.contains(told)), "{parts:?}");
    };
    check(&[], "22023", "option \"connector\" is required", "nexmark");
    check(&[("connector", "carrier pigeon")], "22023", "unknown connector \"carrier pigeon\"", "nexmark");
    let file = ("connector", "file");
    check(&[file, ("format", "csv")], "22023", "option \"path\" is required by connector \"file\"", "path");
    check(
        &[file, ("path", "x"), ("format", "csv"), ("folow", "true")],
        "22023",
        "unknown option \"folow\" of connector \"file\"",
        "dead_letter, delimiter, follow, format",
    );
    check(
        &[file, ("path", "x"), ("format", "csv"), ("follow", "maybe")],
        "22023",
        "invalid value \"maybe\" for option \"follow\"",
        "true or false",
    );
    check(
        &[file, ("path", "x"), ("format", "csv"), ("idle_timeout", "soon")],
        "22023",
        "invalid value \"soon\" for option \"idle_timeout\"",
        "'60 s'",
    );
    check(
        &[file, ("path", "x"), ("format", "avro")],
        "0A000",
        "format \"avro\" is not supported by connector \"file\"",
        "ENCODE JSON",
    );
    check(&[file, ("path", "[x"), ("format", "csv")], "22023", "invalid value \"[x\" for option \"path\"", "glob");
    check(
        &[("connector", "nexmark")],
        "22023",
        "option \"nexmark.table.type\" is required by connector \"nexmark\"",
        "",
    );
    check(
        &[("connector", "nexmark"), ("nexmark.table.type", "bid")],
        "42703",
        "column \"a\" is not in \"nexmark Bid\"",
        "auction, bidder, price",
    );
}
