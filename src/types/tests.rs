//! The laws of Z-sets and the persisted hash.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};

use crate::*;

fn batch(keys: Vec<i64>, texts: Vec<Option<&str>>) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> =
        vec![("k", Arc::new(Int64Array::from(keys))), ("t", Arc::new(StringArray::from(texts)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn consolidation_sums_equal_rows_and_drops_zeros() {
    let rows = batch(vec![2, 1, 2, 3, 1], vec![Some("b"), None, Some("b"), Some("c"), None]);
    let out = consolidate(&DeltaBatch::new(rows, vec![1, 1, 2, 1, -1])).unwrap();
    assert_eq!(out.rows().columns(), batch(vec![2, 3], vec![Some("b"), Some("c")]).columns());
    assert_eq!(out.diffs_to_vec(), vec![3, 1]);
}

#[test]
fn a_delta_survives_its_written_form() {
    let delta = DeltaBatch::new(batch(vec![1, 2], vec![None, Some("x")]), vec![1, -1]);
    let back = DeltaBatch::from_record_batch(&delta.to_record_batch()).unwrap();
    assert_eq!((back.rows(), back.diffs_to_vec()), (delta.rows(), delta.diffs_to_vec()));
    assert!(DeltaBatch::from_record_batch(delta.rows()).is_err());
}

#[test]
fn the_hash_is_pinned_because_state_files_depend_on_it() {
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(1), None]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["", "highwater", "a longer key than eight"]));
    let hashes = hash_columns(&[ints, text], 3).unwrap();
    assert_eq!(hashes, PINNED, "changing the hash orphans every state file: add a version instead");
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    assert_eq!(hash_columns(&[narrow], 1).unwrap(), hash_columns(&[wide], 1).unwrap());
}

const PINNED: [u64; 3] = [8511309044887504397, 8613123120313357696, 16840383220080003601];

#[test]
fn vnodes_cover_all_workers_evenly() {
    for workers in [1, 2, 3, 4, 256] {
        let mut counts = vec![0usize; workers];
        (0..=255u8).for_each(|vnode| counts[worker_of(vnode, workers)] += 1);
        let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(max - min <= 1, "{workers} workers: {counts:?}");
    }
}

#[test]
fn a_bound_is_the_minimum_of_its_sources() {
    let (a, b) = (ObjectId(1), ObjectId(2));
    let bound = EventTimeBound::of_source(a).and(&EventTimeBound::of_source(b).delayed(10));
    let mut w = Watermarks::default();
    w.set(a, 100);
    assert_eq!(bound.at(&w), WATERMARK_NONE);
    w.set(b, 105);
    assert_eq!(bound.at(&w), 95);
    w.set(a, WATERMARK_END);
    assert_eq!(bound.at(&w), 95);
    w.set(b, WATERMARK_END);
    assert_eq!(bound.at(&w), WATERMARK_END);
}

#[test]
fn a_memory_account_returns_what_it_took() {
    let budget = MemoryBudget::new(100);
    let mut account = budget.account();
    account.set(150);
    assert!(budget.exceeded());
    account.set(20);
    assert_eq!(budget.used_bytes(), 20);
    drop(account);
    assert_eq!(budget.used_bytes(), 0);
}
