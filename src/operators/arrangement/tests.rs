//! The arrangement against a map: every epoch stays readable, whatever was applied since.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::types::limits::SEGMENT_ROWS_MIN;
use ::types::{DeltaBatch, Epoch, ErrorDelta, SqlState};
use arrow::array::*;
use arrow::datatypes::*;
use arrow::util::display::array_value_to_string;
use rand::prelude::*;
use rand::rngs::StdRng;

use super::*;

type Row = (i64, Option<String>, f64, bool);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("t", DataType::Utf8, true),
        Field::new("x", DataType::Float64, false),
        Field::new("b", DataType::Boolean, false),
    ]))
}

fn batch(rows: &[(Row, i64)]) -> DeltaBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, _)| r.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|(r, _)| r.1.clone()))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(r, _)| r.2))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(r, _)| Some(r.3)))),
    ];
    let batch = RecordBatch::try_new(schema(), columns).unwrap();
    if rows.iter().all(|(_, d)| *d == 1) {
        return DeltaBatch::inserts(batch);
    }
    DeltaBatch::new(batch, rows.iter().map(|(_, d)| *d).collect::<Vec<i64>>())
}

fn text(batch: &RecordBatch) -> Vec<String> {
    let cell = |c: usize, r: usize| match batch.column(c).is_null(r) {
        true => "null".to_string(),
        false => array_value_to_string(batch.column(c), r).unwrap(),
    };
    (0..batch.num_rows()).map(|r| (0..batch.num_columns()).map(|c| cell(c, r)).collect::<Vec<_>>().join(" ")).collect()
}

fn read(shard: &Shard, epoch: Epoch) -> Vec<String> {
    let snapshot = shard.snapshot(epoch);
    let count = snapshot.num_rows();
    let mut rows: Vec<String> = snapshot.batches(None).flat_map(|b| text(&b)).collect();
    assert_eq!(rows.len(), count);
    rows.sort();
    rows
}

fn expected(model: &BTreeMap<String, i64>) -> Vec<String> {
    let mut rows: Vec<String> =
        model.iter().flat_map(|(row, n)| std::iter::repeat_n(row.clone(), *n as usize)).collect();
    rows.sort();
    rows
}

fn random_row(rng: &mut StdRng, keys: i64) -> Row {
    let texts = ["", "a", "bb", "a longer text than the others", "z"];
    let t = (!rng.random_bool(0.2)).then(|| texts.choose(rng).unwrap().repeat(rng.random_range(0..4)));
    (rng.random_range(0..keys), t, [0.5, -1.0, 3.25][rng.random_range(0..3)], rng.random_bool(0.5))
}

fn line(row: &Row) -> String {
    text(batch(&[(row.clone(), 1)]).rows()).remove(0)
}

/// Applies random epochs to a keyed shard and to a map, then reads every epoch that is still kept.
fn keyed_case(seed: u64, keys: i64, epochs: u64, rows_per_epoch: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let shard = Shard::new(schema(), Some(vec![0]));
    let mut live: BTreeMap<i64, Row> = BTreeMap::new();
    let mut kept: BTreeMap<Epoch, Vec<String>> = BTreeMap::new();
    let mut held = vec![];
    for epoch in 1..=epochs {
        let mut changes = vec![];
        for _ in 0..rng.random_range(0..=rows_per_epoch) {
            let row = random_row(&mut rng, keys);
            if let Some(old) = live.remove(&row.0) {
                changes.push((old, -1));
            }
            if rng.random_bool(0.7) {
                live.insert(row.0, row.clone());
                changes.push((row, 1));
            }
        }
        changes.shuffle(&mut rng);
        let parts: Vec<DeltaBatch> = changes.chunks(rng.random_range(1..50)).map(batch).collect();
        shard.apply(epoch, &parts, &[]).unwrap();
        kept.insert(epoch, expected(&live.values().map(|r| (line(r), 1)).collect()));
        if rng.random_bool(0.2) {
            held.push((epoch, shard.snapshot(epoch)));
        }
        let (tracked, counted) = shard.lock().rows.count_page_bytes();
        assert_eq!(tracked, counted, "page bytes at epoch {epoch}, seed {seed}");
        if rng.random_bool(0.1) {
            shard.set_retain_from(epoch.saturating_sub(5));
            kept = kept.split_off(&epoch.saturating_sub(5));
        }
        let probe: Vec<Row> = (0..5).map(|_| random_row(&mut rng, keys)).collect();
        let probe_keys = batch(&probe.iter().map(|r| (r.clone(), 1)).collect::<Vec<_>>()).rows().project(&[0]).unwrap();
        let mut found = text(&shard.lookup(&probe_keys, epoch).unwrap());
        found.sort();
        let mut wanted: Vec<String> = probe.iter().filter_map(|r| live.get(&r.0)).map(line).collect();
        wanted.sort();
        wanted.dedup();
        assert_eq!(found, wanted, "lookup at epoch {epoch}, seed {seed}");
    }
    let all: RecordBatch = keys_upto(keys);
    for (epoch, rows) in &kept {
        assert_eq!(&read(&shard, *epoch), rows, "epoch {epoch}, seed {seed}");
        let mut found = text(&shard.lookup(&all, *epoch).unwrap());
        found.sort();
        assert_eq!(&found, rows, "lookup of all keys at epoch {epoch}, seed {seed}");
    }
    for (epoch, snapshot) in held {
        if let Some(rows) = kept.get(&epoch) {
            let mut seen: Vec<String> = snapshot.batches(None).flat_map(|b| text(&b)).collect();
            seen.sort();
            assert_eq!(&seen, rows, "snapshot taken at epoch {epoch}, seed {seed}");
        }
    }
}

