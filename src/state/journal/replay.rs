//! Reading the journal at start, segment by segment, and what is done about a tail that is torn or damaged.
//!
//! Nothing is changed before everything was read: a refusal leaves the directory as it was. Damage is refused unless
//! its loss was accepted; even then the files are kept (`aside.rs`).

use std::path::{Path, PathBuf};

use super::marks::{self, ENTRIES_AT, Marks};
use super::scan::{Rest, scan};
use super::segment::{self, SegmentHeader};
use super::{JournalEntry, aside};
use crate::StateError;
use crate::disk::{Access, Files};

/// Where the journal ends, and the segment that goes on.
#[derive(Clone)]
pub(super) struct JournalEnd {
    pub(super) position: u64,
    pub(super) chain: u32,
    /// `None`: a new segment has to be begun.
    pub(super) open_segment: Option<OpenSegment>,
}

#[derive(Clone)]
pub(super) struct OpenSegment {
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    /// `None`: of the format without marks.
    pub(super) marks: Option<Marks>,
    /// Up to where the file is good.
    pub(super) length: u64,
}

pub(super) type OnEntry<'a> = dyn FnMut(JournalEntry) -> Result<(), StateError> + 'a;

/// What the caller has already, whether there may be no journal, whether damage may cost the journal's end.
#[derive(Clone, Copy)]
pub(super) struct ReplayOptions {
    pub(super) after: u64,
    pub(super) create: bool,
    pub(super) accept_data_loss: bool,
}

/// The position of a segment's first entry, and its file.
pub(super) type SegmentFile = (u64, PathBuf);

/// Reads all segments that may hold entries above `after`; see [`Journal::open`](super::Journal::open).
pub(super) fn replay(
    files: &Files,
    dir: &Path,
    options: ReplayOptions,
    on_entry: &mut OnEntry<'_>,
) -> Result<JournalEnd, StateError> {
    let mut segments = list_segments(files, dir)?;
    let unfinished = if ends_in_torn_creation(files, &segments, options)? { segments.pop() } else { None };
    let mut end = match read_all(files, dir, &segments, options, on_entry)? {
        Reading::Good(end, torn_bytes) => {
            if let Some((_, path)) = unfinished {
                files.remove_file(&path)?;
                files.sync_dir(dir)?;
            }
            settle(files, &end, torn_bytes)?;
            end
        }
        Reading::Damaged(damage) if options.accept_data_loss => {
            tracing::error!(error = %damage.error, "going on without what the journal lacks, as was asked for");
            aside::give_up(files, dir, &segments, damage, options.after)?
        }
        Reading::Damaged(damage) => return Err(damage.error),
    };
    match &end.open_segment {
        // It is read, but new entries go to a segment with marks.
        Some(open) if open.marks.is_none() => end.open_segment = None,
        Some(open) => marks::link_previous(files, dir, open.header.first_position)?,
        None => {}
    }
    Ok(end)
}

enum Reading {
    /// The whole journal, and so many torn bytes behind it.
    Good(JournalEnd, usize),
    Damaged(Damage),
}

pub(super) struct Damage {
    pub(super) error: StateError,
    /// Index of the first segment that is not good as a whole.
    pub(super) from: usize,
    /// Up to where the journal is good, if it is anywhere.
    pub(super) end: Option<JournalEnd>,
}

fn read_all(
    files: &Files,
    dir: &Path,
    segments: &[SegmentFile],
    options: ReplayOptions,
    on_entry: &mut OnEntry<'_>,
) -> Result<Reading, StateError> {
    let after = options.after;
    let damaged = |path: &Path, reason: String, from: usize, end: Option<JournalEnd>| {
        let error = StateError::JournalDamaged { path: path.into(), reason };
        Ok(Reading::Damaged(Damage { error, from, end }))
    };
    if segments.is_empty() {
        if after > 0 || !options.create {
            return damaged(dir, format!("all segments are missing, entries after {after} are needed"), 0, None);
        }
        return Ok(Reading::Good(JournalEnd { position: 0, chain: 0, open_segment: None }, 0));
    }
    let Some(start) = segments.iter().rposition(|(first, _)| *first <= after + 1) else {
        let reason = format!("it begins with entry {}, entry {} is missing", segments[0].0, after + 1);
        return damaged(dir, reason, 0, None);
    };
    let (mut end, mut torn_bytes) = (None, 0);
    for (index, (first, path)) in segments.iter().enumerate().skip(start) {
        let last = index == segments.len() - 1;
        let scanned = scan(files, path, *first, end.as_ref(), after, last, on_entry)?;
        end = scanned.end.or(end);
        match scanned.rest {
            Rest::Nothing => {}
            Rest::Torn(bytes) => torn_bytes = bytes,
            Rest::Damaged(reason) => return damaged(path, reason, index, end),
        }
    }
    let end = end.expect("there is at least one segment");
    if end.position < after {
        let reason = format!("it ends with entry {}, the checkpoint needs entry {after}", end.position);
        return damaged(dir, reason, segments.len() - 1, Some(end));
    }
    Ok(Reading::Good(end, torn_bytes))
}

/// Cuts a torn tail off and makes durable what was read: if the last process was killed, it may only be in the page
/// cache.
fn settle(files: &Files, end: &JournalEnd, torn_bytes: usize) -> Result<(), StateError> {
    let Some(OpenSegment { path, length, .. }) = &end.open_segment else { return Ok(()) };
    let file = files.open(path, Access::Write)?;
    if torn_bytes > 0 {
        tracing::warn!(path = %path.display(), entry = end.position + 1, torn_bytes, "cut a torn tail off the journal");
        file.set_len(*length)?;
    }
    file.sync()
}

/// Deletes segments all of whose entries are below `position`. The caller sees to it that the segment in which
/// `position` lies is durable.
pub(super) fn remove_segments_before(files: &Files, dir: &Path, position: u64) -> Result<(), StateError> {
    let segments = list_segments(files, dir)?;
    for pair in segments.windows(2) {
        let ((_, path), (next_first, _)) = (&pair[0], &pair[1]);
        if *next_first > position {
            break;
        }
        files.remove_file(path)?;
        // One by one and in order: a crash must not leave a gap.
        files.sync_dir(dir)?;
    }
    Ok(())
}

pub(super) fn list_segments(files: &Files, dir: &Path) -> Result<Vec<SegmentFile>, StateError> {
    let found = files.list_files(dir)?.into_iter();
    let mut segments: Vec<_> =
        found.filter_map(|(name, path, _)| Some((segment::parse_file_name(&name)?, path))).collect();
    segments.sort();
    Ok(segments)
}

/// Whether the last segment is what a crash leaves of a segment being created: its head is durable before the segment
/// before says that it exists, and before its first entry is written, so there is nothing in it.
fn ends_in_torn_creation(files: &Files, segments: &[SegmentFile], options: ReplayOptions) -> Result<bool, StateError> {
    let Some(((_, path), before)) = segments.split_last() else { return Ok(false) };
    let head = files.read(path)?;
    if head.len() > ENTRIES_AT {
        return Ok(false);
    }
    if let Some(header) = SegmentHeader::decode(path, &head)?
        && (!header.marked || Marks::decode(&head, header.salt).is_ok())
    {
        return Ok(false);
    }
    match before.last() {
        Some((_, previous)) => Ok(!marks::read(files, previous)?.is_some_and(|marks| marks.continued)),
        None => Ok(options.create),
    }
}
