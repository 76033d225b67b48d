//! How the tests of this crate drive sources: configure from options, read to the end, show rows as text.

use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{
    Chunk, ColumnSpec, ConfiguredSource, ConnectorError, FormatSpec, Offsets, OpenRequest, ReadEvent, SourceConfig,
    SourceReader, configure,
};

pub(crate) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

pub(crate) fn columns(columns: &[(&str, DataType)]) -> Vec<ColumnSpec> {
    columns.iter().map(|(n, t)| ColumnSpec { name: n.to_string(), data_type: t.clone() }).collect()
}

pub(crate) fn pairs(options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

/// Without a FORMAT clause.
pub(crate) fn source(
    options: &[(&str, &str)],
    declared: &[(&str, DataType)],
) -> Result<ConfiguredSource, ConnectorError> {
    configure(&pairs(options), &FormatSpec::default(), &columns(declared))
}

pub(crate) fn all_columns(config: &dyn SourceConfig) -> OpenRequest {
    OpenRequest { projection: (0..config.schema().fields().len()).collect(), ..OpenRequest::default() }
}

/// Every chunk until `End`.
pub(crate) fn read_all(config: &dyn SourceConfig, request: OpenRequest) -> Result<Vec<Chunk>, ConnectorError> {
    drain(config.open(request)?.as_mut())
}

pub(crate) fn drain(reader: &mut dyn SourceReader) -> Result<Vec<Chunk>, ConnectorError> {
    let mut chunks = vec![];
    loop {
        match reader.next(Duration::from_secs(10))? {
            ReadEvent::Chunk(chunk) => {
                assert_eq!(chunk.rows.num_rows(), chunk.positions.len());
                assert!(chunk.from <= chunk.to);
                assert!(chunk.positions.iter().all(|p| (chunk.from..chunk.to).contains(p)));
                chunks.push(chunk);
            }
            ReadEvent::PartitionAdded(_)
            | ReadEvent::PartitionIdentified { .. }
            | ReadEvent::PartitionEnded(_)
            | ReadEvent::PartitionRecovered(_)
            | ReadEvent::Noted { .. } => {}
            ReadEvent::PartitionTroubled(trouble) => return Err(trouble.error),
            ReadEvent::Idle => panic!("nothing came for ten seconds"),
            ReadEvent::End => return Ok(chunks),
        }
    }
}

/// Rows as text, values separated by `|`, NULL as `∅`; then the errors as `! position reason: raw`.
pub(crate) fn shown(chunks: &[Chunk]) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for chunk in chunks {
        lines.extend(rows_shown(&chunk.rows));
    }
    for error in chunks.iter().flat_map(|chunk| &chunk.errors) {
        lines.push(format!("! {} {}: {}", error.position, error.reason, String::from_utf8_lossy(&error.raw)));
    }
    lines
}

pub(crate) fn rows_shown(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅").with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.3f"));
    let formatters: Vec<_> =
        rows.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let row = |row| formatters.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>().join("|");
    rows.columns().iter().for_each(|c| assert_eq!(c.len(), rows.num_rows()));
    (0..rows.num_rows()).map(row).collect()
}

/// (partition, position, row) of every row: what must be the same however it was read.
pub(crate) fn located(chunks: &[Chunk]) -> Vec<(String, u64, String)> {
    let rows = |chunk: &Chunk| {
        let positions = chunk.positions.clone();
        let partition = chunk.partition.clone();
        let rows = positions.into_iter().zip(rows_shown(&chunk.rows)).collect::<Vec<_>>();
        rows.into_iter().map(move |(position, row)| (partition.clone(), position, row))
    };
    let errors = |chunk: &Chunk| {
        let partition = chunk.partition.clone();
        chunk.errors.iter().map(move |e| (partition.clone(), e.position, format!("! {}", e.reason))).collect::<Vec<_>>()
    };
    let mut located: Vec<_> = chunks.iter().flat_map(|chunk| rows(chunk).chain(errors(chunk))).collect();
    located.sort();
    located
}

/// The law of positions: for every boundary p between chunks, reading up to p and then from p is reading all.
pub(crate) fn check_resume_everywhere(config: &dyn SourceConfig) {
    let all = located(&read_all(config, all_columns(config)).unwrap());
    for chunk_rows_max in [1, 2, 3, 7] {
        let request = || OpenRequest { chunk_rows_max, ..all_columns(config) };
        let chunks = read_all(config, request()).unwrap();
        assert_eq!(located(&chunks), all);
        let mut position = Offsets::new();
        for chunk in &chunks {
            assert_eq!(chunk.from, position.get(&chunk.partition).copied().unwrap_or(0), "chunks join");
            position.insert(chunk.partition.clone(), chunk.to);
            let before = read_all(config, OpenRequest { until: Some(position.clone()), ..request() }).unwrap();
            let after = read_all(config, OpenRequest { from: position.clone(), ..request() }).unwrap();
            let mut both: Vec<_> = located(&before).into_iter().chain(located(&after)).collect();
            both.sort();
            assert_eq!(both, all, "at {position:?}");
        }
    }
}
