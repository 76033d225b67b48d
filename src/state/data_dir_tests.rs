//! Directories that are refused: others' files, others' permissions, links in place of files.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use types::ToSqlState;

use crate::tests::{list_files, options, scratch};
use crate::{DurableStore, StateError};

fn refused(dir: &Path) -> StateError {
    let error = DurableStore::open(dir, options()).err().expect("refused");
    assert!(error.hint().is_some(), "{error}");
    error
}

fn mode(dir: &Path) -> u32 {
    fs::metadata(dir).unwrap().permissions().mode() & 0o777
}

/// A directory that holds something else, whatever its name, is left exactly as it was.
#[test]
fn directory_with_other_files_is_refused_untouched() {
    for name in
        ["notes.txt", ".hidden", "journal/diary.txt", "runs/marathon", "manifests/diary", "facts", "facts/a", "docs/a"]
    {
        let dir = scratch();
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "precious").unwrap();
        let before = fs::read_dir(dir.path()).unwrap().count();
        let error = refused(dir.path());
        let expected = matches!(error, StateError::NotOurs { .. } | StateError::NoValidManifest { .. });
        assert!(expected, "{name}: {error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before, "{name}");
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
    let dir = scratch();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    DurableStore::open(dir.path(), options()).unwrap();
}

#[test]
fn foreign_format_file_is_refused_untouched() {
    let dir = scratch();
    fs::write(dir.path().join("FORMAT"), "A4").unwrap();
    assert!(matches!(refused(dir.path()), StateError::Corrupt { .. }));
    assert_eq!(list_files(dir.path()).unwrap().len(), 1);
}

#[test]
fn directory_that_others_may_write_to_is_refused() {
    for (mode, fresh) in [(0o777, true), (0o770, true), (0o722, true), (0o777, false), (0o702, false)] {
        let dir = scratch();
        if !fresh {
            drop(DurableStore::open(dir.path(), options()).unwrap());
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, StateError::Permissions { .. }), "{error}");
        assert_eq!(error.sql_state().code(), "55000");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        drop(DurableStore::open(dir.path(), options()).unwrap());
    }
}

#[test]
fn directory_that_others_may_read_is_closed_to_them() {
    for (before, after) in [(0o755, 0o750), (0o705, 0o700), (0o750, 0o750), (0o700, 0o700)] {
        let dir = scratch();
        fs::set_permissions(dir.path(), Permissions::from_mode(before)).unwrap();
        drop(DurableStore::open(dir.path(), options()).unwrap());
        assert_eq!(mode(dir.path()), after);
    }
}

/// Neither a lock nor a reserve is written through a link that somebody has put there.
#[test]
fn links_in_place_of_our_files_are_refused() {
    for name in ["LOCK", "RESERVE", "CURRENT-A", "FORMAT"] {
        let dir = scratch();
        let elsewhere = scratch();
        let target = elsewhere.path().join("target");
        fs::write(&target, "precious").unwrap();
        let with_reserve = || crate::StoreOptions { reserve_bytes: 64 * 1024, ..options() };
        drop(DurableStore::open(dir.path(), with_reserve()).unwrap());
        fs::remove_file(dir.path().join(name)).unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        DurableStore::open(dir.path(), with_reserve()).err().expect("refused");
        assert_eq!(fs::read(&target).unwrap(), b"precious", "{name}");
    }
    let elsewhere = scratch();
    let link = scratch();
    symlink(elsewhere.path(), link.path().join("data")).unwrap();
    drop(DurableStore::open(&link.path().join("data"), options()).unwrap());
    drop(DurableStore::open(&link.path().join("data"), options()).unwrap());
}
