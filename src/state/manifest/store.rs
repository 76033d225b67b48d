//! The sequence of manifests in a data directory: commit, load, prune.

use std::path::{Path, PathBuf};

use types::limits::MANIFESTS_KEPT;

use super::current::{self, Current, Slot};
use super::{Manifest, file};
use crate::disk::Files;
use crate::{CommitStep, StateError};

/// Commits manifests and finds the newest valid one.
pub struct ManifestStore {
    files: Files,
    root: PathBuf,
    dir: PathBuf,
    /// Slot that names the newest manifest; the other one is overwritten next.
    slot: Slot,
    /// The manifests kept, oldest first, never empty; with the hash of the last.
    kept: Vec<Manifest>,
    hash: file::Hash,
    /// Largest version that ever had a file, valid or not.
    version_max: u64,
}

impl ManifestStore {
    /// Writes the first manifest of a new data directory.
    pub(crate) fn create(files: &Files, root: &Path) -> Result<ManifestStore, StateError> {
        let dir = root.join("manifests");
        files.create_dir(&dir)?;
        let previous_hash = file::hash_text(0);
        let payload = serde_json::Value::Null;
        let first = Manifest {
            version: 1,
            incarnation: 0,
            epoch: 0,
            journal_position: 0,
            runs: vec![],
            payload,
            previous_hash,
        };
        let hash = file::write(files, &dir, &first)?;
        current::write(files, root, Slot::A, Current { version: 1, epoch: 0, hash })?;
        Ok(ManifestStore {
            files: files.clone(),
            root: root.into(),
            dir,
            slot: Slot::A,
            kept: vec![first],
            hash,
            version_max: 1,
        })
    }

