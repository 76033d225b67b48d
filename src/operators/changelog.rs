//! Test support: changelogs as text in, changelogs as text out.
//!
//! ```text
//!     k:int v:int        header: columns of the current port (types: int, text, ts, float, bool, dec2)
//!   + 1     7            one inserted row (`+3` inserts it three times)
//!   - 1     7            one retracted row; `null` is NULL
//! port 1                 rows below go to port 1 (give its header first)
//! seal 1 w=10            seals epoch 1 with watermark 10 s (source 1); `w=end` ends the source
//! checkpoint             cuts, builds a fresh operator and restores all cuts so far into it
//! ```
//! Timestamps are whole or decimal seconds. Output: consolidated rows per seal, sorted, `seal N:` before each.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::types::{DeltaBatch, EpochRecord, ObjectId, WATERMARK_END, Watermarks, consolidate};
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{Operator, Output, Progress, RestoredTable, TableCut};

/// The source whose watermark `w=` sets.
pub const SOURCE: ObjectId = ObjectId(1);

/// Runs the script on operators made by `build` and compares what leaves with `expect`.
pub fn check(build: impl Fn() -> Box<dyn Operator>, script: &str, expect: expect_test::Expect) {
    expect.assert_eq(&run(build, script));
}

/// Schema from a header line like `k:int v:text`.
pub fn schema(header: &str) -> SchemaRef {
    let field = |word: &str| {
        let (name, kind) = word.split_once(':').expect("column:type");
        let data_type = match kind {
            "int" => DataType::Int64,
            "text" => DataType::Utf8,
            "ts" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "float" => DataType::Float64,
            "bool" => DataType::Boolean,
            "dec2" => DataType::Decimal128(38, 2),
            other => panic!("unknown column type {other}"),
        };
        Field::new(name, data_type, true)
    };
    Arc::new(Schema::new(header.split_whitespace().map(field).collect::<Vec<_>>()))
}

pub fn run(build: impl Fn() -> Box<dyn Operator>, script: &str) -> String {
    let mut operator = build();
    let mut schemas: BTreeMap<usize, SchemaRef> = BTreeMap::new();
    let mut pending: Vec<(Vec<String>, i64)> = vec![];
    let mut port = 0;
    let mut watermarks = Watermarks::default();
    let mut cuts: Vec<TableCut> = vec![];
    let mut text = String::new();
    let mut out = Output::default();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let row_sign = words[0].chars().next().filter(|c| *c == '+' || *c == '-');
        if let Some(sign) = row_sign {
            let times: i64 = words[0][1..].parse().unwrap_or(1);
            let diff = if sign == '+' { times } else { -times };
            pending.push((words[1..].iter().map(|w| w.to_string()).collect(), diff));
            continue;
        }
        if !pending.is_empty() {
            let batch = rows(&schemas[&port], &std::mem::take(&mut pending));
            operator.on_batch(port, batch, &mut out).expect("on_batch succeeds");
        }
        match words[0] {
            "port" => port = words[1].parse().expect("port number"),
            "seal" => {
                for word in &words[2..] {
                    let value = word.strip_prefix("w=").expect("w=SECONDS");
                    let us = if value == "end" { WATERMARK_END } else { seconds_to_us(value) };
                    watermarks.set(SOURCE, us);
                }
                let epoch = words[1].parse().expect("epoch number");
                let record = EpochRecord::new(epoch, epoch as i64 * 1_000_000, watermarks.clone());
                while operator.on_seal(&record, &mut out).expect("on_seal succeeds") == Progress::More {}
                text += &format!("seal {epoch}:\n{}", render(&mut out));
            }
            "checkpoint" => {
                cuts.extend(operator.checkpoint().gather().expect("gathers"));
                operator = build();
                for cut in &cuts {
                    for batch in &cut.batches {
                        operator.restore(RestoredTable { table: cut.table, batch }).expect("restores");
                    }
                }
            }
            _ => {
                schemas.insert(port, schema(line));
            }
        }
    }
    text
}

fn seconds_to_us(word: &str) -> i64 {
    (word.parse::<f64>().expect("seconds") * 1e6).round() as i64
}

/// Rows of text cells as a delta.
pub fn rows(schema: &SchemaRef, rows: &[(Vec<String>, i64)]) -> DeltaBatch {
    let columns = schema.fields().iter().enumerate().map(|(i, field)| {
        let cells = rows.iter().map(|(cells, _)| Some(cells[i].as_str()).filter(|c| *c != "null"));
        if let DataType::Timestamp(_, _) = field.data_type() {
            let micros: Vec<Option<i64>> = cells.map(|c| c.map(seconds_to_us)).collect();
            return Arc::new(TimestampMicrosecondArray::from(micros)) as ArrayRef;
        }
        let text: ArrayRef = Arc::new(StringArray::from(cells.collect::<Vec<_>>()));
        cast(&text, field.data_type()).expect("cell has the column's type")
    });
    let batch = RecordBatch::try_new(schema.clone(), columns.collect()).expect("columns fit the schema");
    DeltaBatch::new(batch, rows.iter().map(|(_, d)| *d).collect::<Vec<i64>>())
}

fn render(out: &mut Output) -> String {
    let mut text = String::new();
    let batches = std::mem::take(&mut out.rows);
    if let Some(first) = batches.first() {
        let all = DeltaBatch::concat(&first.schema(), &batches);
        let all = consolidate(&all).expect("consolidates");
        let mut lines: Vec<String> = (0..all.num_rows()).map(|row| render_row(&all, row)).collect();
        lines.sort_by(|a, b| a[1..].cmp(&b[1..]).then(b.cmp(a)));
        lines.iter().for_each(|line| text += &format!("{line}\n"));
    }
    for error in std::mem::take(&mut out.errors) {
        let row = error.row.map(|row| format!(" {row}")).unwrap_or_default();
        text += &format!("error {:+} {} {}{row}\n", error.diff, error.state, error.message);
    }
    text
}

fn render_row(delta: &DeltaBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    let cells = delta.rows().columns().iter().map(|column| {
        if let DataType::Timestamp(_, _) = column.data_type() {
            if column.is_null(row) {
                return "null".to_string();
            }
            let us = column.as_primitive::<TimestampMicrosecondType>().value(row);
            return format!("{}", us as f64 / 1e6);
        }
        ArrayFormatter::try_new(column, &options).expect("printable").value(row).to_string()
    });
    let diff = delta.diff(row);
    let sign = match diff {
        1 => "+".to_string(),
        -1 => "-".to_string(),
        d => format!("{d:+}"),
    };
    format!("{sign} {}", cells.collect::<Vec<_>>().join(" "))
}