fn keys_upto(keys: i64) -> RecordBatch {
    RecordBatch::try_from_iter([("k", Arc::new(Int64Array::from_iter_values(0..keys)) as ArrayRef)]).unwrap()
}

#[test]
fn a_keyed_relation_equals_a_map_at_every_kept_epoch() {
    for seed in 0..6 {
        keyed_case(seed, 10, 60, 12);
    }
    keyed_case(100, 3_000, 12, 4_000);
}

#[test]
fn a_bag_equals_a_multiset_at_every_kept_epoch() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let shard = Shard::new(schema(), None);
        let mut live: BTreeMap<String, (Row, i64)> = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for epoch in 1..=40 {
            let mut changes = vec![];
            for _ in 0..rng.random_range(0..40) {
                let row = random_row(&mut rng, 4);
                // The first epochs only insert: the index is built by the first retraction.
                if epoch > 10 && rng.random_bool(0.5) {
                    let victim = live.values().filter(|(_, n)| *n > 0).choose(&mut rng).cloned();
                    if let Some((row, n)) = victim {
                        let n = rng.random_range(1..=n);
                        live.get_mut(&line(&row)).unwrap().1 -= n;
                        changes.push((row, -n));
                    }
                    continue;
                }
                let n = if rng.random_bool(0.3) { rng.random_range(1..4) } else { 1 };
                live.entry(line(&row)).or_insert((row.clone(), 0)).1 += n;
                changes.push((row, n));
            }
            changes.shuffle(&mut rng);
            let parts: Vec<DeltaBatch> = changes.chunks(7).map(batch).collect();
            let _reader = shard.snapshot(epoch - 1);
            shard.apply(epoch, &parts, &[]).unwrap();
            let (tracked, counted) = shard.lock().rows.count_page_bytes();
            assert_eq!(tracked, counted, "page bytes at epoch {epoch}, seed {seed}");
            kept.insert(epoch, expected(&live.iter().map(|(k, (_, n))| (k.clone(), *n)).collect()));
        }
        for (epoch, rows) in kept {
            assert_eq!(read(&shard, epoch), rows, "epoch {epoch}, seed {seed}");
        }
    }
}

#[test]
fn large_insertions_stay_as_they_came_until_the_first_retraction() {
    let mut rng = StdRng::seed_from_u64(1);
    let shard = Shard::new(schema(), None);
    let mut live: Vec<(Row, i64)> = vec![];
    let mut kept = BTreeMap::new();
    let lines = |live: &[(Row, i64)]| {
        let mut lines = text(batch(&live.iter().map(|(r, _)| (r.clone(), 1)).collect::<Vec<_>>()).rows());
        lines.sort();
        lines
    };
    for epoch in 1..=8u64 {
        let sizes = [3, SEGMENT_ROWS_MIN, 10, 2 * SEGMENT_ROWS_MIN + 7];
        let new: Vec<Vec<(Row, i64)>> =
            sizes.iter().map(|n| (0..*n).map(|_| (random_row(&mut rng, 50), 1)).collect()).collect();
        let mut parts: Vec<DeltaBatch> = new.iter().map(|rows| batch(rows)).collect();
        live.extend(new.into_iter().flatten());
        if epoch == 6 {
            let gone: Vec<(Row, i64)> = live.drain(..40).collect();
            parts.push(batch(&gone.into_iter().map(|(row, _)| (row, -1)).collect::<Vec<_>>()));
        }
        shard.apply(epoch, &parts, &[]).unwrap();
        assert_eq!(shard.lock().keeps_arrays(), epoch < 6, "epoch {epoch}");
        assert_eq!(shard.row_count(), live.len());
        kept.insert(epoch, lines(&live));
        for (epoch, rows) in &kept {
            assert_eq!(&read(&shard, *epoch), rows, "epoch {epoch}");
        }
    }
}

