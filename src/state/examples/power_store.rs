//! The store under test of the power-cut kit (tests/power): writes and acknowledges on stdout until the power fails,
//! or verifies what is left. The runner compares the two.
//!
//! `power_store run <kind> <dir> <seed> <operations>` and `power_store verify <kind> <dir>`; kinds: `store` (the whole
//! DurableStore under inserts, deletes, DDL, checkpoints and compaction), `sled` (the facts store alone) and `sled-raw`
//! (the same without our syncs, to see what they are for).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use serde_json::json;
use state::{
    BlockKind, Checkpoint, CompactionPolicy, DurableStore, FactsStatus, JournalEntry, Recovered, SledBackend,
    StateBackend, StateBlock, StateError, StoreOptions,
};
use types::ObjectId;

const INSERT: u8 = 1;
const DELETE: u8 = 2;
const FACT: u8 = 3;
const EPOCH: u8 = 4;
const WRITERS: u64 = 2;
/// Ids of writer w start at w × this.
const IDS_PER_WRITER: u64 = 1_000_000_000;
const SLOTS: u64 = 32;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["run", "store", dir, seed, operations] => run_store(Path::new(dir), number(seed), number(operations)),
        ["verify", "store", dir] => verify_store(Path::new(dir)),
        ["run", kind, dir, seed, operations] => run_sled(kind, Path::new(dir), number(seed), number(operations)),
        ["verify", kind, dir] => verify_sled(kind, Path::new(dir)),
        _ => Err("usage: power_store run|verify store|sled|sled-raw <dir> [<seed> <operations>]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            say(&format!("FAIL {error}{cause}"));
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("seed and operations are numbers")
}

/// One line to the runner, at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the runner listens");
}

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// `length` bytes that only `id` has.
fn filler(id: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(id + 1);
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// What a row of this id must hold; now and then larger than several sectors.
fn content(id: u64) -> Vec<u8> {
    filler(id, if id.is_multiple_of(17) { 9_000 } else { (id % 97) as usize })
}

/// The engine in miniature: what the state must be as of the newest journal entry.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u64, Vec<u8>>,
    facts: BTreeMap<u64, u64>,
    /// Changes since the last checkpoint: `None` = deleted.
    dirty: BTreeMap<u64, Option<Vec<u8>>>,
    epoch: u64,
}

impl Model {
    /// State of the manifest plus the entries after it; every inconsistency is an error.
    fn recover(recovered: &Recovered) -> Outcome<Model> {
        let mut model = Model::default();
        for block in recovered.state.blocks() {
            for batch in &block?.batches {
                model.apply_block(batch);
            }
        }
        if let Some(manifest) = &recovered.manifest {
            model.epoch = manifest.epoch;
            let summary = json!([model.rows.len(), model.rows.keys().fold(0, |x, id| x ^ id)]);
            if manifest.payload["rows"] != summary {
                return Err(format!("state {summary} is not the manifest's {}", manifest.payload["rows"]).into());
            }
            model.facts = serde_json::from_value(manifest.payload["facts"].clone())?;
        }
        for entry in &recovered.entries {
            model.apply_entry(entry)?;
        }
        for (id, bytes) in &model.rows {
            if *bytes != content(*id) {
                return Err(format!("row {id} has other contents").into());
            }
        }
        Ok(model)
    }

    fn apply_block(&mut self, batch: &RecordBatch) {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let contents = batch.column(1).as_binary::<i32>();
        let diffs = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let id = ids.value(row) as u64;
            match diffs.value(row) {
                1 => self.rows.insert(id, contents.value(row).to_vec()),
                _ => self.rows.remove(&id),
            };
        }
    }

    fn apply_entry(&mut self, entry: &JournalEntry) -> Outcome<()> {
        let word = |at: usize| -> Outcome<u64> {
            let bytes = entry.payload.get(at..at + 8).ok_or("short entry")?;
            Ok(u64::from_le_bytes(bytes.try_into()?))
        };
        match entry.kind {
            INSERT => {
                let id = word(0)?;
                if self.rows.insert(id, entry.payload[8..].to_vec()).is_some() {
                    return Err(format!("row {id} is there twice").into());
                }
                self.dirty.insert(id, Some(entry.payload[8..].to_vec()));
            }
            DELETE => {
                let id = word(0)?;
                if self.rows.remove(&id).is_none() {
                    return Err(format!("row {id} is deleted without being there").into());
                }
                self.dirty.insert(id, None);
            }
            FACT => drop(self.facts.insert(word(0)?, word(8)?)),
            EPOCH => self.epoch = word(0)?,
            other => return Err(format!("entry of unknown kind {other}").into()),
        }
        Ok(())
    }

    fn take_checkpoint(&mut self, store: &DurableStore) -> Checkpoint {
        self.epoch += 1;
        let dirty = std::mem::take(&mut self.dirty);
        let ids = Int64Array::from_iter_values(dirty.keys().map(|id| *id as i64));
        let contents = BinaryArray::from_iter_values(dirty.values().map(|c| c.as_deref().unwrap_or_default()));
        let diffs = Int64Array::from_iter_values(dirty.values().map(|c| if c.is_some() { 1 } else { -1 }));
        let columns = [
            ("id", Arc::new(ids) as ArrayRef),
            ("content", Arc::new(contents) as ArrayRef),
            ("__diff", Arc::new(diffs) as ArrayRef),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns have one length");
        let (relation, kind) = (ObjectId::FIRST_USER, BlockKind::Keyed { key_columns: 1 });
        let block = StateBlock { relation, operator: 0, table: 0, kind, vnode_columns: vec![0], batches: vec![batch] };
        let rows = json!([self.rows.len(), self.rows.keys().fold(0, |x, id| x ^ id)]);
        let payload = json!({ "rows": rows, "facts": self.facts });
        let (epoch, journal_position) = (self.epoch, store.journal().position());
        Checkpoint { epoch, incarnation: 1, journal_position, blocks: vec![vec![block]], payload }
    }

    fn facts(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.facts.iter().map(|(k, v)| (fact_key(*k), fact_value(*v))).collect()
    }
}

