//! Torn tails at every byte, bit flips everywhere, group commit, rolling, fatal errors.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::*;
use crate::tests::{list_files, scratch};

pub(super) fn options() -> JournalOptions {
    JournalOptions { on_fatal: Arc::new(|error| panic!("unexpected fatal error: {error}")), ..Default::default() }
}

pub(super) fn try_open(
    dir: &Path,
    after: u64,
    options: JournalOptions,
) -> Result<(Journal, Vec<JournalEntry>), StateError> {
    let mut entries = vec![];
    let journal = Journal::open(dir, after, options, &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok((journal, entries))
}

pub(super) fn open(dir: &Path, after: u64) -> (Journal, Vec<JournalEntry>) {
    try_open(dir, after, options()).unwrap()
}

fn payload(position: u64) -> Vec<u8> {
    (0..position * 37 % 211).map(|i| (i * 31 + position) as u8 | 1).collect()
}

/// Appends entries up to `last`, synced each or all at once.
pub(super) fn fill(journal: &Journal, last: u64, sync_each: bool) {
    while journal.position() < last {
        let next = journal.position() + 1;
        assert_eq!(journal.append(next as u8 % 7 + 1, &payload(next)).unwrap(), next);
        if sync_each {
            journal.sync_up_to(next).unwrap();
            assert_eq!(journal.durable_position(), next);
        }
    }
    journal.sync_up_to(last).unwrap();
}

pub(super) fn check(entries: &[JournalEntry], from: u64, to: u64) {
    let positions: Vec<u64> = entries.iter().map(|e| e.position).collect();
    assert_eq!(positions, (from..=to).collect::<Vec<_>>());
    for entry in entries {
        assert_eq!((entry.kind, &entry.payload), (entry.position as u8 % 7 + 1, &payload(entry.position)));
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    list_files(dir).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// A copy of the journal as a killed process leaves it: without the closing mark.
pub(super) fn copy(dir: &Path) -> TempDir {
    let copy = scratch();
    for path in files(dir) {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// The segment with what was written since `before`, as if that had not been acknowledged yet.
fn unacknowledged(before: &[u8], path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    [&before[..marks::ENTRIES_AT], &bytes[marks::ENTRIES_AT..]].concat()
}

#[test]
fn replays_what_was_appended() {
    let dir = scratch();
    let (journal, entries) = open(dir.path(), 0);
    assert!(entries.is_empty());
    fill(&journal, 20, true);
    drop(journal);
    let (journal, entries) = open(dir.path(), 0);
    check(&entries, 1, 20);
    assert_eq!((journal.position(), journal.durable_position()), (20, 20));
    fill(&journal, 40, false);
    drop(journal);
    check(&open(dir.path(), 13).1, 14, 40);
}

#[test]
fn rolls_and_truncates_segments() {
    let dir = scratch();
    let small = || JournalOptions { segment_bytes: 300, ..options() };
    let (journal, _) = try_open(dir.path(), 0, small()).unwrap();
    fill(&journal, 60, true);
    let count = files(dir.path()).len();
    assert!(count > 10, "{count} segments");
    journal.truncate_before(31).unwrap();
    assert!(files(dir.path()).len() < count);
    drop(journal);
    let (journal, entries) = try_open(dir.path(), 30, small()).unwrap();
    check(&entries, 31, 60);
    journal.truncate_before(1_000).unwrap();
    assert_eq!(files(dir.path()).len(), 1, "the last segment stays");
    drop(journal);
    assert!(matches!(try_open(dir.path(), 20, small()), Err(StateError::JournalDamaged { .. })), "entry 21 is gone");
    assert_eq!(try_open(dir.path(), 60, small()).unwrap().0.position(), 60);
    assert!(matches!(try_open(dir.path(), 61, small()), Err(StateError::JournalDamaged { .. })), "entry 61 never was");
}

#[test]
fn missing_journal_is_refused_unless_it_may_be_created() {
    let dir = scratch();
    let existing = JournalOptions { create: false, ..options() };
    assert!(matches!(try_open(dir.path(), 0, existing), Err(StateError::JournalDamaged { .. })));
    assert!(matches!(try_open(dir.path(), 5, options()), Err(StateError::JournalDamaged { .. })));
}

#[test]
fn missing_segment_is_refused() {
    let dir = scratch();
    let small = || JournalOptions { segment_bytes: 300, ..options() };
    let (journal, _) = try_open(dir.path(), 0, small()).unwrap();
    fill(&journal, 30, true);
    drop(journal);
    let files = files(dir.path());
    for lost in &files[1..files.len() - 1] {
        let copy = copy(dir.path());
        fs::remove_file(copy.path().join(lost.file_name().unwrap())).unwrap();
        assert!(matches!(try_open(copy.path(), 0, small()), Err(StateError::JournalDamaged { .. })));
    }
}

/// Whatever a power cut leaves of the last write, the entries before it stay and the journal goes on.
#[test]
fn torn_tail_at_every_byte_is_cut() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    fill(&journal, 5, true);
    let path = files(dir.path()).pop().unwrap();
    let acknowledged = fs::read(&path).unwrap();
    let before = acknowledged.len();
    fill(&journal, 6, true);
    let bytes = unacknowledged(&acknowledged, &path);
    assert!(bytes.len() > before + 27 + 27 + 5);
    for torn in before..bytes.len() {
        for zeros in [false, true] {
            let copy = copy(dir.path());
            let mut left = bytes[..torn].to_vec();
            if zeros {
                // The file has its new length, but from some sector on its contents never arrived.
                if torn / 512 != before / 512 && torn % 512 != 0 {
                    continue;
                }
                left.resize(bytes.len(), 0);
                if left == bytes || torn > before && torn % 512 != 0 {
                    continue;
                }
            }
            fs::write(copy.path().join(path.file_name().unwrap()), &left).unwrap();
            let (journal, entries) = open(copy.path(), 0);
            check(&entries, 1, 5);
            fill(&journal, 9, true);
            drop(journal);
            check(&open(copy.path(), 0).1, 1, 9);
        }
    }
}

/// A disk writes sectors in any order: each subset of the last write's sectors is a possible rest.
#[test]
fn lost_sectors_of_the_last_write_are_cut() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    fill(&journal, 3, true);
    let path = files(dir.path()).pop().unwrap();
    let acknowledged = fs::read(&path).unwrap();
    let before = acknowledged.len();
    for length in [700, 900, 40] {
        journal.append_lazy(9, &vec![0xAB; length]).unwrap();
    }
    journal.sync_up_to(6).unwrap();
    let bytes = unacknowledged(&acknowledged, &path);
    let sectors: Vec<_> = (before / 512..=bytes.len() / 512).collect();
    for lost in 1..1u32 << sectors.len() {
        let mut left = bytes.clone();
        for (bit, sector) in sectors.iter().enumerate() {
            if lost & 1 << bit != 0 {
                let range = (sector * 512).max(before)..((sector + 1) * 512).min(bytes.len());
                left[range].fill(0);
            }
        }
        let copy = copy(dir.path());
        fs::write(copy.path().join(path.file_name().unwrap()), &left).unwrap();
        let (journal, entries) = open(copy.path(), 0);
        check(&entries[..3], 1, 3);
        assert!(entries[3..].iter().all(|e| e.payload.iter().all(|b| *b == 0xAB)));
        assert!(entries.len() < 6, "sectors {lost:b} were lost");
        let next = journal.append(1, b"next").unwrap();
        assert_eq!(next, entries.len() as u64 + 1);
        drop(journal);
        assert_eq!(open(copy.path(), 0).1.last().unwrap().payload, b"next");
    }
}

/// No flipped bit may change, lose or hide an acknowledged entry: closed cleanly or killed, in one batch or many. One
/// in front of the entries may be harmless: there are two marks, and sectors are longer than what they hold.
#[test]
fn every_flipped_bit_is_refused_or_harmless() {
    for (clean, sync_each) in [(true, true), (true, false), (false, true), (false, false)] {
        let dir = scratch();
        let (journal, _) = open(dir.path(), 0);
        fill(&journal, 6, sync_each);
        let killed = copy(dir.path());
        drop(journal);
        let source = if clean { dir.path() } else { killed.path() };
        let path = files(source).pop().unwrap();
        let bytes = fs::read(&path).unwrap();
        for bit in (0..bytes.len() * 8).filter(|bit| bit % 512 < 256 || *bit > marks::ENTRIES_AT * 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let copy = scratch();
            fs::write(copy.path().join(path.file_name().unwrap()), &flipped).unwrap();
            let opened = try_open(copy.path(), 0, options());
            let refused = matches!(opened, Err(StateError::JournalDamaged { .. } | StateError::NewerFormat { .. }));
            let harmless = bit < marks::ENTRIES_AT * 8 && opened.is_ok_and(|(_, entries)| entries.len() == 6);
            assert!(refused || harmless, "bit {bit} of {} ({clean}, {sync_each})", bytes.len() * 8);
        }
    }
}

#[test]
fn torn_segment_creation_is_repaired() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    fill(&journal, 4, true);
    drop(journal);
    for torn in [vec![], vec![0; 32], b"HWJR".to_vec()] {
        let copy = copy(dir.path());
        fs::write(copy.path().join(segment::file_name(5)), torn).unwrap();
        let (journal, entries) = open(copy.path(), 0);
        check(&entries, 1, 4);
        fill(&journal, 8, true);
        drop(journal);
        check(&open(copy.path(), 0).1, 1, 8);
    }
}

#[test]
fn waiters_share_syncs_and_subscribers_hear_of_them() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    let heard = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let counter = heard.clone();
    journal.subscribe(Box::new(move |position| {
        counter.0.store(position, Ordering::SeqCst);
        counter.1.fetch_add(1, Ordering::SeqCst);
    }));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let position = journal.append(1, b"row").unwrap();
                    journal.sync_up_to(position).unwrap();
                    assert!(journal.durable_position() >= position);
                }
            });
        }
    });
    drop(journal);
    assert_eq!(heard.0.load(Ordering::SeqCst), 400);
    assert!(heard.1.load(Ordering::SeqCst) <= 400);
    assert_eq!(open(dir.path(), 0).1.len(), 400);
}

