//! Files as partitions: listing, Parquet, following, `until`, and history that is gone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::DataType::{Int16, Int64, Utf8};
use expect_test::expect;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use types::ToSqlState;

use crate::testing::{TIMESTAMP, all_columns, check_resume_everywhere, located, read_all, shown, source};
use crate::{Chunk, ConnectorError, Offsets, OpenRequest, PartitionState, ReadEvent, SourceConfig, SourceReader};

const WAIT: Duration = Duration::from_secs(10);

fn config(path: &Path, format: &str, follow: &str) -> Arc<dyn SourceConfig> {
    let options = [("connector", "file"), ("path", path.to_str().unwrap()), ("format", format), ("follow", follow)];
    source(&options, &[("id", Int64), ("name", Utf8)]).unwrap().config
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn chunk(event: ReadEvent) -> Chunk {
    match event {
        ReadEvent::Chunk(chunk) => chunk,
        other => panic!("expected a chunk, got {other:?}"),
    }
}

/// The events up to the next quiet moment.
fn events(reader: &mut dyn SourceReader) -> Vec<String> {
    let mut events = vec![];
    loop {
        match reader.next(Duration::ZERO).unwrap() {
            ReadEvent::Chunk(chunk) => events.push(format!("rows {}", shown(&[chunk]).join(" "))),
            ReadEvent::PartitionAdded(name) => events.push(format!("added {}", base(&name))),
            ReadEvent::PartitionEnded(name) => events.push(format!("ended {}", base(&name))),
            ReadEvent::PartitionIdentified { .. } => {}
            ReadEvent::PartitionTroubled(trouble) => events.push(trouble.error.to_string()),
            other @ (ReadEvent::PartitionRecovered(_) | ReadEvent::Noted { .. }) => events.push(format!("{other:?}")),
            ReadEvent::Idle => return events,
            ReadEvent::End => {
                events.push("end".into());
                return events;
            }
        }
    }
}

/// The next event that is not an identity.
fn next(reader: &mut dyn SourceReader, wait: Duration) -> ReadEvent {
    loop {
        match reader.next(wait).unwrap() {
            ReadEvent::PartitionIdentified { .. } => {}
            event => return event,
        }
    }
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}

#[test]
fn a_directory_is_read_file_by_file_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    append(&directory.path().join("b.csv"), "3,c\n");
    append(&directory.path().join("a.csv"), "1,a\n2,b\n");
    append(&directory.path().join(".hidden"), "9,z\n");
    let config = config(directory.path(), "csv", "false");
    config.validate().unwrap();
    assert!(config.bounded());
    let mut reader = config.open(all_columns(config.as_ref())).unwrap();
    let names: Vec<String> = reader.partitions().iter().map(|p| base(&p.name).to_string()).collect();
    assert_eq!(names, ["a.csv", "b.csv"]);
    assert_eq!(events(reader.as_mut()), ["rows 1|a 2|b", "ended a.csv", "rows 3|c", "ended b.csv", "end"]);
    assert!(reader.partitions().iter().all(|p| p.ended && p.position > 0));
    check_resume_everywhere(config.as_ref());
}

#[test]
fn until_names_partitions_and_exact_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a.json"), directory.path().join("b.json"));
    append(&a, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
    append(&b, "{\"id\":4}\n");
    for follow in ["false", "true"] {
        let config = config(directory.path(), "json", follow);
        let until = Offsets::from([(a.to_str().unwrap().to_string(), 18)]);
        let from = Offsets::from([(a.to_str().unwrap().to_string(), 9)]);
        let request = OpenRequest { from, until: Some(until), ..all_columns(config.as_ref()) };
        let mut reader = config.open(request).unwrap();
        let state = PartitionState { name: a.to_str().unwrap().into(), position: 9, ended: false };
        assert_eq!(reader.partitions(), [state]);
        assert_eq!(events(reader.as_mut()), ["rows 2|∅", "end"]);
        assert!(!reader.partitions()[0].ended, "there is more behind it");
    }
}

#[test]
fn missing_files_are_refused_with_their_state() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.csv");
    let error = config(&missing, "csv", "false").validate().unwrap_err();
    assert_eq!(error.to_sql_error().state.code(), "58P01");
    let glob = directory.path().join("*.csv");
    assert!(matches!(config(&glob, "csv", "false").validate(), Err(ConnectorError::FileNotFound { .. })));
    config(&glob, "csv", "true").validate().unwrap();
    assert!(config(&directory.path().join("no/*.csv"), "csv", "true").validate().is_err());
}

