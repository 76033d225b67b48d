//! Files that are renamed, emptied, replaced, compressed or in the way, while they are followed and while nobody looks.

use std::collections::BTreeMap;

use super::*;
use crate::{KnownPartition, KnownPartitions};

/// More than `HEAD_BYTES_CONVINCING`, and of each file its own.
fn lines(name: &str, count: usize) -> String {
    (1..=count).map(|n| format!("{n},{name} {n:040}\n")).collect()
}

/// Follows as the engine does: keeps rows, positions and identities, and can open anew where it stopped.
struct Follower {
    config: Arc<dyn SourceConfig>,
    reader: Box<dyn SourceReader>,
    /// By partition, the first column.
    rows: BTreeMap<String, Vec<String>>,
    offsets: Offsets,
    known: KnownPartitions,
    told: Vec<String>,
}

impl Follower {
    fn new(config: Arc<dyn SourceConfig>) -> Follower {
        let reader = config.open(all_columns(config.as_ref())).unwrap();
        let (rows, offsets, known, told) = Default::default();
        Follower { config, reader, rows, offsets, known, told }
    }

    /// As after a restart.
    fn reopen(&mut self) {
        let request =
            OpenRequest { from: self.offsets.clone(), known: self.known.clone(), ..all_columns(self.config.as_ref()) };
        self.reader = self.config.open(request).unwrap();
    }

    fn take(&mut self, wait: Duration) -> bool {
        match self.reader.next(wait).unwrap() {
            ReadEvent::Chunk(chunk) => {
                let name = base(&chunk.partition).to_string();
                assert_eq!(self.offsets.get(&chunk.partition).copied().unwrap_or(0), chunk.from, "chunks join");
                assert!(chunk.errors.is_empty(), "{:?}", chunk.errors);
                let rows = shown(&[chunk_without_errors(&chunk)]);
                let ids = rows.iter().map(|row| row.split('|').next().unwrap().to_string());
                self.rows.entry(name).or_default().extend(ids);
                self.offsets.insert(chunk.partition, chunk.to);
            }
            ReadEvent::PartitionIdentified { partition, identity } => {
                self.known.entry(partition).or_default().identity = Some(identity);
            }
            ReadEvent::PartitionAdded(name) => self.known.entry(name).or_default().ended = false,
            ReadEvent::PartitionEnded(name) => {
                self.known.insert(name, KnownPartition { identity: None, ended: true });
            }
            ReadEvent::PartitionTroubled(trouble) => {
                let again = if trouble.retry.is_some() { "again" } else { "never" };
                self.told.push(format!("{}: {} ({again})", base(&trouble.partition), trouble.error));
            }
            ReadEvent::PartitionRecovered(name) => self.told.push(format!("{}: recovered", base(&name))),
            ReadEvent::Noted { partition, .. } => self.told.push(format!("{}: emptied", base(&partition))),
            ReadEvent::Idle => return false,
            ReadEvent::End => panic!("a followed source does not end"),
        }
        true
    }

    /// Reads until so many rows have come, and shows that no more do.
    fn expect(&mut self, rows: usize, expected: &[(&str, usize)]) {
        while self.rows.values().map(Vec::len).sum::<usize>() < rows {
            assert!(self.take(WAIT), "only {:?} came; told {:?}", self.rows, self.told);
        }
        while self.take(Duration::ZERO) {}
        let counts: Vec<(&str, usize)> = self.rows.iter().map(|(name, rows)| (name.as_str(), rows.len())).collect();
        assert_eq!(counts, expected, "told {:?}", self.told);
    }

    fn expect_told(&mut self, expected: &[&str]) {
        while self.told.len() < expected.len() {
            assert!(self.take(WAIT), "only {:?} was told", self.told);
        }
        assert_eq!(self.told, expected);
        self.told.clear();
    }
}

fn chunk_without_errors(chunk: &Chunk) -> Chunk {
    Chunk {
        partition: chunk.partition.clone(),
        rows: chunk.rows.clone(),
        positions: chunk.positions.clone(),
        errors: vec![],
        ..*chunk
    }
}

