//! skeleton
use crate::{FatalHandler, StateError};
use std::path::{Path, PathBuf};
pub struct Journal {}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub position: u64,
    pub kind: u8,
    pub payload: Vec<u8>,
}
#[derive(Clone)]
pub struct JournalOptions {
    pub segment_bytes: u64,
    pub reserve: Option<(PathBuf, u64)>,
    pub on_fatal: FatalHandler,
}
impl Default for JournalOptions {
    fn default() -> Self {
        unimplemented!()
    }
}
impl Journal {
    /// Opens or creates; every entry above `after` goes to `on_entry`.
    pub fn open(
        dir: &Path,
        after: u64,
        options: JournalOptions,
        on_entry: &mut dyn FnMut(JournalEntry) -> Result<(), StateError>,
    ) -> Result<Journal, StateError> {
        let _ = (dir, after, options, on_entry);
        unimplemented!()
    }
    pub fn in_memory() -> Journal {
        unimplemented!()
    }
    pub fn append(&self, kind: u8, payload: &[u8]) -> Result<u64, StateError> {
        let _ = (kind, payload);
        unimplemented!()
    }
    pub fn append_lazy(&self, kind: u8, payload: &[u8]) -> Result<u64, StateError> {
        let _ = (kind, payload);
        unimplemented!()
    }
    pub fn sync_up_to(&self, position: u64) -> Result<(), StateError> {
        let _ = position;
        unimplemented!()
    }
    /// Newest entry appended, and newest durable one.
    pub fn position(&self) -> u64 {
        unimplemented!()
    }
    pub fn durable_position(&self) -> u64 {
        unimplemented!()
    }
    pub fn subscribe(&self, on_durable: Box<dyn Fn(u64) + Send>) {
        let _ = on_durable;
        unimplemented!()
    }
    pub fn disk_full(&self) -> bool {
        unimplemented!()
    }
    pub fn truncate_before(&self, position: u64) -> Result<(), StateError> {
        let _ = position;
        unimplemented!()
    }
}
