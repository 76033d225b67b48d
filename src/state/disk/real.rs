//! The disk of the machine.

use std::fs::{self, DirBuilder, File, FileType, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Access, Disk, DiskFile, Entry, Permissions};

/// `std::fs`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(options().create(true).truncate(true).write(true).read(true).open(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(options().read(true).write(access == Access::Write).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(entry(metadata.file_type(), metadata.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Entry)>> {
        let mut names = vec![];
        for found in fs::read_dir(dir)? {
            let found = found?;
            // Ours are all ASCII; what is not is listed under a name that is none of ours.
            let name = found.file_name().to_string_lossy().into_owned();
            match found.metadata() {
                Ok(metadata) => names.push((name, entry(metadata.file_type(), metadata.len()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            // The kernel unlocks it when the process ends, however it ends.
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn permissions(&self, dir: &Path) -> io::Result<Option<Permissions>> {
        let metadata = fs::metadata(dir)?;
        // Where there is no /proc there is no safe way to ask who we are.
        let ours = fs::metadata("/proc/self").map_or(true, |process| process.uid() == metadata.uid());
        Ok(Some(Permissions { ours, mode: metadata.mode() & 0o777 }))
    }

    fn set_permissions(&self, dir: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(dir, PermissionsExt::from_mode(mode))
    }

    fn salt(&self) -> u32 {
        // Not a secret; only different from others.
        RandomState::new().hash_one(SystemTime::now()) as u32
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

fn entry(file_type: FileType, bytes: u64) -> Entry {
    if file_type.is_file() {
        Entry::File { bytes }
    } else if file_type.is_dir() {
        Entry::Directory
    } else {
        Entry::Other
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        // Of the metadata only what reading back needs, which is the length.
        self.sync_data()
    }
}
