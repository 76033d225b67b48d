//! Random schedules. One seed and one number make one schedule, whatever was generated before.
//!
//! What PostgreSQL leaves to the physical order of rows is not generated: key changes that pass through a duplicate, and
//! errors of single rows in statements over several rows.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::schedule::{Act, Filled, Request, Schedule};
use crate::statements::{Statement, Style, filling, random};
use crate::tables::{TABLES, Table};

const ACTS: std::ops::RangeInclusive<usize> = 6..=48;
const SAVEPOINTS: [&str; 2] = ["s", "t"];

/// What schedules are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    All,
    /// All but ON CONFLICT.
    Blocks,
    /// One statement each, without blocks: nobody ever waits.
    Autocommit,
}

pub fn schedule(seed: u64, number: u64, reach: Reach) -> Schedule {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let count = if rng.random_bool(0.7) { 1 } else { 2 };
    let tables: Vec<&Table> = TABLES.choose_multiple(&mut rng, count).collect();
    let sessions = *[2, 2, 3, 3, 3, 4, 5, 6].choose(&mut rng).expect("several");
    let style = Style {
        keys: rng.random_range(1..=4),
        conflicts: true,
        upserts: true,
        wide: *[0.0, 0.05, 0.2, 0.5].choose(&mut rng).expect("four"),
    };
    let filled = tables
        .iter()
        .map(|table| Filled { table: table.name.to_owned(), rows: filling(&mut rng, style, table) })
        .collect();
    let impatient = (0..sessions).filter(|_| rng.random_bool(0.06)).collect();
    let mut writer = Writer { rng, reach, style, tables, blocks: vec![false; sessions] };
    let length = writer.rng.random_range(ACTS);
    let acts = (0..length).map(|_| writer.act()).collect();
    Schedule { tables: filled, impatient, acts }
}

struct Writer {
    rng: StdRng,
    reach: Reach,
    style: Style,
    tables: Vec<&'static Table>,
    /// Sessions that were sent a BEGIN; errors make that a guess.
    blocks: Vec<bool>,
}

impl Writer {
    fn act(&mut self) -> Act {
        let session = self.rng.random_range(0..self.blocks.len());
        match self.rng.random_range(0..100) {
            0..=1 => return Act::Close { session },
            2..=3 => return Act::Cancel { session },
            _ => {}
        }
        let (request, several) = if self.blocks[session] { self.inside(session) } else { self.outside(session) };
        Act::Send { session, request, several }
    }

    fn statement(&mut self) -> Statement {
        let table = self.tables.choose(&mut self.rng).expect("a schedule has tables");
        let conflicts = self.reach != Reach::Blocks;
        let upserts = self.reach == Reach::All;
        random(&mut self.rng, Style { conflicts, upserts, ..self.style }, table, &self.tables)
    }

    fn outside(&mut self, session: usize) -> (Request, bool) {
        if self.reach == Reach::Autocommit {
            return self.one();
        }
        match self.rng.random_range(0..100) {
            0..=64 => {
                self.blocks[session] = true;
                let begin = match self.rng.random_range(0..20) {
                    0 => "START TRANSACTION",
                    1 => "BEGIN READ ONLY",
                    _ => "BEGIN",
                };
                (Request::Message(begin.to_owned()), false)
            }
            65..=83 => self.one(),
            84..=89 => self.together(";"),
            90..=94 => self.together("|"),
            95..=97 => {
                let (request, several) = self.together(";");
                let Request::Message(text) = request else { unreachable!("a message was asked for") };
                let end = if self.rng.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" };
                (Request::Message(format!("BEGIN; {text}; {end}")), several)
            }
            _ => {
                let odd = ["COMMIT", "ROLLBACK", "SAVEPOINT s", "RELEASE s", "ROLLBACK TO s", "SELECT 1"];
                (Request::Message((*odd.choose(&mut self.rng).expect("several")).to_owned()), false)
            }
        }
    }

    fn inside(&mut self, session: usize) -> (Request, bool) {
        match self.rng.random_range(0..100) {
            0..=67 => self.one(),
            68..=70 => self.together(";"),
            71..=73 => self.together("|"),
            74..=84 => (Request::Message(self.savepoint()), false),
            85..=91 => {
                self.blocks[session] = false;
                (Request::Message("COMMIT".to_owned()), false)
            }
            92..=97 => {
                self.blocks[session] = false;
                (Request::Message("ROLLBACK".to_owned()), false)
            }
            98 => (Request::Message("BEGIN".to_owned()), false),
            _ => (Request::Message("SET TRANSACTION READ ONLY".to_owned()), false),
        }
    }

    fn savepoint(&mut self) -> String {
        let name = SAVEPOINTS.choose(&mut self.rng).expect("two");
        match self.rng.random_range(0..10) {
            0..=4 => format!("SAVEPOINT {name}"),
            5..=7 => format!("ROLLBACK TO {name}"),
            _ => format!("RELEASE {name}"),
        }
    }

    /// One statement, by one protocol or the other.
    fn one(&mut self) -> (Request, bool) {
        let statement = self.statement();
        let request = if self.rng.random_bool(0.3) {
            Request::Pipeline(vec![statement.sql])
        } else {
            Request::Message(statement.sql)
        };
        (request, statement.several)
    }

    /// Several statements that are one implicit transaction.
    fn together(&mut self, how: &str) -> (Request, bool) {
        let count = self.rng.random_range(2..=4);
        let all: Vec<Statement> = (0..count).map(|_| self.statement()).collect();
        let several = all.iter().any(|statement| statement.several);
        let texts: Vec<String> = all.into_iter().map(|statement| statement.sql).collect();
        let request = if how == "|" { Request::Pipeline(texts) } else { Request::Message(texts.join("; ")) };
        (request, several)
    }
}
