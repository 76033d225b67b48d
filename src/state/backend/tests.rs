//! One conformance suite, run over every implementation.

use super::*;
use crate::tests::scratch;

fn write(key: &str, value: Option<&str>) -> FactWrite {
    (key.as_bytes().to_vec(), value.map(|v| v.as_bytes().to_vec()))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
}

/// What every backend promises; `reopen` gives the same store after a restart.
fn conforms(reopen: &mut dyn FnMut(Option<Box<dyn StateBackend>>) -> Box<dyn StateBackend>) {
    let store = reopen(None);
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.scan(b"").unwrap(), vec![]);
    store.put_all(&[]).unwrap();
    store
        .put_all(&[write("a", Some("1")), write("b/1", Some("2")), write("b/2", Some("")), write("c", Some("4"))])
        .unwrap();
    assert_eq!(store.get(b"b/2").unwrap(), Some(vec![]));
    store.put_all(&[write("a", Some("9")), write("c", None), write("never", None)]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(b"9".to_vec()));
    assert_eq!(store.get(b"c").unwrap(), None);
    assert_eq!(store.scan(b"b/").unwrap(), pairs(&[("b/1", "2"), ("b/2", "")]));
    store.verify().unwrap();

    let too_large = vec![0; types::limits::FACT_BYTES_MAX + 1];
    let refused = store.put_all(&[write("d", Some("5")), (b"e".to_vec(), Some(too_large))]);
    assert!(matches!(refused, Err(StateError::FactTooLarge { .. })), "{refused:?}");
    assert_eq!(store.get(b"d").unwrap(), None, "all or none");
    let largest = vec![7; types::limits::FACT_BYTES_MAX];
    store.put_all(&[(b"f".to_vec(), Some(largest.clone()))]).unwrap();

    let store = reopen(Some(store));
    assert_eq!(store.get(b"f").unwrap(), Some(largest));
    store.rebuild(&pairs(&[("b/1", "2"), ("b/2", "new"), ("z", "26")])).unwrap();
    assert_eq!(store.scan(b"").unwrap(), pairs(&[("b/1", "2"), ("b/2", "new"), ("z", "26")]));
    store.verify().unwrap();
}

#[test]
fn memory_conforms() {
    conforms(&mut |old| old.unwrap_or_else(|| Box::new(MemoryBackend::new())));
}

#[test]
fn sled_conforms() {
    let dir = scratch();
    conforms(&mut |old| {
        drop(old);
        Box::new(SledBackend::open(&dir.path().join("facts")).unwrap())
    });
}

#[test]
fn mirror_of_sled_and_memory_conforms() {
    let dir = scratch();
    conforms(&mut |old| {
        old.unwrap_or_else(|| {
            Box::new(Mirror::new(SledBackend::open(&dir.path().join("facts")).unwrap(), MemoryBackend::new()))
        })
    });
}

#[test]
fn failing_conforms_until_it_fails() {
    conforms(&mut |old| old.unwrap_or_else(|| Box::new(Failing::new(MemoryBackend::new(), u64::MAX))));
    let store = Failing::new(MemoryBackend::new(), 3);
    store.put_all(&[write("a", Some("1"))]).unwrap();
    store.get(b"a").unwrap();
    store.put_all(&[write("a", Some("2"))]).unwrap_err();
    store.get(b"a").unwrap_err();
    assert_eq!(store.operations(), 4);
}

#[test]
#[should_panic(expected = "mirrored stores disagree")]
fn mirror_notices_disagreement() {
    let left = MemoryBackend::new();
    left.put_all(&[write("a", Some("1"))]).unwrap();
    let _ = Mirror::new(left, MemoryBackend::new()).get(b"a");
}

#[test]
fn damaged_sled_is_moved_aside_and_replaced() {
    let dir = scratch();
    let facts = dir.path().join("facts");
    {
        let (store, replaced) = open_or_replace(&facts).unwrap();
        assert_eq!(replaced, None);
        store.put_all(&[write("a", Some("1"))]).unwrap();
    }
    std::fs::write(facts.join("conf"), b"this is no sled configuration").unwrap();
    let (store, replaced) = open_or_replace(&facts).unwrap();
    assert!(replaced.is_some());
    assert_eq!(store.scan(b"").unwrap(), vec![]);
    store.put_all(&[write("a", Some("2"))]).unwrap();
    assert!(dir.path().join("facts.broken-1").join("conf").exists(), "nothing is deleted");
}

#[test]
fn value_that_bypassed_the_envelope_is_corrupt() {
    let dir = scratch();
    {
        let path = dir.path().join("facts");
        let db = ::sled::open(&path).unwrap();
        std::fs::write(path.join("created"), []).unwrap();
        db.insert("a", "raw").unwrap();
        db.flush().unwrap();
    }
    let store = SledBackend::open(&dir.path().join("facts")).unwrap();
    assert!(matches!(store.get(b"a"), Err(StateError::Corrupt { .. })));
    assert!(matches!(store.verify(), Err(StateError::Corrupt { .. })));
}

/// sled 0.34.7 takes a snapshot that was being written for the newest one.
#[test]
fn interrupted_snapshot_does_not_stop_sled_from_opening() {
    let dir = scratch();
    SledBackend::open(&dir.path().join("facts")).unwrap().put_all(&[write("a", Some("1"))]).unwrap();
    std::fs::write(dir.path().join("facts/snap.7FFFFFFFFFFFFFFF.generating"), b"half").unwrap();
    assert_eq!(SledBackend::open(&dir.path().join("facts")).unwrap().get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn interrupted_creation_of_sled_is_repeated() {
    let dir = scratch();
    let path = dir.path().join("facts");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("conf"), [0; 62]).unwrap();
    let store = SledBackend::open(&path).unwrap();
    store.put_all(&[write("a", Some("1"))]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
}
