//! Laws of admission: batching can't matter, and a log replays a live run exactly.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn options() -> AdmissionOptions {
    AdmissionOptions {
        time_column: Some(1),
        delay_us: 10,
        allowed_lateness_us: 3,
        idle_timeout_us: 100,
        max_future_us: 1_000,
        follow_clock: false,
    }
}

/// Rows of `partition` from position `from` on, a position per row.
fn chunk(partition: &str, from: u64, times: &[Option<i64>]) -> Chunk {
    let positions: Vec<u64> = (from..from + times.len() as u64).collect();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(positions.iter().map(|p| *p as i64)));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
    let rows = RecordBatch::try_from_iter([("id", ids), ("ts", times)]).unwrap();
    let to = from + rows.num_rows() as u64;
    Chunk { partition: partition.into(), from, to, rows, positions, errors: vec![], bytes: 0 }
}

/// The positions of the admitted rows: their ids.
fn ids(admitted: &Admitted) -> Vec<u64> {
    let ids = admitted.rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
    ids.values().iter().map(|id| *id as u64).collect()
}

fn some(times: &[i64]) -> Vec<Option<i64>> {
    times.iter().copied().map(Some).collect()
}

#[test]
fn a_row_is_late_below_the_line_of_the_rows_before_it() {
    let mut admission = Admission::new(options());
    // Lines before each row less lateness: none, 100-13=87, 87, 87, 187.
    let admitted = admission.admit(&chunk("p", 0, &some(&[100, 87, 86, 200, 186])), 0);
    assert_eq!(ids(&admitted), [0, 1, 3]);
    assert_eq!(admitted.late, [2, 4]);
    assert_eq!(admitted.late_rows, [(2, 90), (4, 190)]);
    assert_eq!(admitted.rows.num_rows(), 3);
    assert_eq!(admission.watermark(), 190);
}

#[test]
fn late_and_refused_at_the_start_leave_only_the_rest() {
    let mut admission = Admission::new(options());
    admission.apply(&Decision::Entered { partition: "p".into(), line: 50 });
    let admitted = admission.admit(&chunk("p", 0, &some(&[1, 5_000, 60])), 0);
    assert_eq!(ids(&admitted), [2]);
    assert_eq!((admitted.late, admitted.refused), (vec![0], vec![1]));
    assert_eq!(admitted.decisions, [Decision::Refused { partition: "p".into(), position: 1 }]);
    assert_eq!(admission.watermark(), 50, "the entry line holds although 60 - 10 = 50 and 5000 is not counted");
}

#[test]
fn null_event_time_is_admitted_and_moves_nothing() {
    let mut admission = Admission::new(options());
    let admitted = admission.admit(&chunk("p", 0, &[None, Some(100), None, Some(1)]), 0);
    assert_eq!(ids(&admitted), [0, 1, 2]);
    assert_eq!(admission.watermark(), 90);
}

#[test]
fn a_partition_that_has_seen_nothing_holds_the_watermark() {
    let mut admission = Admission::new(options());
    admission.enter("a", 0);
    admission.enter("b", 0);
    admission.admit(&chunk("a", 0, &some(&[100])), 0);
    assert_eq!(admission.watermark(), WATERMARK_NONE);
    admission.admit(&chunk("b", 0, &some(&[50])), 0);
    assert_eq!(admission.watermark(), 40);
}

#[test]
fn idleness_releases_and_waking_enters_at_the_watermark() {
    let mut admission = Admission::new(options());
    admission.enter("a", 0);
    admission.enter("b", 0);
    admission.admit(&chunk("a", 0, &some(&[100])), 50);
    assert_eq!(admission.next_idle_us(), Some(100));
    assert_eq!(admission.check_idle(99), []);
    assert_eq!(admission.check_idle(100), [Decision::Idle { partition: "b".into() }]);
    assert_eq!(admission.watermark(), 90);
    let admitted = admission.admit(&chunk("b", 0, &some(&[86, 87])), 120);
    assert_eq!(admitted.decisions, [Decision::Entered { partition: "b".into(), line: 90 }]);
    assert_eq!(ids(&admitted), [1]);
    assert_eq!(admitted.late, [0]);
    assert_eq!(admission.watermark(), 90);
}

