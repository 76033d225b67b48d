//! A page: `PAGE_ROWS` row slots in columns. A slot is live while its weight is not 0.
//! Weights are only stored once one differs from 1, so keyed relations pay one bit per row for liveness.

use types::limits::PAGE_ROWS;

use super::column::{Column, PageBits, bit, set_bit};
use super::layout::{Incoming, Layout};

#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub columns: Vec<Column>,
    live: PageBits,
    live_count: u32,
    weights: Option<Box<[i64]>>,
}

impl Page {
    pub fn new(layout: &Layout) -> Self {
        let columns = layout.columns.iter().map(|c| Column::new(&c.storage)).collect();
        Page { columns, live: PageBits::default(), live_count: 0, weights: None }
    }

    pub fn is_live(&self, slot: usize) -> bool {
        bit(&self.live, slot)
    }

    pub fn live_bits(&self) -> &PageBits {
        &self.live
    }

    /// How many times the row stands; 0 if the slot is dead.
    pub fn weight(&self, slot: usize) -> i64 {
        match &self.weights {
            _ if !self.is_live(slot) => 0,
            Some(weights) => weights[slot],
            None => 1,
        }
    }

    pub fn set_weight(&mut self, slot: usize, weight: i64) {
        let was_live = self.is_live(slot);
        set_bit(&mut self.live, slot, weight != 0);
        self.live_count = self.live_count + u32::from(weight != 0) - u32::from(was_live);
        if weight > 1 && self.weights.is_none() {
            self.weights = Some(vec![1; PAGE_ROWS].into());
        }
        if let Some(weights) = &mut self.weights {
            weights[slot] = weight;
        }
        if self.live_count == 0 {
            self.weights = None;
        }
    }

    /// Whether no row is live.
    pub fn is_empty(&self) -> bool {
        self.live_count == 0
    }

    /// Copies whole rows; liveness is set apart.
    pub fn write(&mut self, incoming: &[Incoming], rows: &[u32], slots: &[u16]) {
        self.columns.iter_mut().zip(incoming).for_each(|(column, cells)| column.write(cells, rows, slots));
    }

    /// Whether the row at `slot` equals row `row` of the incoming arrays, each given with the column it belongs to.
    pub fn equals(&self, slot: usize, columns: &[(usize, &Incoming)], row: usize) -> bool {
        columns.iter().all(|(column, cells)| self.columns[*column].equals(slot, cells, row))
    }

    pub fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::heap_bytes).sum();
        size_of::<Page>()
            + self.columns.capacity() * size_of::<Column>()
            + columns
            + self.weights.as_ref().map_or(0, |w| w.len() * 8)
    }
}
