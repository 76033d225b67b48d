//! One side of a join: its rows in pages, chained by join key, with match counts where the kind of join asks for them.
//!
//! The key index holds one entry per distinct key, the head of the chain of its rows, so a hot key costs no probing;
//! a retraction finds its row by the hash of the whole row, in an index that exists from the first retraction on.
//! Rows with a NULL in the key match nothing (unless NULL = NULL) and are never stored.
//! Large insertions may first stand in `waiting`.

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use types::{DIFF_COLUMN, DeltaBatch, WATERMARK_NONE, hash_columns};

use super::expiry::Expiry;
use super::probe::Pairs;
use super::waiting::{Segment, Tagged, Waiting};
use crate::OperatorError;
use crate::arrangement::{Incoming, Layout, Prepared, RowIndex, Rows, gather, hashes_of, place, take_rows};
use crate::dirt::Dirt;
use crate::spec::ExpirySpec;

/// No row: end of a chain.
const END: u32 = u32::MAX;

/// Column of a checkpointed side with the matches whose rows have expired since.
const EXPIRED_MATCHES: &str = "__expired_matches";

pub(super) struct Side {
    pub layout: Layout,
    pub keys: Vec<usize>,
    pub rows: Rows,
    heads: RowIndex,
    /// (next, previous) by id.
    links: Vec<(u32, u32)>,
    /// Weights of the other side's rows that match, by id; `None` if the join doesn't ask.
    pub counts: Option<Vec<i64>>,
    /// The part of `counts` that a restart could not recompute, because those rows have expired.
    pub expired_matches: Option<Vec<i64>>,
    pub expiry: Option<Expiry>,
    pub waiting: Waiting,
    /// Whether large insertions may wait: until the first retraction, where nothing is counted by row.
    can_wait: bool,
    pub dirt: Dirt,
    /// Retractions that a restore met before their rows.
    pub(super) owed: Vec<DeltaBatch>,
}

/// Rows about to probe a side, none with a NULL that matches nothing.
pub(super) struct Probing {
    pub batch: DeltaBatch,
    pub hashes: Vec<u64>,
    pub keys: Vec<ArrayRef>,
    key_cells: Vec<Incoming>,
    pub tagged: Tagged,
}

impl Side {
    /// `counted`: match counts are kept. `other_expires`: rows they count may expire. `can_wait`: see [`Waiting`].
    pub fn new(
        schema: &SchemaRef,
        keys: &[usize],
        counted: bool,
        other_expires: bool,
        can_wait: bool,
        expiry: Option<&ExpirySpec>,
    ) -> Self {
        let layout = Layout::new(schema.clone(), None);
        let remembers = counted && other_expires;
        Side {
            keys: keys.to_vec(),
            rows: Rows::new(&layout),
            heads: RowIndex::new(),
            links: vec![],
            counts: counted.then(Vec::new),
            expired_matches: remembers.then(Vec::new),
            expiry: expiry.map(|e| Expiry::new(e.clone())),
            waiting: Waiting::default(),
            can_wait: can_wait && !counted,
            dirt: Dirt::new(&state_schema(schema, remembers)),
            owed: vec![],
            layout,
        }
    }

