//! A pattern as its author wrote it: the tree of PATTERN ( … ).

use serde::{Deserialize, Serialize};

use crate::label::{Label, LabelSet};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Serialize, Deserialize)]
pub enum Pattern {
    /// `()`: matches no row, always.
    Empty,
    /// `^`: before the partition's first row.
    Start,
    /// `$`: behind the partition's last row.
    End,
    Variable(Label),
    Concat(Vec<Pattern>),
    /// Left before right.
    Alternate(Vec<Pattern>),
    /// From `min` to `max` iterations, without `max` any number. Greedy prefers more, else fewer.
    Repeat {
        body: Box<Pattern>,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    },
    /// All orders of the members, in lexicographic order of their places.
    Permute(Vec<Pattern>),
    /// `{- … -}`: the rows belong to the match and are left out of ALL ROWS PER MATCH.
    Exclude(Box<Pattern>),
}

impl Pattern {
    /// Whether it can match without a row.
    pub fn nullable(&self) -> bool {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End => true,
            Pattern::Variable(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) => parts.iter().all(Pattern::nullable),
            Pattern::Alternate(parts) => parts.iter().any(Pattern::nullable),
            Pattern::Repeat { body, min, .. } => *min == 0 || body.nullable(),
            Pattern::Exclude(body) => body.nullable(),
        }
    }

    /// Whether there is anything to prefer in it: more than one way to match.
    pub fn has_choice(&self) -> bool {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End | Pattern::Variable(_) => false,
            Pattern::Concat(parts) => parts.iter().any(Pattern::has_choice),
            Pattern::Permute(parts) | Pattern::Alternate(parts) => {
                parts.len() > 1 || parts.iter().any(Pattern::has_choice)
            }
            Pattern::Repeat { body, min, max, .. } => *max != Some(*min) || body.has_choice(),
            Pattern::Exclude(body) => body.has_choice(),
        }
    }

    pub fn has_exclusion(&self) -> bool {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End | Pattern::Variable(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) | Pattern::Alternate(parts) => {
                parts.iter().any(Pattern::has_exclusion)
            }
            Pattern::Repeat { body, .. } => body.has_exclusion(),
            Pattern::Exclude(_) => true,
        }
    }

    pub fn has_start_anchor(&self) -> bool {
        match self {
            Pattern::Start => true,
            Pattern::Empty | Pattern::End | Pattern::Variable(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) | Pattern::Alternate(parts) => {
                parts.iter().any(Pattern::has_start_anchor)
            }
            Pattern::Repeat { body, .. } | Pattern::Exclude(body) => body.has_start_anchor(),
        }
    }

    pub fn has_end_anchor(&self) -> bool {
        match self {
            Pattern::End => true,
            Pattern::Empty | Pattern::Start | Pattern::Variable(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) | Pattern::Alternate(parts) => {
                parts.iter().any(Pattern::has_end_anchor)
            }
            Pattern::Repeat { body, .. } | Pattern::Exclude(body) => body.has_end_anchor(),
        }
    }

    /// Whether a match may take any number of rows.
    pub fn unbounded(&self) -> bool {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End | Pattern::Variable(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) | Pattern::Alternate(parts) => {
                parts.iter().any(Pattern::unbounded)
            }
            Pattern::Repeat { body, max, .. } => max.is_none() || body.unbounded(),
            Pattern::Exclude(body) => body.unbounded(),
        }
    }

    /// The variables in it.
    pub fn labels(&self) -> LabelSet {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End => LabelSet::NONE,
            Pattern::Variable(label) => LabelSet::of([*label]),
            Pattern::Concat(parts) | Pattern::Permute(parts) | Pattern::Alternate(parts) => {
                LabelSet::of(parts.iter().flat_map(|part| part.labels().iter().collect::<Vec<_>>()))
            }
            Pattern::Repeat { body, .. } | Pattern::Exclude(body) => body.labels(),
        }
    }
}
