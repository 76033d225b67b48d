//! One seed: a server, tables, views, steps of changes, and the comparison after each.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use crate::changes::{Changes, TABLES};
use crate::compare::difference;
use crate::process::{Options, Place, Server, describe, sorted};
use crate::views::{ALL, View};

const STEPS: u64 = 6;

/// What a run has done.
#[derive(Debug, Default)]
pub struct Done {
    pub changes: u64,
    pub compared: u64,
    pub rows_compared: u64,
    pub restarts: u64,
}

pub struct Run {
    seed: u64,
    rng: StdRng,
    options: Options,
    place: Place,
    changes: Changes,
    /// Everything sent, for a reduction by hand.
    script: String,
    done: Done,
}

impl Run {
    pub fn new(seed: u64) -> Run {
        let mut rng = StdRng::seed_from_u64(seed);
        let options = Options { workers: rng.random_range(1..4), checkpoint_interval_ms: 500 };
        Run {
            seed,
            rng,
            options,
            place: Place::new("oracle"),
            changes: Changes::new(),
            script: String::new(),
            done: Done::default(),
        }
    }

    pub async fn run(mut self) -> Done {
        let mut server = Server::start(&self.place, self.options);
        let mut client = server.connect().await;
        for table in TABLES {
            self.send(&client, table).await;
        }
        // Some views see all changes, others are built in between; views on views stay behind what they read.
        let mut waiting: Vec<View> = ALL.iter().flat_map(|views| views.iter().copied()).collect();
        let mut created: Vec<View> = vec![];
        for step in 0..STEPS {
            for view in waiting.extract_if(.., |_| self.rng.random_bool(0.5) || step + 2 >= STEPS).collect::<Vec<_>>() {
                self.create(&client, view, &mut created).await;
            }
            self.change(&server).await;
            if self.rng.random_bool(0.25) {
                server.kill();
                server = Server::start(&self.place, self.options);
                client = server.connect().await;
                self.done.restarts += 1;
                self.note("-- restart");
            }
            created.shuffle(&mut self.rng);
            for view in &created {
                self.compare(&client, view, step).await;
            }
            self.place.check_log();
        }
        self.done
    }

    /// Creates a view, and before it the view that it reads.
    async fn create(&mut self, client: &Client, view: View, created: &mut Vec<View>) {
        let words = |text: &'static str| text.split(|c: char| !c.is_alphanumeric());
        let all = ALL.iter().flat_map(|views| views.iter());
        let read = all.filter(|other| other.name != view.name && words(view.query).any(|word| word == other.name));
        for view in read.copied().chain([view]) {
            if !created.iter().any(|other| other.name == view.name) {
                self.send(client, &view.create()).await;
                created.push(view);
            }
        }
    }

    fn note(&mut self, statement: &str) {
        writeln!(self.script, "{statement};").expect("a string takes text");
    }

    async fn send(&mut self, client: &Client, statement: &str) {
        self.note(statement);
        if let Err(error) = client.batch_execute(statement).await {
            self.fail(&format!("{statement}: {}", describe(&error)));
        }
    }

    fn fail(&self, what: &str) -> ! {
        let path = self.place.path().join("script.sql");
        std::fs::write(&path, &self.script).expect("the script can be kept");
        panic!("seed {} ({:?}): {what}\nstatements: {}", self.seed, self.options, path.display());
    }

    /// One to three connections at once, a few statements each.
    async fn change(&mut self, server: &Server) {
        let mut tasks = vec![];
        for _ in 0..self.rng.random_range(1..4) {
            let mut statements = vec![];
            for _ in 0..self.rng.random_range(1..6) {
                match self.rng.random_bool(0.1) {
                    true => statements.extend(self.changes.block(&mut self.rng)),
                    false => statements.push(self.changes.statement(&mut self.rng)),
                }
            }
            self.note("-- connection");
            statements.iter().for_each(|statement| writeln!(self.script, "{statement};").expect("a string takes text"));
            self.done.changes += statements.len() as u64;
            let client = server.connect().await;
            tasks.push(tokio::spawn(async move {
                for statement in statements {
                    client
                        .batch_execute(&statement)
                        .await
                        .map_err(|error| format!("{statement}: {}", describe(&error)))?;
                }
                Ok::<(), String>(())
            }));
        }
        for task in tasks {
            if let Err(error) = task.await.expect("it does not panic") {
                self.fail(&error);
            }
        }
    }

    async fn compare(&mut self, client: &Client, view: &View, step: u64) {
        let found = sorted(client, &format!("SELECT * FROM {}", view.name)).await;
        let expected = sorted(client, &view.expected()).await;
        let difference = difference(&found, &expected);
        if !difference.is_empty() {
            self.fail(&format!("step {step}: view {} is not {}\n{difference}", view.name, view.expected()));
        }
        self.done.compared += 1;
        self.done.rows_compared += found.len() as u64;
    }
}