#[test]
fn a_rotated_file_in_a_followed_directory_is_neither_doubled_nor_lost() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    append(&at("app.log"), &lines("a", 3));
    let mut follower = Follower::new(config(directory.path(), "csv", "true"));
    follower.expect(3, &[("app.log", 3)]);
    for round in 1..4 {
        fs::rename(at("app.log"), at(&format!("app.log.{round}"))).unwrap();
        // Written to by who still has it open.
        append(&at(&format!("app.log.{round}")), "9,late\n");
        append(&at("app.log"), &lines(&format!("b{round}"), 2));
        let rows = |n: usize| {
            if n == 0 {
                4
            } else if n < round {
                3
            } else {
                2
            }
        };
        let total = (0..=round).map(rows).sum();
        let names: Vec<String> =
            (0..=round).map(|n| if n == 0 { "app.log".into() } else { format!("app.log#{}", n + 1) }).collect();
        let expected: Vec<(&str, usize)> = names.iter().enumerate().map(|(n, name)| (name.as_str(), rows(n))).collect();
        follower.expect(total, &expected);
        if round == 2 {
            follower.reopen();
        }
    }
    assert!(follower.told.is_empty(), "{:?}", follower.told);
}

#[test]
fn a_file_renamed_out_of_the_glob_is_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    append(&at("app.log"), &lines("a", 2));
    let mut follower = Follower::new(config(&at("app.log"), "csv", "true"));
    follower.expect(2, &[("app.log", 2)]);
    append(&at("app.log"), "3,unread\n");
    fs::rename(at("app.log"), at("old")).unwrap();
    append(&at("old"), "4,by who has it open\n");
    follower.expect(4, &[("app.log", 4)]);
    // Its successor does not exist yet when the server starts again.
    append(&at("old"), "5,while nobody looked\n");
    follower.reopen();
    follower.expect(5, &[("app.log", 5)]);
    append(&at("app.log"), &lines("b", 2));
    follower.expect(7, &[("app.log", 5), ("app.log#2", 2)]);
    assert!(follower.told.is_empty(), "{:?}", follower.told);
    // What was read is found again by what it is.
    let request = OpenRequest {
        until: Some(follower.offsets.clone()),
        known: follower.known.clone(),
        ..all_columns(follower.config.as_ref())
    };
    let again = read_all(follower.config.as_ref(), request).unwrap();
    assert_eq!(located(&again).len(), 7);
}

#[test]
fn rotation_while_nobody_looks_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    append(&at("app.log"), &lines("a", 3));
    let mut follower = Follower::new(config(directory.path(), "csv", "true"));
    follower.expect(3, &[("app.log", 3)]);
    append(&at("app.log"), "4,unread\n");
    fs::rename(at("app.log"), at("app.log.1")).unwrap();
    append(&at("app.log"), &lines("b", 5));
    follower.reopen();
    follower.expect(9, &[("app.log", 4), ("app.log#2", 5)]);
    // Moved to another disk: another inode, the same contents.
    fs::write(at("copy"), fs::read(at("app.log.1")).unwrap()).unwrap();
    fs::remove_file(at("app.log.1")).unwrap();
    fs::rename(at("copy"), at("app.log.1")).unwrap();
    append(&at("app.log.1"), "5,later\n");
    follower.reopen();
    follower.expect(10, &[("app.log", 5), ("app.log#2", 5)]);
    // Deleted with rows that nobody had read.
    append(&at("app.log"), "6,unread\n");
    fs::remove_file(at("app.log")).unwrap();
    follower.reopen();
    let name = format!("{}#2", at("app.log").display());
    let lost = format!("app.log#2: \"{name}\" no longer holds the data up to position 225 (never)");
    follower.expect_told(&[&lost]);
    follower.expect(10, &[("app.log", 5), ("app.log#2", 5)]);
}

#[test]
fn an_emptied_file_goes_on_as_another_partition() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    append(&at("app.log"), &lines("a", 3));
    let mut follower = Follower::new(config(&at("app.log"), "csv", "true"));
    follower.expect(3, &[("app.log", 3)]);
    fs::write(at("app.log"), lines("b", 1)).unwrap();
    follower.expect(4, &[("app.log", 3), ("app.log#2", 1)]);
    follower.expect_told(&["app.log: emptied"]);
    // Longer than before when it is looked at again.
    fs::write(at("app.log"), lines("c", 4)).unwrap();
    follower.expect(8, &[("app.log", 3), ("app.log#2", 1), ("app.log#3", 4)]);
    follower.expect_told(&["app.log#2: emptied"]);
    // While nobody looks.
    fs::write(at("app.log"), lines("d", 1)).unwrap();
    follower.reopen();
    follower.expect(9, &[("app.log", 3), ("app.log#2", 1), ("app.log#3", 4), ("app.log#4", 1)]);
}

