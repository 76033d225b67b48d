//! Which partition each listed file is. A file that is known by its inode keeps its partition whatever its name; one that
//! is not may be the continuation of a partition whose own file is gone (restored, replaced by a longer copy of itself,
//! the copy that was made before a log was emptied); otherwise it is new.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::FileConfig;
use super::followed::{Followed, State};
use super::identity::{FileId, Identity};
use super::locate::Found;
use crate::{KnownPartitions, Offsets};

/// A file that begins like one that is being read may be its copy, made before that one is emptied: so long it waits for
/// that to happen before it counts as a file of its own.
const COPY_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Roster {
    config: FileConfig,
    /// In order of appearance; never removed.
    pub partitions: Vec<Followed>,
    by_id: HashMap<FileId, usize>,
    /// Of listed files, absolute.
    by_path: HashMap<PathBuf, usize>,
    /// Files that may be copies, since when.
    suspects: HashMap<FileId, Instant>,
    /// Listed files, absolute, that are no partition yet: empty, or may be copies.
    undecided: HashSet<PathBuf>,
}

/// What a look at the files has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A partition that was not there, or had ended.
    Added(usize),
    /// A finished file is not what was read.
    Altered(usize),
    /// Emptied while nobody looked: what follows is another partition.
    Emptied(usize),
}

impl Roster {
    pub fn new(config: FileConfig, from: &Offsets, known: &KnownPartitions) -> Roster {
        let names: std::collections::BTreeSet<&String> = from.keys().chain(known.keys()).collect();
        let partitions = names.into_iter().map(|name| {
            let position = from.get(name).copied().unwrap_or(0);
            Followed::known(name, &known.get(name).cloned().unwrap_or_default(), position)
        });
        Roster {
            partitions: partitions.collect(),
            config,
            by_id: HashMap::new(),
            by_path: HashMap::new(),
            suspects: HashMap::new(),
            undecided: HashSet::new(),
        }
    }

    pub fn index_of(&self, path: &Path) -> Option<usize> {
        self.by_path.get(path).copied().or_else(|| self.by_path.get(&std::path::absolute(path).ok()?).copied())
    }

    /// Whether a change of this file may decide what it is.
    pub fn is_undecided(&self, path: &Path) -> bool {
        self.undecided.contains(path) || std::path::absolute(path).is_ok_and(|path| self.undecided.contains(&path))
    }

    /// Takes in what is listed now.
    pub fn take_in(&mut self, paths: Vec<String>, now: Instant) -> Vec<Change> {
        self.partitions.iter_mut().for_each(|partition| partition.listed = false);
        self.by_path.clear();
        self.undecided.clear();
        let mut changes = vec![];
        let mut strangers: Vec<String> = vec![];
        let mut seen: HashSet<FileId> = HashSet::new();
        for path in paths {
            // Gone again, or a second name of the same file.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let id = FileId::of(&metadata);
            if !seen.insert(id) {
                continue;
            }
            match self.by_id.get(&id).copied() {
                Some(index) => self.see(index, path, metadata.len(), &mut changes),
                None => strangers.push(path),
            }
        }
        self.forget_gone();
        self.suspects.retain(|id, _| seen.contains(id));
        // Who is surely known first, so that nobody else takes its place.
        let mut strangers: Vec<Found> = strangers.iter().filter_map(|path| self.found(path, &mut changes)).collect();
        strangers
            .sort_by_key(|found| !self.partitions.iter().any(|p| p.identity.as_ref().is_some_and(|i| found.is(i))));
        strangers.into_iter().for_each(|found| self.meet(found, now, &mut changes));
        changes
    }

    /// A file that can't be opened becomes a partition all the same: its trouble is told when it is read.
    fn found(&mut self, path: &str, changes: &mut Vec<Change>) -> Option<Found> {
        if let Ok(found) = Found::at(path) {
            return Some(found);
        }
        let metadata = std::fs::metadata(path).ok()?;
        let id = FileId::of(&metadata);
        let waiting = self.partitions.iter().position(|p| p.id.is_none() && p.state == State::Open && p.path == path);
        let index = waiting.unwrap_or_else(|| {
            let partition = Followed::new(self.free_name(path), path, id, &Default::default());
            self.partitions.push(partition);
            changes.push(Change::Added(self.partitions.len() - 1));
            self.partitions.len() - 1
        });
        self.partitions[index].id = Some(id);
        self.place(index, id, path);
        None
    }

    /// A listed file whose inode is known.
    fn see(&mut self, index: usize, path: String, length: u64, changes: &mut Vec<Change>) {
        let partition = &mut self.partitions[index];
        partition.listed = true;
        if partition.finished_length.is_some_and(|finished| finished != length) {
            partition.finished_length = None;
            changes.push(Change::Altered(index));
        }
        partition.path.clone_from(&path);
        self.by_path.insert(absolute(&path), index);
    }

