//! By what a file is recognised when its name is not enough: renamed by a rotation, replaced, restored from elsewhere.
//!
//! Device and inode say that it is the same file, unless the number was given to another one since; how it begins says
//! that it still holds what was read. Files that merely begin alike are common (headers), so without the inode a short
//! beginning proves nothing.

use std::fmt;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};

use types::hash_bytes;

/// So much of its beginning is remembered.
pub(super) const HEAD_BYTES: usize = 1_024;
/// Of a file under another name and inode so much must be the same.
const HEAD_BYTES_CONVINCING: u64 = 64;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The beginning of a file as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head(Vec<u8>);

impl Head {
    pub fn read(file: &File) -> std::io::Result<Head> {
        let mut bytes = vec![0; HEAD_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(Head(bytes))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A file as it was when it was last looked at. Persisted as text (`Display`, `parse`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub file: FileId,
    pub head_length: u64,
    head_hash: u64,
    /// The path under which it was seen first.
    pub origin: String,
}

impl Identity {
    pub fn new(file: FileId, head: &Head, origin: &str) -> Identity {
        Identity { file, head_length: head.0.len() as u64, head_hash: hash_bytes(&head.0), origin: origin.to_string() }
    }

    /// Nothing of it can change any more.
    pub fn is_final(&self) -> bool {
        self.head_length == HEAD_BYTES as u64
    }

    /// Whether a file that begins with `head` holds what this one began with.
    pub fn begins(&self, head: &Head) -> bool {
        let length = self.head_length as usize;
        head.0.get(..length).is_some_and(|bytes| hash_bytes(bytes) == self.head_hash)
    }

    /// The beginning alone says that a file is this one.
    pub fn is_convincing(&self) -> bool {
        self.head_length >= HEAD_BYTES_CONVINCING
    }

    pub fn parse(text: &str) -> Option<Identity> {
        let mut parts = text.splitn(5, ':');
        let mut number = |radix| u64::from_str_radix(parts.next()?, radix).ok();
        let file = FileId { device: number(10)?, inode: number(10)? };
        let (head_length, head_hash) = (number(10)?, number(16)?);
        Some(Identity { file, head_length, head_hash, origin: parts.next()?.to_string() })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileId { device, inode } = self.file;
        write!(f, "{device}:{inode}:{}:{:016x}:{}", self.head_length, self.head_hash, self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_text_and_back() {
        let head = Head(b"2024-01-01,a\n".to_vec());
        let identity = Identity::new(FileId { device: 7, inode: u64::MAX }, &head, "/var/log/a: b.log");
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity.clone()));
        assert!(identity.begins(&head) && identity.begins(&Head(b"2024-01-01,a\n2024".to_vec())));
        assert!(!identity.begins(&Head(b"2024-01-01,b\n2024".to_vec())) && !identity.begins(&Head(b"2024".to_vec())));
        assert_eq!(Identity::parse("7:8:nine:0:x"), None);
    }
}