#[test]
fn lazy_entries_become_durable_by_themselves() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    let (sender, receiver) = std::sync::mpsc::channel();
    journal.subscribe(Box::new(move |position| sender.send(position).unwrap_or(())));
    journal.append_lazy(1, b"epoch").unwrap();
    assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(10)), Ok(1));
    journal.append_lazy(1, b"epoch").unwrap();
    drop(journal);
    assert_eq!(open(dir.path(), 0).1.len(), 2, "closing writes what is queued");
}

#[test]
fn oversized_entry_is_refused_without_a_position() {
    let journal = Journal::in_memory();
    let too_large = vec![0; ENTRY_BYTES_MAX + 1];
    assert!(matches!(journal.append(1, &too_large), Err(StateError::EntryTooLarge { .. })));
    assert_eq!(journal.position(), 0);
}

#[test]
fn in_memory_journal_is_durable_at_once() {
    let journal = Journal::in_memory();
    let heard = Arc::new(AtomicU64::new(0));
    let counter = heard.clone();
    journal.subscribe(Box::new(move |position| counter.store(position, Ordering::SeqCst)));
    assert_eq!(journal.append(1, b"a").unwrap(), 1);
    assert_eq!(journal.append_lazy(1, b"b").unwrap(), 2);
    journal.sync_up_to(2).unwrap();
    assert_eq!((journal.durable_position(), heard.load(Ordering::SeqCst)), (2, 2));
}

/// The directory of the next segment is gone when it is needed: an error on the commit path, hence fatal.
#[test]
fn write_error_is_fatal_and_reaches_waiters() {
    let dir = scratch();
    let fatal = Arc::new(AtomicU64::new(0));
    let counter = fatal.clone();
    let on_fatal: FatalHandler = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let journal_dir = dir.path().join("journal");
    let (journal, _) = try_open(&journal_dir, 0, JournalOptions { segment_bytes: 64, on_fatal, ..options() }).unwrap();
    fill(&journal, 3, true);
    fs::rename(&journal_dir, dir.path().join("elsewhere")).unwrap();
    let position = journal.append(1, b"lost").unwrap();
    assert!(matches!(journal.sync_up_to(position), Err(StateError::JournalStopped)));
    assert!(matches!(journal.append(1, b"refused"), Err(StateError::JournalStopped)));
    assert_eq!(fatal.load(Ordering::SeqCst), 1);
    assert_eq!(journal.durable_position(), 3);
}