#[test]
fn a_copy_made_before_the_file_is_emptied_is_not_read_twice() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    append(&at("app.log"), &lines("a", 3));
    let mut follower = Follower::new(config(directory.path(), "csv", "true"));
    follower.expect(3, &[("app.log", 3)]);
    append(&at("app.log"), "4,unread when it was copied\n");
    fs::copy(at("app.log"), at("app.log.1")).unwrap();
    fs::write(at("app.log"), "").unwrap();
    append(&at("app.log"), &lines("b", 2));
    follower.expect(6, &[("app.log", 4), ("app.log#2", 2)]);
    // A file that merely begins alike is one of its own.
    append(&at("other.log"), &lines("b", 2));
    follower.expect(8, &[("app.log", 4), ("app.log#2", 2), ("other.log", 2)]);
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for follow in ["true", "false"] {
        let error = config(&pipe, "csv", follow).validate().unwrap_err();
        assert_eq!((error.sql_state().code(), error.detail().as_deref()), ("42809", Some("It is a named pipe.")));
    }
    let error = config(Path::new("/dev/null"), "csv", "true").validate().unwrap_err();
    assert_eq!(error.detail().as_deref(), Some("It is a character device."));
    // In a directory it is passed over.
    append(&directory.path().join("a.log"), &lines("a", 1));
    let mut follower = Follower::new(config(directory.path(), "csv", "true"));
    follower.expect(1, &[("a.log", 1)]);
    // In the place of a file that was followed it ends that one.
    let path = directory.path().join("a.log");
    let mut follower = Follower::new(config(&path, "csv", "true"));
    follower.expect(1, &[("a.log", 1)]);
    fs::rename(&pipe, &path).unwrap();
    follower.expect_told(&[&format!("a.log: \"{}\" is not a regular file (never)", path.display())]);
}

fn compressed(name: &str, text: &str) -> Vec<u8> {
    if name.ends_with(".gz") {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        return encoder.finish().unwrap();
    }
    zstd::stream::encode_all(text.as_bytes(), 1).unwrap()
}

#[test]
fn compressed_files_are_read_and_resumed_by_decompressed_offsets() {
    for (compression, name) in [("a.gz", "a.csv.gz"), ("a.zst", "a.csv.zst"), ("a.gz", "plain.csv")] {
        let directory = tempfile::tempdir().unwrap();
        let text: String = (1..=40).map(|n| format!("{n},name {n}\n")).collect();
        let mut bytes = compressed(compression, &text[..text.len() / 2]);
        // Two members or frames in one file are read as one text.
        bytes.extend(compressed(compression, &text[text.len() / 2..]));
        let path = directory.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let config = config(&path, "csv", "false");
        let all = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap();
        assert_eq!(shown(&all).len(), 40, "{name}");
        assert_eq!(all.last().unwrap().to, text.len() as u64);
        check_resume_everywhere(config.as_ref());
        // Cut short.
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let error = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap_err();
        assert!(matches!(error, ConnectorError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_followed_compressed_file_counts_as_it_is_written_and_is_whole_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let bytes = compressed("a.gz", &lines("a", 1000));
    append(&at("b.csv"), &lines("b", 1));
    let mut follower = Follower::new(config(directory.path(), "csv", "true"));
    follower.expect(1, &[("b.csv", 1)]);
    fs::write(at("a.csv.gz"), &bytes[..bytes.len() / 2]).unwrap();
    while !follower.known.keys().any(|name| base(name) == "a.csv.gz") {
        follower.take(WAIT);
    }
    fs::write(at("a.csv.gz"), &bytes).unwrap();
    follower.expect(1001, &[("a.csv.gz", 1000), ("b.csv", 1)]);
    while !follower.known.values().any(|known| known.ended) {
        follower.take(WAIT);
    }
    follower.reopen();
    follower.expect(1001, &[("a.csv.gz", 1000), ("b.csv", 1)]);
    assert!(follower.told.is_empty(), "{:?}", follower.told);
}

#[test]
fn a_damaged_file_is_told_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut bytes = compressed("a.gz", &lines("a", 100));
    bytes[20] ^= 0xff;
    bytes[40] ^= 0xff;
    fs::write(at("a.gz"), &bytes).unwrap();
    append(&at("b.csv"), &lines("b", 1));
    let once = config(directory.path(), "csv", "false");
    let mut reader = once.open(all_columns(once.as_ref())).unwrap();
    let seen = events(reader.as_mut());
    assert!(seen.iter().any(|event| event.contains("is not a valid gzip file")), "{seen:?}");
    assert!(seen.iter().any(|event| event == "ended b.csv"), "{seen:?}");
    let mut follower = Follower::new(config(directory.path(), "csv", "true"));
    while follower.told.is_empty() || !follower.rows.contains_key("b.csv") {
        assert!(follower.take(WAIT));
    }
    append(&at("b.csv"), &lines("c", 1));
    while follower.rows["b.csv"].len() < 2 {
        assert!(follower.take(WAIT));
    }
}
