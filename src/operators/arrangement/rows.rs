//! The writer's half of a relation: pages, the index over them and the free slots.
//!
//! Keyed: at most one live row per key, found by the hash of the key; an update rewrites the row where it stands.
//! Otherwise a bag: slots with weights, found by the hash of the whole row. Until something is retracted a bag has
//! no index: equal rows may then stand in several slots, which means the same.
//! Slots freed by an epoch are used again from the next one on.

use std::cell::OnceCell;

use arrow::array::ArrayRef;
use types::limits::PAGE_ROWS;
use types::{DeltaBatch, hash_columns};

use super::gather::gather_column;
use super::index::RowIndex;
use super::layout::{Incoming, Layout};
use super::page::Page;
use super::page_table::{PageTable, place};
use crate::OperatorError;

/// Rows hashed at a time when a table part grows.
const REHASH_ROWS: usize = 8_192;

#[derive(Debug)]
pub(crate) struct Rows {
    pub pages: PageTable,
    index: Option<RowIndex>,
    free: Vec<u32>,
    /// Ids below this have been given out.
    end: u32,
    row_count: usize,
    page_bytes: usize,
    keyed: bool,
    /// Keyed: one bit per id written since the last cut.
    changed: Vec<u64>,
}

/// One batch with its cells by width and, once asked for, the hashes of its identity columns.
pub(crate) struct Prepared<'a> {
    delta: &'a DeltaBatch,
    cells: Vec<Incoming>,
    identity: Vec<usize>,
    hashes: OnceCell<Vec<u64>>,
}

impl<'a> Prepared<'a> {
    pub fn new(layout: &Layout, delta: &'a DeltaBatch) -> Result<Self, OperatorError> {
        let arrays = delta.rows().columns();
        if arrays.len() != layout.columns.len() {
            return Err(OperatorError::internal("a change has another number of columns than its relation"));
        }
        let cells = layout.columns.iter().zip(arrays).map(|(c, a)| c.read(a)).collect::<Result<_, _>>()?;
        Ok(Prepared { delta, cells, identity: layout.identity(), hashes: OnceCell::new() })
    }

    fn hash(&self, row: usize) -> u64 {
        let compute = || {
            let identity: Vec<ArrayRef> = self.identity.iter().map(|c| self.delta.rows().column(*c).clone()).collect();
            hash_columns(&identity, self.delta.num_rows()).expect("a relation's columns have a row encoding")
        };
        self.hashes.get_or_init(compute)[row]
    }

    fn identity(&self) -> Vec<(usize, &Incoming)> {
        self.identity.iter().map(|c| (*c, &self.cells[*c])).collect()
    }

    fn all(&self) -> Vec<(usize, &Incoming)> {
        self.cells.iter().enumerate().collect()
    }

    fn has_retractions(&self) -> bool {
        self.delta.diffs().is_some_and(|d| d.iter().any(|d| *d < 0))
    }
}

impl Rows {
    pub fn new(layout: &Layout) -> Self {
        Rows {
            pages: PageTable::default(),
            index: layout.key.as_ref().map(|_| RowIndex::new()),
            free: vec![],
            end: 0,
            row_count: 0,
            page_bytes: 0,
            keyed: layout.key.is_some(),
            changed: vec![],
        }
    }