fn fact_key(key: u64) -> Vec<u8> {
    format!("fact/{key:04}").into_bytes()
}

/// Large enough to be stored in several parts.
fn fact_value(value: u64) -> Vec<u8> {
    value.to_string().repeat(if value.is_multiple_of(5) { 3_000 } else { 1 }).into_bytes()
}

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 48 * 1024,
        reserve_bytes: 64 * 1024,
        compaction: CompactionPolicy { delta_bytes_min: 1024, tier_runs: 3, ..CompactionPolicy::default() },
        ..StoreOptions::default()
    }
}

struct Run {
    store: DurableStore,
    model: Mutex<Model>,
}

impl Run {
    /// Journals one change and applies it, in one order for both.
    fn change(&self, kind: u8, payload: Vec<u8>) -> Outcome<u64> {
        loop {
            let mut model = self.model.lock().expect("no thread panics");
            match self.store.journal().append(kind, &payload) {
                // The client is told and comes again.
                Err(StateError::DiskFull { .. }) => say("full"),
                appended => {
                    let position = appended?;
                    model.apply_entry(&JournalEntry { position, kind, payload })?;
                    return Ok(position);
                }
            }
            drop(model);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn write_rows(&self, writer: u64, seed: u64, operations: u64) -> Outcome<()> {
        let mut random = Random::new(seed + 7 * writer);
        let first = writer * IDS_PER_WRITER;
        let last = {
            let model = self.model.lock().expect("no thread panics");
            model.rows.range(first..first + IDS_PER_WRITER).next_back().map(|(id, _)| *id)
        };
        let mut next = last.map_or(first, |id| id + 1);
        for _ in 0..operations {
            if random.below(6) == 0 && next > first + 10 {
                let id = next - 1 - random.below(10);
                let present = self.model.lock().expect("no thread panics").rows.contains_key(&id);
                // The newest row stays, for the next id is found from it.
                if present && id != next - 1 {
                    say(&format!("deleting {id}"));
                    let position = self.change(DELETE, id.to_le_bytes().to_vec())?;
                    self.store.journal().sync_up_to(position)?;
                    say(&format!("gone {id}"));
                }
                continue;
            }
            let batch = 1 + random.below(4);
            let mut position = 0;
            for id in next..next + batch {
                position = self.change(INSERT, [&id.to_le_bytes()[..], &content(id)].concat())?;
            }
            self.store.journal().sync_up_to(position)?;
            (next..next + batch).for_each(|id| say(&format!("row {id}")));
            next += batch;
        }
        Ok(())
    }

    fn ddl_and_checkpoints(&self, seed: u64, operations: u64) -> Outcome<()> {
        let mut random = Random::new(seed);
        for _ in 0..operations {
            match random.below(10) {
                0..4 => self.put_fact(random.below(50))?,
                4..6 => self.log_epoch()?,
                6..9 => {
                    let checkpoint = self.model.lock().expect("no thread panics").take_checkpoint(&self.store);
                    let epoch = checkpoint.epoch;
                    while let Err(error) = self.store.commit_checkpoint(checkpoint.clone()) {
                        match error {
                            StateError::DiskFull { .. } => say("full"),
                            other => return Err(other.into()),
                        }
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                    say(&format!("checkpoint {epoch}"));
                }
                _ => match self.store.compact_once() {
                    // Nothing is lost: it is tried again when there is space.
                    Err(StateError::DiskFull { .. }) => say("full"),
                    other => drop(other?),
                },
            }
        }
        Ok(())
    }

    fn log_epoch(&self) -> Outcome<()> {
        let mut model = self.model.lock().expect("no thread panics");
        model.epoch += 1;
        match self.store.journal().append_lazy(EPOCH, &model.epoch.to_le_bytes()) {
            Err(StateError::DiskFull { .. }) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// What DDL does: journal, sync, then the facts store, then the answer.
    fn put_fact(&self, key: u64) -> Outcome<()> {
        let value = self.model.lock().expect("no thread panics").facts.get(&key).map_or(1, |value| value + 1);
        let position = self.change(FACT, [key.to_le_bytes(), value.to_le_bytes()].concat())?;
        self.store.journal().sync_up_to(position)?;
        self.store.put_facts(&[(fact_key(key), Some(fact_value(value)))]);
        say(&format!("fact {key} {value}"));
        Ok(())
    }
}

fn run_store(dir: &Path, seed: u64, operations: u64) -> Outcome<()> {
    let (store, recovered) = DurableStore::open(dir, options())?;
    let model = Model::recover(&recovered)?;
    store.rebuild_facts(&model.facts());
    say("begin");
    let run = Run { store, model: Mutex::new(model) };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| {
                scope.spawn({
                    let run = &run;
                    move || run.write_rows(writer, seed, operations)
                })
            })
            .collect();
        run.ddl_and_checkpoints(seed, operations)?;
        writers.into_iter().try_for_each(|writer| writer.join().expect("no thread panics"))
    })
}

fn verify_store(dir: &Path) -> Outcome<()> {
    let (store, recovered) = DurableStore::open(dir, options())?;
    let model = Model::recover(&recovered)?;
    match &recovered.facts {
        FactsStatus::Intact => say("facts intact"),
        FactsStatus::Replaced { reason } => say(&format!("facts replaced {reason}")),
    }
    for (key, value) in store.facts(b"fact/")? {
        let key: u64 = std::str::from_utf8(&key[b"fact/".len()..])?.parse()?;
        let known = (1..=model.facts.get(&key).copied().unwrap_or(0)).rev().find(|v| fact_value(*v) == value);
        say(&format!("kept {key} {}", known.ok_or("a fact was never put like that")?));
    }
    store.rebuild_facts(&model.facts());
    if store.facts(b"fact/")? != model.facts() {
        return Err("rebuilt facts differ".into());
    }
    model.rows.keys().for_each(|id| say(&format!("row {id}")));
    model.facts.iter().for_each(|(key, value)| say(&format!("fact {key} {value}")));
    say(&format!("checkpoint {}", store.newest_epoch()));
    say("OK");
    Ok(())
}

fn open_sled(kind: &str, dir: &Path) -> Outcome<SledBackend> {
    let dir = &dir.join("facts");
    Ok(match kind {
        "sled" => SledBackend::open(dir)?,
        "sled-raw" => SledBackend::open_without_sync(dir)?,
        other => return Err(format!("unknown kind {other}").into()),
    })
}

fn row_key(n: u64) -> Vec<u8> {
    format!("a{n:012}").into_bytes()
}

fn slot_key(n: u64) -> Vec<u8> {
    format!("b{:04}", n % SLOTS).into_bytes()
}

fn newest(backend: &dyn StateBackend) -> Result<u64, StateError> {
    let value = backend.get(b"n")?;
    Ok(value.map_or(0, |value| u64::from_le_bytes(value.try_into().expect("the counter has eight bytes"))))
}

/// Each commit: one new row, one of a few large slots overwritten, the counter.
fn run_sled(kind: &str, dir: &Path, _seed: u64, operations: u64) -> Outcome<()> {
    let backend = open_sled(kind, dir)?;
    let last = newest(&backend)?;
    say("begin");
    for n in last + 1..=last + operations {
        let slot = [&n.to_le_bytes()[..], &filler(n, 3_000)].concat();
        backend.put_all(&[
            (row_key(n), Some(filler(n, 200))),
            (slot_key(n), Some(slot)),
            (b"n".to_vec(), Some(n.to_le_bytes().to_vec())),
        ])?;
        say(&format!("n {n}"));
    }
    Ok(())
}

fn verify_sled(kind: &str, dir: &Path) -> Outcome<()> {
    let backend = open_sled(kind, dir)?;
    let last = newest(&backend)?;
    for n in 1..=last {
        if backend.get(&row_key(n))? != Some(filler(n, 200)) {
            return Err(format!("row {n} of {last} is missing or wrong").into());
        }
    }
    if backend.get(&row_key(last + 1))?.is_some() {
        return Err(format!("row {} is there, the counter says {last}", last + 1).into());
    }
    for n in last.saturating_sub(SLOTS - 1).max(1)..=last {
        if backend.get(&slot_key(n))? != Some([&n.to_le_bytes()[..], &filler(n, 3_000)].concat()) {
            return Err(format!("slot of {n} (of {last}) is wrong").into());
        }
    }
    say(&format!("n {last}"));
    say("OK");
    Ok(())
}
