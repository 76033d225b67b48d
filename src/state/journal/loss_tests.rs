//! What was acknowledged is known to be missing: files cut short, emptied, taken away or set back, and what becomes of
//! the rest when somebody accepts the loss.

use super::tests::{check, copy, fill, open, options, try_open};
use super::*;
use crate::tests::{list_files, scratch};
use std::fs;

fn small() -> JournalOptions {
    JournalOptions { segment_bytes: 300, ..options() }
}

fn accepting() -> JournalOptions {
    JournalOptions { accept_data_loss: true, ..small() }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    replay::list_segments(&Files::real(), dir).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Opening it is refused and changes nothing; accepted, the entries before the loss are there and the journal goes on.
fn lost(dir: &Path, change: &dyn Fn(&Path)) {
    let copy = copy(dir);
    change(copy.path());
    let contents = || list_files(copy.path()).unwrap().into_iter().map(|(name, path)| (name, fs::read(path)));
    let before: Vec<_> = contents().map(|(name, bytes)| (name, bytes.unwrap())).collect();
    let error = try_open(copy.path(), 0, small()).err().expect("refused");
    assert!(matches!(error, StateError::JournalDamaged { .. }), "{error}");
    assert_eq!(contents().map(|(name, bytes)| (name, bytes.unwrap())).collect::<Vec<_>>(), before);
    let (journal, entries) = try_open(copy.path(), 0, accepting()).unwrap();
    let kept = entries.len() as u64;
    check(&entries, 1, kept);
    for (name, bytes) in before {
        let whole =
            |(found, path): &(String, PathBuf)| found.starts_with(&name) && fs::read(path).unwrap().starts_with(&bytes);
        assert!(list_files(copy.path()).unwrap().iter().any(whole), "{name} is kept");
    }
    fill(&journal, kept + 9, true);
    drop(journal);
    check(&try_open(copy.path(), 0, small()).unwrap().1, 1, kept + 9);
}

/// Closed cleanly or killed, whatever is cut off the last segment was acknowledged.
#[test]
fn last_segment_cut_anywhere_is_refused() {
    let dir = scratch();
    let (journal, _) = try_open(dir.path(), 0, small()).unwrap();
    fill(&journal, 13, true);
    let killed = copy(dir.path());
    drop(journal);
    for dir in [dir.path(), killed.path()] {
        let last = segments(dir).pop().unwrap();
        let entries = fs::metadata(&last).unwrap().len() - marks::ENTRIES_AT as u64;
        assert!(entries > 100, "{entries}");
        // What follows the last entry is only the mark of a clean end.
        let needed = fs::metadata(segments(killed.path()).pop().unwrap()).unwrap().len();
        for length in (0..needed).filter(|length| length % 97 == 0 || *length >= marks::ENTRIES_AT as u64) {
            lost(dir, &|copy| cut(&copy.join(last.file_name().unwrap()), length));
        }
    }
}

#[test]
fn zeros_in_place_of_acknowledged_entries_are_refused() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    fill(&journal, 13, true);
    let path = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    for from in (marks::ENTRIES_AT..bytes.len()).step_by(13) {
        lost(dir.path(), &|copy| {
            let mut zeroed = bytes.clone();
            zeroed[from..].fill(0);
            fs::write(copy.join(path.file_name().unwrap()), zeroed).unwrap();
        });
    }
}

#[test]
fn every_missing_or_emptied_segment_is_refused() {
    let dir = scratch();
    let (journal, _) = try_open(dir.path(), 0, small()).unwrap();
    fill(&journal, 20, true);
    drop(journal);
    let segments = segments(dir.path());
    assert!(segments.len() > 3);
    for path in &segments {
        let name = path.file_name().unwrap();
        lost(dir.path(), &|copy| cut(&copy.join(name), 0));
        if *path != segments[0] {
            lost(dir.path(), &|copy| fs::remove_file(copy.join(name)).unwrap());
        }
    }
}

#[test]
fn entries_are_marked_before_anybody_is_told() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    fill(&journal, 1, true);
    let path = segments(dir.path()).pop().unwrap();
    let marks = marks::read(&Files::real(), &path).unwrap().unwrap();
    assert_eq!(marks.acknowledged, 1);
    fill(&journal, 3, true);
    assert_eq!(marks::read(&Files::real(), &path).unwrap().unwrap().acknowledged, 3);
}

#[test]
fn a_checkpoint_beyond_what_is_left_lets_the_journal_begin_anew() {
    let dir = scratch();
    let (journal, _) = try_open(dir.path(), 0, small()).unwrap();
    fill(&journal, 20, true);
    drop(journal);
    cut(segments(dir.path()).first().unwrap(), marks::ENTRIES_AT as u64 + 40);
    for path in &segments(dir.path())[1..] {
        fs::remove_file(path).unwrap();
    }
    assert!(try_open(dir.path(), 15, small()).is_err());
    let (journal, entries) = try_open(dir.path(), 15, accepting()).unwrap();
    assert!(entries.is_empty());
    assert_eq!(journal.position(), 15);
    fill(&journal, 30, true);
    drop(journal);
    check(&try_open(dir.path(), 15, small()).unwrap().1, 16, 30);
}

/// A journal of the format before there were marks is read, and continued in a new segment.
#[test]
fn unmarked_segments_are_read_and_continued() {
    let dir = scratch();
    let (journal, _) = open(dir.path(), 0);
    fill(&journal, 7, true);
    drop(journal);
    let path = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let header = segment::SegmentHeader::decode(&path, &bytes).unwrap().unwrap();
    let unmarked = segment::SegmentHeader { marked: false, ..header }.encode();
    fs::write(&path, [&unmarked, &bytes[marks::ENTRIES_AT..]].concat()).unwrap();
    let (journal, entries) = open(dir.path(), 0);
    check(&entries, 1, 7);
    fill(&journal, 12, true);
    drop(journal);
    assert_eq!(segments(dir.path()).len(), 2);
    check(&open(dir.path(), 0).1, 1, 12);
    lost(dir.path(), &|copy| cut(&copy.join("0000000008.log"), marks::ENTRIES_AT as u64));
}