    /// Prepares rows of one side to probe the other (their key types are equal) and to enter their own.
    pub fn probing(&self, batch: DeltaBatch) -> Result<Probing, OperatorError> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|k| batch.rows().column(*k).clone()).collect();
        let hashes = hash_columns(&keys, batch.num_rows())?;
        let read = |(column, array): (&usize, &ArrayRef)| self.layout.columns[*column].read(array);
        let key_cells = self.keys.iter().zip(&keys).map(read).collect::<Result<_, _>>()?;
        Ok(Probing { batch, hashes, keys, key_cells, tagged: Tagged::default() })
    }

    /// First row with the key of `cells[row]`; `cells` are paired with this side's key columns once per batch.
    pub fn first_of(&self, cells: &[(usize, &Incoming)], hash: u64, row: usize) -> Option<u32> {
        self.heads.find(hash, |id| {
            let (page, slot) = place(id);
            self.rows.pages.page(page).equals(slot, cells, row)
        })
    }

    pub fn key_cells<'a>(&self, probing: &'a Probing) -> Vec<(usize, &'a Incoming)> {
        self.keys.iter().copied().zip(&probing.key_cells).collect()
    }

    /// The next row of the same key.
    pub fn next(&self, id: u32) -> Option<u32> {
        Some(self.links[id as usize].0).filter(|id| *id != END)
    }

    /// Takes rows (positive diffs) in; large insertions wait where they may.
    pub fn enter(&mut self, probing: &Probing, counts: &[i64]) -> Result<(), OperatorError> {
        let expiry = self.expiry.as_ref().map(|e| &e.spec);
        if self.can_wait && self.waiting.wants(&probing.batch, expiry) {
            let number = self.waiting.push(probing, expiry);
            self.dirt.add_whole(number, &probing.batch);
            return Ok(());
        }
        self.add(probing, counts)?;
        let matches = self.expired_matches_of(probing)?;
        self.note_dirt(&probing.batch, matches)
    }

    /// Before rows probe this side: moves a segment to the index if it is time.
    pub fn before_probe(&mut self) -> Result<(), OperatorError> {
        match self.waiting.passed_over() {
            Some(segment) => self.index_segment(segment),
            None => Ok(()),
        }
    }

    fn index_segment(&mut self, segment: Segment) -> Result<(), OperatorError> {
        self.dirt.mix_in(segment.number);
        let probing = self.probing(DeltaBatch::inserts(segment.rows))?;
        self.add(&probing, &[])
    }

    /// From now on single rows are looked for.
    fn index_all_segments(&mut self) -> Result<(), OperatorError> {
        self.can_wait = false;
        self.waiting.take_all().into_iter().try_for_each(|segment| self.index_segment(segment))
    }

    /// Adds rows (positive diffs). `counts`: matches of each row at this moment.
    pub(super) fn add(&mut self, probing: &Probing, counts: &[i64]) -> Result<(), OperatorError> {
        let prepared = Prepared::new(&self.layout, &probing.batch)?;
        let (rows, ids) = self.rows.add_to_bag(&self.layout, &prepared);
        if let Some(last) = ids.iter().max() {
            let len = self.links.len().max(*last as usize + 1);
            self.links.resize(len, (END, END));
            for column in [&mut self.counts, &mut self.expired_matches].into_iter().flatten() {
                column.resize(len, 0);
            }
        }
        let cells = self.key_cells(probing);
        for (row, id) in rows.iter().zip(&ids) {
            self.link(&cells, probing.hashes[*row as usize], *row as usize, *id);
            if let Some(column) = &mut self.counts {
                column[*id as usize] = counts.get(*row as usize).copied().unwrap_or(0);
            }
            if let Some(column) = &mut self.expired_matches {
                column[*id as usize] = 0;
            }
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.note(&self.rows.pages, &ids);
        }
        Ok(())
    }

    /// Removes rows (negative diffs); returns what was not there.
    pub fn remove(&mut self, probing: &Probing) -> Result<Vec<(usize, i64)>, OperatorError> {
        self.index_all_segments()?;
        let prepared = Prepared::new(&self.layout, &probing.batch)?;
        let mut missing = vec![];
        let Side { rows, heads, links, layout, .. } = self;
        rows.take_from_bag(
            layout,
            &prepared,
            |row, id| unlink(heads, links, probing.hashes[row], id),
            |row, weight| missing.push((row, weight)),
        );
        Ok(missing)
    }

    /// Notes a change for the next checkpoint, with the expired matches of each row (unused where none are kept).
    pub fn note_dirt(&mut self, batch: &DeltaBatch, expired_matches: Vec<i64>) -> Result<(), OperatorError> {
        let change = match self.expired_matches {
            None => batch.clone(),
            Some(_) => {
                let schema = state_schema(&self.layout.schema, true);
                let column: ArrayRef = Arc::new(Int64Array::from(expired_matches));
                let columns = batch.rows().columns().iter().cloned().chain([column]).collect();
                batch.with_rows(RecordBatch::try_new(schema, columns)?)
            }
        };
        self.dirt.add(&[change], self.row_count())
    }

    /// Expired matches of stored rows: what their checkpointed form says.
    pub fn expired_matches_of(&self, probing: &Probing) -> Result<Vec<i64>, OperatorError> {
        let Some(column) = &self.expired_matches else { return Ok(vec![]) };
        let prepared = Prepared::new(&self.layout, &probing.batch)?;
        let found = |row| self.rows.find_in_bag(&prepared, row).map_or(0, |id| column[id as usize]);
        Ok((0..probing.batch.num_rows()).map(found).collect())
    }

    /// Takes rows that have passed the expiry bound out, and returns them with their weights negated.
    pub fn expire(&mut self, bound_us: i64) -> Result<Vec<DeltaBatch>, OperatorError> {
        let Some(spec) = self.expiry.as_ref().map(|e| e.spec.clone()).filter(|_| bound_us != WATERMARK_NONE) else {
            return Ok(vec![]);
        };
        let mut dropped = vec![];
        let (past, rests) = self.waiting.take_past(&spec, bound_us);
        for segment in past {
            let gone = DeltaBatch::inserts(segment.rows).negate();
            if !self.dirt.cancel(segment.number) {
                self.dirt.add(std::slice::from_ref(&gone), self.row_count())?;
            }
            dropped.push(gone);
        }
        for segment in rests {
            dropped.push(self.index_rest(segment, &spec, bound_us)?);
        }
        dropped.extend(self.expire_indexed(bound_us)?);
        Ok(dropped)
    }

    /// Drops the rows of a segment that have passed the bound, and indexes the others.
    fn index_rest(&mut self, segment: Segment, spec: &ExpirySpec, bound_us: i64) -> Result<DeltaBatch, OperatorError> {
        self.dirt.mix_in(segment.number);
        let [past, rest] = segment.split(spec, bound_us);
        let all = DeltaBatch::inserts(segment.rows);
        let probing = self.probing(all.take(&rest))?;
        self.add(&probing, &[])?;
        let gone = all.take(&past).negate();
        self.dirt.add(std::slice::from_ref(&gone), self.row_count())?;
        Ok(gone)
    }

    fn expire_indexed(&mut self, bound_us: i64) -> Result<Option<DeltaBatch>, OperatorError> {
        let Some(expiry) = &mut self.expiry else { return Ok(None) };
        let ids = expiry.passed(&self.rows, bound_us);
        if ids.is_empty() {
            return Ok(None);
        }
        let rows = self.rows_at(&ids);
        let diffs: Vec<i64> = ids.iter().map(|id| -self.rows.weight(*id)).collect();
        let dropped = DeltaBatch::new(rows, diffs);
        let column = self.expired_matches.as_ref();
        let matches = ids.iter().map(|id| column.map_or(0, |c| c[*id as usize])).collect();
        self.note_dirt(&dropped, matches)?;
        let hashes = hashes_of(&self.layout, &self.rows.pages, &self.keys, &ids);
        for (id, hash) in ids.iter().zip(hashes) {
            unlink(&mut self.heads, &mut self.links, hash, *id);
        }
        self.rows.drop_ids(&self.layout, &ids);
        Ok(Some(dropped))
    }

    fn row_count(&self) -> usize {
        self.rows.row_count() + self.waiting.row_count()
    }

    /// The stored rows of pairs.
    pub fn rows_of(&self, pairs: &Pairs) -> RecordBatch {
        match pairs.segment {
            Some(index) => take_rows(&self.waiting.segment(index).rows, &pairs.ids.clone().into()),
            None => self.rows_at(&pairs.ids),
        }
    }

    /// The weight of the stored row `id` of `pairs`.
    pub fn weight_in(&self, pairs: &Pairs, id: u32) -> i64 {
        if pairs.segment.is_some() { 1 } else { self.rows.weight(id) }
    }

    pub fn rows_at(&self, ids: &[u32]) -> RecordBatch {
        let all: Vec<usize> = (0..self.layout.columns.len()).collect();
        gather(&self.layout, &self.rows.pages, ids, &all, self.layout.schema.clone())
    }

    pub fn memory_bytes(&self) -> usize {
        let columns = [&self.counts, &self.expired_matches].into_iter().flatten().map(|c| c.capacity() * 8);
        self.rows.memory_bytes()
            + self.heads.memory_bytes()
            + self.links.capacity() * size_of::<(u32, u32)>()
            + columns.sum::<usize>()
            + self.expiry.as_ref().map_or(0, Expiry::memory_bytes)
            + self.waiting.memory_bytes()
            + self.dirt.memory_bytes()
    }

    /// Puts a row second in its key's chain, or first if the key is new.
    fn link(&mut self, cells: &[(usize, &Incoming)], hash: u64, row: usize, id: u32) {
        match self.first_of(cells, hash, row) {
            Some(head) => {
                let next = self.links[head as usize].0;
                self.links[id as usize] = (next, head);
                self.links[head as usize].0 = id;
                if next != END {
                    self.links[next as usize].1 = id;
                }
            }
            None => {
                self.links[id as usize] = (END, END);
                let Side { heads, layout, rows, keys, .. } = self;
                heads.insert(hash, id, |ids| hashes_of(layout, &rows.pages, keys, ids));
            }
        }
    }
}