#[test]
fn silence_while_nobody_listened_is_not_idleness() {
    let mut admission = Admission::new(options());
    admission.enter("a", 0);
    admission.apply(&Decision::Entered { partition: "b".into(), line: 5 });
    let text = serde_json::to_string(&admission).unwrap();
    let mut restored: Admission = serde_json::from_str(&text).unwrap();
    assert_eq!(restored.next_idle_us(), None);
    assert_eq!(restored.check_idle(1_000_000), []);
    assert_eq!(restored.next_idle_us(), Some(1_000_100));
    assert_eq!(restored.check_idle(1_000_100).len(), 2);
}

#[test]
fn the_watermark_stays_when_all_fall_idle_and_ends_when_all_end() {
    let mut admission = Admission::new(options());
    admission.admit(&chunk("a", 0, &some(&[100])), 0);
    admission.check_idle(1_000);
    assert_eq!(admission.watermark(), 90);
    assert_eq!(admission.next_idle_us(), None);
    assert_eq!(admission.end("a"), Some(Decision::Ended { partition: "a".into() }));
    assert_eq!(admission.end("a"), None);
    assert_eq!(admission.watermark(), WATERMARK_END);
}

#[test]
fn without_a_time_column_everything_is_admitted() {
    let mut admission = Admission::new(AdmissionOptions { time_column: None, ..options() });
    admission.enter("p", 0);
    let admitted = admission.admit(&chunk("p", 0, &some(&[100, 1, 9_999_999])), 0);
    assert_eq!(ids(&admitted), [0, 1, 2]);
    assert_eq!(admission.watermark(), WATERMARK_NONE);
    assert_eq!(admission.check_idle(i64::MAX), []);
    admission.end("p");
    assert_eq!(admission.watermark(), WATERMARK_END);
}

/// Disordered times with NULLs and an occasional absurd one.
fn random_times(rng: &mut StdRng, rows: usize) -> Vec<Option<i64>> {
    let mut base = 0;
    let mut time = |rng: &mut StdRng| match rng.random_range(0..40) {
        0 => None,
        1 => Some(1_000_000),
        _ => {
            base += rng.random_range(0..6);
            Some(base - rng.random_range(0..25))
        }
    };
    (0..rows).map(|_| time(rng)).collect()
}

/// Cuts each partition's rows at random and interleaves the pieces at random, keeping each partition's order.
fn random_chunks(rng: &mut StdRng, partitions: &[(&str, Vec<Option<i64>>)]) -> Vec<Chunk> {
    let mut next = vec![0usize; partitions.len()];
    let mut chunks = vec![];
    while (0..partitions.len()).any(|p| next[p] < partitions[p].1.len()) {
        let p = rng.random_range(0..partitions.len());
        let (name, times) = &partitions[p];
        let to = (next[p] + rng.random_range(0..20)).min(times.len());
        chunks.push(chunk(name, next[p] as u64, &times[next[p]..to]));
        next[p] = to;
    }
    chunks
}

#[test]
fn any_chunking_admits_the_same_rows_and_ends_at_the_same_watermark() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let partitions = ["a", "b", "c"].map(|name| (name, random_times(&mut rng, 120)));
        let mut outcomes = vec![];
        for _ in 0..4 {
            let mut admission = Admission::new(options());
            partitions.iter().for_each(|(name, _)| drop(admission.enter(name, 0)));
            let mut rows: BTreeMap<String, (Vec<u64>, Vec<u64>, Vec<u64>)> = BTreeMap::new();
            for chunk in random_chunks(&mut rng, &partitions) {
                let admitted = admission.admit(&chunk, 0);
                let of = rows.entry(chunk.partition).or_default();
                of.0.extend(ids(&admitted));
                of.1.extend(admitted.late);
                of.2.extend(admitted.refused);
            }
            outcomes.push((rows, admission));
        }
        assert!(outcomes.windows(2).all(|w| w[0] == w[1]), "seed {seed}");
        assert!(outcomes[0].0.values().any(|(_, late, refused)| !late.is_empty() && !refused.is_empty()));
    }
}

