//! Random statements over one table: few keys and small numbers, so that sessions meet.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::tables::{Column, Kind, Table};

pub struct Statement {
    pub sql: String,
    /// It may lock more than one row.
    pub several: bool,
}

fn one(sql: String) -> Statement {
    Statement { sql, several: false }
}

fn many(sql: String) -> Statement {
    Statement { sql, several: true }
}

/// How narrow a schedule is: the narrower, the more its sessions wait for each other.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Values of each column of a key.
    pub keys: usize,
    /// The share of statements over several rows. While one of them waits the others can only end their blocks.
    pub wide: f64,
    /// Whether there is ON CONFLICT.
    pub conflicts: bool,
    /// And DO UPDATE.
    pub upserts: bool,
}

const LETTERS: [&str; 6] = ["u", "v", "w", "x", "y", "z"];

/// A value that fits a column of the key.
fn key_value(rng: &mut StdRng, column: &Column, style: Style) -> String {
    match column.kind {
        Kind::Int => rng.random_range(1..=style.keys).to_string(),
        Kind::Text => format!("'{}'", LETTERS[rng.random_range(0..style.keys)]),
    }
}

fn value(rng: &mut StdRng, style: Style, column: &Column) -> String {
    if column.nullable && rng.random_bool(0.08) {
        return "NULL".to_owned();
    }
    match column.kind {
        // What stands for a key where there is none.
        Kind::Int if column.name == "x" => key_value(rng, column, style),
        Kind::Int => rng.random_range(0..10).to_string(),
        Kind::Text => format!("'{}'", LETTERS.choose(rng).expect("six")),
    }
}

fn row(rng: &mut StdRng, style: Style, table: &Table) -> String {
    let key: Vec<String> = table.key.iter().map(|column| key_value(rng, column, style)).collect();
    let others: Vec<String> = table.others.iter().map(|column| value(rng, style, column)).collect();
    format!("({})", [key, others].concat().join(", "))
}

/// Rows for the start, without equal keys.
pub fn filling(rng: &mut StdRng, style: Style, table: &Table) -> String {
    let mut rows: Vec<String> = vec![];
    for _ in 0..style.keys * rng.random_range(0..=4) {
        let row = row(rng, style, table);
        let same_key = |other: &String| {
            let key = |row: &str| row.split(", ").take(table.key.len()).map(str::to_owned).collect::<Vec<_>>();
            !table.key.is_empty() && key(other) == key(&row)
        };
        if !rows.iter().any(same_key) {
            rows.push(row);
        }
    }
    rows.join(", ")
}

pub fn random(rng: &mut StdRng, style: Style, table: &'static Table, all: &[&'static Table]) -> Statement {
    match rng.random_range(0..100) {
        0..=21 => insert(rng, style, table),
        22..=27 if style.wide > 0.0 => insert_select(rng, style, table, all),
        22..=63 => update(rng, style, table),
        64..=72 => delete(rng, style, table),
        73..=91 => select(rng, style, table),
        92..=95 => update(rng, style, table),
        _ => failing(rng, style, table),
    }
}

fn returning(rng: &mut StdRng, sql: String) -> String {
    if rng.random_bool(0.15) { format!("{sql} RETURNING *") } else { sql }
}

fn insert(rng: &mut StdRng, style: Style, table: &Table) -> Statement {
    let count = if rng.random_bool(style.wide) { rng.random_range(2..=3) } else { 1 };
    let rows: Vec<String> = (0..count).map(|_| row(rng, style, table)).collect();
    let mut sql = format!("INSERT INTO {} VALUES {}", table.name, rows.join(", "));
    let key: Vec<&str> = table.key.iter().map(|column| column.name).collect();
    if !key.is_empty() && style.conflicts {
        let target = format!("({})", key.join(", "));
        let name = table.name;
        sql += &match rng.random_range(0..100) {
            0..=34 => String::new(),
            35..=46 => " ON CONFLICT DO NOTHING".to_owned(),
            47..=57 => format!(" ON CONFLICT {target} DO NOTHING"),
            58..=78 if style.upserts => format!(" ON CONFLICT {target} DO UPDATE SET a = excluded.a"),
            79..=92 if style.upserts => format!(" ON CONFLICT {target} DO UPDATE SET a = {name}.a + excluded.a"),
            _ if !style.upserts => String::new(),
            _ => format!(" ON CONFLICT {target} DO UPDATE SET a = {name}.a + 1 WHERE {name}.a < 5"),
        };
    }
    Statement { sql: returning(rng, sql), several: count > 1 }
}