fn unlink(heads: &mut RowIndex, links: &mut [(u32, u32)], hash: u64, id: u32) {
    let (next, previous) = links[id as usize];
    if next != END {
        links[next as usize].1 = previous;
    }
    match (previous, next) {
        (END, END) => {
            heads.remove(hash, id);
        }
        (END, next) => heads.replace(hash, id, next),
        (previous, next) => links[previous as usize].0 = next,
    }
}

/// Schema of a side's checkpointed rows, without the diff.
fn state_schema(schema: &SchemaRef, remembers: bool) -> SchemaRef {
    if !remembers {
        return schema.clone();
    }
    let matches = Arc::new(Field::new(EXPIRED_MATCHES, DataType::Int64, false));
    debug_assert!(schema.fields().iter().all(|f| f.name() != DIFF_COLUMN), "the diff column is added last");
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([matches]).collect::<Vec<_>>()))
}

/// The rows with positive and those with negative diffs.
pub(super) fn by_sign(delta: &DeltaBatch) -> [Option<DeltaBatch>; 2] {
    let Some(diffs) = delta.diffs() else { return [Some(delta.clone()).filter(|d| !d.is_empty()), None] };
    let part = |keep: &dyn Fn(i64) -> bool| {
        let rows: Vec<u32> = (0..diffs.len()).filter(|r| keep(diffs[*r])).map(|r| r as u32).collect();
        (!rows.is_empty()).then(|| take_delta(delta, &rows))
    };
    [part(&|d| d > 0), part(&|d| d < 0)]
}

/// The rows at `rows` with their diffs.
pub(super) fn take_delta(delta: &DeltaBatch, rows: &[u32]) -> DeltaBatch {
    if rows.len() == delta.num_rows() {
        return delta.clone();
    }
    let diffs: Vec<i64> = rows.iter().map(|r| delta.diff(*r as usize)).collect();
    let taken = take_rows(delta.rows(), &rows.to_vec().into());
    if delta.diffs().is_none() || diffs.iter().all(|d| *d == 1) {
        return DeltaBatch::inserts(taken);
    }
    DeltaBatch::new(taken, diffs)
}
