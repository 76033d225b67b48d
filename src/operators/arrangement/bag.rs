//! Rows as a bag: slots with weights, found by the hash of the whole row. Until something is retracted a bag has no
//! index: equal rows may then stand in several slots, which means the same.

use super::index::RowIndex;
use super::layout::{Incoming, Layout};
use super::page_table::place;
use super::rows::{Prepared, REHASH_ROWS, Rows, hashes_of};

impl Rows {
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
        if let Some(index) = self.index.as_mut() {
            let hashes = hashes_of(layout, &self.pages, &layout.identity(), ids);
            ids.iter().zip(hashes).for_each(|(id, hash)| {
                index.remove(hash, *id);
            });
        }
        for id in ids {
            self.row_count -= self.weight(*id) as usize - 1;
            self.kill(layout, *id);
        }
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
}