#[test]
fn a_row_with_a_large_weight_is_read_in_small_batches() {
    let shard = Shard::new(schema(), None);
    shard.apply(1, &[batch(&[((1, None, 0.0, true), 20_000)])], &[]).unwrap();
    let sizes: Vec<usize> = shard.snapshot(1).batches(Some(&[0])).map(|b| b.num_rows()).collect();
    assert_eq!(sizes, vec![8192, 8192, 20_000 - 2 * 8192]);
}

#[test]
fn broken_changes_are_refused_and_named() {
    let row = (1, None, 0.0, true);
    let other = (1, Some("x".to_string()), 0.0, true);
    let shard = Shard::new(schema(), Some(vec![0]));
    shard.apply(1, &[batch(&[(row.clone(), 1)])], &[]).unwrap();
    assert!(shard.apply(2, &[batch(&[(other.clone(), 1)])], &[]).is_err(), "a key twice");
    assert!(shard.snapshot(2).error().is_some(), "a half-applied relation cannot be read");
    let shard = Shard::new(schema(), Some(vec![0]));
    assert!(shard.apply(1, &[batch(&[(row.clone(), 1), (other.clone(), 1)])], &[]).is_err(), "a key twice in an epoch");
    let shard = Shard::new(schema(), Some(vec![0]));
    assert!(shard.apply(1, &[batch(&[(row.clone(), -1)])], &[]).is_err(), "a row that is not there");
    let bag = Shard::new(schema(), None);
    bag.apply(1, &[batch(&[(row.clone(), 2)])], &[]).unwrap();
    assert!(bag.apply(2, &[batch(&[(row, -3)])], &[]).is_err(), "a weight below zero");
}

#[test]
fn errors_are_seen_at_the_epochs_that_hold_them() {
    let error = |message: &str, diff| ErrorDelta::new(SqlState::DivisionByZero, message, diff);
    let shard = Shard::new(schema(), None);
    shard.apply(1, &[], &[error("b", 1), error("a", 1)]).unwrap();
    shard.apply(2, &[], &[error("a", -1)]).unwrap();
    shard.apply(3, &[], &[error("b", -1)]).unwrap();
    let at = |epoch| shard.snapshot(epoch).error().map(|e| e.message);
    assert_eq!([at(0), at(1), at(2), at(3)], [None, Some("a".into()), Some("b".into()), None]);
}

#[test]
fn readers_on_other_threads_see_whole_epochs() {
    let shard = Shard::new(schema(), Some(vec![0]));
    let rows = |epoch: i64| -> Vec<Row> { (0..3_000).map(|k| (k, None, epoch as f64, true)).collect() };
    let insert = |epoch| rows(epoch).into_iter().map(|r| (r, 1)).collect::<Vec<_>>();
    shard.apply(1, &[batch(&insert(1))], &[]).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for epoch in 2..40i64 {
                let old = rows(epoch - 1).into_iter().map(|r| (r, -1)).collect::<Vec<_>>();
                shard.apply(epoch as u64, &[batch(&old), batch(&insert(epoch))], &[]).unwrap();
            }
        });
        let shard = &shard;
        scope.spawn(move || {
            while !writer.is_finished() {
                let epoch = shard.frontier();
                let snapshot = shard.snapshot(epoch);
                let values: Vec<f64> = snapshot
                    .batches(Some(&[2]))
                    .flat_map(|b| b.column(0).as_primitive::<Float64Type>().values().to_vec())
                    .collect();
                assert_eq!(values.len(), 3_000);
                assert!(values.iter().all(|v| *v == epoch as f64), "one epoch, not a mixture");
            }
        });
    });
}

