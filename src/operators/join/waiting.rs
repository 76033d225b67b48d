//! Large insertions of a side that wait to be indexed: the arrays as they came, and a tag per row.
//!
//! Copying rows into pages and linking them costs some hundred times what looking at a tag costs. So a side first keeps
//! large insertions as they are and lets probing rows pass over the tags, as a batch join passes over its larger side;
//! what has been passed over often enough, or is crowded out, moves to the index. Rows that expire before that are
//! dropped segment by segment: they were never copied, linked or looked for.
//! Only sides that have never seen a retraction and count no matches have waiting rows.

use std::cell::OnceCell;
use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::take;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use hashbrown::HashMap;
use types::DeltaBatch;
use types::limits::SEGMENT_ROWS_MIN;

use super::expiry::is_past;
use super::probe::{Cursor, Pairs};
use super::side::Probing;
use crate::OperatorError;
use crate::spec::ExpirySpec;

/// Segments that wait at most.
const SEGMENTS_MAX: usize = 8;
/// How often a segment is passed over before it is worth an index.
const PASSES_MAX: usize = 64;
/// Times looked at to know when most of a segment is past.
const TIMES_SAMPLED: usize = 64;

/// Bits of the filter over probing tags.
const FILTER_BITS: usize = 1 << 16;

pub(super) struct Waiting {
    /// Rows from which on an insertion is kept as it is.
    pub rows_min: usize,
    segments: VecDeque<Segment>,
    next_number: u64,
    bytes: usize,
}

pub(super) struct Segment {
    /// Its name among the changes since the last cut.
    pub number: u64,
    pub rows: RecordBatch,
    tags: Vec<u32>,
    passes: usize,
    times: Option<Times>,
    bytes: usize,
}

struct Times {
    latest: i64,
    /// Three quarters of the rows are at or before this, as a sample says.
    mostly: i64,
}

/// The probing rows by tag, made when the first segment is passed over.
#[derive(Default)]
pub(super) struct Tagged {
    table: OnceCell<TagTable>,
}

struct TagTable {
    filter: Vec<u64>,
    /// First probing row of a tag.
    heads: HashMap<u32, u32>,
    /// Next probing row of the same tag.
    next: Vec<Option<u32>>,
}

fn tag_of(hash: u64) -> u32 {
    (hash >> 24) as u32
}

impl Tagged {
    fn table(&self, hashes: &[u64]) -> &TagTable {
        self.table.get_or_init(|| {
            let mut table = TagTable {
                filter: vec![0; FILTER_BITS / 64],
                heads: HashMap::with_capacity(hashes.len()),
                next: vec![None; hashes.len()],
            };
            for (row, hash) in hashes.iter().enumerate() {
                let tag = tag_of(*hash);
                table.filter[tag as usize % FILTER_BITS / 64] |= 1 << (tag % 64);
                table.next[row] = table.heads.insert(tag, row as u32);
            }
            table
        })
    }
}

impl TagTable {
    fn may_hold(&self, tag: u32) -> bool {
        self.filter[tag as usize % FILTER_BITS / 64] >> (tag % 64) & 1 == 1
    }
}

/// Whether rows with keys of these types can wait: equality must be that of Arrow's kernel.
pub(super) fn can_wait(left: &DataType, right: &DataType) -> bool {
    left == right && !left.is_nested() && !left.is_floating() && !matches!(left, DataType::Dictionary(..))
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting { rows_min: SEGMENT_ROWS_MIN, segments: VecDeque::new(), next_number: 0, bytes: 0 }
    }
}

impl Waiting {
    /// Whether this insertion is worth keeping as it is.
    pub fn wants(&self, batch: &DeltaBatch, expiry: Option<&ExpirySpec>) -> bool {
        let timed = expiry.is_none_or(|e| batch.rows().column(e.column).logical_null_count() == 0);
        batch.diffs().is_none() && batch.num_rows() >= self.rows_min && timed
    }

    /// Keeps an insertion that is [wanted](Self::wants); returns its number.
    pub fn push(&mut self, probing: &Probing, expiry: Option<&ExpirySpec>) -> u64 {
        let tags: Vec<u32> = probing.hashes.iter().map(|h| tag_of(*h)).collect();
        let bytes = probing.batch.memory_bytes() + tags.capacity() * 4;
        let rows = probing.batch.rows().clone();
        let times = expiry.map(|e| times_of(rows.column(e.column)));
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += bytes;
        self.segments.push_back(Segment { number, rows, tags, passes: 0, times, bytes });
        number
    }

    pub fn len(&self) -> usize {
        self.segments.len()
    }

    pub fn segment(&self, index: usize) -> &Segment {
        &self.segments[index]
    }

