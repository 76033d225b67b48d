//! Rows by key: at most one live row per key; an update rewrites the row where it stands.

use super::layout::Layout;
use super::page_table::place;
use super::rows::{Prepared, Rows};
use crate::OperatorError;
use crate::bits::Bits;

impl Rows {
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
        for (id, hash, batch, row) in retracted {
            let (page, slot) = place(id);
            if !self.pages.page(page).is_live(slot) {
                self.index.as_mut().expect("keyed relations have an index").remove(hash, id);
                self.free_slot(layout, id);
                left(batch, row);
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
                self.mark_dead(id);
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

    /// The rows written since the last call; some may be dead by now.
    pub fn take_written(&mut self) -> Bits {
        std::mem::take(&mut self.written)
    }
}

/// Broken invariants of the relation; the shard names it.
fn broken(what: &str) -> OperatorError {
    OperatorError::internal(what)
}
