//! Which rows of a side have passed a watermark's bound: ids in time buckets, so that finding them costs what is
//! dropped. A bucket is sorted when the bound first falls into it.
//! Ids are hints: a slot may have been used again, so a row's own time decides.

use std::collections::BTreeMap;

use types::{WATERMARK_END, WATERMARK_NONE};

use crate::arrangement::{PageTable, Rows, Store, place};
use crate::spec::ExpirySpec;

/// Width of a bucket: 2^20 µs, about a second.
const BUCKET_BITS: u32 = 20;

pub(super) struct Expiry {
    pub spec: ExpirySpec,
    buckets: BTreeMap<i64, Bucket>,
    ids: usize,
    bound_us: i64,
}

#[derive(Default)]
struct Bucket {
    ids: Vec<u32>,
    /// By descending time, so that passed rows are popped off the end.
    sorted: bool,
}

impl Expiry {
    pub fn new(spec: ExpirySpec) -> Self {
        Expiry { spec, buckets: BTreeMap::new(), ids: 0, bound_us: WATERMARK_NONE }
    }

    /// Notes new rows. Rows without a time never expire.
    pub fn note(&mut self, pages: &PageTable, ids: &[u32]) {
        for id in ids {
            if let Some(time) = time_of(pages, self.spec.column, *id) {
                let bucket = self.buckets.entry(time >> BUCKET_BITS).or_default();
                bucket.ids.push(*id);
                bucket.sorted = false;
                self.ids += 1;
            }
        }
    }

    /// Takes out the ids of live rows that have passed the bound.
    pub fn passed(&mut self, rows: &Rows, bound_us: i64) -> Vec<u32> {
        self.bound_us = bound_us;
        let mut passed = vec![];
        if bound_us == WATERMARK_NONE {
            return passed;
        }
        let column = self.spec.column;
        let live_time = |id: u32| rows.is_live(id).then(|| time_of(&rows.pages, column, id)).flatten();
        while let Some(mut entry) = self.buckets.first_entry().filter(|e| *e.key() <= bound_us >> BUCKET_BITS) {
            let key = *entry.key();
            let bucket = entry.get_mut();
            if !bucket.sorted {
                bucket.ids.sort_by_key(|id| std::cmp::Reverse(live_time(*id)));
                bucket.sorted = true;
            }
            while let Some(id) = bucket.ids.last().copied() {
                match live_time(id) {
                    // A later row uses the slot now; it stands in its own bucket.
                    Some(time) if time >> BUCKET_BITS != key => {}
                    Some(time) if is_past(&self.spec, time, bound_us) => passed.push(id),
                    Some(_) => break,
                    None => {}
                }
                bucket.ids.pop();
                self.ids -= 1;
            }
            if !bucket.ids.is_empty() {
                break;
            }
            entry.remove();
        }
        passed.sort_unstable();
        passed.dedup();
        passed
    }

    pub fn memory_bytes(&self) -> usize {
        self.ids * 4 + self.buckets.len() * 2 * size_of::<(i64, Bucket)>()
    }
}

pub(super) fn is_past(spec: &ExpirySpec, time: i64, bound_us: i64) -> bool {
    time < bound_us || (spec.inclusive && time == bound_us) || bound_us == WATERMARK_END
}

fn time_of(pages: &PageTable, column: usize, id: u32) -> Option<i64> {
    let (page, slot) = place(id);
    let column = &pages.page(page).columns[column];
    match &column.store {
        Store::Byte8(cells) => column.is_valid(slot).then(|| cells[slot] as i64),
        _ => unreachable!("the planner expires by timestamps"),
    }
}
