//! Pages by number, in two copy-on-write levels, so that publishing a version is one pointer copy and the first change
//! after it copies one page, its chunk's pointers and the list of chunks, never the relation.

use std::sync::Arc;

use types::limits::{PAGE_ROWS, PAGES_PER_CHUNK};

use super::layout::Layout;
use super::page::Page;

type Chunk = Vec<Arc<Page>>;

/// Cloning makes a version that later changes don't touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageTable {
    chunks: Arc<Vec<Arc<Chunk>>>,
}

/// Page number and slot of a row id.
pub(crate) fn place(id: u32) -> (usize, usize) {
    (id as usize / PAGE_ROWS, id as usize % PAGE_ROWS)
}

impl PageTable {
    pub fn len(&self) -> usize {
        match self.chunks.last() {
            Some(last) => (self.chunks.len() - 1) * PAGES_PER_CHUNK + last.len(),
            None => 0,
        }
    }

    pub fn page(&self, number: usize) -> &Page {
        &self.chunks[number / PAGES_PER_CHUNK][number % PAGES_PER_CHUNK]
    }

    pub fn is_live(&self, id: u32) -> bool {
        let (page, slot) = place(id);
        self.page(page).is_live(slot)
    }

    /// The page for writing; copied first if a version holds it.
    pub fn page_mut(&mut self, number: usize) -> &mut Page {
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[number / PAGES_PER_CHUNK]);
        Arc::make_mut(&mut chunk[number % PAGES_PER_CHUNK])
    }

    pub fn push(&mut self, layout: &Layout) {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.last().is_none_or(|c| c.len() == PAGES_PER_CHUNK) {
            chunks.push(Arc::default());
        }
        let last = chunks.last_mut().expect("a chunk with room was pushed");
        Arc::make_mut(last).push(Arc::new(Page::new(layout)));
    }
}
