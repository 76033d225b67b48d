//! The memory budget: one counter that operators, queues and pinned versions report to.
//! At the limit ingestion pauses and the largest view is named; the kernel's OOM killer must never be the one to decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared limit and the sum of what is in use, bytes.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    pub fn new(limit_bytes: usize) -> Self {
        MemoryBudget { inner: Arc::new(Inner { limit: limit_bytes, used: AtomicUsize::new(0) }) }
    }

    pub fn limit_bytes(&self) -> usize {
        self.inner.limit
    }

    pub fn used_bytes(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }

    pub fn exceeded(&self) -> bool {
        self.used_bytes() > self.inner.limit
    }

    /// A new account, at zero.
    pub fn account(&self) -> MemoryUse {
        MemoryUse { budget: self.clone(), bytes: 0 }
    }
}

/// One user's account with the budget; gives everything back when dropped.
#[derive(Debug)]
pub struct MemoryUse {
    budget: MemoryBudget,
    bytes: usize,
}

impl MemoryUse {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Replaces this account's figure.
    pub fn set(&mut self, bytes: usize) {
        let used = &self.budget.inner.used;
        if bytes >= self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.set(0);
    }
}
