//! The search for the preferred match from one start row. It can stop for want of rows and go on when they are there.

use crate::path::Path;
use crate::program::{Instruction, Program};
use crate::rows::Rows;
use crate::visited::{Place, Visited};

/// Steps that the search from one row may take where nothing can be remembered (conditions that read more of the match than single
/// rows of it): this many …
pub const STEPS_BASE_MAX: u64 = 10_000_000;
/// … and this many more per row that it has reached.
pub const STEPS_PER_ROW_MAX: u64 = 1_000;

#[derive(Debug)]
pub(crate) enum Outcome {
    Matched,
    Failed,
    /// The preferred way that is left goes on with rows that are not there yet.
    Blocked,
    /// The step limit is reached.
    Exceeded,
}

#[derive(Debug, Clone)]
struct Choice {
    pc: u32,
    level: usize,
    length: usize,
    trail: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) path: Path,
    pc: usize,
    /// The outermost loop with an iteration that began at this row; `program.levels - 1` if there is none.
    level: usize,
    choices: Vec<Choice>,
    /// Places on the way here.
    trail: Vec<Place>,
    steps: u64,
    reached: usize,
    /// The preferred way that the time limit cut.
    pub(crate) timed_out: Option<Path>,
    /// Some way was cut: it may not fail from a later start, which has more time.
    pub(crate) cut: bool,
}

impl Run {
    pub(crate) fn new(program: &Program, start: usize) -> Run {
        Run {
            path: Path::new(start),
            pc: 0,
            level: program.levels - 1,
            choices: vec![],
            trail: vec![],
            steps: 0,
            reached: 0,
            timed_out: None,
            cut: false,
        }
    }

    pub(crate) fn advance<R: Rows>(
        &mut self,
        program: &Program,
        visited: &mut Visited,
        rows: &mut R,
        match_number: u64,
    ) -> Result<Outcome, R::Error> {
        let none = program.levels - 1;
        loop {
            self.steps += 1;
            if self.steps > STEPS_BASE_MAX + STEPS_PER_ROW_MAX * self.reached as u64 && program.backtracks() {
                return Ok(Outcome::Exceeded);
            }
            let alive = match program.instructions[self.pc] {
                Instruction::Done => {
                    for place in self.trail.drain(..) {
                        visited.remove(&place);
                    }
                    return Ok(Outcome::Matched);
                }
                Instruction::Jump(to) => self.go(to),
                Instruction::Begin { depth } => {
                    self.level = self.level.min(depth as usize);
                    self.go(self.pc as u32 + 1)
                }
                Instruction::Finish { depth, exit } => {
                    let empty = self.level <= depth as usize;
                    if self.level >= depth as usize {
                        self.level = none;
                    }
                    self.go(if empty { exit } else { self.pc as u32 + 1 })
                }
                Instruction::PartitionStart => self.path.end() == 0 && self.go(self.pc as u32 + 1),
                Instruction::PartitionEnd => {
                    let at_end = self.path.end() >= rows.len();
                    // No time limit decides it: a row that is too late for the match still follows its end.
                    if at_end && !rows.closed() {
                        return Ok(Outcome::Blocked);
                    }
                    at_end && self.go(self.pc as u32 + 1)
                }
                Instruction::Split { first, second } => {
                    self.enter(program, visited) && {
                        let (level, length, trail) = (self.level, self.path.len(), self.trail.len());
                        self.choices.push(Choice { pc: second, level, length, trail });
                        self.go(first)
                    }
                }
                Instruction::Match { label, excluded } => match self.take(program, visited, rows, label.0 as usize) {
                    Taking::Row => {
                        self.path.push(label, excluded);
                        self.reached = self.reached.max(self.path.len());
                        self.level = none;
                        rows.holds(label, &self.path, match_number)? && self.go(self.pc as u32 + 1)
                    }
                    Taking::Nothing => false,
                    Taking::Later => return Ok(Outcome::Blocked),
                },
            };
            if !alive && !self.back() {
                return Ok(Outcome::Failed);
            }
        }
    }

    fn go(&mut self, to: u32) -> bool {
        self.pc = to as usize;
        true
    }

    /// The next choice that is left, if any.
    fn back(&mut self) -> bool {
        let Some(choice) = self.choices.pop() else { return false };
        self.pc = choice.pc as usize;
        self.level = choice.level;
        self.path.truncate(choice.length);
        self.trail.truncate(choice.trail);
        true
    }

    /// Notes that the search is here; false if it has been here in vain.
    ///
    /// A place is never entered again while it is on the way: loops go round with at least one row. So whoever meets it marked
    /// knows that all that follows it has failed.
    fn enter(&mut self, program: &Program, visited: &mut Visited) -> bool {
        let Some(place) = Visited::place(program, self.pc, self.level, &self.path) else { return true };
        if visited.contains(&place) {
            return false;
        }
        visited.insert(&place);
        self.trail.push(place);
        true
    }

    /// Whether the next row is there for a variable to take.
    fn take<R: Rows>(&mut self, program: &Program, visited: &mut Visited, rows: &R, label: usize) -> Taking {
        let row = self.path.end();
        // Whether the iteration that began at this row was empty does not matter once a row is taken.
        let place = Visited::place(program, self.pc, program.levels - 1, &self.path);
        if place.as_ref().is_some_and(|place| visited.contains(place)) {
            return Taking::Nothing;
        }
        if row < rows.len() && !rows.within(self.path.start(), row) {
            self.note_time_out();
            return Taking::Nothing;
        }
        if row >= rows.len() {
            if rows.closed() || self.out_of_time(rows) {
                if rows.limited() {
                    self.note_time_out();
                }
                return Taking::Nothing;
            }
            return Taking::Later;
        }
        if row + program.lookahead[label] >= rows.len() && !rows.closed() {
            return Taking::Later;
        }
        if let Some(place) = place {
            visited.insert(&place);
            self.trail.push(place);
        }
        Taking::Row
    }

    /// Whether rows to come are too late for this match. The start itself must be there: before it there is no limit.
    fn out_of_time<R: Rows>(&self, rows: &R) -> bool {
        rows.limited() && !self.path.is_empty() && rows.expired(self.path.start())
    }

    fn note_time_out(&mut self) {
        self.cut = true;
        if self.timed_out.is_none() && !self.path.is_empty() {
            self.timed_out = Some(self.path.clone());
        }
    }
}

enum Taking {
    Row,
    Nothing,
    Later,
}
