//! Durable file primitives: the few ways in which this crate changes a directory.
//! Invariant: a name is only relied upon after its file and then its directory are synced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, Disk, DiskFile, Entry, RealDisk};
use crate::StateError;

/// A disk, with our errors. Clones share it.
#[derive(Clone)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
}

/// An open file with its name, for messages.
#[derive(Clone)]
pub(crate) struct OpenFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Files {
        Files { disk }
    }

    pub(crate) fn real() -> Files {
        Files::new(Arc::new(RealDisk))
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// A new file for writing, mode 0600; whatever had the name before is emptied.
    pub(crate) fn create(&self, path: &Path) -> Result<OpenFile, StateError> {
        let file = self.disk.create(path).map_err(|e| StateError::io("create", path, e))?;
        Ok(OpenFile { file, path: path.into() })
    }

    pub(crate) fn open(&self, path: &Path, access: Access) -> Result<OpenFile, StateError> {
        let file = self.disk.open(path, access).map_err(|e| StateError::io("open", path, e))?;
        Ok(OpenFile { file, path: path.into() })
    }

    /// Creates `dir` (mode 0700), and the directories above it, if they are missing; durably.
    pub(crate) fn create_dir(&self, dir: &Path) -> Result<(), StateError> {
        if self.is_dir(dir)? {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.create_dir(parent)?;
        match self.disk.create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StateError::io("create directory", dir, error))
            }
            _ => self.sync_dir(parent),
        }
    }

    /// Makes creations, renames and removals in `dir` durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), StateError> {
        self.disk.sync_dir(dir).map_err(|e| StateError::sync(dir, e))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StateError> {
        self.disk.rename(from, to).map_err(|e| StateError::io("rename", from, e))
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), StateError> {
        self.disk.remove_file(path).map_err(|e| StateError::io("remove", path, e))
    }

    /// Gives the complete and synced `temporary(path)` its name, durably.
    pub(crate) fn publish(&self, path: &Path) -> Result<(), StateError> {
        self.rename(&temporary(path), path)?;
        self.sync_dir(path.parent().expect("our files lie in a directory"))
    }

    /// Writes a whole file under its temporary name and publishes it: afterwards it is there, complete, for good.
    pub(crate) fn write_file(&self, path: &Path, parts: &[&[u8]]) -> Result<(), StateError> {
        let temporary = temporary(path);
        let file = self.create(&temporary)?;
        let mut length = 0;
        let written = parts.iter().try_for_each(|part| {
            file.write_at(part, length)?;
            length += part.len() as u64;
            Ok(())
        });
        if let Err(error) = written {
            // Best effort: a leftover is removed at the next start.
            let _ = self.remove_file(&temporary);
            return Err(error);
        }
        file.sync()?;
        self.publish(path)
    }

    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, StateError> {
        let file = self.open(path, Access::Read)?;
        let mut bytes = vec![0; file.length()? as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(crate) fn entry(&self, path: &Path) -> Result<Option<Entry>, StateError> {
        self.disk.entry(path).map_err(|e| StateError::io("read", path, e))
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool, StateError> {
        Ok(self.entry(path)?.is_some())
    }

    pub(crate) fn is_dir(&self, path: &Path) -> Result<bool, StateError> {
        Ok(self.entry(path)? == Some(Entry::Directory))
    }

    /// Plain files of `dir` as (name, path, bytes), sorted by name.
    pub(crate) fn list_files(&self, dir: &Path) -> Result<Vec<(String, PathBuf, u64)>, StateError> {
        let entries = self.disk.list(dir).map_err(|e| StateError::io("read directory", dir, e))?;
        let plain = entries.into_iter().filter_map(|(name, entry)| match entry {
            Entry::File { bytes } => Some((name.clone(), dir.join(name), bytes)),
            Entry::Directory | Entry::Other => None,
        });
        let mut files: Vec<_> = plain.collect();
        files.sort();
        Ok(files)
    }

    /// Removes leftovers of interrupted writes: nothing names them.
    pub(crate) fn remove_temporaries(&self, dir: &Path) -> Result<(), StateError> {
        for (name, path, _) in self.list_files(dir)? {
            if name.ends_with(".tmp") {
                self.remove_file(&path)?;
            }
        }
        Ok(())
    }
}

impl OpenFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> Result<u64, StateError> {
        self.file.length().map_err(|e| StateError::io("read", &self.path, e))
    }

    /// Bytes read; fewer than asked for only at the end of the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, StateError> {
        self.file.read_at(buffer, offset).map_err(|e| StateError::io("read", &self.path, e))
    }

    /// So many bytes, or `UnexpectedEof`.
    pub(crate) fn read_exact_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, StateError> {
        let mut bytes = vec![0; length];
        if self.read_at(&mut bytes, offset)? < length {
            return Err(StateError::io("read", &self.path, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StateError> {
        self.file.write_at(bytes, offset).map_err(|e| StateError::io("write", &self.path, e))
    }

    pub(crate) fn set_len(&self, bytes: u64) -> Result<(), StateError> {
        self.file.set_len(bytes).map_err(|e| StateError::io("truncate", &self.path, e))
    }

    pub(crate) fn sync(&self) -> Result<(), StateError> {
        self.file.sync().map_err(|e| StateError::sync(&self.path, e))
    }

    /// For readers that speak `std::io`.
    pub(crate) fn raw(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }
}

/// The name a file has until it is complete.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".tmp");
    name.into()
}
