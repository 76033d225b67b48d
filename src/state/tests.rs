//! The store as a whole: crashes at every step of a commit, damage, refusals, compaction.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use types::{ObjectId, ToSqlState};

use crate::run::tests::{block, rows};
use crate::*;

/// A directory that goes away by itself; in memory where possible, for these tests wait for thousands of syncs.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.unwrap()
}

/// Plain files as (name, path), sorted.
pub(crate) fn list_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, StateError> {
    let files = disk::Files::real().list_files(dir)?;
    Ok(files.into_iter().map(|(name, path, _)| (name, path)).collect())
}

pub(crate) const KEYED: BlockKind = BlockKind::Keyed { key_columns: 1 };

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        facts: FactsBackend::Memory,
        reserve_bytes: 0,
        segment_bytes: 256,
        compaction: CompactionPolicy { delta_bytes_min: 0, ..CompactionPolicy::default() },
        on_fatal: Arc::new(|error| panic!("unexpected fatal error: {error}")),
        ..StoreOptions::default()
    }
}

fn open(dir: &Path) -> (DurableStore, Recovered) {
    DurableStore::open(dir, options()).unwrap()
}

fn checkpoint(store: &DurableStore, epoch: u64, blocks: Vec<StateBlock>) -> CheckpointStats {
    store.commit_checkpoint(checkpoint_of(epoch, store.journal().position(), blocks)).unwrap()
}

pub(crate) fn checkpoint_of(epoch: u64, journal_position: u64, blocks: Vec<StateBlock>) -> Checkpoint {
    Checkpoint { epoch, incarnation: 1, journal_position, blocks: vec![blocks], payload: json!({ "epoch": epoch }) }
}

