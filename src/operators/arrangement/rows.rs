//! The writer's half of a relation: pages, the index over them and the free slots.
//!
//! What a change means stands beside: `keyed` for relations with a key, `bag` for those without. Slots freed by an epoch are used again from the next one on.

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
use crate::bits::Bits;

/// Rows hashed at a time when a table part grows.
pub(super) const REHASH_ROWS: usize = 8_192;

#[derive(Debug)]
pub(crate) struct Rows {
    pub pages: PageTable,
    pub(super) index: Option<RowIndex>,
    pub(super) free: Vec<u32>,
    /// Ids below this have been given out.
    end: u32,
    pub(super) row_count: usize,
    page_bytes: usize,
    keyed: bool,
    /// Keyed: ids written since the last cut.
    pub(super) written: Bits,
}

/// One batch with its cells by width and, once asked for, the hashes of its identity columns.
pub(crate) struct Prepared<'a> {
    pub(super) delta: &'a DeltaBatch,
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

    pub(super) fn hash(&self, row: usize) -> u64 {
        let compute = || {
            let identity: Vec<ArrayRef> = self.identity.iter().map(|c| self.delta.rows().column(*c).clone()).collect();
            hash_columns(&identity, self.delta.num_rows()).expect("a relation's columns have a row encoding")
        };
        self.hashes.get_or_init(compute)[row]
    }

    pub(super) fn identity(&self) -> Vec<(usize, &Incoming)> {
        self.identity.iter().map(|c| (*c, &self.cells[*c])).collect()
    }

    pub(super) fn all(&self) -> Vec<(usize, &Incoming)> {
        self.cells.iter().enumerate().collect()
    }

    pub(super) fn has_retractions(&self) -> bool {
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
            written: Bits::default(),
        }
    }

    /// Live rows, counted with their weights.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Bags: whether something was retracted before.
    pub fn has_index(&self) -> bool {
        self.index.is_some()
    }

    pub fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, RowIndex::memory_bytes);
        self.page_bytes + index + self.free.capacity() * 4 + self.written.memory_bytes()
    }

    pub fn weight(&self, id: u32) -> i64 {
        let (page, slot) = place(id);
        self.pages.page(page).weight(slot)
    }

    /// Ids of live rows equal to `key[row]`.
    pub fn find_live(&self, hash: u64, key: &[(usize, &Incoming)], row: usize) -> Option<u32> {
        self.find_where(hash, |page, slot| page.is_live(slot) && page.equals(slot, key, row))
    }

    /// Like `find_live`, also rows retracted in this epoch.
    pub(super) fn find(&self, hash: u64, key: &[(usize, &Incoming)], row: usize) -> Option<u32> {
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
        self.pages.is_live(id)
    }

    pub(super) fn allocate(&mut self, layout: &Layout) -> u32 {
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
    pub(super) fn write(&mut self, batch: &Prepared<'_>, rows: &[u32], ids: &[u32], weight: impl Fn(u32) -> i64) {
        let mut start = 0;
        let mut slots: Vec<u16> = Vec::with_capacity(PAGE_ROWS);
        for run in ids.chunk_by(|a, b| place(*a).0 == place(*b).0) {
            let rows = &rows[start..start + run.len()];
            start += run.len();
            slots.clear();
            slots.extend(run.iter().map(|id| place(*id).1 as u16));
            let added: i64 = self.change_page(place(run[0]).0, |page| {
                page.write(&batch.cells, rows, &slots);
                let replace = |(row, slot): (&u32, &u16)| {
                    let (weight, before) = (weight(*row), page.weight(*slot as usize));
                    page.set_weight(*slot as usize, weight);
                    weight - before
                };
                rows.iter().zip(&slots).map(replace).sum()
            });
            self.row_count = (self.row_count as i64 + added) as usize;
        }
        if self.keyed {
            for id in ids {
                self.written.insert(*id);
            }
        }
    }

    /// Changes a page and keeps the books. The copy of a page that a reader holds may be smaller or larger than the
    /// page, so its size before is taken before it is copied.
    fn change_page<T>(&mut self, number: usize, change: impl FnOnce(&mut Page) -> T) -> T {
        let before = self.pages.page(number).memory_bytes();
        let page = self.pages.page_mut(number);
        let answer = change(page);
        self.page_bytes = self.page_bytes + page.memory_bytes() - before;
        answer
    }

    pub(super) fn add_weight(&mut self, id: u32, weight: i64) {
        let (number, slot) = place(id);
        self.change_page(number, |page| page.set_weight(slot, page.weight(slot) + weight));
        self.row_count = (self.row_count as i64 + weight) as usize;
    }

    /// Marks a row that counts once in `row_count` dead; its cells and its index entry stay.
    pub(super) fn mark_dead(&mut self, id: u32) {
        let (number, slot) = place(id);
        self.change_page(number, |page| page.set_weight(slot, 0));
        self.row_count -= 1;
    }

    /// Gives the slot of a dead row that is no longer in the index back, and its page's memory if it was the last.
    pub(super) fn free_slot(&mut self, layout: &Layout, id: u32) {
        self.free.push(id);
        let (number, _) = place(id);
        if self.pages.page(number).is_empty() {
            self.change_page(number, |page| *page = Page::new(layout));
        }
    }

    /// Frees a row that is no longer in the index and counts once in `row_count`.
    pub(super) fn kill(&mut self, layout: &Layout, id: u32) {
        self.mark_dead(id);
        self.free_slot(layout, id);
    }

    pub(super) fn index_row(&mut self, layout: &Layout, hash: u64, id: u32) {
        let Rows { pages, index, .. } = self;
        let index = index.as_mut().expect("called only where there is an index");
        index.insert(hash, id, |ids| hashes_of(layout, pages, &layout.identity(), ids));
    }

    pub fn live_ids(&self) -> Vec<u32> {
        (0..self.end).filter(|id| self.is_live(*id)).collect()
    }

    /// What `memory_bytes` says of the pages, counted afresh.
    #[cfg(test)]
    pub fn count_page_bytes(&self) -> (usize, usize) {
        (self.page_bytes, (0..self.pages.len()).map(|n| self.pages.page(n).memory_bytes()).sum())
    }
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