    /// Loads the newest manifest that verifies and that `accept` (which checks its runs) takes; falls back to older
    /// ones over damage. What is newer than the one taken stays on disk until it is pruned by age.
    ///
    /// Errors: `NoValidManifest`; whatever `accept` fails with that is no damage.
    pub(crate) fn load_newest_valid(
        files: &Files,
        root: &Path,
        accept: &mut dyn FnMut(&Manifest) -> Result<(), StateError>,
    ) -> Result<ManifestStore, StateError> {
        let dir = root.join("manifests");
        current::sync(files, root)?;
        let mut slots = vec![];
        for slot in Slot::BOTH {
            if let Some(current) = current::read(files, root, slot)? {
                slots.push((current, slot));
            } else if files.exists(&slot.path(root))? {
                tracing::warn!(path = %slot.path(root).display(), "pointer does not verify, using the other one");
            }
        }
        slots.sort_by_key(|(current, _)| std::cmp::Reverse(current.version));
        let versions = list_versions(files, &dir)?;
        let newest_named = slots.first().map(|(current, _)| current.version);
        let mut problems = vec![];
        // A file above the newest named version was never committed; without any slot the files are all there is.
        for version in versions.iter().rev().filter(|v| newest_named.is_none_or(|newest| **v <= newest)) {
            let expected = slots.iter().find(|(current, _)| current.version == *version).map(|(c, _)| c.hash);
            match load(files, &dir, *version, expected).and_then(|loaded| accept(&loaded.0).map(|()| loaded)) {
                Ok((manifest, hash)) => {
                    for problem in &problems {
                        tracing::error!(problem, epoch = manifest.epoch, "checkpoint is damaged, using an older one");
                    }
                    let slot = slots.iter().find(|(current, _)| current.version == *version).map(|(_, slot)| *slot);
                    let slot = slot.unwrap_or_else(|| slots.last().map_or(Slot::A, |(_, oldest)| oldest.other()));
                    let version_max = versions.last().copied().max(newest_named).expect("there is a manifest");
                    let (files, root, kept) = (files.clone(), root.into(), vec![manifest]);
                    let mut store = ManifestStore { files, root, dir, slot, kept, hash, version_max };
                    store.load_older(&versions);
                    return Ok(store);
                }
                Err(error) if error.is_damage() => problems.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        if problems.is_empty() {
            problems.push("there are no manifests".into());
        }
        Err(StateError::NoValidManifest { path: root.into(), reason: format!("{}.", problems.join("; ")) })
    }

    /// The manifests before the newest, as far as they verify and are chained to it: they are kept as fallbacks.
    fn load_older(&mut self, versions: &[u64]) {
        for version in versions.iter().rev() {
            let oldest = &self.kept[0];
            if *version >= oldest.version || self.kept.len() == MANIFESTS_KEPT {
                continue;
            }
            match load(&self.files, &self.dir, *version, None) {
                Ok((manifest, hash)) if file::hash_text(hash) == oldest.previous_hash => self.kept.insert(0, manifest),
                // Another one of this age was never committed, or is damaged.
                _ => {}
            }
        }
    }

    pub fn newest(&self) -> &Manifest {
        self.kept.last().expect("one manifest is always kept")
    }

    /// The manifests on disk that a start may use, oldest first.
    pub fn kept(&self) -> &[Manifest] {
        &self.kept
    }

    /// Makes `manifest` the current one; `version` and `previous_hash` are filled in. On return it is durable.
    ///
    /// Panics if the epoch or the journal position go back.
    pub fn commit(&mut self, manifest: Manifest) -> Result<&Manifest, StateError> {
        self.commit_in_steps(manifest, &|_| {})
    }

    pub(crate) fn commit_in_steps(
        &mut self,
        mut manifest: Manifest,
        step: &dyn Fn(CommitStep),
    ) -> Result<&Manifest, StateError> {
        assert!(manifest.epoch >= self.newest().epoch, "epochs only grow");
        assert!(manifest.journal_position >= self.newest().journal_position, "the journal only grows");
        manifest.version = self.version_max + 1;
        manifest.previous_hash = file::hash_text(self.hash);
        let hash = file::write(&self.files, &self.dir, &manifest)?;
        step(CommitStep::ManifestWritten);
        let slot = self.slot.other();
        let current = Current { version: manifest.version, epoch: manifest.epoch, hash };
        current::write(&self.files, &self.root, slot, current)?;
        step(CommitStep::CurrentSwitched);
        self.version_max = manifest.version;
        (self.slot, self.hash) = (slot, hash);
        self.kept.push(manifest);
        Ok(self.newest())
    }

    /// Deletes manifests older than the last `keep`, of which there are at most [`MANIFESTS_KEPT`].
    pub(crate) fn prune(&mut self, keep: usize) -> Result<(), StateError> {
        let surplus = self.kept.len().saturating_sub(keep.clamp(1, MANIFESTS_KEPT));
        self.kept.drain(..surplus);
        let oldest = self.kept[0].version;
        for version in list_versions(&self.files, &self.dir)?.into_iter().filter(|version| *version < oldest) {
            let path = self.dir.join(file::file_name(version));
            self.files.remove_file(&path)?;
        }
        self.files.sync_dir(&self.dir)
    }
}

fn load(
    files: &Files,
    dir: &Path,
    version: u64,
    expected: Option<file::Hash>,
) -> Result<(Manifest, file::Hash), StateError> {
    let (manifest, hash) = file::read(files, dir, version)?;
    if expected.is_some_and(|expected| expected != hash) {
        return Err(StateError::corrupt(
            &dir.join(file::file_name(version)),
            "it is not the manifest that was committed",
        ));
    }
    Ok((manifest, hash))
}

/// Versions that have a file, ascending.
fn list_versions(files: &Files, dir: &Path) -> Result<Vec<u64>, StateError> {
    if !files.is_dir(dir)? {
        return Ok(vec![]);
    }
    let mut versions: Vec<u64> = files.list_files(dir)?.iter().filter_map(|(n, ..)| file::parse_file_name(n)).collect();
    versions.sort_unstable();
    Ok(versions)
}
