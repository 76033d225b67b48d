//! A schedule played on PostgreSQL, and played again elsewhere.
//!
//! The leader decides, on PostgreSQL, what the schedule really is: statements for a blocked session are left out; where
//! PostgreSQL leaves the outcome to a race, an act is put in that ends it; at the end everybody commits or rolls back. The
//! follower repeats exactly those acts, and must see the same requests end at the same acts with the same outcomes.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::schedule::{Act, Request, Schedule, letter};
use crate::side::{Ended, Kind, Side};

/// What was done, and which requests had ended when everything was at rest again.
pub struct Step {
    act: Act,
    ended: Ended,
}

pub struct Trace {
    steps: Vec<Step>,
    contents: Vec<(String, Vec<String>)>,
}

impl Trace {
    pub fn acts(&self) -> usize {
        self.steps.len()
    }

    /// Statements that had to wait.
    pub fn blocked(&self) -> usize {
        let sent = self.steps.iter().filter(|step| matches!(step.act, Act::Send { .. }));
        sent.filter(|step| !step.ended.contains_key(&step.act.session())).count()
    }

    /// Requests that ended with this code.
    pub fn errors(&self, code: &str) -> usize {
        let line = format!("ERROR {code}");
        self.steps.iter().flat_map(|step| step.ended.values()).filter(|outcome| outcome.contains(&line)).count()
    }
}

/// Where the follower differs.
pub struct Difference {
    /// Alike for differences of one kind: the statement's first words and both outcomes.
    pub kind: String,
    /// The schedule's acts up to there with their outcomes.
    pub text: String,
}

struct Leader<'a> {
    side: &'a mut Side,
    steps: Vec<Step>,
    /// A blocked session whose statement touches several rows.
    several: Option<usize>,
}

/// Plays the schedule on PostgreSQL.
pub async fn lead(side: &mut Side, schedule: &Schedule) -> Trace {
    side.begin(schedule).await.expect("PostgreSQL takes the tables' first rows");
    let mut leader = Leader { side, steps: vec![], several: None };
    for act in &schedule.acts {
        leader.release_several(schedule).await;
        let session = act.session();
        let fits = match act {
            Act::Send { .. } | Act::Close { .. } => !leader.side.blocked(session) && !leader.side.gone(session),
            Act::Cancel { .. } => leader.side.blocked(session),
        };
        if fits && leader.side.failed(session) && !ends_failure(act) {
            leader.end_block(session).await;
        } else if fits {
            leader.play(act.clone()).await;
        }
    }
    while let Some(session) = (0..schedule.sessions()).find(|session| leader.side.in_block(*session)) {
        leader.end_block(session).await;
    }
    let steps = leader.steps;
    let contents = side.contents(schedule).await;
    Trace { steps, contents }
}

/// In a failed block most statements say only that; a few are worth it.
fn ends_failure(act: &Act) -> bool {
    let Act::Send { request: Request::Message(sql), .. } = act else { return true };
    ["ROLLBACK", "COMMIT", "SAVEPOINT", "RELEASE", "SELECT"].iter().any(|word| sql.starts_with(word))
}

impl Leader<'_> {
    async fn play(&mut self, act: Act) {
        self.side.act(&act).await;
        let ended = self.side.settle(&act).await;
        let session = act.session();
        let blocked = self.side.blocked(session);
        let several = matches!(act, Act::Send { several: true, .. });
        self.steps.push(Step { act, ended });
        if blocked && self.side.crowded(session).await {
            let act = Act::Cancel { session };
            self.side.act(&act).await;
            let ended = self.side.settle(&act).await;
            self.steps.push(Step { act, ended });
        } else if blocked && several {
            self.several = Some(session);
        }
    }

    /// Which rows such a statement has locked so far depends on their order. Until it has all, others only end blocks.
    async fn release_several(&mut self, schedule: &Schedule) {
        while let Some(waiting) = self.several {
            if !self.side.blocked(waiting) {
                self.several = None;
                return;
            }
            let holder = (0..schedule.sessions()).find(|session| self.side.in_block(*session));
            self.end_block(holder.expect("someone holds what is waited for")).await;
        }
    }

    async fn end_block(&mut self, session: usize) {
        let sql = if self.steps.len() % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
        self.play(Act::Send { session, request: Request::Message(sql.to_owned()), several: false }).await;
    }
}

