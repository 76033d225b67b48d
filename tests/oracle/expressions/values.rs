//! Values at the edges of every type, as SQL, and a batch of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use kernels::CompiledExpr;
use plan::Planner;

use super::in_process::parse_expression;

/// Rows of the batch; some value of every type meets many of every other.
const ROWS: usize = 48;
/// One row in so many is NULL.
const NULL_EVERY: usize = 7;

/// A type and its values as SQL writes them.
pub struct Edge {
    pub sql_type: &'static str,
    pub values: Vec<String>,
}

const EDGES: &[(&str, &[&str])] = &[
    ("boolean", &["t", "f"]),
    ("smallint", &["0", "1", "-1", "2", "32767", "-32768"]),
    ("integer", &["0", "1", "-1", "2", "3", "100", "2147483647", "-2147483648"]),
    ("bigint", &["0", "1", "-1", "5", "1000000", "9223372036854775807", "-9223372036854775808"]),
    ("real", &["0", "-0", "1.5", "-1", "3.4e38", "1e-45", "NaN", "Infinity", "-Infinity"]),
    ("double precision", &["0", "-0", "2.5", "-1", "1e15", "1.7e308", "5e-324", "NaN", "Infinity", "-Infinity"]),
    ("numeric(10,2)", &["0", "1.50", "-2.25", "99999999.99", "-99999999.99"]),
    (
        "numeric(38,0)",
        &["0", "1", "-1", "99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"],
    ),
    ("numeric(38,20)", &["0", "0.00000000000000000001", "-1.5", "999999999999999999.99999999999999999999"]),
    (
        "text",
        &[
            "",
            "a",
            "abc",
            " ",
            "é",
            "日本語",
            "😀x",
            "a%b_c\\d",
            "(",
            "[a-",
            "\\",
            ".*",
            "(a)(b)?",
            "2024-02-29",
            "12",
            "-1.5",
            "YYYY-MM-DD HH24:MI:SS.US",
            "FM999,990.00",
            "%s %I %L",
            "{1,2}",
            "UTC",
            "Europe/Berlin",
            "day",
            "epoch",
            "hex",
            "base64",
            "md5",
            "g",
            "i",
            "null",
            "1e400",
            "[1,{\"a\":null}]",
            "\u{0301}e",
            "http://a.b/c?d=e",
        ],
    ),
    ("bytea", &["", "\\x00", "\\xff00ff", "abc"]),
    ("date", &["0001-01-01", "1970-01-01", "2000-02-29", "9999-12-31", "5874897-12-31", "infinity", "-infinity"]),
    (
        "timestamp",
        &[
            "0001-01-01 00:00:00",
            "1969-12-31 23:59:59.999999",
            "2024-02-29 12:30:00",
            "2024-03-31 02:30:00",
            "9999-12-31 23:59:59.999999",
            "294276-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "0001-01-01 00:00:00+00",
            "1969-12-31 23:59:59.999999+00",
            "2024-02-29 12:30:00+02",
            "9999-12-31 23:59:59.999999+00",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
        ],
    ),
    ("time", &["00:00:00", "12:34:56.789", "23:59:59.999999"]),
    (
        "interval",
        &[
            "0",
            "1 day",
            "-1 month",
            "1 month -1 day 01:00:00",
            "00:00:00.000001",
            "100000000 years",
            "-178956970 years",
            "2147483647 days",
            "2000000000 hours",
        ],
    ),
];

/// Arrays can't be written as text everywhere.
const ARRAYS: &[(&str, &[&str])] = &[
    (
        "integer[]",
        &[
            "ARRAY[]::integer[]",
            "ARRAY[1]",
            "ARRAY[3, NULL, 1]",
            "ARRAY[NULL]::integer[]",
            "ARRAY[2147483647, -2147483648]",
        ],
    ),
    ("text[]", &["ARRAY[]::text[]", "ARRAY['a', NULL, '']", "ARRAY['日本', 'b', 'a']"]),
    ("bigint[]", &["ARRAY[9223372036854775807, 0]::bigint[]", "ARRAY[]::bigint[]"]),
    ("double precision[]", &["ARRAY['NaN', '-Infinity', 0.5]::double precision[]", "ARRAY[]::double precision[]"]),
    ("boolean[]", &["ARRAY[true, NULL, false]", "ARRAY[]::boolean[]"]),
    ("integer[][]", &["ARRAY[ARRAY[1, 2], ARRAY[3, 4]]", "ARRAY[ARRAY[NULL]]::integer[][]"]),
];

