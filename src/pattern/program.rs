//! The program that a pattern becomes: a few instructions, walked by `run.rs` in order of preference.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::label::{Label, LabelSet};

/// Instructions one pattern may become: `{n,m}` and PERMUTE are written out.
pub const INSTRUCTIONS_MAX: usize = 65_536;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompileError {
    #[error(
        "row pattern is too large: it needs more than {INSTRUCTIONS_MAX} steps when its quantifiers and PERMUTE are written out"
    )]
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Takes the next row as `label` if its condition holds.
    Match {
        label: Label,
        excluded: bool,
    },
    /// Goes to `first`; to `second` if that finds nothing.
    Split {
        first: u32,
        second: u32,
    },
    Jump(u32),
    PartitionStart,
    PartitionEnd,
    /// An iteration of a loop whose body may be empty begins; `depth` counts such loops around it.
    Begin {
        depth: u8,
    },
    /// It ends: without a row since `Begin` the loop is left to `exit` (Perl's rule), else the next instruction is next.
    Finish {
        depth: u8,
        exit: u32,
    },
    Done,
}

/// Where a navigation counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum End {
    First,
    Last,
}

/// What a condition reads of the match so far: the `offset`-th row from an end among the rows of `set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Read {
    pub set: LabelSet,
    pub end: End,
    pub offset: usize,
}

/// On what the condition of one variable depends beside the candidate row's place in the partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependence {
    /// Rows of the match that it reads.
    pub reads: Vec<Read>,
    /// It depends on more of the match than `reads` can say (an aggregate, labels): nothing can be remembered across ways that lead
    /// to it.
    pub whole_match: bool,
    pub match_number: bool,
    /// Rows behind the candidate that it looks at.
    pub lookahead: usize,
}

/// What can be asked from an instruction on, until the match is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Conditions on single rows only.
    Rows,
    /// Also these rows of the match so far.
    Reads(Vec<Read>),
    Anything,
}

#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
    /// By instruction.
    pub(crate) reach: Vec<Reach>,
    /// By label.
    pub(crate) lookahead: Vec<usize>,
    /// Values of "the outermost loop that began at this row", the last meaning none.
    pub(crate) levels: usize,
    pub(crate) match_number: bool,
}

impl Program {
    /// Adds what conditions depend on; `dependences` by label.
    pub(crate) fn new(instructions: Vec<Instruction>, levels: usize, dependences: &[Dependence]) -> Program {
        let reach = reach(&instructions, dependences);
        Program {
            instructions,
            reach,
            lookahead: dependences.iter().map(|d| d.lookahead).collect(),
            levels,
            match_number: dependences.iter().any(|d| d.match_number),
        }
    }

    pub(crate) fn states(&self) -> usize {
        self.instructions.len() * self.levels
    }

    /// Whether the work per row has no bound but the step limit.
    pub fn backtracks(&self) -> bool {
        self.reach.contains(&Reach::Anything)
    }
}

/// Follows the instructions backwards until nothing is added; loops need a few rounds.
fn reach(instructions: &[Instruction], dependences: &[Dependence]) -> Vec<Reach> {
    let mut reach = vec![Reach::Rows; instructions.len()];
    loop {
        let mut changed = false;
        for at in (0..instructions.len()).rev() {
            let mut found = reach[at].clone();
            for next in successors(instructions[at], at) {
                join(&mut found, &reach[next]);
            }
            if let Instruction::Match { label, .. } = instructions[at] {
                join(&mut found, &own_reach(&dependences[label.0 as usize]));
            }
            if found != reach[at] {
                reach[at] = found;
                changed = true;
            }
        }
        if !changed {
            return reach;
        }
    }
}

fn own_reach(dependence: &Dependence) -> Reach {
    match (dependence.whole_match, dependence.reads.is_empty()) {
        (true, _) => Reach::Anything,
        (false, true) => Reach::Rows,
        (false, false) => {
            let mut reads = dependence.reads.clone();
            reads.sort();
            reads.dedup();
            Reach::Reads(reads)
        }
    }
}

fn join(into: &mut Reach, other: &Reach) {
    match (&mut *into, other) {
        (Reach::Anything, _) | (_, Reach::Rows) => {}
        (Reach::Rows, _) | (Reach::Reads(_), Reach::Anything) => *into = other.clone(),
        (Reach::Reads(ours), Reach::Reads(theirs)) => {
            ours.extend(theirs);
            ours.sort();
            ours.dedup();
        }
    }
}

fn successors(instruction: Instruction, at: usize) -> Vec<usize> {
    match instruction {
        Instruction::Split { first, second } => vec![first as usize, second as usize],
        Instruction::Jump(to) => vec![to as usize],
        Instruction::Finish { exit, .. } => vec![at + 1, exit as usize],
        Instruction::Match { .. }
        | Instruction::PartitionStart
        | Instruction::PartitionEnd
        | Instruction::Begin { .. } => vec![at + 1],
        Instruction::Done => vec![],
    }
}