#[test]
fn a_followed_file_delivers_whole_lines_as_they_are_appended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.csv");
    append(&path, "1,a\n2,");
    let config = config(&path, "csv", "true");
    assert!(!config.bounded());
    let mut reader = config.open(all_columns(config.as_ref())).unwrap();
    let first = chunk(next(reader.as_mut(), WAIT));
    assert_eq!((shown(&[first]), reader.partitions()[0].position), (vec!["1|a".to_string()], 4));
    assert!(matches!(next(reader.as_mut(), Duration::ZERO), ReadEvent::Idle));
    append(&path, "b\n3,c");
    let second = chunk(next(reader.as_mut(), WAIT));
    assert_eq!((second.from, second.to, shown(&[second])), (4, 8, vec!["2|b".to_string()]));
    append(&path, "\n");
    assert_eq!(shown(&[chunk(next(reader.as_mut(), WAIT))]), ["3|c"]);
}

#[test]
fn followed_directories_deliver_new_files() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory.path().join("*.json"), "json", "true");
    let mut reader = config.open(all_columns(config.as_ref())).unwrap();
    assert_eq!(reader.partitions(), []);
    append(&directory.path().join("ignored.txt"), "{}\n");
    append(&directory.path().join("a.json"), "{\"id\":1}\n");
    assert!(matches!(next(reader.as_mut(), WAIT), ReadEvent::PartitionAdded(name) if base(&name) == "a.json"));
    assert_eq!(shown(&[chunk(next(reader.as_mut(), WAIT))]), ["1|∅"]);
    // Moved into place.
    append(&directory.path().join("b.part"), "{\"id\":2}\n");
    fs::rename(directory.path().join("b.part"), directory.path().join("b.json")).unwrap();
    assert!(matches!(next(reader.as_mut(), WAIT), ReadEvent::PartitionAdded(name) if base(&name) == "b.json"));
    assert_eq!(shown(&[chunk(next(reader.as_mut(), WAIT))]), ["2|∅"]);
    append(&directory.path().join("a.json"), "{\"id\":3}\n");
    let third = chunk(next(reader.as_mut(), WAIT));
    assert_eq!((base(&third.partition), third.from), ("a.json", 9));
}

#[test]
fn a_followed_file_resumes_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.csv");
    append(&path, "1,a\n2,b\n");
    let config = config(&path, "csv", "true");
    let from = Offsets::from([(path.to_str().unwrap().to_string(), 4)]);
    let request = OpenRequest { from, ..all_columns(config.as_ref()) };
    let mut reader = config.open(request).unwrap();
    assert_eq!(shown(&[chunk(next(reader.as_mut(), WAIT))]), ["2|b"]);
}

#[test]
fn history_that_is_gone_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.csv");
    let lost = |error: ConnectorError| {
        assert!(matches!(error, ConnectorError::HistoryLost { .. }), "{error}");
        assert_eq!(error.sql_state().code(), "XX001");
        assert!(!error.may_pass());
    };
    // Shrunk while nobody looked.
    append(&path, "1,a\n");
    let from = Offsets::from([(path.to_str().unwrap().to_string(), 8)]);
    let once = config(&path, "csv", "false");
    lost(read_all(once.as_ref(), OpenRequest { from: from.clone(), ..all_columns(once.as_ref()) }).unwrap_err());
    lost(read_all(once.as_ref(), OpenRequest { until: Some(from.clone()), ..all_columns(once.as_ref()) }).unwrap_err());
    // Gone: told of the partition; the source goes on with what comes.
    fs::remove_file(&path).unwrap();
    let all = config(&directory.path().join("*.csv"), "csv", "true");
    let mut reader = all.open(OpenRequest { from, ..all_columns(all.as_ref()) }).unwrap();
    match next(reader.as_mut(), WAIT) {
        ReadEvent::PartitionTroubled(trouble) => lost(trouble.error),
        other => panic!("{other:?}"),
    }
    append(&directory.path().join("b.csv"), "2,b\n");
    assert!(matches!(next(reader.as_mut(), WAIT), ReadEvent::PartitionAdded(name) if base(&name) == "b.csv"));
    assert_eq!(shown(&[chunk(next(reader.as_mut(), WAIT))]), ["2|b"]);
}

