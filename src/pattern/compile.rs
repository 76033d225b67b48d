//! Tree to program. Quantifiers are written out, so the walker needs no counters.
//!
//! A loop whose body may be empty follows Perl's rule (ISO/IEC 19075-5, 7.2.8): once the minimum is reached, an iteration without
//! a row is taken and ends the loop. PERMUTE is the alternation of all orders; where its members leave no choice, orders that
//! continue alike share their code (2^k places instead of k!), which changes no preference.

use crate::program::{CompileError, Dependence, INSTRUCTIONS_MAX, Instruction, Program};
use crate::tree::Pattern;

/// The program of a pattern; `dependences` by label.
///
/// Errors: `TooLarge` if it needs more than `INSTRUCTIONS_MAX` instructions.
pub fn compile(pattern: &Pattern, dependences: &[Dependence]) -> Result<Program, CompileError> {
    let mut compiler = Compiler { code: vec![], excluded: false, depth: 0, depth_max: 0 };
    compiler.pattern(pattern)?;
    compiler.emit(Instruction::Done)?;
    Ok(Program::new(compiler.code, compiler.depth_max as usize + 1, dependences))
}

/// Instructions of a loop that lead to its exit, which is not known while it is written.
#[derive(Default)]
struct OpenEnds {
    splits: Vec<usize>,
    /// With their depth.
    finishes: Vec<(usize, u8)>,
}

struct Compiler {
    code: Vec<Instruction>,
    /// Inside `{- … -}`.
    excluded: bool,
    /// Loops with a possibly empty body around here.
    depth: u8,
    depth_max: u8,
}

impl Compiler {
    fn emit(&mut self, instruction: Instruction) -> Result<usize, CompileError> {
        if self.code.len() >= INSTRUCTIONS_MAX {
            return Err(CompileError::TooLarge);
        }
        self.code.push(instruction);
        Ok(self.code.len() - 1)
    }

    fn here(&self) -> u32 {
        self.code.len() as u32
    }

    fn pattern(&mut self, pattern: &Pattern) -> Result<(), CompileError> {
        match pattern {
            Pattern::Empty => {}
            Pattern::Start => drop(self.emit(Instruction::PartitionStart)?),
            Pattern::End => drop(self.emit(Instruction::PartitionEnd)?),
            Pattern::Variable(label) => {
                let excluded = self.excluded;
                self.emit(Instruction::Match { label: *label, excluded })?;
            }
            Pattern::Concat(parts) => parts.iter().try_for_each(|part| self.pattern(part))?,
            Pattern::Alternate(parts) => {
                self.alternate(parts.len(), |compiler, branch| compiler.pattern(&parts[branch]))?;
            }
            Pattern::Repeat { body, min, max, greedy } => self.repeat(body, *min, *max, *greedy)?,
            Pattern::Permute(parts) if parts.iter().any(Pattern::has_choice) => self.permute_orders(parts)?,
            Pattern::Permute(parts) => self.permute_shared(parts)?,
            Pattern::Exclude(body) => {
                let outer = std::mem::replace(&mut self.excluded, true);
                self.pattern(body)?;
                self.excluded = outer;
            }
        }
        Ok(())
    }

    /// `count` branches, each written by `branch`, the first preferred; all end behind the last.
    fn alternate(
        &mut self,
        count: usize,
        mut branch: impl FnMut(&mut Compiler, usize) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let mut ends = vec![];
        for index in 0..count {
            if index + 1 == count {
                branch(self, index)?;
            } else {
                let split = self.emit(Instruction::Split { first: self.here() + 1, second: 0 })?;
                branch(self, index)?;
                ends.push(self.emit(Instruction::Jump(0))?);
                self.code[split] = Instruction::Split { first: split as u32 + 1, second: self.here() };
            }
        }
        for end in ends {
            self.code[end] = Instruction::Jump(self.here());
        }
        Ok(())
    }