    /// Live rows, counted with their weights.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    pub fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, RowIndex::memory_bytes);
        self.page_bytes + index + self.free.capacity() * 4 + self.changed.capacity() * 8
    }

    /// Applies one epoch's net change of a keyed relation. Rows that left without a successor of the same key are
    /// handed to `left` as (batch, row).
    pub fn apply_keyed(
        &mut self,
        layout: &Layout,
        batches: &[Prepared<'_>],
        mut left: impl FnMut(usize, u32),
    ) -> Result<(), OperatorError> {
        let retracted = self.retract_keyed(batches)?;
        for batch in batches {
            let mut rows: Vec<u32> = Vec::with_capacity(batch.delta.num_rows());
            for row in 0..batch.delta.num_rows() {
                match batch.delta.diff(row) {
                    1 => rows.push(row as u32),
                    d if d < 0 => {}
                    _ => return Err(broken("a row with its key came more than once")),
                }
            }
            self.put(layout, batch, &rows, false)?;
        }
        let index = self.index.as_mut().expect("keyed relations have an index");
        for (id, hash, batch, row) in retracted {
            let (page, slot) = place(id);
            if !self.pages.page(page).is_live(slot) {
                index.remove(hash, id);
                self.free.push(id);
                left(batch, row);
                self.page_bytes -= released(&mut self.pages, layout, page);
            }
        }
        Ok(())
    }

    /// Marks retracted rows dead, keeping cells and index entries: a successor takes the same place.
    fn retract_keyed(&mut self, batches: &[Prepared<'_>]) -> Result<Vec<(u32, u64, usize, u32)>, OperatorError> {
        let mut retracted = vec![];
        for (number, batch) in batches.iter().enumerate().filter(|(_, b)| b.has_retractions()) {
            let (key, all) = (batch.identity(), batch.all());
            for row in (0..batch.delta.num_rows()).filter(|row| batch.delta.diff(*row) < 0) {
                let hash = batch.hash(row);
                let id = self.find_live(hash, &key, row).ok_or_else(|| broken("a retracted row is not there"))?;
                let (page, slot) = place(id);
                if batch.delta.diff(row) != -1 || !self.pages.page(page).equals(slot, &all, row) {
                    return Err(broken("a retraction does not match the row with its key"));
                }
                self.pages.page_mut(page).set_weight(slot, 0);
                self.row_count -= 1;
                retracted.push((id, hash, number, row as u32));
            }
        }
        Ok(retracted)
    }

    /// Puts rows by key, each at the place of the (dead) row with its key or at a new one. `replace`: live rows may be
    /// overwritten, and the last of equal keys wins; else both are broken invariants.
    fn put(&mut self, layout: &Layout, batch: &Prepared<'_>, rows: &[u32], replace: bool) -> Result<(), OperatorError> {
        let key = batch.identity();
        let mut ids: Vec<u32> = Vec::with_capacity(rows.len());
        let mut fresh: Vec<(u32, u32)> = vec![];
        for row in rows {
            let found = self.find(batch.hash(*row as usize), &key, *row as usize);
            let id = match found {
                Some(id) if !replace && self.is_live(id) => return Err(broken("a second row with the same key")),
                Some(id) => id,
                None => {
                    let id = self.allocate(layout);
                    fresh.push((*row, id));
                    id
                }
            };
            ids.push(id);
        }
        self.write(batch, rows, &ids, |_| 1);
        for (row, id) in fresh {
            match self.find(batch.hash(row as usize), &key, row as usize) {
                None => self.index_row(layout, batch.hash(row as usize), id),
                Some(_) if !replace => return Err(broken("two rows with the same key")),
                Some(first) => {
                    self.write(batch, &[row], &[first], |_| 1);
                    self.kill(layout, id);
                }
            }
        }
        Ok(())
    }

    /// Puts or deletes rows by key, in order; whatever was there before (restore).
    pub fn upsert(&mut self, layout: &Layout, batch: &Prepared<'_>) -> Result<(), OperatorError> {
        let order: Vec<u32> = (0..batch.delta.num_rows() as u32).collect();
        for run in
            order.chunk_by(|a, b| batch.delta.diff(*a as usize).signum() == batch.delta.diff(*b as usize).signum())
        {
            if batch.delta.diff(run[0] as usize) > 0 {
                self.put(layout, batch, run, true)?;
                continue;
            }
            let key = batch.identity();
            for row in run {
                let hash = batch.hash(*row as usize);
                if let Some(id) = self.find_live(hash, &key, *row as usize) {
                    self.index.as_mut().expect("keyed relations have an index").remove(hash, id);
                    self.kill(layout, id);
                }
            }
        }
        Ok(())
    }

    /// Applies one epoch's change of a bag. Rows whose weight would fall below zero go to `short` as
    /// (batch, row, missing).
    pub fn apply_bag(&mut self, layout: &Layout, batches: &[Prepared<'_>], mut short: impl FnMut(usize, usize, i64)) {
        if batches.iter().any(Prepared::has_retractions) {
            self.index_all(layout);
        }
        for batch in batches {
            self.add_to_bag(layout, batch);
        }
        for (number, batch) in batches.iter().enumerate().filter(|(_, b)| b.has_retractions()) {
            self.take_from_bag(layout, batch, |_, _| {}, |row, missing| short(number, row, missing));
        }
    }

    /// Adds the rows with positive diffs to a bag; returns those that stand at a new id, and the ids.
    pub fn add_to_bag(&mut self, layout: &Layout, batch: &Prepared<'_>) -> (Vec<u32>, Vec<u32>) {
        let all = batch.all();
        let (mut rows, mut ids) = (vec![], vec![]);
        for row in (0..batch.delta.num_rows()).filter(|row| batch.delta.diff(*row) > 0) {
            let weight = batch.delta.diff(row);
            if let Some(id) = self.index.is_some().then(|| self.find_live(batch.hash(row), &all, row)).flatten() {
                self.add_weight(id, weight);
                continue;
            }
            rows.push(row as u32);
            ids.push(self.allocate(layout));
        }
        self.write(batch, &rows, &ids, |row| batch.delta.diff(row as usize));
        if self.index.is_some() {
            for (row, id) in rows.iter().zip(&ids) {
                self.index_row(layout, batch.hash(*row as usize), *id);
            }
        }
        (rows, ids)
    }

    /// Takes the rows with negative diffs off a bag. `gone` is told (row, id) of each id that goes, `short` (row,
    /// missing weight).
    pub fn take_from_bag(
        &mut self,
        layout: &Layout,
        batch: &Prepared<'_>,
        mut gone: impl FnMut(usize, u32),
        mut short: impl FnMut(usize, i64),
    ) {
        self.index_all(layout);
        let all = batch.all();
        for row in (0..batch.delta.num_rows()).filter(|row| batch.delta.diff(*row) < 0) {
            let hash = batch.hash(row);
            let missing = self.take(layout, hash, &all, row, -batch.delta.diff(row), |id| gone(row, id));
            if missing > 0 {
                short(row, missing);
            }
        }
    }

    /// Drops live rows of a bag, whatever their weights.
    pub fn drop_ids(&mut self, layout: &Layout, ids: &[u32]) {
        if self.index.is_some() {
            let hashes = hashes_of(layout, &self.pages, &layout.identity(), ids);
            let index = self.index.as_mut().expect("checked");
            ids.iter().zip(hashes).for_each(|(id, hash)| {
                index.remove(hash, *id);
            });
        }
        for id in ids {
            self.row_count -= self.weight(*id) as usize - 1;
            self.kill(layout, *id);
        }
    }

    pub fn weight(&self, id: u32) -> i64 {
        let (page, slot) = place(id);
        self.pages.page(page).weight(slot)
    }

    /// Takes up to `weight` off equal rows; returns what was missing.
    fn take(
        &mut self,
        layout: &Layout,
        hash: u64,
        all: &[(usize, &Incoming)],
        row: usize,
        mut weight: i64,
        mut gone: impl FnMut(u32),
    ) -> i64 {
        while weight > 0 {
            let Some(id) = self.find_live(hash, all, row) else { return weight };
            let (page, slot) = place(id);
            let taken = weight.min(self.pages.page(page).weight(slot));
            weight -= taken;
            if taken < self.pages.page(page).weight(slot) {
                self.add_weight(id, -taken);
                continue;
            }
            self.row_count -= taken as usize - 1;
            self.index.as_mut().expect("built before the first retraction").remove(hash, id);
            gone(id);
            self.kill(layout, id);
        }
        0
    }

    /// Id of a live row equal to row `row` of the batch. Bags only; `None` also while there is no index.
    pub fn find_in_bag(&self, batch: &Prepared<'_>, row: usize) -> Option<u32> {
        self.index.as_ref()?;
        self.find_live(batch.hash(row), &batch.all(), row)
    }

    /// Ids of live rows equal to `key[row]`.
    pub fn find_live(&self, hash: u64, key: &[(usize, &Incoming)], row: usize) -> Option<u32> {
        self.find_where(hash, |page, slot| page.is_live(slot) && page.equals(slot, key, row))
    }

    /// Like `find_live`, also rows retracted in this epoch.
    fn find(&self, hash: u64, key: &[(usize, &Incoming)], row: usize) -> Option<u32> {
        self.find_where(hash, |page, slot| page.equals(slot, key, row))
    }

    fn find_where(&self, hash: u64, is_it: impl Fn(&Page, usize) -> bool) -> Option<u32> {
        let index = self.index.as_ref().expect("looked up only where there is an index");
        index.find(hash, |id| {
            let (page, slot) = place(id);
            is_it(self.pages.page(page), slot)
        })
    }

    pub fn is_live(&self, id: u32) -> bool {
        let (page, slot) = place(id);
        self.pages.page(page).is_live(slot)
    }

    fn allocate(&mut self, layout: &Layout) -> u32 {
        if let Some(id) = self.free.pop() {
            return id;
        }
        let id = self.end;
        self.end = id.checked_add(1).expect("a worker's part of a relation has fewer than 2^32 rows");
        if place(id).0 == self.pages.len() {
            self.pages.push(layout);
            self.page_bytes += self.pages.page(place(id).0).memory_bytes();
        }
        id
    }

    /// Copies cells to their places and makes the rows live with `weight(row)`.
    fn write(&mut self, batch: &Prepared<'_>, rows: &[u32], ids: &[u32], weight: impl Fn(u32) -> i64) {
        let mut start = 0;
        let mut slots: Vec<u16> = Vec::with_capacity(PAGE_ROWS);
        for run in ids.chunk_by(|a, b| place(*a).0 == place(*b).0) {
            let rows = &rows[start..start + run.len()];
            start += run.len();
            slots.clear();
            slots.extend(run.iter().map(|id| place(*id).1 as u16));
            let page = self.pages.page_mut(place(run[0]).0);
            let before = page.memory_bytes();
            page.write(&batch.cells, rows, &slots);
            for (row, slot) in rows.iter().zip(&slots) {
                let weight = weight(*row);
                self.row_count = self.row_count + weight as usize - page.weight(*slot as usize) as usize;
                page.set_weight(*slot as usize, weight);
            }
            self.page_bytes = self.page_bytes + page.memory_bytes() - before;
        }
        if self.keyed {
            ids.iter().for_each(|id| self.mark_changed(*id));
        }
    }

    fn add_weight(&mut self, id: u32, weight: i64) {
        let (number, slot) = place(id);
        let page = self.pages.page_mut(number);
        let before = page.memory_bytes();
        page.set_weight(slot, page.weight(slot) + weight);
        self.page_bytes = self.page_bytes + page.memory_bytes() - before;
        self.row_count = (self.row_count as i64 + weight) as usize;
    }

    /// Frees a row that is no longer in the index and counts once in `row_count`.
    fn kill(&mut self, layout: &Layout, id: u32) {
        let (page, slot) = place(id);
        self.pages.page_mut(page).set_weight(slot, 0);
        self.row_count -= 1;
        self.free.push(id);
        self.page_bytes -= released(&mut self.pages, layout, page);
    }

    fn index_row(&mut self, layout: &Layout, hash: u64, id: u32) {
        let Rows { pages, index, .. } = self;
        let index = index.as_mut().expect("called only where there is an index");
        index.insert(hash, id, |ids| hashes_of(layout, pages, &layout.identity(), ids));
    }

    /// From now on equal rows are found and merged.
    pub fn index_all(&mut self, layout: &Layout) {
        if self.index.is_some() {
            return;
        }
        self.index = Some(RowIndex::new());
        for ids in self.live_ids().chunks(REHASH_ROWS) {
            let hashes = hashes_of(layout, &self.pages, &layout.identity(), ids);
            ids.iter().zip(hashes).for_each(|(id, hash)| self.index_row(layout, hash, *id));
        }
    }

    pub fn live_ids(&self) -> Vec<u32> {
        (0..self.end).filter(|id| self.is_live(*id)).collect()
    }

    fn mark_changed(&mut self, id: u32) {
        let word = id as usize / 64;
        if word >= self.changed.len() {
            self.changed.resize(word + 1, 0);
        }
        self.changed[word] |= 1 << (id % 64);
    }

    /// Live rows written since the last call.
    pub fn take_changed(&mut self) -> Vec<u32> {
        let mut ids = vec![];
        for (word, bits) in std::mem::take(&mut self.changed).into_iter().enumerate() {
            let mut rest = bits;
            while rest != 0 {
                let id = word as u32 * 64 + rest.trailing_zeros();
                rest &= rest - 1;
                if self.is_live(id) {
                    ids.push(id);
                }
            }
        }
        ids
    }
}

/// Broken invariants of the relation; the shard names it.
fn broken(what: &str) -> OperatorError {
    OperatorError::internal(what)
}

/// Bytes a page gave back because its last row went.
fn released(pages: &mut PageTable, layout: &Layout, number: usize) -> usize {
    if pages.page(number).live_bits().iter().any(|word| *word != 0) {
        return 0;
    }
    let page = pages.page_mut(number);
    let before = page.memory_bytes();
    page.release_if_empty(layout);
    before - page.memory_bytes()
}

/// Hashes over `columns` of rows in pages, as incoming rows have them.
pub(crate) fn hashes_of(layout: &Layout, pages: &PageTable, columns: &[usize], ids: &[u32]) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(ids.len());
    for ids in ids.chunks(REHASH_ROWS) {
        let arrays: Vec<ArrayRef> =
            columns.iter().map(|c| gather_column(&layout.columns[*c], pages, ids, *c)).collect();
        hashes.extend(hash_columns(&arrays, ids.len()).expect("the same columns were hashed on their way in"));
    }
    hashes
}