    pub fn row_count(&self) -> usize {
        self.segments.iter().map(|s| s.rows.num_rows()).sum()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, index: usize) -> Segment {
        let segment = self.segments.remove(index).expect("the index of a segment");
        self.bytes -= segment.bytes;
        segment
    }

    /// Notes that rows are about to pass over all segments; returns one that should be indexed first, if any.
    pub fn passed_over(&mut self) -> Option<Segment> {
        self.segments.iter_mut().for_each(|s| s.passes += 1);
        let crowded = self.segments.len() > SEGMENTS_MAX;
        let worn = self.segments.front().is_some_and(|s| s.passes > PASSES_MAX);
        (crowded || worn).then(|| self.remove(0))
    }

    pub fn take_all(&mut self) -> Vec<Segment> {
        self.bytes = 0;
        self.segments.drain(..).collect()
    }

    /// Segments all of whose rows have passed the bound, and those of which only a small rest has not.
    pub fn take_past(&mut self, spec: &ExpirySpec, bound_us: i64) -> (Vec<Segment>, Vec<Segment>) {
        let (mut past, mut rests) = (vec![], vec![]);
        let mut index = 0;
        while index < self.segments.len() {
            let times = self.segments[index].times.as_ref().expect("a side that expires notes times");
            if is_past(spec, times.latest, bound_us) {
                past.push(self.remove(index));
            } else if is_past(spec, times.mostly, bound_us) {
                rests.push(self.remove(index));
            } else {
                index += 1;
            }
        }
        (past, rests)
    }
}

fn times_of(column: &ArrayRef) -> Times {
    let times = column.as_primitive::<TimestampMicrosecondType>().values();
    let step = times.len().div_ceil(TIMES_SAMPLED);
    let mut sample: Vec<i64> = times.iter().step_by(step).copied().collect();
    sample.sort_unstable();
    Times { latest: times.iter().copied().max().expect("a segment has rows"), mostly: sample[sample.len() * 3 / 4] }
}

impl Segment {
    /// Rows (past, not past) the bound.
    pub fn split(&self, spec: &ExpirySpec, bound_us: i64) -> [UInt32Array; 2] {
        let times = self.rows.column(spec.column).as_primitive::<TimestampMicrosecondType>().values();
        let (past, rest): (Vec<u32>, Vec<u32>) =
            (0..times.len() as u32).partition(|row| is_past(spec, times[*row as usize], bound_us));
        [past.into(), rest.into()]
    }

    /// The next pairs with probing rows, about `limit` at most; empty when the segment has been passed over.
    pub fn next_pairs(
        &self,
        probing: &Probing,
        keys: &[usize],
        cursor: &mut Cursor,
        limit: usize,
    ) -> Result<Pairs, OperatorError> {
        let table = probing.tagged.table(&probing.hashes);
        loop {
            let mut pairs = Pairs::default();
            while cursor.row < self.tags.len() && pairs.len() < limit {
                let tag = self.tags[cursor.row];
                let mut next = cursor.id;
                if next.is_none() && table.may_hold(tag) {
                    next = table.heads.get(&tag).copied();
                }
                while let Some(row) = next.filter(|_| pairs.len() < limit) {
                    pairs.rows.push(row);
                    pairs.ids.push(cursor.row as u32);
                    next = table.next[row as usize];
                }
                cursor.id = next;
                cursor.row += usize::from(next.is_none());
            }
            if pairs.is_empty() {
                return Ok(pairs);
            }
            self.retain_equal(probing, keys, &mut pairs)?;
            if !pairs.is_empty() {
                pairs.diffs = pairs.rows.iter().map(|row| probing.batch.diff(*row as usize)).collect();
                return Ok(pairs);
            }
        }
    }

    /// Drops the pairs whose keys are not equal though their tags are.
    fn retain_equal(&self, probing: &Probing, keys: &[usize], pairs: &mut Pairs) -> Result<(), OperatorError> {
        let (rows, ids) = (UInt32Array::from(pairs.rows.clone()), UInt32Array::from(pairs.ids.clone()));
        let mut equal = BooleanBuffer::new_set(pairs.len());
        for (probed, own) in probing.keys.iter().zip(keys) {
            let (probed, own) = (take(probed, &rows, None)?, take(self.rows.column(*own), &ids, None)?);
            equal = &equal & not_distinct(&probed, &own)?.values();
        }
        if equal.count_set_bits() < pairs.len() {
            let keep = |values: &[u32]| values.iter().zip(&equal).filter(|(_, e)| *e).map(|(v, _)| *v).collect();
            (pairs.rows, pairs.ids) = (keep(&pairs.rows), keep(&pairs.ids));
        }
        Ok(())
    }
}