/// Applies all blocks as an operator would: operator 1 is keyed, operator 2 a multiset.
pub(crate) fn restore(
    state: &StateReader,
) -> Result<(BTreeMap<i64, String>, BTreeMap<(i64, String), i64>), StateError> {
    let (mut keyed, mut multiset) = (BTreeMap::new(), BTreeMap::new());
    for block in state.blocks() {
        let block = block?;
        for (key, value, diff) in rows(&block) {
            match block.kind {
                BlockKind::Keyed { .. } if diff > 0 => drop(keyed.insert(key, value)),
                BlockKind::Keyed { .. } => drop(keyed.remove(&key)),
                BlockKind::Multiset => *multiset.entry((key, value)).or_insert(0) += diff,
            }
        }
    }
    multiset.retain(|_, weight| *weight != 0);
    Ok((keyed, multiset))
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A store with two checkpoints and entries after the second.
fn example(dir: &Path) -> DurableStore {
    let (store, recovered) = open(dir);
    assert_eq!(recovered.manifest, None);
    store.journal().append(1, b"one").unwrap();
    checkpoint(&store, 10, vec![block(1, KEYED, &[(1, "a", 1), (2, "b", 1)])]);
    store.journal().append(1, b"two").unwrap();
    checkpoint(&store, 20, vec![block(1, KEYED, &[(2, "", -1), (3, "c", 1)])]);
    let position = store.journal().append(1, b"three").unwrap();
    store.journal().sync_up_to(position).unwrap();
    store
}

fn expect_example(recovered: &Recovered) {
    let manifest = recovered.manifest.as_ref().unwrap();
    assert_eq!((manifest.epoch, manifest.incarnation, &manifest.payload), (20, 1, &json!({ "epoch": 20 })));
    let keyed = restore(&recovered.state).unwrap().0;
    assert_eq!(keyed, BTreeMap::from([(1, "a".to_owned()), (3, "c".to_owned())]));
    let entries: Vec<_> = recovered.entries.iter().map(|e| (e.position, &e.payload[..])).collect();
    assert_eq!(entries, [(3, &b"three"[..])]);
}

#[test]
fn reopening_finds_the_newest_checkpoint_and_the_journal_after_it() {
    let dir = scratch();
    drop(example(dir.path()));
    let (store, recovered) = open(dir.path());
    expect_example(&recovered);
    assert_eq!(store.newest_epoch(), 20);
    assert_eq!(recovered.state.relations(), [ObjectId(16384)]);
    assert_eq!(recovered.state.blocks_of(ObjectId(1)).count(), 0);
    assert_eq!(recovered.state.blocks_of(ObjectId(16384)).count(), 2);
}

/// A copy of the directory at each step is what a crash there leaves: the old checkpoint or the new one.
#[test]
fn crash_at_every_step_gives_the_old_or_the_new_checkpoint() {
    let dir = scratch();
    drop(example(dir.path()));
    let copies = Arc::new(Mutex::new(vec![]));
    let (from, into) = (dir.path().to_path_buf(), copies.clone());
    let on_step = move |step: CommitStep| {
        let copy = scratch();
        copy_tree(&from, copy.path());
        into.lock().unwrap().push((step, copy));
    };
    let (store, _) =
        DurableStore::open(dir.path(), StoreOptions { on_step: Some(Arc::new(on_step)), ..options() }).unwrap();
    for epoch in [30, 40, 50] {
        store.journal().append(1, format!("entry for {epoch}").as_bytes()).unwrap();
        if epoch == 40 {
            store.compact_once().unwrap().expect("deltas outweigh the base");
        }
        checkpoint(&store, epoch, vec![block(1, KEYED, &[(epoch as i64, "new", 1)])]);
    }
    let copies = copies.lock().unwrap();
    let steps: std::collections::BTreeSet<CommitStep> = copies.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps.len(), 8, "every step was seen");
    let (mut base, mut seen) = (20, 0);
    for (step, copy) in copies.iter() {
        let (store, recovered) = open(copy.path());
        let new = base + 10;
        let epoch = if *step < CommitStep::CurrentSwitched { base } else { new };
        assert_eq!(store.newest_epoch(), epoch, "after {step:?}");
        let keyed = restore(&recovered.state).unwrap().0;
        let expected: Vec<i64> = [1, 3].into_iter().chain((30..=epoch as i64).step_by(10)).collect();
        assert_eq!(keyed.into_keys().collect::<Vec<_>>(), expected, "after {step:?}");
        assert_eq!(recovered.entries.is_empty(), epoch == new, "after {step:?}: {:?}", recovered.entries);
        // The store goes on from there.
        checkpoint(&store, 100, vec![block(1, KEYED, &[(100, "later", 1)])]);
        drop(store);
        assert!(restore(&open(copy.path()).1.state).unwrap().0.contains_key(&100));
        if *step == CommitStep::JournalTruncated {
            base = new;
        }
        seen += 1;
    }
    assert!(seen >= 24);
}

#[test]
fn damage_to_the_newest_checkpoint_falls_back_to_the_one_before() {
    let dir = scratch();
    drop(example(dir.path()));
    let newest_run = list_files(&dir.path().join("runs")).unwrap().pop().unwrap().1;
    let newest_manifest = list_files(&dir.path().join("manifests")).unwrap().pop().unwrap().1;
    for victim in [newest_run, newest_manifest] {
        let bytes = fs::read(&victim).unwrap();
        for byte in (0..bytes.len()).step_by(9) {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1 << (byte % 8);
            fs::write(&victim, flipped).unwrap();
            let copy = scratch();
            copy_tree(dir.path(), copy.path());
            let (store, recovered) = open(copy.path());
            assert_eq!(store.newest_epoch(), 10, "{} byte {byte}", victim.display());
            assert_eq!(recovered.entries.len(), 2, "the journal reaches back to the older checkpoint");
            checkpoint(&store, 30, vec![block(1, KEYED, &[(4, "d", 1)])]);
            drop(store);
            assert_eq!(open(copy.path()).0.newest_epoch(), 30);
        }
        fs::write(&victim, bytes).unwrap();
    }
}