#[test]
fn a_deleted_file_ends_once_another_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a.csv"), directory.path().join("b.csv"));
    append(&a, "1,a\n");
    let config = config(directory.path(), "csv", "true");
    let mut reader = config.open(all_columns(config.as_ref())).unwrap();
    chunk(next(reader.as_mut(), WAIT));
    fs::remove_file(&a).unwrap();
    append(&b, "2,b\n");
    let mut seen = vec![];
    while seen.len() < 3 {
        seen.push(match next(reader.as_mut(), WAIT) {
            ReadEvent::PartitionAdded(name) => format!("added {}", base(&name)),
            ReadEvent::PartitionEnded(name) => format!("ended {}", base(&name)),
            ReadEvent::Chunk(chunk) => shown(&[chunk]).join(" "),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["added b.csv", "2|b", "ended a.csv"]);
}

fn write_parquet(path: &Path, rows: usize, group_rows: usize) {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter((0..rows as i32).map(|i| (i % 5 != 3).then_some(i))));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("name {i}"))));
    let times: ArrayRef =
        Arc::new(TimestampMillisecondArray::from_iter_values((0..rows as i64).map(|i| 1_704_067_200_000 + i)));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("Name", names, true),
        ("id", ids, true),
        ("at", times, true),
        ("wide", Arc::new(Int64Array::from(vec![7; rows])) as ArrayRef, true),
    ])
    .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_is_converted_projected_and_resumed_at_any_row() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    write_parquet(&path, 23, 10);
    let options = [("connector", "file"), ("path", path.to_str().unwrap()), ("format", "parquet")];
    let config = source(&options, &[("id", Int64), ("at", TIMESTAMP), ("name", Utf8)]).unwrap().config;
    config.validate().unwrap();
    let all = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap();
    expect![[r#"
        0|2024-01-01 00:00:00.000|name 0
        1|2024-01-01 00:00:00.001|name 1
        2|2024-01-01 00:00:00.002|name 2
        ∅|2024-01-01 00:00:00.003|name 3"#]]
    .assert_eq(&shown(&all)[..4].join("\n"));
    let all = located(&all);
    assert_eq!(all.len(), 23);
    check_resume_everywhere(config.as_ref());
    let name = path.to_str().unwrap().to_string();
    for from in 0..=23 {
        for until in from..=23 {
            let request = OpenRequest {
                from: Offsets::from([(name.clone(), from)]),
                until: Some(Offsets::from([(name.clone(), until)])),
                ..all_columns(config.as_ref())
            };
            let read = located(&read_all(config.as_ref(), request).unwrap());
            let positions: Vec<u64> = read.iter().map(|(_, position, _)| *position).collect();
            assert_eq!(positions, (from..until).collect::<Vec<_>>());
            assert!(read.iter().all(|row| all.contains(row)));
        }
    }
}

#[test]
fn parquet_types_that_would_change_values_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    write_parquet(&path, 3, 10);
    let options = [("connector", "file"), ("path", path.to_str().unwrap()), ("format", "parquet")];
    let error = source(&options, &[("wide", Int16)]).unwrap().config.validate().unwrap_err();
    assert_eq!(error.to_string(), "column \"wide\" of type smallint cannot be read by this source");
    assert!(error.detail().unwrap().starts_with("It can be read as bigint"), "{:?}", error.detail());
    let error = source(&options, &[("wide", TIMESTAMP)]).unwrap().config.validate().unwrap_err();
    assert_eq!(error.sql_state().code(), "42804", "a number is never guessed to be a time");
    let error = source(&options, &[("nope", Int64)]).unwrap().config.validate().unwrap_err();
    assert_eq!(error.sql_state().code(), "42703");
    fs::write(&path, "PAR1 not really").unwrap();
    let error = source(&options, &[("wide", Int64)]).unwrap().config.validate().unwrap_err();
    assert!(matches!(error, ConnectorError::Corrupt { .. }));
}

#[test]
fn followed_parquet_files_end_when_the_next_one_comes() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), "parquet", "true");
    write_parquet(&directory.path().join("a.parquet"), 3, 10);
    let mut reader = config.open(all_columns(config.as_ref())).unwrap();
    assert_eq!(chunk(next(reader.as_mut(), WAIT)).rows.num_rows(), 3);
    assert!(matches!(next(reader.as_mut(), Duration::ZERO), ReadEvent::Idle), "the last one stays open");
    write_parquet(&directory.path().join("b.part"), 2, 10);
    let mut seen = vec![];
    while seen.len() < 3 {
        match next(reader.as_mut(), WAIT) {
            ReadEvent::Chunk(chunk) => seen.push(format!("rows {}", chunk.rows.num_rows())),
            ReadEvent::PartitionAdded(name) => seen.push(format!("added {}", base(&name))),
            ReadEvent::PartitionEnded(name) => seen.push(format!("ended {}", base(&name))),
            other => panic!("{other:?}"),
        }
        seen.sort();
    }
    assert_eq!(seen, ["added b.part", "ended a.parquet", "rows 2"]);
    // A finished file that changes isn't what was read.
    write_parquet(&directory.path().join("a.parquet"), 4, 10);
    let error = loop {
        match next(reader.as_mut(), WAIT) {
            ReadEvent::Idle => panic!("the change was not noticed"),
            ReadEvent::PartitionTroubled(trouble) => break trouble.error,
            _ => {}
        }
    };
    assert!(matches!(error, ConnectorError::HistoryLost { position: 3, .. }), "{error}");
}

mod rotation;
