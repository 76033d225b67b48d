//! A log that is written and rotated while it is read: `app.log` is renamed to `app.log.1`, then `.2`, and a new one begun, as
//! logrotate does. Each line must come once, whatever its file is called by the time it is read.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::Client;

use crate::process::{describe, rows};
use crate::views::View;

/// Lines of one file; the next begins earlier now and then.
const LINES_PER_FILE: u64 = 200;

#[derive(Debug, Clone)]
pub struct RotatingLog {
    folder: PathBuf,
    /// Lines written so far: their ids are 0, 1, 2, …
    pub written: u64,
    in_file: u64,
    pub rotations: u64,
    rotates: bool,
}

impl RotatingLog {
    pub fn new(folder: &Path, rotates: bool) -> RotatingLog {
        std::fs::create_dir(folder).expect("a folder for the log");
        let mut log = RotatingLog { folder: folder.to_path_buf(), written: 0, in_file: 0, rotations: 0, rotates };
        log.append(10);
        log
    }

    pub fn source(&self) -> String {
        format!(
            "CREATE SOURCE IF NOT EXISTS lines (id bigint, v bigint) \
             WITH (connector = 'file', path = '{}', follow = 'true') FORMAT PLAIN ENCODE JSON",
            self.folder.display()
        )
    }

    /// Writes and rotates until told to stop.
    pub async fn write(mut self, stop: Arc<AtomicBool>, mut rng: StdRng) -> RotatingLog {
        while !stop.load(Ordering::Relaxed) {
            self.append(rng.random_range(1..30));
            if self.rotates && (self.in_file > LINES_PER_FILE || rng.random_bool(0.03)) {
                self.rotate();
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..10))).await;
        }
        self
    }

    fn append(&mut self, count: u64) {
        let lines: String =
            (self.written..self.written + count).map(|id| format!("{{\"id\":{id},\"v\":{}}}\n", v(id))).collect();
        let path = self.folder.join("app.log");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the log can be written");
        // Torn: a reader may meet half a line.
        let (first, second) = lines.as_bytes().split_at(lines.len() - 5);
        file.write_all(first).and_then(|()| file.write_all(second)).expect("the log can be written");
        self.written += count;
        self.in_file += count;
    }

    fn rotate(&mut self) {
        for number in (1..=self.rotations).rev() {
            let name = |number: u64| self.folder.join(format!("app.log.{number}"));
            std::fs::rename(name(number), name(number + 1)).expect("a rotated log can be renamed");
        }
        std::fs::rename(self.folder.join("app.log"), self.folder.join("app.log.1")).expect("the log can be renamed");
        self.rotations += 1;
        self.in_file = 0;
    }

    /// No line is there twice, and none that was not written. Returns whether all are there.
    pub async fn check(&self, client: &Client, when: &str) -> bool {
        let found = rows(client, "SELECT id, v FROM l_all").await;
        let found = found.unwrap_or_else(|error| panic!("{when}: {}", describe(&error)));
        let mut ids = BTreeSet::new();
        for row in &found {
            let cell = |i: usize| row[i].as_deref().and_then(|text| text.parse::<u64>().ok()).expect("a number");
            assert!(ids.insert(cell(0)), "{when}: line {} of the rotated log is there twice", cell(0));
            assert!(cell(0) < self.written && cell(1) == v(cell(0)), "{when}: nobody wrote line {row:?}");
        }
        ids.len() as u64 == self.written
    }
}

fn v(id: u64) -> u64 {
    id * 37 % 1_009
}

pub fn views() -> Vec<View> {
    vec![
        View::new("l_all", "SELECT id, v FROM lines"),
        View::new("l_total", "SELECT count(*) AS n, sum(v) AS total FROM lines"),
    ]
}
