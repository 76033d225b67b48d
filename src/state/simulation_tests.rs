//! The store on a disk that forgets: a crash at every operation of a trace of appends, rolls, checkpoints and
//! compactions, a full disk, failed syncs, damage by hand. Each seed replays exactly.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::run::tests::block;
use crate::testing::{Fault, SimulatedDisk};
use crate::tests::{KEYED, checkpoint_of, options, restore};
use crate::*;

const DIR: &str = "/data";

fn on(disk: &SimulatedDisk) -> StoreOptions {
    StoreOptions { disk: Arc::new(disk.clone()), drive: Drive::ByHand, on_fatal: Arc::new(|_| {}), ..options() }
}

fn open_on(disk: &SimulatedDisk) -> Result<(DurableStore, Recovered), StateError> {
    DurableStore::open(Path::new(DIR), on(disk))
}

fn value(key: u64) -> String {
    format!("{key} {}", "x".repeat((key * 37 % 800) as usize))
}

/// A store and what was acknowledged: keys 1 … n, of which the first `checkpointed` are in a checkpoint.
struct Subject {
    store: DurableStore,
    /// In the journal, acknowledged or not.
    appended: u64,
    acknowledged: u64,
    checkpointed: u64,
    epoch: u64,
}

impl Subject {
    /// Every key is there once, with its value, in state or journal, and none of those acknowledged is missing.
    fn open(disk: &SimulatedDisk, acknowledged: u64) -> Subject {
        let (store, recovered) = open_on(disk).unwrap_or_else(|error| panic!("refused: {error}"));
        let keyed: BTreeMap<i64, String> = restore(&recovered.state).unwrap().0;
        let checkpointed = keyed.len() as u64;
        for (index, (key, text)) in keyed.into_iter().enumerate() {
            assert_eq!((key, text), (index as i64 + 1, value(index as u64 + 1)));
        }
        let mut appended = checkpointed;
        for entry in &recovered.entries {
            appended += 1;
            assert_eq!((entry.position, entry.kind, &entry.payload[..]), (appended, 7, value(appended).as_bytes()));
        }
        assert!(appended >= acknowledged, "{acknowledged} were acknowledged, {appended} are there");
        let epoch = store.newest_epoch();
        Subject { store, appended, acknowledged: appended, checkpointed, epoch }
    }

