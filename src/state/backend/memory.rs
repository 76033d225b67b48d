//! Facts in memory: for `--in-memory` servers, and the reference in tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::{FactWrite, StateBackend, check_sizes};
use crate::StateError;

/// A sorted map; durable as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    facts: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryBackend {
    pub fn new() -> Self {
        MemoryBackend::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.facts.lock().expect("no code panics while holding the facts")
    }
}

impl StateBackend for MemoryBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.lock().get(key).cloned())
    }

    fn put_all(&self, writes: &[FactWrite]) -> Result<(), StateError> {
        check_sizes(writes)?;
        let mut facts = self.lock();
        for (key, value) in writes {
            match value {
                Some(value) => facts.insert(key.clone(), value.clone()),
                None => facts.remove(key),
            };
        }
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let facts = self.lock();
        let from = facts.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(from.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn verify(&self) -> Result<(), StateError> {
        Ok(())
    }
}
