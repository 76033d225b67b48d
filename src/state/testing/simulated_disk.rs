//! A disk in memory that forgets what was not synced, runs full and fails, as told and as a seed decides.
//!
//! It keeps apart what a process sees and what is on disk for sure. [`SimulatedDisk::power_cut`] gives the disk as it may
//! be found afterwards: of unsynced writes any sectors are there, of unsynced names the oldest operations. Creating a
//! file makes nothing durable, not even with the file's sync: only its directory's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::contents::{Contents, Kept};
use super::names::{Names, Node};
use super::random::Random;
use crate::{Access, Disk, DiskFile, Entry, Permissions};

/// Clones share the disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It and all later ones fail: see [`SimulatedDisk::power_cut`].
    PowerOff,
    /// It fails with nothing done; a sync that fails loses what it should have made durable, for good.
    Error(io::ErrorKind),
}

#[derive(Debug)]
struct State {
    contents: Vec<Contents>,
    directories: BTreeMap<PathBuf, Names>,
    locked: BTreeSet<PathBuf>,
    salts: Random,
    /// Changes and syncs so far.
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    powered: bool,
    capacity_bytes: u64,
}

impl SimulatedDisk {
    /// An empty disk of unlimited size. `seed` decides its salts.
    pub fn new(seed: u64) -> SimulatedDisk {
        let directories = BTreeMap::from([(PathBuf::from("/"), Names::default())]);
        SimulatedDisk::with(State {
            contents: vec![],
            directories,
            locked: BTreeSet::new(),
            salts: Random::new(seed),
            operations: 0,
            faults: BTreeMap::new(),
            powered: true,
            capacity_bytes: u64::MAX,
        })
    }

    fn with(state: State) -> SimulatedDisk {
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding the disk")
    }

    /// Operations asked for so far: whatever changes or syncs something.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Has operation number `operation` fail, counted from 1 over the disk's life.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Writes beyond so many bytes of all files fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Turns the power off, if it is not yet, and gives the disk as it is found when it comes back. The same seed gives
    /// the same disk. Faults and capacity are gone.
    pub fn power_cut(&self, seed: u64) -> SimulatedDisk {
        let mut random = Random::new(seed);
        let mut state = self.lock();
        state.powered = false;
        let kept = Kept::choose(&mut random);
        let mut left = State {
            contents: vec![],
            directories: BTreeMap::new(),
            locked: BTreeSet::new(),
            salts: Random::new(seed ^ state.operations),
            operations: 0,
            faults: BTreeMap::new(),
            powered: true,
            capacity_bytes: u64::MAX,
        };
        left.take_over(&state, Path::new("/"), kept, &mut random);
        SimulatedDisk::with(left)
    }

    /// As another process leaves it that is killed: nothing is lost.
    pub fn kill(&self) -> SimulatedDisk {
        let mut state = self.lock();
        state.powered = false;
        let (contents, directories) = (state.contents.clone(), state.directories.clone());
        let salts = Random::new(state.operations);
        let (locked, faults) = (BTreeSet::new(), BTreeMap::new());
        let (operations, powered, capacity_bytes) = (0, true, u64::MAX);
        SimulatedDisk::with(State { contents, directories, locked, salts, operations, faults, powered, capacity_bytes })
    }

    /// All files with their contents.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        let mut files = BTreeMap::new();
        for (dir, names) in &state.directories {
            for (name, node) in &names.seen {
                if let Node::File(index) = node {
                    files.insert(dir.join(name), state.contents[*index].seen.clone());
                }
            }
        }
        files
    }

    /// Damages a file by hand, durably: these are its contents now. `None` takes it away. Panics if it isn't there.
    pub fn overwrite(&self, path: &Path, bytes: Option<&[u8]>) {
        let mut state = self.lock();
        let (dir, name) = split(path);
        let names = state.directories.get_mut(dir).expect("the directory is there");
        let Some(Node::File(index)) = names.seen.get(name).copied() else { panic!("{} is no file", path.display()) };
        match bytes {
            Some(bytes) => state.contents[index] = Contents::of(bytes.into()),
            None => {
                names.remove(name);
                names.sync();
            }
        }
    }
}

