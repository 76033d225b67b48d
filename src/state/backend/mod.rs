//! The facts store: small mutable facts, fast to look up.
//!
//! Never the only copy of anything: what is in it can be rebuilt from the newest manifest and the journal, so a store
//! that fails to open or to verify is moved aside and filled again.

mod failing;
mod memory;
mod mirror;
mod opening;
mod sled;
#[cfg(test)]
mod tests;

pub use failing::Failing;
pub use memory::MemoryBackend;
pub use mirror::Mirror;
pub(crate) use opening::open_or_replace;
pub use sled::SledBackend;

use crate::StateError;

/// Puts (`Some`) or deletes (`None`) one key.
pub type FactWrite = (Vec<u8>, Option<Vec<u8>>);

/// A durable ordered map of small values.
pub trait StateBackend: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// All or none of `writes`, durable on return. A key may occur once.
    ///
    /// Errors: `FactTooLarge` above `limits::FACT_BYTES_MAX`, with nothing written.
    fn put_all(&self, writes: &[FactWrite]) -> Result<(), StateError>;

    /// Pairs whose key starts with `prefix`, ascending.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError>;

    /// Reads everything and checks it.
    fn verify(&self) -> Result<(), StateError>;

    /// Makes the contents exactly `facts` (sorted by key or not), writing only what differs.
    fn rebuild(&self, facts: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StateError> {
        let wanted: std::collections::BTreeMap<&[u8], &[u8]> = facts.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let present = self.scan(&[])?;
        let mut writes: Vec<FactWrite> = vec![];
        for (key, _) in present.iter().filter(|(key, _)| !wanted.contains_key(&key[..])) {
            writes.push((key.clone(), None));
        }
        let present: std::collections::BTreeMap<&[u8], &[u8]> = present.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        for (key, value) in wanted.iter().filter(|(key, value)| present.get(*key) != Some(value)) {
            writes.push((key.to_vec(), Some(value.to_vec())));
        }
        self.put_all(&writes)
    }
}

/// Refuses values that belong into files.
fn check_sizes(writes: &[FactWrite]) -> Result<(), StateError> {
    let limit = types::limits::FACT_BYTES_MAX;
    match writes.iter().filter_map(|(_, value)| value.as_ref()).find(|value| value.len() > limit) {
        Some(value) => Err(StateError::FactTooLarge { bytes: value.len(), limit }),
        None => Ok(()),
    }
}
