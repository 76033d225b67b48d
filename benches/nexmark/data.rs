//! The benchmark's tables in memory, made once by the connector, and the catalog that describes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use catalog::{Catalog, CatalogChange, CatalogObject, ColumnEntry, ObjectBody, SourceBody, WatermarkEntry};
use connectors::{ColumnSpec, FormatSpec, OpenRequest, ReadEvent};
use types::ObjectId;

pub type Tables = BTreeMap<ObjectId, Vec<RecordBatch>>;

const BATCH_ROWS: usize = 65_536;

fn columns(table: &str) -> Vec<(&'static str, DataType)> {
    let ts = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let (int, text) = (|| DataType::Int64, || DataType::Utf8);
    match table {
        "Person" => vec![
            ("id", int()),
            ("name", text()),
            ("emailAddress", text()),
            ("creditCard", text()),
            ("city", text()),
            ("state", text()),
            ("dateTime", ts()),
            ("extra", text()),
        ],
        "Auction" => vec![
            ("id", int()),
            ("itemName", text()),
            ("description", text()),
            ("initialBid", int()),
            ("reserve", int()),
            ("dateTime", ts()),
            ("expires", ts()),
            ("seller", int()),
            ("category", int()),
            ("extra", text()),
        ],
        _ => vec![
            ("auction", int()),
            ("bidder", int()),
            ("price", int()),
            ("channel", text()),
            ("url", text()),
            ("dateTime", ts()),
            ("extra", text()),
        ],
    }
}

/// All three tables of `events` events at 10,000 a second.
pub fn generate(events: u64) -> (Arc<Catalog>, Tables) {
    let mut catalog = Catalog::new();
    let mut tables = Tables::new();
    for (i, table) in ["Person", "Auction", "Bid"].into_iter().enumerate() {
        let id = ObjectId(16384 + i as u32);
        let columns = columns(table);
        tables.insert(id, rows(table, &columns, events));
        catalog.apply(CatalogChange::Put(object(id, table, &columns)));
    }
    (Arc::new(catalog), tables)
}

fn rows(table: &str, columns: &[(&'static str, DataType)], events: u64) -> Vec<RecordBatch> {
    let options: Vec<(String, String)> = [
        ("connector", "nexmark".to_string()),
        ("nexmark.table.type", table.to_string()),
        ("nexmark.event.num", events.to_string()),
        ("nexmark.event.interval", "100us".to_string()),
        ("nexmark.max.chunk.size", BATCH_ROWS.to_string()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec();
    let format = FormatSpec { format: "PLAIN".into(), encode: "NATIVE".into(), options: vec![] };
    let specs: Vec<ColumnSpec> =
        columns.iter().map(|(n, t)| ColumnSpec { name: n.to_string(), data_type: t.clone() }).collect();
    let configured = connectors::configure(&options, &format, &specs).expect("options of the connector");
    let projection = (0..columns.len()).collect();
    let request = OpenRequest { projection, chunk_rows_max: BATCH_ROWS, ..OpenRequest::default() };
    let mut reader = configured.config.open(request).expect("a generator opens");
    let mut batches: Vec<RecordBatch> = vec![];
    loop {
        match reader.next(Duration::from_secs(1)).expect("a generator reads") {
            ReadEvent::Chunk(chunk) => batches.push(chunk.rows),
            ReadEvent::End => break,
            _ => {}
        }
    }
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema");
    (0..all.num_rows()).step_by(BATCH_ROWS).map(|from| all.slice(from, BATCH_ROWS.min(all.num_rows() - from))).collect()
}

fn object(id: ObjectId, table: &str, columns: &[(&'static str, DataType)]) -> CatalogObject {
    let time = columns.iter().position(|(name, _)| *name == "dateTime").expect("every table has it");
    CatalogObject {
        id,
        schema: "public".into(),
        name: table.to_lowercase(),
        columns: columns
            .iter()
            .map(|(name, data_type)| ColumnEntry {
                name: name.to_string(),
                data_type: data_type.clone(),
                not_null: false,
                default: None,
                generated: None,
                comment: None,
            })
            .collect(),
        body: ObjectBody::Source(SourceBody {
            options: vec![],
            format: "PLAIN".into(),
            encode: "NATIVE".into(),
            format_options: vec![],
            watermark: Some(WatermarkEntry {
                column: time,
                delay_us: 4_000_000,
                allowed_lateness_us: 0,
                idle_timeout_us: i64::MAX,
                max_future_us: i64::MAX,
                follow_clock: false,
            }),
            bounded: true,
            keeps: Default::default(),
            generated: vec![],
        }),
        depends_on: vec![],
        sql: String::new(),
        comment: None,
        created_us: 0,
        building: None,
    }
}
