//! CSV and JSON lines through the connector: what is a row, what is not, and that every position can be resumed.

use std::io::Write;

use arrow::datatypes::DataType::{Binary, Boolean, Date32, Decimal128, Float64, Int16, Int64, Utf8};
use arrow::datatypes::{DataType, TimeUnit};
use expect_test::{Expect, expect};

use crate::testing::{TIMESTAMP, all_columns, check_resume_everywhere, read_all, rows_shown, shown, source};
use crate::{ConnectorError, OpenRequest};

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Reads `bytes` with these options and columns and shows rows and errors; checks that resuming changes nothing.
fn check(bytes: &[u8], options: &[(&str, &str)], declared: &[(&str, DataType)], expected: Expect) {
    let file = file(bytes);
    let path = file.path().to_str().unwrap();
    let options: Vec<_> = [("connector", "filesystem"), ("path", path)].iter().chain(options).copied().collect();
    let config = source(&options, declared).unwrap().config;
    config.validate().unwrap();
    expected.assert_eq(&shown(&read_all(config.as_ref(), all_columns(config.as_ref())).unwrap()).join("\n"));
    check_resume_everywhere(config.as_ref());
}

const CSV: (&str, &str) = ("format", "csv");
const JSON: (&str, &str) = ("format", "json");

#[test]
fn csv_quotes_null_and_line_ends() {
    check(
        b"1,plain\r\n2,\"a, \"\"b\"\"\nc\"\n3,\n4,\"\"\n\n\r\n5, spaced \n6,in\"side\n\"7\",\"\"\"\"\n8,last",
        &[CSV],
        &[("id", Int64), ("text", Utf8)],
        expect![[r#"
            1|plain
            2|a, "b"
            c
            3|∅
            4|
            5| spaced 
            6|in"side
            7|"
            8|last"#]],
    );
}

#[test]
fn csv_malformed_lines_stand_alone() {
    check(
        b"1,a\nx,b\n3\n4,d,e\n\"5\"x,e\n6,\xff\xfe\n9223372036854775808,g\n8,\"open\n9,i\n",
        &[CSV],
        &[("id", Int64), ("text", Utf8)],
        expect![[r#"
            1|a
            9|i
            ! 4 invalid value "x" for column "id" of type bigint: x,b
            ! 8 expected 2 fields, found 1: 3
            ! 10 expected 2 fields, found 3: 4,d,e
            ! 16 text after a closing quote: "5"x,e
            ! 23 invalid UTF-8: 6,��
            ! 28 invalid value "9223372036854775808" for column "id" of type bigint: 9223372036854775808,g
            ! 50 unterminated quoted field: 8,"open"#]],
    );
}

#[test]
fn csv_of_every_type() {
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    check(
        b"t,1,1.5,12.345,\\x00ff,2024-02-29,2024-01-01 10:00:00.123,2024-01-01T12:00:00+02:00\n\
          no,-32768,NaN,-0.005,raw,1969-12-31,2024-01-01,2024-01-01 00:00:00Z\n\
          ,,,,,,,\n\
          1,40000,1,1,a,2024-01-01,2024-01-01,2024-01-01\n",
        &[CSV],
        &[
            ("b", Boolean),
            ("i", Int16),
            ("f", Float64),
            ("d", Decimal128(6, 2)),
            ("x", Binary),
            ("day", Date32),
            ("at", TIMESTAMP),
            ("zoned", zone),
        ],
        expect![[r#"
            true|1|1.5|12.35|00ff|2024-02-29|2024-01-01 10:00:00.123|2024-01-01T10:00:00Z
            false|-32768|NaN|-0.01|726177|1969-12-31|2024-01-01 00:00:00.000|2024-01-01T00:00:00Z
            ∅|∅|∅|∅|∅|∅|∅|∅
            ! 159 invalid value "40000" for column "i" of type smallint: 1,40000,1,1,a,2024-01-01,2024-01-01,2024-01-01"#]],
    );
}

#[test]
fn csv_header_matches_names_exactly_then_without_case() {
    check(
        b"\xef\xbb\xbfextra;ID;\"Date Time\";id\nx;1;y;10\nx;2;z;\\N\n",
        &[CSV, ("header", "true"), ("delimiter", ";"), ("null", "\\N")],
        &[("id", Int64), ("Id", Int64), ("date time", Utf8)],
        expect![[r#"
            10|1|y
            ∅|2|z"#]],
    );
    let file = file(b"a,b\n1,2\n");
    let path = file.path().to_str().unwrap();
    let options = [("connector", "file"), ("path", path), CSV, ("header", "true")];
    let config = source(&options, &[("a", Int64), ("c", Int64)]).unwrap().config;
    let error = config.validate().unwrap_err();
    assert!(matches!(error, ConnectorError::MissingColumn { ref column, .. } if column == "c"), "{error}");
}

#[test]
fn csv_of_a_header_alone_or_of_nothing_has_no_rows() {
    for bytes in [&b"a,b\n"[..], b"a,b", b"", b"\n\n"] {
        check(
            bytes,
            &[CSV, ("header", if bytes.len() > 2 { "true" } else { "false" })],
            &[("a", Int64), ("b", Int64)],
            expect![""],
        );
    }
}

#[test]
fn csv_gives_only_the_projected_columns_and_checks_the_others() {
    let file = file(b"1,not a number,x\n1,1,x\n2,2,y\n");
    let options = [("connector", "file"), ("path", file.path().to_str().unwrap()), CSV];
    let config = source(&options, &[("a", Int64), ("b", Int64), ("c", Utf8)]).unwrap().config;
    let read = |projection: &[usize]| {
        let request = OpenRequest { projection: projection.to_vec(), ..OpenRequest::default() };
        read_all(config.as_ref(), request).unwrap()
    };
    let malformed = "! 0 invalid value \"not a number\" for column \"b\" of type bigint: 1,not a number,x";
    assert_eq!(shown(&read(&[0, 2])), ["1|x", "2|y", malformed]);
    assert_eq!(shown(&read(&[1])), ["1", "2", malformed]);
    let none = read(&[]);
    assert_eq!((none[0].rows.num_columns(), none[0].rows.num_rows(), none[0].positions.len()), (0, 2, 2));
    assert_eq!(none[0].errors.len(), 1);
}

#[test]
fn json_values_of_every_kind() {
    check(
        br#"{"id": 9007199254740993, "price": 0.1, "t": "a\u00e9\ud83d\ude00\n\"", "at": "2024-01-01T00:00:00.5Z", "ok": true}
{"ok":false,"at":"2024-01-01 00:00:00","t":null,"price":12345678901.12,"id":-7.0,"unknown":{"deep":[1,{"x":"}"}]}}
 { "ID" : "8" , "t" : {"a": [1, 2]} }

{"id":1,"id":2,"t":17}
{"t":true}
{}"#,
        &[JSON],
        &[("id", Int64), ("price", Decimal128(20, 2)), ("t", Utf8), ("at", TIMESTAMP), ("ok", Boolean)],
        expect![[r#"
            9007199254740993|0.10|aé😀
            "|2024-01-01 00:00:00.500|true
            -7|12345678901.12|∅|2024-01-01 00:00:00.000|false
            8|∅|{"a": [1, 2]}|∅|∅
            2|∅|17|∅|∅
            ∅|∅|true|∅|∅
            ∅|∅|∅|∅|∅"#]],
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_record() {
    check(b"\xef\xbb\xbf{\"id\":1}\n{\"id\":2}", &[JSON], &[("id", Int64)], expect!["1\n2"]);
    check(b"\xef\xbb\xbf1\n2\n", &[CSV], &[("id", Int64)], expect!["1\n2"]);
}

#[test]
fn json_keys_may_come_in_any_order_and_number() {
    let line = |n: usize| {
        let keys = (0..1_500).map(|k| format!("\"other{}\":{k}", (k + n) % 2_000)).collect::<Vec<_>>().join(",");
        if n % 2 == 0 {
            format!("{{\"id\":{n},{keys},\"t\":\"a\"}}\n")
        } else {
            format!("{{{keys},\"t\":\"b\",\"id\":{n}}}\n")
        }
    };
    let lines: String = (0..6).map(line).collect();
    check(
        lines.as_bytes(),
        &[JSON],
        &[("id", Int64), ("t", Utf8)],
        expect![[r#"
            0|a
            1|b
            2|a
            3|b
            4|a
            5|b"#]],
    );
}

#[test]
fn json_malformed_lines_stand_alone() {
    let lines: &[&[u8]] = &[
        br#"{"id":1}"#,
        br#"{"id":1.5}"#,
        br#"{"id":01}"#,
        br#"{"id":1} x"#,
        br#"{"id":1"#,
        br#"{"id":1,}"#,
        br#"[1]"#,
        br#"{"id":true}"#,
        br#"{"at":1704067200}"#,
        br#"{"t":"\ud83d"}"#,
        br#"{"t":"\x"}"#,
        b"{\"t\":\"\xff\"}",
        b"{\"t\":\"tab\there\"}",
        br#"{"other":nul}"#,
        br#"{"id":2}"#,
    ];
    check(
        &lines.join(&b"\r\n"[..]),
        &[JSON],
        &[("id", Int64), ("t", Utf8), ("at", TIMESTAMP)],
        expect![[r#"
            1|∅|∅
            2|∅|∅
            ! 10 invalid value "1.5" for column "id" of type bigint: {"id":1.5}
            ! 22 invalid number: {"id":01}
            ! 33 text after the JSON object: {"id":1} x
            ! 45 expected "," or "}" at byte 8: {"id":1
            ! 54 expected a string: {"id":1,}
            ! 65 not a JSON object: [1]
            ! 70 invalid value "true" for column "id" of type bigint: {"id":true}
            ! 83 invalid value "1704067200" for column "at" of type timestamp without time zone: a number needs the format option timestamp_unit: {"at":1704067200}
            ! 102 invalid escape in a string: {"t":"\ud83d"}
            ! 118 invalid escape in a string: {"t":"\x"}
            ! 130 invalid UTF-8: {"t":"�"}
            ! 141 unterminated string: {"t":"tab	here"}
            ! 159 expected a JSON value: {"other":nul}"#]],
    );
}

#[test]
fn json_times_as_numbers_need_a_unit() {
    for (unit, number) in
        [("s", "1704067200.5"), ("ms", "1704067200500"), ("us", "1704067200500000"), ("ns", "1704067200500000000")]
    {
        check(
            format!("{{\"at\":{number}}}\n").as_bytes(),
            &[JSON, ("timestamp_unit", unit)],
            &[("at", TIMESTAMP)],
            expect!["2024-01-01 00:00:00.500"],
        );
    }
}

#[test]
fn json_exact_names_win_over_names_in_other_case() {
    check(
        b"{\"a\":1,\"A\":2}\n{\"A\":2,\"a\":1}\n{\"A\":3}\n",
        &[JSON],
        &[("a", Int64)],
        expect![[r#"
            1
            1
            3"#]],
    );
}

#[test]
fn records_longer_than_a_block_are_read_whole() {
    let long = "x".repeat(5_000_000);
    let json = file(format!("{{\"t\":\"{long}\"}}\n{{\"t\":\"short\"}}\n").as_bytes());
    let csv = file(format!("\"{long}\n\"\nshort\n").as_bytes());
    for (file, format) in [(json, JSON), (csv, CSV)] {
        let options = [("connector", "file"), ("path", file.path().to_str().unwrap()), format];
        let config = source(&options, &[("t", Utf8)]).unwrap().config;
        let chunks = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap();
        let rows: Vec<String> = chunks.iter().flat_map(|chunk| rows_shown(&chunk.rows)).collect();
        assert_eq!(rows.iter().map(|row| row.trim_end().len()).collect::<Vec<_>>(), [5_000_000, 5]);
    }
}

#[test]
fn random_bytes_give_the_same_records_wherever_reading_begins() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let csv: Vec<u8> = (0..200).map(|_| b",,\n\n\r\"\"a1 \xc3\xa9"[rng.random_range(0..12)]).collect();
        let json: Vec<u8> = (0..200).map(|_| b"{}\"\"a:,1\n\n\r\\\xff"[rng.random_range(0..13)]).collect();
        for (bytes, format) in [(csv, CSV), (json, JSON)] {
            let file = file(&bytes);
            let options = [("connector", "file"), ("path", file.path().to_str().unwrap()), format];
            let config = source(&options, &[("a", Utf8), ("b", Int64)]).unwrap().config;
            check_resume_everywhere(config.as_ref());
        }
    }
}