    /// The inodes of files that are neither listed nor open may be given to other files.
    fn forget_gone(&mut self) {
        for partition in self.partitions.iter_mut().filter(|p| !p.listed && p.reader.is_none()) {
            if let Some(id) = partition.id.take() {
                self.by_id.remove(&id);
            }
        }
    }

    fn meet(&mut self, found: Found, now: Instant, changes: &mut Vec<Change>) {
        if let Some(index) = self.continued_by(&found) {
            let partition = &mut self.partitions[index];
            let announced = partition.state == State::Ended;
            if let Some(before) = partition.id {
                self.by_id.remove(&before);
            }
            partition.take_on(&found.path, found.id, &found.head);
            self.place(index, found.id, &found.path);
            if announced {
                changes.push(Change::Added(index));
            }
            return;
        }
        // Nothing can be read of it, and nothing tells yet whether it will be a copy.
        if found.head.is_empty() {
            self.undecided.insert(absolute(&found.path));
            return;
        }
        // The inode of a known file, with other contents or fewer.
        let was = |p: &Followed| p.id.is_none() && p.identity.as_ref().is_some_and(|i| i.file == found.id);
        if let Some(index) = self.partitions.iter().position(|p| was(p) && p.state == State::Open) {
            self.partitions[index].finish();
            changes.push(Change::Emptied(index));
        }
        let copied = |p: &Followed| {
            p.state == State::Open && p.id.is_some() && p.position > 0 && begins(p.identity.as_ref(), &found)
        };
        if self.partitions.iter().any(copied) {
            let since = *self.suspects.entry(found.id).or_insert(now);
            if now.duration_since(since) < COPY_WAIT {
                self.undecided.insert(absolute(&found.path));
                return;
            }
        }
        let name = self.free_name(&found.path);
        self.partitions.push(Followed::new(name, &found.path, found.id, &found.head));
        self.place(self.partitions.len() - 1, found.id, &found.path);
        changes.push(Change::Added(self.partitions.len() - 1));
    }

    /// The partition without a file of its own that this file continues.
    fn continued_by(&self, found: &Found) -> Option<usize> {
        let lengths = self.config.positions_are_lengths(&found.path);
        let candidates = self.partitions.iter().enumerate().filter(|(_, partition)| {
            let gone = partition.id.is_none() || (!partition.listed && partition.is_deleted() == Some(true));
            gone && partition.state != State::Failed && (!lengths || found.length >= partition.position)
        });
        let likeness = |partition: &Followed| match &partition.identity {
            Some(identity) if found.is(identity) => 3,
            Some(identity) if identity.head_length > 0 && identity.begins(&found.head) => {
                2 * u8::from(partition.path == found.path) + u8::from(identity.is_convincing())
            }
            Some(_) => 0,
            // Read before files had identities: the name is all there is.
            None => u8::from(partition.name == found.path),
        };
        let likely =
            candidates.map(|(index, partition)| (likeness(partition), index)).filter(|(likeness, _)| *likeness > 0);
        likely.max_by_key(|(likeness, index)| (*likeness, usize::MAX - index)).map(|(_, index)| index)
    }

    fn place(&mut self, index: usize, id: FileId, path: &str) {
        self.by_id.insert(id, index);
        self.by_path.insert(absolute(path), index);
    }

    /// The file of `index` was emptied and is written anew: gives the partition that this is now.
    pub fn renew(&mut self, index: usize) -> usize {
        let cut = &mut self.partitions[index];
        let (path, id, listed) = (cut.path.clone(), cut.id.take(), cut.listed);
        cut.finish();
        cut.finished_length = None;
        cut.listed = false;
        let id = id.expect("an emptied file was open");
        let name = self.free_name(&path);
        self.partitions.push(Followed { listed, ..Followed::new(name, &path, id, &Default::default()) });
        let renewed = self.partitions.len() - 1;
        self.place(renewed, id, &path);
        renewed
    }

    /// Known partitions whose file is not listed: found elsewhere, or gone.
    pub fn unplaced(&self) -> Vec<usize> {
        let unplaced = self.partitions.iter().enumerate().filter(|(_, p)| p.id.is_none() && p.state == State::Open);
        unplaced.map(|(index, _)| index).collect()
    }

    /// A file outside of what is listed is this partition: it is read to its end.
    pub fn adopt(&mut self, index: usize, found: &Found) {
        self.partitions[index].take_on(&found.path, found.id, &found.head);
        self.partitions[index].listed = false;
        self.by_id.insert(found.id, index);
    }

    /// The path, or with a number if it is taken.
    fn free_name(&self, path: &str) -> String {
        let taken = |name: &str| self.partitions.iter().any(|partition| partition.name == name);
        if !taken(path) {
            return path.to_string();
        }
        let numbered = (2..).map(|number: usize| format!("{path}#{number}"));
        numbered.into_iter().find(|name| !taken(name)).expect("numbers don't end")
    }
}

fn begins(identity: Option<&Identity>, found: &Found) -> bool {
    identity.is_some_and(|identity| identity.head_length > 0 && identity.begins(&found.head))
}

fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}