impl State {
    /// Counts an operation, and fails if it is to fail.
    fn step(&mut self) -> io::Result<()> {
        if !self.powered {
            return Err(no_power());
        }
        self.operations += 1;
        match self.faults.remove(&self.operations) {
            None => Ok(()),
            Some(Fault::PowerOff) => {
                self.powered = false;
                Err(no_power())
            }
            Some(Fault::Error(kind)) => Err(kind.into()),
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.powered { Ok(()) } else { Err(no_power()) }
    }

    fn names(&mut self, dir: &Path) -> io::Result<&mut Names> {
        self.directories.get_mut(dir).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn node(&self, path: &Path) -> Option<Node> {
        if self.directories.contains_key(path) {
            return Some(Node::Directory);
        }
        let (dir, name) = split(path);
        self.directories.get(dir)?.seen.get(name).copied()
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.node(path) {
            Some(Node::File(index)) => Ok(index),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn used_bytes(&self) -> u64 {
        let named = self.directories.values().flat_map(|names| names.seen.values());
        let files = named.filter_map(|node| match node {
            Node::File(index) => Some(self.contents[*index].seen.len() as u64),
            Node::Directory => None,
        });
        files.sum()
    }

    /// Copies what a power cut leaves of directory `dir` and everything below.
    fn take_over(&mut self, before: &State, dir: &Path, kept: Kept, random: &mut Random) {
        let mut names = before.directories[dir].after_power_cut(random);
        for (name, node) in &mut names {
            match node {
                Node::File(index) => {
                    let left = before.contents[*index].after_power_cut(kept, random);
                    self.contents.push(Contents::of(left));
                    *index = self.contents.len() - 1;
                }
                Node::Directory => self.take_over(before, &dir.join(name), kept, random),
            }
        }
        self.directories.insert(dir.into(), Names::of(names));
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

fn split(path: &Path) -> (&Path, &str) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    (path.parent().unwrap_or(Path::new("/")), name)
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.step()?;
        let index = match state.node(path) {
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(index)) => {
                state.contents[index].set_len(0);
                index
            }
            None => {
                let (dir, name) = split(path);
                let index = state.contents.len();
                state.names(dir)?.put(name, Node::File(index));
                state.contents.push(Contents::default());
                index
            }
        };
        Ok(Arc::new(SimulatedFile { disk: self.clone(), index, access: Access::Write }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        state.check_power()?;
        let index = state.file(path)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), index, access }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let ((dir, old), (new_dir, new)) = (split(from), split(to));
        assert_eq!(dir, new_dir, "files are renamed within their directory");
        state.file(from)?;
        state.names(dir)?.rename(old, new);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.file(path)?;
        let (dir, name) = split(path);
        state.names(dir)?.remove(name);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        if state.node(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = split(path);
        state.names(dir)?.put(name, Node::Directory);
        state.directories.insert(path.into(), Names::default());
        Ok(())
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.node(path).map(|node| entry(&state, node)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Entry)>> {
        let mut state = self.lock();
        state.check_power()?;
        let found: Vec<_> = state.names(dir)?.seen.iter().map(|(name, node)| (name.clone(), *node)).collect();
        Ok(found.into_iter().map(|(name, node)| (name, entry(&state, node))).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.names(dir)?.sync();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        if self.entry(path)?.is_none() {
            self.create(path)?;
        }
        if !self.lock().locked.insert(path.into()) {
            return Ok(None);
        }
        Ok(Some(Box::new(HeldLock { disk: self.clone(), path: path.into() })))
    }

    fn permissions(&self, _dir: &Path) -> io::Result<Option<Permissions>> {
        Ok(None)
    }

    fn set_permissions(&self, _dir: &Path, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn salt(&self) -> u32 {
        self.lock().salts.next() as u32
    }
}

fn entry(state: &State, node: Node) -> Entry {
    match node {
        Node::File(index) => Entry::File { bytes: state.contents[index].seen.len() as u64 },
        Node::Directory => Entry::Directory,
    }
}

struct HeldLock {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.disk.lock().locked.remove(&self.path);
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    index: usize,
    access: Access,
}

impl SimulatedFile {
    fn check_access(&self) -> io::Result<()> {
        if self.access == Access::Write { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        state.check_power()?;
        let rest = state.contents[self.index].seen.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_access()?;
        let mut state = self.disk.lock();
        state.step()?;
        let length = state.contents[self.index].seen.len() as u64;
        let fits = if state.capacity_bytes == u64::MAX {
            bytes.len()
        } else {
            let free = state.capacity_bytes.saturating_sub(state.used_bytes());
            (length + free).saturating_sub(offset).min(bytes.len() as u64) as usize
        };
        state.contents[self.index].write(offset as usize, &bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.check_access()?;
        let mut state = self.disk.lock();
        state.step()?;
        state.contents[self.index].set_len(bytes as usize);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.check_power()?;
        Ok(state.contents[self.index].seen.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        match state.step() {
            Ok(()) => {
                state.contents[self.index].sync();
                Ok(())
            }
            Err(error) => {
                if state.powered {
                    state.contents[self.index].lose_pending();
                }
                Err(error)
            }
        }
    }
}
