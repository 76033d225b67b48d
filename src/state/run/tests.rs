//! Round trips, merging before writing, and flips of every bit.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use types::ObjectId;

use super::*;
use crate::disk::Files;
use crate::tests::scratch;
use crate::{StateBlock, StateError};

pub(crate) fn block(operator: u32, kind: BlockKind, rows: &[(i64, &str, i64)]) -> StateBlock {
    let batch = RecordBatch::try_from_iter([
        ("k", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))) as ArrayRef),
        ("v", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))) as ArrayRef),
        ("__diff", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))) as ArrayRef),
    ]);
    let batches = vec![batch.unwrap()];
    StateBlock { relation: ObjectId(16384), operator, table: 0, kind, vnode_columns: vec![0], batches }
}

pub(crate) fn rows(block: &StateBlock) -> Vec<(i64, String, i64)> {
    let rows = block.batches.iter().flat_map(|batch| {
        let keys = batch.column(0).as_primitive::<Int64Type>();
        let values = batch.column(1).as_string::<i32>();
        let diffs = batch.column(2).as_primitive::<Int64Type>();
        (0..batch.num_rows()).map(|i| (keys.value(i), values.value(i).to_owned(), diffs.value(i))).collect::<Vec<_>>()
    });
    rows.collect()
}

const NAME: RunName = RunName { epoch: 7, writer: 1, sequence: 3 };
const KEYED: BlockKind = BlockKind::Keyed { key_columns: 1 };

fn write(dir: &Path, blocks: Vec<StateBlock>) -> WrittenRun {
    let mut writer = RunWriter::create(&Files::real(), dir, NAME).unwrap();
    for block in blocks {
        writer.write_block(block).unwrap();
    }
    writer.finish().unwrap()
}

fn read_all(dir: &Path, run: &crate::RunRef) -> Result<Vec<StateBlock>, StateError> {
    let reader = RunReader::open_verified(&Files::real(), dir, run)?;
    (0..reader.blocks().len()).map(|index| reader.read_block(index)).collect()
}

#[test]
fn blocks_come_back_merged() {
    let dir = scratch();
    let keyed = block(1, KEYED, &[(2, "b", 1), (1, "a", 1), (2, "c", 1), (1, "", -1), (3, "x", -1), (3, "y", 1)]);
    let multiset = block(2, BlockKind::Multiset, &[(1, "a", 1), (1, "b", 2), (1, "a", 3), (1, "b", -2)]);
    let cancelled = block(3, BlockKind::Multiset, &[(1, "a", 1), (1, "a", -1)]);
    let written = write(dir.path(), vec![keyed, multiset, cancelled]);
    assert_eq!(written.run.relations, [ObjectId(16384)]);
    assert_eq!(written.run.bytes, fs::metadata(dir.path().join(NAME.file_name())).unwrap().len());
    let blocks = read_all(dir.path(), &written.run).unwrap();
    assert_eq!(blocks.len(), 2, "nothing is left of the third");
    assert_eq!(rows(&blocks[0]), [(1, String::new(), -1), (2, "c".into(), 1), (3, "y".into(), 1)]);
    assert_eq!(rows(&blocks[1]), [(1, "a".into(), 4)]);
    assert_eq!((blocks[0].kind, blocks[0].operator, &blocks[0].vnode_columns[..]), (KEYED, 1, &[0][..]));
}

#[test]
fn large_block_is_compressed_and_split() {
    let dir = scratch();
    let many: Vec<(i64, &str, i64)> = (0..100_000).map(|i| (i, "the same words in every row", 1)).collect();
    let written = write(dir.path(), vec![block(1, KEYED, &many)]);
    assert!(written.run.bytes * 3 < written.memory_bytes, "{} of {}", written.run.bytes, written.memory_bytes);
    let blocks = read_all(dir.path(), &written.run).unwrap();
    assert_eq!(blocks[0].batches.len(), 13, "of 8,192 rows");
    assert_eq!(blocks[0].num_rows(), 100_000);
}

#[test]
fn every_flipped_bit_and_every_shorter_file_is_refused() {
    let dir = scratch();
    let written = write(dir.path(), vec![block(1, KEYED, &[(1, "a", 1)])]);
    let path = dir.path().join(NAME.file_name());
    let bytes = fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).unwrap();
        read_all(dir.path(), &written.run).expect_err("a flipped bit");
    }
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        read_all(dir.path(), &written.run).expect_err("a shorter file");
    }
    fs::remove_file(&path).unwrap();
    assert!(read_all(dir.path(), &written.run).expect_err("a missing file").is_damage());
}

#[test]
fn unfinished_run_leaves_nothing() {
    let dir = scratch();
    let mut writer = RunWriter::create(&Files::real(), dir.path(), NAME).unwrap();
    writer.write_block(block(1, KEYED, &[(1, "a", 1)])).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn names_round_trip() {
    assert_eq!(RunName::parse(&NAME.file_name()), Some(NAME));
    let large = RunName { epoch: u64::MAX, writer: RunName::COMPACTION, sequence: u64::MAX };
    assert_eq!(RunName::parse(&large.file_name()), Some(large));
    for other in ["1-2.run", "a-b-c.run", "0000000007-0001-0000000003.run.tmp", ""] {
        assert_eq!(RunName::parse(other), None);
    }
}