#[test]
fn damaged_pointers_never_lose_a_checkpoint_that_is_there() {
    let dir = scratch();
    drop(example(dir.path()));
    for name in ["CURRENT-A", "CURRENT-B"] {
        let path = dir.path().join(name);
        let bytes = fs::read(&path).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            // A torn pointer is what a crash in the commit leaves, so the other one counts: the same state is
            // reached through the older checkpoint and the journal.
            let (store, recovered) = open(dir.path());
            assert!([10, 20].contains(&store.newest_epoch()));
            let replayed = recovered.manifest.unwrap().journal_position + recovered.entries.len() as u64;
            assert_eq!(replayed, 3, "nothing is missing");
        }
        fs::write(&path, bytes).unwrap();
    }
    fs::remove_file(dir.path().join("CURRENT-A")).unwrap();
    fs::remove_file(dir.path().join("CURRENT-B")).unwrap();
    expect_example(&open(dir.path()).1);
}

#[test]
fn files_without_a_manifest_are_refused_and_kept() {
    let dir = scratch();
    drop(example(dir.path()));
    let refuse = |change: &dyn Fn(&Path)| {
        let copy = scratch();
        copy_tree(dir.path(), copy.path());
        change(copy.path());
        let before = list_files(&copy.path().join("runs")).unwrap();
        let error = DurableStore::open(copy.path(), options()).err().expect("refused");
        assert_eq!(error.sql_state().code(), "XX001", "{error}");
        assert_eq!(list_files(&copy.path().join("runs")).unwrap(), before, "nothing is deleted");
        error
    };
    refuse(&|dir| fs::remove_dir_all(dir.join("manifests")).unwrap());
    refuse(&|dir| fs::remove_file(dir.join("FORMAT")).unwrap());
    refuse(&|dir| fs::remove_dir_all(dir.join("journal")).unwrap());
    refuse(&|dir| fs::write(dir.join("FORMAT"), "highwater data directory\nformat x\n").unwrap());
    let error = refuse(&|dir| {
        for (_, path) in list_files(&dir.join("manifests")).unwrap() {
            fs::write(path, "damaged").unwrap();
        }
    });
    assert!(matches!(error, StateError::NoValidManifest { .. }), "{error}");
    let error = refuse(&|dir| {
        for (_, path) in list_files(&dir.join("runs")).unwrap() {
            fs::write(path, "damaged").unwrap();
        }
        fs::remove_file(dir.join("manifests/0000000001")).unwrap();
    });
    assert!(matches!(error, StateError::NoValidManifest { .. }), "{error}");
}

#[test]
fn second_opener_is_refused() {
    let dir = scratch();
    let store = example(dir.path());
    let error = DurableStore::open(dir.path(), options()).err().expect("refused");
    assert!(matches!(error, StateError::InUse { .. }));
    assert_eq!(error.sql_state().code(), "55006");
    drop(store);
    open(dir.path());
}