#[test]
fn with_all_partitions_silent_the_watermark_follows_the_clock_in_steps() {
    let mut admission = Admission::new(AdmissionOptions { follow_clock: true, ..options() });
    // Without a partition there is nobody to be silent.
    assert_eq!(admission.advance_with_clock(1_000), None);
    for partition in ["p", "q"] {
        admission.admit(&chunk(partition, 0, &some(&[100])), 0);
    }
    admission.apply(&Decision::Ended { partition: "q".into() });
    assert_eq!(admission.advance_with_clock(CLOCK_STEP_US), None, "p is still active");
    assert_eq!(admission.check_idle(100), [Decision::Idle { partition: "p".into() }]);
    let due = 100 + CLOCK_STEP_US;
    assert_eq!(admission.next_idle_us(), Some(due));
    assert_eq!(admission.advance_with_clock(due - 1), None);
    assert_eq!(admission.advance_with_clock(due), Some(Decision::Advanced { line: due - 10 }));
    assert_eq!(admission.watermark(), due - 10);
    // The line that the clock drew holds for the rows that come next.
    let admitted = admission.admit(&chunk("p", 1, &some(&[due - 14, due - 13])), due);
    assert_eq!(admitted.decisions, [Decision::Entered { partition: "p".into(), line: due - 10 }]);
    assert_eq!(admitted.late, [1]);
    assert_eq!(admission.advance_with_clock(due + CLOCK_STEP_US), None, "p is back");
}

/// What an epoch left in the log, and the chunks it covered.
type LoggedEpoch = (Vec<Decision>, Vec<Chunk>, i64);

#[test]
fn replay_with_logged_decisions_reproduces_the_live_run() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let partitions = ["a", "b", "c"].map(|name| (name, random_times(&mut rng, 100)));
        let mut live = Admission::new(options());
        let mut log: Vec<LoggedEpoch> = vec![];
        let mut kept = vec![];
        let mut now = 0;
        let mut chunks = random_chunks(&mut rng, &partitions).into_iter().peekable();
        while chunks.peek().is_some() {
            now += rng.random_range(0..80);
            let mut decisions = live.check_idle(now);
            let mut covered = vec![];
            for chunk in chunks.by_ref().take(rng.random_range(1..4)) {
                let admitted = live.admit(&chunk, now);
                kept.push((chunk.partition.clone(), ids(&admitted)));
                decisions.extend(admitted.decisions);
                covered.push(chunk);
            }
            if rng.random_range(0..20) == 0 {
                decisions.extend(live.end("a"));
            }
            log.push((decisions, covered, live.watermark()));
        }
        let mut replayed = Admission::new(options());
        let mut again = vec![];
        for (decisions, covered, watermark) in log {
            let is_end = |d: &&Decision| matches!(d, Decision::Ended { .. });
            decisions.iter().filter(|d| !is_end(d)).for_each(|d| replayed.apply(d));
            for chunk in covered {
                let refused = |d: &Decision| match d {
                    Decision::Refused { partition, position } if *partition == chunk.partition => Some(*position),
                    _ => None,
                };
                let refused: Vec<u64> = decisions.iter().filter_map(refused).collect();
                let admitted = replayed.admit_logged(&chunk, &refused);
                assert_eq!(admitted.decisions, []);
                again.push((chunk.partition.clone(), ids(&admitted)));
            }
            decisions.iter().filter(is_end).for_each(|d| replayed.apply(d));
            assert_eq!(replayed.watermark(), watermark, "seed {seed}");
        }
        assert_eq!(again, kept, "seed {seed}");
        let forget = |admission: &mut Admission| admission.partitions.values_mut().for_each(|l| l.last_active_us = 0);
        forget(&mut live);
        forget(&mut replayed);
        assert_eq!(replayed, live);
    }
}