/// All types with their values.
pub fn edges() -> Vec<Edge> {
    let quoted = |sql_type: &str, text: &str| format!("CAST('{}' AS {sql_type})", text.replace('\'', "''"));
    let mut edges: Vec<Edge> = EDGES
        .iter()
        .map(|(sql_type, values)| Edge { sql_type, values: values.iter().map(|v| quoted(sql_type, v)).collect() })
        .collect();
    let long = format!("CAST('{}' AS text)", "lo ng".repeat(200));
    let text = edges.iter_mut().find(|edge| edge.sql_type == "text").expect("text is a type");
    text.values.push(long);
    let arrays = ARRAYS.iter();
    edges.extend(arrays.map(|(sql_type, values)| {
        let cast = |value: &&str| format!("CAST({value} AS {sql_type})");
        Edge { sql_type, values: values.iter().map(cast).collect() }
    }));
    edges
}

/// A column per type, named after its place (`c0`, `c1`, …). Values that a type doesn't have are left out of `edges`.
pub fn batch(planner: &Planner, edges: &mut [Edge]) -> RecordBatch {
    let one: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    let one = RecordBatch::try_from_iter([("one", one)]).expect("one column");
    let mut columns: Vec<(String, ArrayRef)> = vec![];
    for (place, edge) in edges.iter_mut().enumerate() {
        let mut arrays = vec![];
        edge.values.retain(|value| match evaluate(planner, value, &one) {
            Ok(array) => {
                arrays.push(array);
                true
            }
            Err(_) => false,
        });
        assert!(!arrays.is_empty(), "no value of {} can be read", edge.sql_type);
        arrays.push(new_null_array(arrays[0].data_type(), 1));
        let null = arrays.len() - 1;
        let values: Vec<&dyn arrow::array::Array> = arrays.iter().map(AsRef::as_ref).collect();
        let values = concat(&values).expect("values of one type");
        let chosen = |row: usize| match (row + place) % NULL_EVERY {
            0 => (0, null),
            // Steps that differ by column, so that pairs of values vary.
            _ => (0, (row * (2 * place + 1) + row / 5 + place) % null),
        };
        let chosen: Vec<(usize, usize)> = (0..ROWS).map(chosen).collect();
        columns.push((format!("c{place}"), interleave(&[values.as_ref()], &chosen).expect("rows of the values")));
    }
    let fields: Vec<Field> = columns.iter().map(|(name, c)| Field::new(name, c.data_type().clone(), true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).expect("equal lengths")
}

fn evaluate(planner: &Planner, value: &str, one: &RecordBatch) -> Result<ArrayRef, String> {
    let expr = parse_expression(value).ok_or("it can't be parsed")?;
    let bound = planner.bind_expr(&expr, &one.schema(), None).map_err(|error| error.to_string())?;
    let compiled = CompiledExpr::compile(&bound.scalar, &one.schema()).map_err(|error| error.to_string())?;
    compiled.evaluate(one).map_err(|error| error.to_string())
}

/// Which of `edges` may stand for an argument of this type.
pub fn of_type(batch: &RecordBatch, data_type: &DataType) -> Vec<usize> {
    let like = |found: &DataType| {
        found == data_type
            || (found.is_string() && data_type.is_string())
            || (found.is_decimal() && data_type.is_decimal())
            || (found.is_binary() && data_type.is_binary())
            || (matches!(found, DataType::List(_))
                && matches!(data_type, DataType::List(_) | DataType::FixedSizeList(..)))
            || (matches!(found, DataType::Timestamp(..)) && matches!(data_type, DataType::Timestamp(..)))
    };
    (0..batch.num_columns()).filter(|column| like(batch.column(*column).data_type())).collect()
}
