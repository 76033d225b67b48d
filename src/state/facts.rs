//! Facts of any size over a backend of small values: a fact is stored in parts.
//!
//! Part n of `key` is stored under `key ++ 0x00 ++ n` (two bytes, big endian), so parts of one fact are neighbours in
//! order and keys sort as they are. Keys contain no zero byte, except the store's own, which begin with one and are
//! stored as they are.

use std::collections::BTreeMap;

use types::limits::FACT_BYTES_MAX;

use crate::{FactWrite, StateBackend, StateError};

type Fact = (Vec<u8>, Vec<u8>);

/// The parts of one fact. Panics if it has more than 65,536: facts are small.
fn split(key: &[u8], value: &[u8]) -> impl Iterator<Item = Fact> {
    assert!(!key.contains(&0), "keys of facts contain no zero byte");
    // An empty value still has one part.
    let count = value.len().div_ceil(FACT_BYTES_MAX).max(1);
    assert!(count <= usize::from(u16::MAX), "facts are small");
    (0..count).map(move |n| {
        let part = &value[n * FACT_BYTES_MAX..value.len().min((n + 1) * FACT_BYTES_MAX)];
        (part_key(key, n as u16), part.to_vec())
    })
}

fn part_key(key: &[u8], part: u16) -> Vec<u8> {
    [key, &[0], &part.to_be_bytes()].concat()
}

/// All or nothing, durable on return.
pub(crate) fn put(backend: &dyn StateBackend, writes: &[FactWrite]) -> Result<(), StateError> {
    let mut parts: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for (key, value) in writes {
        for (old, _) in backend.scan(&[key, &[0][..]].concat())? {
            parts.insert(old, None);
        }
        if let Some(value) = value {
            parts.extend(split(key, value).map(|(key, part)| (key, Some(part))));
        }
    }
    backend.put_all(&parts.into_iter().collect::<Vec<_>>())
}

/// Facts whose key starts with `prefix`, ascending; the store's own are left out.
pub(crate) fn scan(backend: &dyn StateBackend, prefix: &[u8]) -> Result<Vec<Fact>, StateError> {
    let mut facts: Vec<Fact> = vec![];
    for (part_key, part) in backend.scan(prefix)?.into_iter().filter(|(key, _)| key.first() != Some(&0)) {
        let broken = || StateError::FactsBroken { reason: "a fact has no part number".into() };
        let (key, number) = part_key.split_last_chunk::<3>().ok_or_else(broken)?;
        let expected = match facts.last_mut() {
            Some((last, value)) if last == key => {
                let count = value.len().div_ceil(FACT_BYTES_MAX) as u16;
                value.extend_from_slice(&part);
                count
            }
            _ => {
                facts.push((key.to_vec(), part));
                0
            }
        };
        if number[0] != 0 || number[1..] != expected.to_be_bytes() {
            return Err(broken());
        }
    }
    Ok(facts)
}

/// Makes the facts exactly `facts`, writing only what differs. The store's own stay.
pub(crate) fn rebuild(backend: &dyn StateBackend, facts: &[Fact]) -> Result<(), StateError> {
    let mut parts: Vec<Fact> = facts.iter().flat_map(|(key, value)| split(key, value)).collect();
    parts.extend(backend.scan(&[0])?);
    backend.rebuild(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryBackend;

    fn fact(key: &str, length: usize) -> Fact {
        (key.as_bytes().to_vec(), (0..length).map(|i| i as u8).collect())
    }

    #[test]
    fn facts_of_any_size_come_back() {
        let backend = MemoryBackend::new();
        backend.put_all(&[(b"\0own".to_vec(), Some(vec![1]))]).unwrap();
        let facts: Vec<Fact> = [0, 1, 4095, 4096, 4097, 8192, 100_000]
            .iter()
            .enumerate()
            .map(|(i, length)| fact(&format!("k{i}"), *length))
            .collect();
        let writes: Vec<FactWrite> = facts.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        put(&backend, &writes).unwrap();
        assert_eq!(scan(&backend, b"").unwrap(), facts);
        assert_eq!(scan(&backend, b"k6").unwrap(), facts[6..]);
        put(&backend, &[(b"k6".to_vec(), Some(vec![9])), (b"k5".to_vec(), None)]).unwrap();
        assert_eq!(scan(&backend, b"k5").unwrap(), []);
        assert_eq!(scan(&backend, b"k6").unwrap(), [(b"k6".to_vec(), vec![9])], "no part of the longer value is left");
        rebuild(&backend, &facts).unwrap();
        assert_eq!(scan(&backend, b"").unwrap(), facts);
        assert_eq!(backend.get(b"\0own").unwrap(), Some(vec![1]));
    }

    #[test]
    fn missing_part_is_noticed() {
        let backend = MemoryBackend::new();
        put(&backend, &[(b"k".to_vec(), Some(vec![7; 10_000]))]).unwrap();
        backend.put_all(&[(part_key(b"k", 1), None)]).unwrap();
        assert!(matches!(scan(&backend, b""), Err(StateError::FactsBroken { .. })));
    }
}