#[test]
fn every_type_comes_back_as_it_went_in() {
    let n = 5;
    let list = {
        let mut b = ListBuilder::new(Int32Builder::new());
        (0..n).for_each(|i| b.append_option((i != 2).then(|| vec![Some(i), None])));
        Arc::new(b.finish()) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter((0..n).map(|i| (i != 1).then_some(i)))),
        Arc::new(Int16Array::from_iter_values((0..n).map(|i| i as i16))),
        Arc::new(Int8Array::from_iter_values((0..n).map(|i| i as i8))),
        Arc::new(Date32Array::from_iter_values(0..n)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(0..n as i64).with_timezone("UTC")),
        Arc::new(Decimal128Array::from_iter_values(0..n as i128).with_precision_and_scale(20, 3).unwrap()),
        Arc::new(IntervalMonthDayNanoArray::from_iter_values(
            (0..n).map(|i| IntervalMonthDayNano::new(i, -i, -(i as i64) << 40)),
        )),
        Arc::new(BinaryArray::from_iter((0..n).map(|i| (i != 3).then(|| vec![i as u8; i as usize])))),
        Arc::new(LargeStringArray::from_iter_values((0..n).map(|i| "x".repeat(i as usize)))),
        Arc::new(Decimal256Array::from_iter_values((0..n).map(|i| arrow::datatypes::i256::from(i as i64)))),
        list,
        new_null_array(&DataType::Null, n as usize),
    ];
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true)).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let shard = Shard::new(rows.schema(), None);
    shard.apply(1, &[DeltaBatch::inserts(rows.clone())], &[]).unwrap();
    assert_eq!(shard.snapshot(1).batches(None).collect::<Vec<_>>(), vec![rows.clone()]);
    shard.apply(2, &[DeltaBatch::inserts(rows.clone()).negate()], &[]).unwrap();
    assert_eq!(shard.snapshot(2).num_rows(), 0);
    assert_eq!(shard.snapshot(1).batches(None).map(|b| b.num_rows()).sum::<usize>(), n as usize, "undone");
}

#[test]
fn relations_without_columns_count_their_rows() {
    let empty: SchemaRef = Arc::new(Schema::empty());
    let rows = |n| {
        RecordBatch::try_new_with_options(empty.clone(), vec![], &RecordBatchOptions::new().with_row_count(Some(n)))
            .unwrap()
    };
    let shard = Shard::new(empty.clone(), None);
    shard.apply(1, &[DeltaBatch::inserts(rows(3))], &[]).unwrap();
    shard.apply(2, &[DeltaBatch::new(rows(1), vec![-2])], &[]).unwrap();
    assert_eq!(shard.snapshot(2).batches(None).map(|b| b.num_rows()).sum::<usize>(), 1);
    assert_eq!(shard.snapshot(1).batches(None).map(|b| b.num_rows()).sum::<usize>(), 3);
}

#[test]
fn a_keyed_cut_restores_the_relation_and_names_each_key_once() {
    for seed in 0..5 {
        let mut rng = StdRng::seed_from_u64(seed);
        let shard = Shard::new(schema(), Some(vec![3, 0]));
        let mut live: BTreeMap<(bool, i64), Row> = BTreeMap::new();
        let mut cuts = vec![];
        for epoch in 1..=30 {
            let mut changes = vec![];
            for _ in 0..rng.random_range(0..30) {
                let row = random_row(&mut rng, 12);
                if let Some(old) = live.remove(&(row.3, row.0)) {
                    changes.push((old, -1));
                }
                if rng.random_bool(0.6) {
                    live.insert((row.3, row.0), row.clone());
                    changes.push((row, 1));
                }
            }
            shard.apply(epoch, &[batch(&changes)], &[]).unwrap();
            if epoch % 7 == 0 || epoch == 30 {
                let cut = shard.cut_keyed().unwrap().gather().unwrap();
                let mut keys: Vec<String> = cut.iter().flat_map(|b| text(&b.project(&[0, 1]).unwrap())).collect();
                let all = keys.len();
                keys.sort();
                keys.dedup();
                assert_eq!(keys.len(), all, "each key once");
                cuts.extend(cut);
            }
        }
        let restored = Shard::new(schema(), Some(vec![3, 0]));
        cuts.iter().for_each(|b| restored.restore_keyed(b).unwrap());
        restored.set_frontier(30);
        assert_eq!(read(&restored, 30), read(&shard, 30), "seed {seed}");
        assert!(restored.cut_keyed().unwrap().gather().unwrap().is_empty(), "restored rows are not dirty");
        // The restored relation goes on working.
        let back: Vec<(Row, i64)> = live.values().map(|r| (r.clone(), -1)).collect();
        restored.apply(31, &[batch(&back)], &[]).unwrap();
        assert_eq!(restored.row_count(), 0);
    }
}