/// Repeats what was done. The difference, if there is one; the side is to be renewed then.
pub async fn follow(side: &mut Side, schedule: &Schedule, trace: &Trace) -> Option<Difference> {
    if let Err(error) = side.begin(schedule).await {
        let kind = "the tables of an earlier schedule take no writes".to_owned();
        return Some(Difference { text: format!("{kind}: {error}"), kind });
    }
    for (index, step) in trace.steps.iter().enumerate() {
        side.act(&step.act).await;
        let found = match side.kind {
            Kind::Postgres => side.settle(&step.act).await,
            Kind::Highwater => {
                let expected: BTreeSet<usize> = step.ended.keys().copied().collect();
                let mut found = side.settle_expecting(&expected).await;
                let session = step.act.session();
                if !expected.contains(&session) && !found.contains_key(&session) {
                    side.settle_blocked(session, &mut found).await;
                }
                found
            }
        };
        if found != step.ended {
            return Some(differs(schedule, &trace.steps[..=index], &found));
        }
    }
    let found = side.contents(schedule).await;
    let (expected, other) = trace.contents.iter().zip(&found).find(|(expected, found)| expected != found)?;
    let mut text = played(schedule, &trace.steps);
    writeln!(text, "# {} on PostgreSQL: {:?}\n#   here: {:?}", expected.0, expected.1, other.1).expect("a string");
    let view = expected.0.split_once('_').map_or("table", |(_, view)| view);
    let failed = other.1.first().filter(|_| other.1.len() == 1).and_then(|line| line.split_once(' '));
    let what = failed.map_or("differs", |(first, _)| first).trim_end_matches(',');
    Some(Difference { kind: format!("contents of {view}: {what}"), text })
}

/// Names other than those of the tables and keywords would make every difference its own kind.
fn first_words(act: &Act) -> String {
    let text = act.to_string();
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 1);
    words.filter(|word| word.chars().all(|c| c.is_ascii_uppercase())).take(8).collect::<Vec<_>>().join(" ")
}

fn summary(ended: &Ended, session: usize) -> String {
    match ended.get(&session) {
        None => "blocked".to_owned(),
        Some(lines) => {
            let told = lines.iter().filter(|line| !line.starts_with('('));
            // How many rows is not a matter of kind.
            let word = |line: &String| match line.split_once(' ') {
                Some((tag @ ("INSERT" | "UPDATE" | "DELETE" | "SELECT"), _)) => tag.to_owned(),
                _ => line.clone(),
            };
            told.map(word).collect::<Vec<_>>().join(" ")
        }
    }
}

fn differs(schedule: &Schedule, steps: &[Step], found: &Ended) -> Difference {
    let last = steps.last().expect("the step that differs");
    let sessions: BTreeSet<usize> = last.ended.keys().chain(found.keys()).copied().collect();
    let all = std::iter::once(last.act.session()).chain(sessions);
    let other = all.into_iter().find(|session| last.ended.get(session) != found.get(session)).expect("they differ");
    // Of another session it is the statement that was blocked.
    let sent = steps.iter().rev().find(|step| step.act.session() == other).expect("it sent something");
    let kind = format!("{} → {}, here {}", first_words(&sent.act), summary(&last.ended, other), summary(found, other));
    let mut text = played(schedule, steps);
    writeln!(text, "# here:").expect("a string");
    if !found.contains_key(&last.act.session()) {
        writeln!(text, "#   {} is blocked", letter(last.act.session())).expect("a string");
    }
    for (session, outcome) in found {
        writeln!(text, "#   {}: {}", letter(*session), outcome.join(", ")).expect("a string");
    }
    Difference { kind, text }
}

/// The acts as a script that can be replayed, with PostgreSQL's outcomes as comments.
fn played(schedule: &Schedule, steps: &[Step]) -> String {
    let mut text = Schedule { acts: vec![], ..schedule.clone() }.to_string();
    for step in steps {
        writeln!(text, "{}", step.act).expect("a string");
        if !step.ended.contains_key(&step.act.session()) && matches!(step.act, Act::Send { .. }) {
            writeln!(text, "#   {} is blocked", letter(step.act.session())).expect("a string");
        }
        for (session, outcome) in &step.ended {
            writeln!(text, "#   {}: {}", letter(*session), outcome.join(", ")).expect("a string");
        }
    }
    text
}
