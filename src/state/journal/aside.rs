//! Going on without the damaged end of a journal, once somebody has accepted the loss.
//!
//! Nothing is deleted: a file that is not good as a whole is kept beside, as `<name>.damaged-<n>`. A crash in between
//! leaves a journal that is still damaged, so it is refused or accepted once more.

use std::fs;
use std::path::{Path, PathBuf};

use super::marks::{ENTRIES_AT, Marks};
use super::replay::{Damage, JournalEnd, OpenSegment, SegmentFile};
use super::segment::SegmentHeader;
use crate::{StateError, disk};

/// Makes the journal end before the damage, or, if the checkpoint reaches further, begin anew after `after`.
pub(super) fn give_up(
    dir: &Path,
    segments: &[SegmentFile],
    damage: Damage,
    after: u64,
) -> Result<JournalEnd, StateError> {
    let Some(end) = damage.end.filter(|end| end.position >= after) else {
        move_aside(dir, segments)?;
        return Ok(JournalEnd { position: after, chain: 0, open_segment: None });
    };
    let (first, later) = segments[damage.from..].split_first().expect("something is damaged");
    move_aside(dir, later)?;
    let good = end.open_segment.as_ref().filter(|open| open.path == first.1);
    let Some(open) = good else {
        move_aside(dir, std::slice::from_ref(first))?;
        return Ok(JournalEnd { open_segment: None, ..end });
    };
    let open = keep_good_part(open, end.position)?;
    Ok(JournalEnd { open_segment: Some(open), ..end })
}

/// The last first, so that at no time there is a gap that looks like an end.
fn move_aside(dir: &Path, segments: &[SegmentFile]) -> Result<(), StateError> {
    for (_, path) in segments.iter().rev() {
        let kept = kept_name(path);
        tracing::warn!(path = %path.display(), kept = %kept.display(), "journal segment moved aside");
        fs::rename(path, &kept).map_err(|e| StateError::io("move aside", path, e))?;
        disk::sync_dir(dir)?;
    }
    Ok(())
}

/// Keeps a copy of the segment, and of the segment itself what is good.
fn keep_good_part(open: &OpenSegment, position: u64) -> Result<OpenSegment, StateError> {
    let bytes = disk::read(&open.path)?;
    let kept = kept_name(&open.path);
    tracing::warn!(path = %open.path.display(), kept = %kept.display(), position, "journal segment cut off after an entry");
    disk::write_file(&kept, &[&bytes])?;
    let SegmentHeader { salt, first_position, chain, .. } = open.header;
    let header = SegmentHeader::new(salt, first_position, chain);
    let marks = Marks::new(salt, position);
    let entries = &bytes[open.header.entries_at()..open.length as usize];
    disk::write_file(&open.path, &[&header.head(&marks), entries])?;
    let length = (ENTRIES_AT + entries.len()) as u64;
    Ok(OpenSegment { path: open.path.clone(), header, marks: Some(marks), length })
}

/// The first free name.
fn kept_name(path: &Path) -> PathBuf {
    let candidate = |n: u32| {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    (1..).map(candidate).find(|kept| !kept.exists()).expect("numbers don't end")
}