#[test]
fn newer_format_is_refused() {
    let dir = scratch();
    drop(example(dir.path()));
    fs::write(dir.path().join("FORMAT"), "highwater data directory\nformat 2\n").unwrap();
    let error = DurableStore::open(dir.path(), options()).err().expect("refused");
    assert!(matches!(error, StateError::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn interrupted_creation_is_completed() {
    let dir = scratch();
    drop(open(dir.path()));
    fs::remove_file(dir.path().join("FORMAT")).unwrap();
    drop(example(dir.path()));
    expect_example(&open(dir.path()).1);
}

#[test]
fn directory_is_private_and_created_with_its_parents() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    let nested = dir.path().join("a/b/data");
    drop(open(&nested));
    assert_eq!(fs::metadata(&nested).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(nested.join("FORMAT")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn old_files_go_when_no_kept_manifest_needs_them() {
    let dir = scratch();
    let (store, _) = open(dir.path());
    for epoch in 1..=80 {
        store.journal().append(1, &[7; 100]).unwrap();
        checkpoint(&store, epoch, vec![block(1, KEYED, &[(epoch as i64 % 5, "v", 1)])]);
        store.compact_once().unwrap();
    }
    let count = |name: &str| list_files(&dir.path().join(name)).unwrap().len();
    assert_eq!(count("manifests"), types::limits::MANIFESTS_KEPT);
    assert!(count("runs") < 12, "{} runs", count("runs"));
    assert!(count("journal") < 6, "{} segments", count("journal"));
    drop(store);
    assert_eq!(restore(&open(dir.path()).1.state).unwrap().0.len(), 5);
}

#[test]
fn dropped_relations_leave_even_while_being_compacted() {
    let dir = scratch();
    let (store, _) = open(dir.path());
    let mut other = block(9, KEYED, &[(1, "other", 1)]);
    other.relation = ObjectId(20000);
    for epoch in 1..=3 {
        checkpoint(&store, epoch, vec![block(1, KEYED, &[(epoch as i64, "v", 1)]), other.clone()]);
    }
    assert_eq!(store.compact_once().unwrap().expect("deltas outweigh the base").tables, 2);
    store.drop_relations(&[ObjectId(20000)]);
    checkpoint(&store, 4, vec![]);
    drop(store);
    let recovered = open(dir.path()).1;
    assert_eq!(recovered.state.relations(), [ObjectId(16384)]);
    assert_eq!(restore(&recovered.state).unwrap().0.len(), 3);
}

#[test]
fn dropped_relation_that_is_built_anew_holds_only_what_comes_after() {
    let dir = scratch();
    let (store, _) = open(dir.path());
    checkpoint(&store, 1, vec![block(2, BlockKind::Multiset, &[(1, "old", 1)])]);
    store.drop_relations(&[ObjectId(16384)]);
    checkpoint(&store, 2, vec![block(2, BlockKind::Multiset, &[(1, "new", 1)])]);
    checkpoint(&store, 3, vec![block(2, BlockKind::Multiset, &[(2, "new", 1)])]);
    drop(store);
    let multiset = restore(&open(dir.path()).1.state).unwrap().1;
    assert_eq!(multiset, BTreeMap::from([((1, "new".to_owned()), 1), ((2, "new".to_owned()), 1)]));
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Whatever is compacted, committed, reopened or crashed in between, restoring gives the sum of all changes.
#[test]
fn compaction_never_changes_the_state() {
    for seed in 1..=12 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let dir = scratch();
        // Of some seeds whole tables are merged, of others mostly their newest changes.
        let (delta_ratio, tier_runs) = ([1.0, 8.0, 1e9][seed as usize % 3], 2 + seed as usize % 4);
        let compaction = CompactionPolicy { delta_ratio, tier_runs, delta_bytes_min: 0, live_ratio_min: 0.0 };
        let open =
            |dir: &Path| DurableStore::open(dir, StoreOptions { compaction: compaction.clone(), ..options() }).unwrap();
        let (mut store, _) = open(dir.path());
        let (mut keyed, mut multiset) = (BTreeMap::new(), BTreeMap::<(i64, String), i64>::new());
        for epoch in 1..=40 {
            let mut changes: [Vec<(i64, String, i64)>; 2] = Default::default();
            for _ in 0..random.below(12) {
                let (key, value) = (random.below(8) as i64, random.below(3).to_string());
                let diff = if random.below(3) == 0 { -1 } else { 1 };
                match diff {
                    1 => drop(keyed.insert(key, value.clone())),
                    _ => drop(keyed.remove(&key)),
                }
                *multiset.entry((key, value.clone())).or_insert(0) += diff * 2;
                changes[0].push((key, value.clone(), diff));
                changes[1].push((key, value, diff * 2));
            }
            let borrowed =
                changes.each_ref().map(|c| c.iter().map(|(k, v, d)| (*k, v.as_str(), *d)).collect::<Vec<_>>());
            checkpoint(&store, epoch, vec![block(1, KEYED, &borrowed[0]), block(2, BlockKind::Multiset, &borrowed[1])]);
            if random.below(3) == 0 {
                store.compact_once().unwrap();
            }
            if random.below(6) == 0 {
                drop(store);
                store = open(dir.path()).0;
            }
        }
        drop(store);
        multiset.retain(|_, weight| *weight != 0);
        assert_eq!(restore(&open(dir.path()).1.state).unwrap(), (keyed, multiset), "seed {seed}");
    }
}

/// A few changed rows per checkpoint cost in merges what they are, not what the table is.
#[test]
fn trickle_into_a_large_table_never_rewrites_it() {
    let dir = scratch();
    let (store, _) = DurableStore::open(
        dir.path(),
        StoreOptions { compaction: CompactionPolicy::default(), segment_bytes: 1 << 20, ..options() },
    )
    .unwrap();
    let text = |key: i64| format!("{:x}", (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)).repeat(4);
    let rows = |keys: std::ops::Range<i64>| keys.map(|key| (key, text(key))).collect::<Vec<_>>();
    let put = |epoch: u64, rows: &[(i64, String)]| {
        let rows: Vec<(i64, &str, i64)> = rows.iter().map(|(key, text)| (*key, text.as_str(), 1)).collect();
        checkpoint(&store, epoch, vec![block(1, KEYED, &rows)]).bytes_written
    };
    let table_bytes = put(1, &rows(0..50_000));
    let mut expected: BTreeMap<i64, String> = rows(0..50_000).into_iter().collect();
    let (mut written, mut merged, mut blocks_max) = (0, 0, 0);
    for epoch in 2..=300 {
        let from = (epoch as i64 * 7_919) % 50_000;
        written += put(epoch, &rows(from..from + 20));
        expected.extend(rows(from..from + 20));
        if let Some(stats) = store.compact_once().unwrap() {
            (merged, blocks_max) = (merged + stats.bytes_after, blocks_max.max(stats.blocks_before));
        }
    }
    assert!(written * 2 < table_bytes, "{written} of {table_bytes}: no trickle");
    assert!(merged < 4 * written, "{merged} bytes were merged for {written} bytes of changes");
    assert!(blocks_max <= 16, "{blocks_max} blocks were merged at once");
    drop(store);
    let recovered = open(dir.path()).1;
    assert!(recovered.state.blocks().count() < 30, "few blocks are left to read");
    assert!(restore(&recovered.state).unwrap().0 == expected);
}

#[test]
fn facts_are_rebuilt_and_survive() {
    let dir = scratch();
    let sled = || StoreOptions { facts: FactsBackend::Sled, ..options() };
    let fact = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    {
        let (store, recovered) = DurableStore::open(dir.path(), sled()).unwrap();
        assert_eq!(recovered.facts, FactsStatus::Intact);
        store.rebuild_facts(&[fact("a", "1"), fact("b", "2")]);
        checkpoint(&store, 1, vec![]);
        store.rebuild_facts(&[fact("b", "3")]);
    }
    {
        let (store, _) = DurableStore::open(dir.path(), sled()).unwrap();
        assert_eq!(store.facts(b"").unwrap(), [fact("b", "3")]);
        store.put_facts(&[(b"large".to_vec(), Some(vec![7; 20_000])), (b"b".to_vec(), None)]);
        assert_eq!(store.facts(b"").unwrap(), [(b"large".to_vec(), vec![7; 20_000])]);
    }
    for (_, path) in list_files(&dir.path().join("facts")).unwrap() {
        fs::write(path, [0xFF; 4096]).unwrap();
    }
    let (store, recovered) = DurableStore::open(dir.path(), sled()).unwrap();
    assert!(matches!(recovered.facts, FactsStatus::Replaced { .. }));
    assert_eq!(store.newest_epoch(), 1);
    store.rebuild_facts(&[fact("b", "3")]);
}

#[test]
fn in_memory_store_has_the_same_behaviour() {
    let (store, recovered) = DurableStore::in_memory();
    assert_eq!(recovered.manifest, None);
    store.journal().append(1, b"row").unwrap();
    checkpoint(&store, 5, vec![block(1, KEYED, &[(1, "a", 1)])]);
    assert_eq!(store.newest_epoch(), 5);
    store.drop_relations(&[ObjectId(16384)]);
    assert_eq!(store.compact_once().unwrap(), None);
    store.rebuild_facts(&[(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!(store.facts(b"").unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
}