    fn repeat(&mut self, body: &Pattern, min: u32, max: Option<u32>, greedy: bool) -> Result<(), CompileError> {
        let nullable = body.nullable();
        let mut open = OpenEnds::default();
        for iteration in 1..=min {
            // Iterations below the minimum are plain; an empty one at the minimum ends the loop, if it could go on at all.
            let guard = nullable && iteration == min && max != Some(min);
            self.iteration(body, guard, &mut open)?;
        }
        match max {
            Some(max) => {
                for _ in min..max {
                    open.splits.push(self.emit(Instruction::Jump(0))?);
                    self.iteration(body, nullable, &mut open)?;
                }
            }
            None => {
                let head = self.here();
                open.splits.push(self.emit(Instruction::Jump(0))?);
                self.iteration(body, nullable, &mut open)?;
                self.emit(Instruction::Jump(head))?;
            }
        }
        let exit = self.here();
        for at in open.splits {
            let again = at as u32 + 1;
            let (first, second) = if greedy { (again, exit) } else { (exit, again) };
            self.code[at] = Instruction::Split { first, second };
        }
        for (at, depth) in open.finishes {
            self.code[at] = Instruction::Finish { depth, exit };
        }
        Ok(())
    }

    /// One iteration of a loop; `guard` if an empty one ends it.
    fn iteration(&mut self, body: &Pattern, guard: bool, open: &mut OpenEnds) -> Result<(), CompileError> {
        if !guard {
            return self.pattern(body);
        }
        let depth = self.depth;
        self.emit(Instruction::Begin { depth })?;
        self.depth = depth.checked_add(1).ok_or(CompileError::TooLarge)?;
        self.depth_max = self.depth_max.max(self.depth);
        self.pattern(body)?;
        self.depth = depth;
        open.finishes.push((self.emit(Instruction::Finish { depth, exit: 0 })?, depth));
        Ok(())
    }

    fn permute_orders(&mut self, parts: &[Pattern]) -> Result<(), CompileError> {
        let orders = orders(parts.len())?;
        self.alternate(orders.len(), |compiler, order| {
            orders[order].iter().try_for_each(|part| compiler.pattern(&parts[*part]))
        })
    }

    /// One place per set of members that are still to come.
    fn permute_shared(&mut self, parts: &[Pattern]) -> Result<(), CompileError> {
        if parts.len() > 16 {
            return Err(CompileError::TooLarge);
        }
        let all = (1usize << parts.len()) - 1;
        let mut starts = vec![None; all + 1];
        let mut waiting: Vec<(usize, usize)> = vec![];
        // Larger sets of remaining members come first, and each is reached from one of those before it.
        let mut sets: Vec<usize> = (0..=all).collect();
        sets.sort_by_key(|set| (std::cmp::Reverse(set.count_ones()), std::cmp::Reverse(*set)));
        for set in sets {
            starts[set] = Some(self.here());
            let members: Vec<usize> = (0..parts.len()).filter(|part| set >> part & 1 == 1).collect();
            for (place, member) in members.iter().enumerate() {
                let last = place + 1 == members.len();
                let split = if last { None } else { Some(self.emit(Instruction::Jump(0))?) };
                self.pattern(&parts[*member])?;
                waiting.push((self.emit(Instruction::Jump(0))?, set & !(1 << member)));
                if let Some(split) = split {
                    self.code[split] = Instruction::Split { first: split as u32 + 1, second: self.here() };
                }
            }
        }
        for (jump, set) in waiting {
            self.code[jump] = Instruction::Jump(starts[set].expect("every set has its place"));
        }
        Ok(())
    }
}

/// All orders of `0..count`, lexicographic. Refuses early what could not fit anyway.
pub(crate) fn orders(count: usize) -> Result<Vec<Vec<usize>>, CompileError> {
    if (1..=count).product::<usize>() > INSTRUCTIONS_MAX || count > 12 {
        return Err(CompileError::TooLarge);
    }
    let mut orders = vec![vec![]];
    for _ in 0..count {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                let rest: Vec<usize> = (0..count).filter(|n| !order.contains(n)).collect();
                rest.into_iter().map(move |n| [order.clone(), vec![n]].concat())
            })
            .collect();
    }
    Ok(orders)
}
