//! Going on without the damaged end of a journal, once somebody has accepted the loss.
//!
//! Nothing is deleted: a file that is not good as a whole is kept beside, as `<name>.damaged-<n>`. A crash in between
//! leaves a journal that is still damaged, so it is refused or accepted once more.

use std::path::{Path, PathBuf};

use super::marks::{ENTRIES_AT, Marks};
use super::replay::{Damage, JournalEnd, OpenSegment, SegmentFile};
use super::segment::SegmentHeader;
use crate::StateError;
use crate::disk::Files;

/// Makes the journal end before the damage, or, if the checkpoint reaches further, begin anew after `after`.
pub(super) fn give_up(
    files: &Files,
    dir: &Path,
    segments: &[SegmentFile],
    damage: Damage,
    after: u64,
) -> Result<JournalEnd, StateError> {
    let Some(end) = damage.end.filter(|end| end.position >= after) else {
        move_aside(files, dir, segments)?;
        return Ok(JournalEnd { position: after, chain: 0, open_segment: None });
    };
    let (first, later) = segments[damage.from..].split_first().expect("something is damaged");
    move_aside(files, dir, later)?;
    let good = end.open_segment.as_ref().filter(|open| open.path == first.1);
    let Some(open) = good else {
        move_aside(files, dir, std::slice::from_ref(first))?;
        return Ok(JournalEnd { open_segment: None, ..end });
    };
    let open = keep_good_part(files, open, end.position)?;
    Ok(JournalEnd { open_segment: Some(open), ..end })
}

/// The last first, so that at no time there is a gap that looks like an end.
fn move_aside(files: &Files, dir: &Path, segments: &[SegmentFile]) -> Result<(), StateError> {
    for (_, path) in segments.iter().rev() {
        let kept = kept_name(files, path)?;
        tracing::warn!(path = %path.display(), kept = %kept.display(), "journal segment moved aside");
        files.rename(path, &kept)?;
        files.sync_dir(dir)?;
    }
    Ok(())
}

/// Keeps a copy of the segment, and of the segment itself what is good.
fn keep_good_part(files: &Files, open: &OpenSegment, position: u64) -> Result<OpenSegment, StateError> {
    let bytes = files.read(&open.path)?;
    let kept = kept_name(files, &open.path)?;
    tracing::warn!(path = %open.path.display(), kept = %kept.display(), position, "journal segment cut off after an entry");
    files.write_file(&kept, &[&bytes])?;
    let SegmentHeader { salt, first_position, chain, .. } = open.header;
    let header = SegmentHeader::new(salt, first_position, chain);
    let marks = Marks::new(salt, position);
    let entries = &bytes[open.header.entries_at()..open.length as usize];
    files.write_file(&open.path, &[&header.head(&marks), entries])?;
    let length = (ENTRIES_AT + entries.len()) as u64;
    Ok(OpenSegment { path: open.path.clone(), header, marks: Some(marks), length })
}

/// The first free name.
fn kept_name(files: &Files, path: &Path) -> Result<PathBuf, StateError> {
    for n in 1u32.. {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".damaged-{n}"));
        if !files.exists(Path::new(&name))? {
            return Ok(name.into());
        }
    }
    unreachable!("there are fewer files than numbers")
}
