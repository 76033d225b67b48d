//! A test double: two stores that must always agree.

use super::{FactWrite, StateBackend};
use crate::StateError;

/// Asks both stores everything; panics when they answer differently, for then one of them is wrong.
pub struct Mirror<A, B> {
    left: A,
    right: B,
}

impl<A: StateBackend, B: StateBackend> Mirror<A, B> {
    pub fn new(left: A, right: B) -> Self {
        Mirror { left, right }
    }
}

fn agree<T: PartialEq + std::fmt::Debug>(
    left: Result<T, StateError>,
    right: Result<T, StateError>,
    what: &str,
) -> Result<T, StateError> {
    match (left, right) {
        (Ok(left), Ok(right)) => {
            assert_eq!(left, right, "mirrored stores disagree on {what}");
            Ok(left)
        }
        (Err(left), Err(right)) => {
            assert_eq!(left.to_string(), right.to_string(), "mirrored stores fail differently on {what}");
            Err(left)
        }
        (left, right) => panic!("only one of the mirrored stores fails on {what}: {left:?}, {right:?}"),
    }
}

impl<A: StateBackend, B: StateBackend> StateBackend for Mirror<A, B> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        agree(self.left.get(key), self.right.get(key), "get")
    }

    fn put_all(&self, writes: &[FactWrite]) -> Result<(), StateError> {
        agree(self.left.put_all(writes), self.right.put_all(writes), "put_all")
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        agree(self.left.scan(prefix), self.right.scan(prefix), "scan")
    }

    fn verify(&self) -> Result<(), StateError> {
        agree(self.left.verify(), self.right.verify(), "verify")
    }
}