#[test]
fn a_restored_bag_accepts_retractions_before_their_rows() {
    let (a, b) = ((1, None, 0.0, true), (2, None, 0.0, true));
    let shard = Shard::new(schema(), None);
    shard.restore_rows(&batch(&[(a.clone(), -1), (b.clone(), 2)]).to_record_batch()).unwrap();
    shard.restore_rows(&batch(&[(a, 1), (b.clone(), -1)]).to_record_batch()).unwrap();
    shard.set_frontier(9);
    shard.apply(10, &[], &[]).unwrap();
    assert_eq!(read(&shard, 10), vec![line(&b)]);
}

#[test]
fn memory_returns_when_rows_go_and_slots_are_used_again() {
    let shard = Shard::new(schema(), Some(vec![0]));
    let rows = |from: i64| (from..from + 20_000).map(|k| ((k, Some("text".into()), 0.0, true), 1)).collect::<Vec<_>>();
    shard.apply(1, &[batch(&rows(0))], &[]).unwrap();
    shard.set_retain_from(1);
    let full = shard.memory_bytes();
    for round in 0..5 {
        let epoch = 2 + 2 * round;
        let old = rows(round as i64 * 20_000);
        shard.apply(epoch, &[batch(&old).negate()], &[]).unwrap();
        shard.cut_keyed().unwrap().gather().unwrap();
        shard.set_retain_from(epoch);
        assert!(shard.memory_bytes() < full / 2, "{} of {full}", shard.memory_bytes());
        shard.apply(epoch + 1, &[batch(&rows((round as i64 + 1) * 20_000))], &[]).unwrap();
        shard.set_retain_from(epoch + 1);
        assert!(shard.memory_bytes() < full * 5 / 4, "{} of {full}", shard.memory_bytes());
    }
}

/// Not a benchmark: keeps the bill of a small row and of a small epoch in view (`--nocapture` shows it).
#[test]
fn a_row_of_two_integers_costs_few_bytes_and_a_small_epoch_little_time() {
    let rows: i64 = std::env::var("ARRANGEMENT_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let schema: SchemaRef =
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("n", DataType::Int64, false)]));
    let pairs = |rows: &mut dyn Iterator<Item = (i64, i64)>| {
        let (k, n): (Vec<i64>, Vec<i64>) = rows.unzip();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(k)), Arc::new(Int64Array::from(n))];
        RecordBatch::try_new(schema.clone(), columns).unwrap()
    };
    let shard = Shard::new(schema.clone(), Some(vec![0]));
    let mut epoch = 0;
    let start = std::time::Instant::now();
    for from in (0..rows).step_by(65_536) {
        epoch += 1;
        let batch = pairs(&mut (from..(from + 65_536).min(rows)).map(|k| (k * 7_919, 0)));
        shard.apply(epoch, &[DeltaBatch::inserts(batch)], &[]).unwrap();
        shard.set_retain_from(epoch);
    }
    let loaded = start.elapsed();
    shard.cut_keyed().unwrap().gather().unwrap();
    let bytes = shard.memory_bytes() as f64 / rows as f64;
    assert!(bytes < 32.0, "{bytes} bytes per row");
    let mut rng = StdRng::seed_from_u64(1);
    let mut times = vec![];
    let mut counts = std::collections::HashMap::new();
    for _ in 0..20_000 {
        let k = rng.random_range(0..rows) * 7_919;
        let n = counts.entry(k).or_insert(0i64);
        let change = pairs(&mut [(k, *n), (k, *n + 1)].into_iter());
        *n += 1;
        epoch += 1;
        let reader = shard.snapshot(epoch - 1);
        let change = [DeltaBatch::new(change, vec![-1, 1])];
        let start = std::time::Instant::now();
        shard.apply(epoch, &change, &[]).unwrap();
        times.push(start.elapsed());
        shard.set_retain_from(epoch);
        drop(reader);
    }
    times.sort();
    println!(
        "{rows} rows: {bytes:.1} bytes per row, loaded in {loaded:?}; update of one row with a reader: median {:?}, p99 {:?}",
        times[10_000], times[19_800]
    );
}
