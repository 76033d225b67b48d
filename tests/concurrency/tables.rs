//! The tables that schedules work on: keys of an int, a text, two columns, and none; each with views over it.
//!
//! Names occur nowhere else in a statement, so that a runner can replace them by those of its own copies.

/// A table and what the generator must know of it.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static str,
    pub key: &'static [Column],
    pub others: &'static [Column],
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
}

const fn int(name: &'static str, nullable: bool) -> Column {
    Column { name, kind: Kind::Int, nullable }
}

const fn text(name: &'static str, nullable: bool) -> Column {
    Column { name, kind: Kind::Text, nullable }
}

/// Every table has a column `a` of integers that is not part of its key.
pub const TABLES: [Table; 4] = [
    Table {
        name: "acct",
        columns: "(id int PRIMARY KEY, a int, b text)",
        key: &[int("id", false)],
        others: &[int("a", true), text("b", true)],
    },
    Table {
        name: "word",
        columns: "(k text PRIMARY KEY, a int NOT NULL)",
        key: &[text("k", false)],
        others: &[int("a", false)],
    },
    Table {
        name: "pair",
        columns: "(x int, y text, a int, PRIMARY KEY (x, y))",
        key: &[int("x", false), text("y", false)],
        others: &[int("a", true)],
    },
    Table { name: "bag", columns: "(x int, a int)", key: &[], others: &[int("x", true), int("a", true)] },
];

/// Names of the views of a table, without the table's own, and their queries.
pub const VIEWS: [(&str, &str); 3] = [
    ("_all", "SELECT * FROM "),
    ("_sum", "SELECT count(*) AS n, sum(a) AS a, count(a) AS c FROM "),
    ("_by", "SELECT a, count(*) AS n FROM TABLE GROUP BY a"),
];

pub fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("{name} is no table of schedules"))
}

/// The query of a view.
pub fn view_query(query: &str, table: &str) -> String {
    if query.contains("TABLE") { query.replace("TABLE", table) } else { format!("{query}{table}") }
}

/// The statement with every table's name followed by `suffix`.
pub fn rename(sql: &str, suffix: &str) -> String {
    TABLES.iter().fold(sql.to_owned(), |sql, table| sql.replace(table.name, &format!("{}{suffix}", table.name)))
}
