//! What a simulated file holds: as a process sees it, as it is on disk for sure, and the writes in between, of which a
//! power cut keeps any sectors.

use super::random::Random;

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// What a process reads.
    pub(super) seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// How much of what is pending a power cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    Everything,
    AnySectors,
}

impl Kept {
    pub(super) fn choose(random: &mut Random) -> Kept {
        match random.below(4) {
            0 => Kept::Nothing,
            1 => Kept::Everything,
            _ => Kept::AnySectors,
        }
    }
}

impl Contents {
    pub(super) fn of(bytes: Vec<u8>) -> Contents {
        Contents { seen: bytes.clone(), durable: bytes, pending: vec![] }
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let change = Change::Write { offset, bytes: bytes.into() };
        apply(&mut self.seen, &change);
        self.pending.push(change);
    }

    pub(super) fn set_len(&mut self, length: usize) {
        self.seen.resize(length, 0);
        self.pending.push(Change::SetLen(length));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    /// A sync that fails: what was pending is seen as before, but no later sync brings it to the disk.
    pub(super) fn lose_pending(&mut self) {
        self.pending.clear();
    }

    /// What is there after the power came back.
    pub(super) fn after_power_cut(&self, kept: Kept, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        for change in &self.pending {
            match kept {
                Kept::Nothing => {}
                Kept::Everything => apply(&mut left, change),
                Kept::AnySectors => apply_some(&mut left, change, random),
            }
        }
        left
    }
}

fn apply(contents: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len();
            if contents.len() < end {
                contents.resize(end, 0);
            }
            contents[*offset..end].copy_from_slice(bytes);
        }
        Change::SetLen(length) => contents.resize(*length, 0),
    }
}

fn apply_some(contents: &mut Vec<u8>, change: &Change, random: &mut Random) {
    let Change::Write { offset, bytes } = change else {
        if random.flip() {
            apply(contents, change);
        }
        return;
    };
    let mut start = *offset;
    let end = offset + bytes.len();
    while start < end {
        let next = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        if random.flip() {
            let part = bytes[start - offset..next - offset].to_vec();
            apply(contents, &Change::Write { offset: start, bytes: part });
        }
        start = next;
    }
    // The new length may have arrived without what was written there.
    if contents.len() < end && random.below(4) == 0 {
        contents.resize(end, 0);
    }
}
