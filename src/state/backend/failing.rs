//! A test double: works like the store inside it until operation N, which fails, as do all after it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FactWrite, StateBackend};
use crate::StateError;

/// Fails at operation `fail_at` (counted from 1) and ever after.
pub struct Failing<B> {
    inner: B,
    fail_at: u64,
    operations: AtomicU64,
}

impl<B: StateBackend> Failing<B> {
    pub fn new(inner: B, fail_at: u64) -> Self {
        Failing { inner, fail_at, operations: AtomicU64::new(0) }
    }

    /// Operations asked for so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    fn step(&self) -> Result<(), StateError> {
        if self.operations.fetch_add(1, Ordering::Relaxed) + 1 >= self.fail_at {
            let source = io::Error::other("injected failure");
            return Err(StateError::Io { action: "use", path: Path::new("facts").into(), source });
        }
        Ok(())
    }
}

impl<B: StateBackend> StateBackend for Failing<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.step()?;
        self.inner.get(key)
    }

    fn put_all(&self, writes: &[FactWrite]) -> Result<(), StateError> {
        self.step()?;
        self.inner.put_all(writes)
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        self.step()?;
        self.inner.scan(prefix)
    }

    fn verify(&self) -> Result<(), StateError> {
        self.step()?;
        self.inner.verify()
    }
}