    fn append(&mut self, count: u64) -> Result<(), StateError> {
        for key in self.appended + 1..=self.appended + count {
            let position = self.store.journal().append(7, value(key).as_bytes())?;
            assert_eq!(position, key);
            self.appended = key;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StateError> {
        self.store.journal().sync_up_to(self.appended)?;
        self.acknowledged = self.appended;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), StateError> {
        let keys: Vec<(i64, String, i64)> =
            (self.checkpointed + 1..=self.appended).map(|key| (key as i64, value(key), 1)).collect();
        let rows: Vec<(i64, &str, i64)> = keys.iter().map(|(key, text, diff)| (*key, text.as_str(), *diff)).collect();
        self.epoch += 1;
        let blocks = vec![block(1, KEYED, &rows)];
        self.store.commit_checkpoint(checkpoint_of(self.epoch, self.appended, blocks))?;
        self.checkpointed = self.appended;
        self.acknowledged = self.appended;
        Ok(())
    }

    /// What a server does in some minutes.
    fn work(&mut self) -> Result<(), StateError> {
        for round in 1..=4 {
            self.append(round)?;
            self.sync()?;
            self.append(1)?;
            self.store.journal().write_group()?;
            self.acknowledged = self.appended;
            self.append(2)?;
            self.checkpoint()?;
            if round == 3 {
                self.store.compact_once()?.expect("deltas outweigh the base");
            }
            self.store.journal().sync_mark()?;
            self.append(3)?;
            self.sync()?;
        }
        self.append(1)
    }
}

/// Works on a new directory until the power goes at that operation; what was acknowledged, and whether it came to that.
fn work_until(disk: &SimulatedDisk, operation: u64, fault: Fault) -> (u64, bool) {
    disk.fail_at(operation, fault);
    let Ok((store, _)) = open_on(disk) else { return (0, true) };
    let (appended, acknowledged, checkpointed, epoch) = (0, 0, 0, 0);
    let mut subject = Subject { store, appended, acknowledged, checkpointed, epoch };
    let failed = subject.work().is_err();
    (subject.acknowledged, failed)
}

#[test]
fn power_cut_at_every_operation_loses_nothing_acknowledged() {
    let mut operation = 1;
    loop {
        let mut failed = false;
        for seed in [operation, operation + 1_000] {
            let disk = SimulatedDisk::new(seed);
            let acknowledged;
            (acknowledged, failed) = work_until(&disk, operation, Fault::PowerOff);
            let disk = disk.power_cut(seed);
            let mut subject = Subject::open(&disk, acknowledged);
            subject.work().unwrap();
            let acknowledged = subject.acknowledged;
            drop(subject);
            drop(Subject::open(&disk.power_cut(seed + 1), acknowledged));
        }
        if !failed {
            break;
        }
        operation += 1;
    }
    assert!(operation > 150, "only {operation} operations");
}

/// The power goes a second time, at every operation of the start after the first cut.
#[test]
fn power_cut_during_recovery_loses_nothing() {
    for first in (1..200).step_by(7) {
        for second in 1..40 {
            let disk = SimulatedDisk::new(first);
            let (acknowledged, _) = work_until(&disk, first, Fault::PowerOff);
            let disk = disk.power_cut(first);
            disk.fail_at(second, Fault::PowerOff);
            let opened = open_on(&disk).is_ok();
            drop(Subject::open(&disk.power_cut(second), acknowledged));
            if opened {
                break;
            }
        }
    }
}

/// A failed sync, or any other failure, stops the store; what was acknowledged before is there after a restart.
#[test]
fn every_failing_operation_loses_nothing_acknowledged() {
    for kind in [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull] {
        for operation in 1..250 {
            let disk = SimulatedDisk::new(operation);
            let (acknowledged, _) = work_until(&disk, operation, Fault::Error(kind));
            drop(Subject::open(&disk.power_cut(operation), acknowledged));
        }
    }
}

/// What somebody takes away by hand after a power cut is noticed, up to the last group before the cut.
#[test]
fn journal_cut_short_after_a_power_cut_is_refused() {
    for operation in (20..200).step_by(3) {
        let disk = SimulatedDisk::new(operation);
        let (acknowledged, _) = work_until(&disk, operation, Fault::PowerOff);
        let disk = disk.power_cut(operation);
        let all = disk.files();
        let Some((path, bytes)) = all.iter().rfind(|(path, _)| path.starts_with("/data/journal")) else { continue };
        let whole = Subject::open(&disk.kill(), acknowledged);
        let present = whole.appended;
        drop(whole);
        for length in (0..bytes.len()).step_by(61) {
            let cut = disk.kill();
            cut.overwrite(path, Some(&bytes[..length]));
            if let Ok((_, recovered)) = open_on(&cut) {
                let position = recovered.manifest.map_or(0, |manifest| manifest.journal_position);
                let left = position + recovered.entries.len() as u64;
                // The trace writes groups of at most three entries.
                assert!(left + 3 >= present, "{left} of {present} are left, {acknowledged} were acknowledged");
            }
        }
    }
}

#[test]
fn the_same_seed_replays_exactly() {
    let trace = |seed| {
        let disk = SimulatedDisk::new(seed);
        work_until(&disk, 120, Fault::PowerOff);
        disk.power_cut(seed).files()
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}

/// A checkpoint that found no space only once, with the reserve still there, leaves nothing behind.
#[test]
fn writing_goes_on_after_a_checkpoint_that_found_no_space_once() {
    for reserve_bytes in [0, 16 * 1024] {
        let disk = SimulatedDisk::new(1);
        let options = StoreOptions { reserve_bytes, ..on(&disk) };
        let (store, _) = DurableStore::open(Path::new(DIR), options).unwrap();
        let (appended, acknowledged, checkpointed, epoch) = (0, 0, 0, 0);
        let mut subject = Subject { store, appended, acknowledged, checkpointed, epoch };
        subject.append(3).unwrap();
        subject.sync().unwrap();
        disk.fail_at(disk.operations() + 2, Fault::Error(std::io::ErrorKind::StorageFull));
        assert!(matches!(subject.checkpoint(), Err(StateError::DiskFull { .. })));
        assert!(matches!(subject.append(1), Err(StateError::DiskFull { .. })), "refused until it is committed");
        subject.checkpoint().unwrap();
        subject.store.journal().write_group().unwrap();
        subject.append(1).unwrap();
        subject.sync().unwrap();
    }
}

/// The disk runs full of journal; as soon as somebody else gives up a little space, everything goes on without a
/// restart, and the journal shrinks to what the newest checkpoint needs.
#[test]
fn full_disk_heals_by_itself() {
    let capacity = 200 * 1024;
    let disk = SimulatedDisk::new(1);
    disk.set_capacity(capacity);
    let full = StoreOptions { segment_bytes: 128 * 1024, reserve_bytes: 16 * 1024, ..on(&disk) };
    let (store, _) = DurableStore::open(Path::new(DIR), full).unwrap();
    let (appended, acknowledged, checkpointed, epoch) = (0, 0, 0, 0);
    let mut subject = Subject { store, appended, acknowledged, checkpointed, epoch };
    let mut refused = 0;
    for round in 0..3_000 {
        let wrote = subject.append(1).and_then(|()| subject.sync());
        match wrote {
            Ok(()) => {}
            Err(StateError::DiskFull { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if round % 50 == 49 {
            match subject.checkpoint() {
                Ok(()) | Err(StateError::DiskFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // The journal's thread would come again by itself.
        subject.store.journal().write_group().unwrap();
    }
    assert!(refused > 0, "the disk was never full");
    assert!(refused < 1_500, "{refused} of 3,000 writes were refused");
    let acknowledged = subject.acknowledged;
    drop(subject);
    drop(Subject::open(&disk.kill(), acknowledged));
}