fn insert_select(rng: &mut StdRng, style: Style, table: &Table, all: &[&'static Table]) -> Statement {
    let condition = condition(rng, style, table, true);
    let name = table.name;
    let list = match name {
        "acct" => "id + 10, a, b",
        "word" => "k || 'k', a",
        "pair" => "x + 10, y, a",
        _ => "x, a",
    };
    // From another table of the schedule, into the one without a key.
    if let Some(source) = all.iter().find(|other| name == "bag" && !other.key.is_empty()) {
        return many(format!("INSERT INTO bag SELECT a, 1 FROM {}", source.name));
    }
    many(format!("INSERT INTO {name} SELECT {list} FROM {name}{condition}"))
}

/// ` WHERE …`; several rows unless the whole key is given.
fn condition(rng: &mut StdRng, style: Style, table: &Table, several: bool) -> String {
    if !several {
        let parts: Vec<String> =
            table.key.iter().map(|column| format!("{} = {}", column.name, key_value(rng, column, style))).collect();
        return format!(" WHERE {}", parts.join(" AND "));
    }
    let n = rng.random_range(0..10);
    let first = table.key.first().unwrap_or(&table.others[0]);
    let column = first.name;
    match rng.random_range(0..10) {
        0..=1 => String::new(),
        2..=3 => format!(" WHERE a > {n}"),
        4 => format!(" WHERE a = {n} OR a IS NULL"),
        5 => format!(" WHERE a BETWEEN {} AND {n}", n / 2),
        6..=7 => format!(" WHERE {column} = {}", key_value(rng, first, style)),
        8 => format!(" WHERE {column} IN ({}, {})", key_value(rng, first, style), key_value(rng, first, style)),
        _ => format!(" WHERE {column} >= {}", key_value(rng, first, style)),
    }
}

fn update(rng: &mut StdRng, style: Style, table: &Table) -> Statement {
    let several = table.key.is_empty() || rng.random_bool(style.wide);
    let set = match rng.random_range(0..100) {
        0..=39 => "a = a + 1".to_owned(),
        40..=54 => "a = a * 2 - 3".to_owned(),
        55..=74 => format!("a = {}", rng.random_range(0..10)),
        75..=84 => format!("a = coalesce(a, 0) + {}", rng.random_range(1..5)),
        _ => match table.key.first() {
            // One row to another key, or all far away: no pass through a duplicate.
            Some(column) if !several => format!("{} = {}", column.name, key_value(rng, column, style)),
            Some(column) if column.kind == Kind::Int => format!("{0} = {0} + 100", column.name),
            Some(column) => format!("{0} = {0} || '!'", column.name),
            None => "x = x + 1".to_owned(),
        },
    };
    let sql = format!("UPDATE {} SET {set}{}", table.name, condition(rng, style, table, several));
    Statement { sql: returning(rng, sql), several }
}

fn delete(rng: &mut StdRng, style: Style, table: &Table) -> Statement {
    let several = table.key.is_empty() || rng.random_bool(style.wide);
    let sql = format!("DELETE FROM {}{}", table.name, condition(rng, style, table, several));
    Statement { sql: returning(rng, sql), several }
}

fn select(rng: &mut StdRng, style: Style, table: &Table) -> Statement {
    let condition = {
        let several = table.key.is_empty() || rng.random_bool(0.6);
        condition(rng, style, table, several)
    };
    one(match rng.random_range(0..3) {
        0 => format!("SELECT count(*), sum(a) FROM {}{condition}", table.name),
        _ => format!("SELECT * FROM {}{condition}", table.name),
    })
}

fn failing(rng: &mut StdRng, style: Style, table: &Table) -> Statement {
    let name = table.name;
    one(match rng.random_range(0..5) {
        0 if !table.key.is_empty() => {
            format!("UPDATE {name} SET a = 10 / (a - a){}", condition(rng, style, table, false))
        }
        1 if !table.key.is_empty() => {
            let columns: Vec<&str> = table.key.iter().map(|column| column.name).collect();
            let nulls = vec!["NULL"; columns.len()];
            format!("INSERT INTO {name} ({}) VALUES ({})", columns.join(", "), nulls.join(", "))
        }
        2 => "SELECT 1 / 0".to_owned(),
        3 => format!("SELECT nowhere FROM {name}"),
        _ => format!("INSERT INTO {name} (a) VALUES ('one')"),
    })
}
