//! One manifest as a file, and the hash that chains it to the one before.
//!
//! ```text
//! magic "HWMANIF1" | format u32 | body length u64 | hash (16 bytes) | body (JSON) | crc u32 of everything before
//! ```
//! The hash is 128-bit FNV-1a over body length and body, which contains the hash of the previous manifest. It guards
//! against damage and mix-ups, not against forgery.

use std::path::Path;

use super::Manifest;
use crate::StateError;
use crate::disk::Files;

const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"HWMANIF1";
const HEADER_BYTES: usize = 36;
const CRC_BYTES: usize = 4;

/// Identity of a manifest's contents.
pub(super) type Hash = u128;

pub(super) fn file_name(version: u64) -> String {
    format!("{version:010}")
}

pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    name.bytes().all(|b| b.is_ascii_digit()).then(|| name.parse().ok())?
}

pub(super) fn hash_text(hash: Hash) -> String {
    format!("{hash:032x}")
}

/// Writes the manifest under its version's name; durable on return, but not yet the current one.
pub(super) fn write(files: &Files, dir: &Path, manifest: &Manifest) -> Result<Hash, StateError> {
    let body = serde_json::to_vec(manifest)?;
    let hash = fnv1a_128(&body);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&(body.len() as u64).to_le_bytes());
    header.extend_from_slice(&hash.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header);
    crc.update(&body);
    files.write_file(&dir.join(file_name(manifest.version)), &[&header, &body, &crc.finalize().to_le_bytes()])?;
    Ok(hash)
}

/// Reads and verifies one manifest.
pub(super) fn read(files: &Files, dir: &Path, version: u64) -> Result<(Manifest, Hash), StateError> {
    let path = dir.join(file_name(version));
    let bytes = files.read(&path)?;
    let corrupt = |reason: &str| StateError::corrupt(&path, reason);
    if bytes.len() < HEADER_BYTES + CRC_BYTES || &bytes[..8] != MAGIC {
        return Err(corrupt("it is no manifest"));
    }
    let (checked, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
    if crc32fast::hash(checked).to_le_bytes() != crc {
        return Err(corrupt("the checksum is wrong"));
    }
    let found = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    if found > FORMAT {
        return Err(StateError::NewerFormat { path, found, known: FORMAT });
    }
    let body = &checked[HEADER_BYTES..];
    let length = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
    let hash = Hash::from_le_bytes(bytes[20..36].try_into().expect("sixteen bytes"));
    if length != body.len() as u64 || hash != fnv1a_128(body) {
        return Err(corrupt("the hash is wrong"));
    }
    let manifest: Manifest = serde_json::from_slice(body)?;
    if manifest.version != version {
        return Err(corrupt(&format!("it is version {} under another name", manifest.version)));
    }
    Ok((manifest, hash))
}

fn fnv1a_128(bytes: &[u8]) -> Hash {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let seed = (bytes.len() as u64).to_le_bytes();
    seed.iter().chain(bytes).fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}
