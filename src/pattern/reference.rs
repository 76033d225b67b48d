//! The slow, obvious matcher: tries all ways through the tree in order of preference, and remembers nothing. For tests.

use crate::compile::orders;
use crate::label::Label;
use crate::path::Path;
use crate::rows::Rows;
use crate::skip::{AfterMatch, SkipFault};
use crate::tree::Pattern;

/// A match, as its start and its rows' labels, each with whether it is excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceMatch {
    pub start: usize,
    pub rows: Vec<(Label, bool)>,
    pub fault: Option<SkipFault>,
}

/// All matches of a complete partition, in order.
///
/// Cost: exponential. Panics where a pattern has too many orders.
pub fn matches<R: Rows>(
    pattern: &Pattern,
    after_match: AfterMatch,
    rows: &mut R,
) -> Result<Vec<ReferenceMatch>, R::Error> {
    assert!(rows.closed(), "the reference looks at complete partitions");
    let mut found = vec![];
    let mut start = 0;
    while start < rows.len() {
        let mut walk = Walk { rows, path: Path::new(start), number: found.len() as u64 + 1, error: None };
        let matched = walk.pattern(pattern, false, &mut |_| true);
        if let Some(error) = walk.error {
            return Err(error);
        }
        if !matched {
            start += 1;
            continue;
        }
        let path = walk.path;
        let rows = path.labels().iter().enumerate().map(|(index, label)| (*label, path.excluded(index))).collect();
        let (next, fault) = after_match.next_start(&path);
        found.push(ReferenceMatch { start, rows, fault });
        start = next;
    }
    Ok(found)
}

struct Walk<'a, R: Rows> {
    rows: &'a mut R,
    path: Path,
    number: u64,
    error: Option<R::Error>,
}

/// What is to match behind a part: whether it does.
type Then<'t, 'a, R> = &'t mut dyn FnMut(&mut Walk<'a, R>) -> bool;

impl<'a, R: Rows> Walk<'a, R> {
    /// Whether `pattern` and then `then` match from here. The path stays at the match if they do, and is as before if not.
    fn pattern(&mut self, pattern: &Pattern, excluded: bool, then: Then<'_, 'a, R>) -> bool {
        match pattern {
            Pattern::Empty => then(self),
            Pattern::Start => self.path.end() == 0 && then(self),
            Pattern::End => self.path.end() == self.rows.len() && then(self),
            Pattern::Variable(label) => self.row(*label, excluded) && (then(self) || self.back()),
            Pattern::Concat(parts) => self.concat(&parts.iter().collect::<Vec<_>>(), excluded, then),
            Pattern::Alternate(parts) => parts.iter().any(|part| self.pattern(part, excluded, then)),
            Pattern::Permute(parts) => {
                let orders = orders(parts.len()).expect("few members");
                orders
                    .iter()
                    .any(|order| self.concat(&order.iter().map(|at| &parts[*at]).collect::<Vec<_>>(), excluded, then))
            }
            Pattern::Exclude(body) => self.pattern(body, true, then),
            Pattern::Repeat { body, min, max, greedy } => self.repeat((body, *min, *max, *greedy), excluded, 0, then),
        }
    }

    fn concat(&mut self, parts: &[&Pattern], excluded: bool, then: Then<'_, 'a, R>) -> bool {
        match parts.split_first() {
            None => then(self),
            Some((first, rest)) => self.pattern(first, excluded, &mut |walk| walk.concat(rest, excluded, then)),
        }
    }

    fn repeat(
        &mut self,
        what: (&Pattern, u32, Option<u32>, bool),
        excluded: bool,
        done: u32,
        then: Then<'_, 'a, R>,
    ) -> bool {
        let (body, min, max, greedy) = what;
        if max == Some(done) {
            return then(self);
        }
        let length = self.path.len();
        if done >= min && !greedy && then(self) {
            return true;
        }
        let more = self.pattern(body, excluded, &mut |walk| {
            let empty = walk.path.len() == length;
            if empty && done + 1 >= min { then(walk) } else { walk.repeat(what, excluded, done + 1, then) }
        });
        more || done >= min && greedy && then(self)
    }

    fn row(&mut self, label: Label, excluded: bool) -> bool {
        let row = self.path.end();
        if self.error.is_some() || row >= self.rows.len() || !self.rows.within(self.path.start(), row) {
            return false;
        }
        self.path.push(label, excluded);
        match self.rows.holds(label, &self.path, self.number) {
            Ok(true) => true,
            Ok(false) => self.back(),
            Err(error) => {
                self.error = Some(error);
                self.back()
            }
        }
    }

    fn back(&mut self) -> bool {
        self.path.truncate(self.path.len() - 1);
        false
    }
}
