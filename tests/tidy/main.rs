//! The house rules that a machine can check: who may depend on whom and does, that every file says what it is, that files
//! and functions stay short, that links lead somewhere.

mod dependencies;
mod functions;
mod links;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use dependencies::packages;

/// Each crate with the workspace crates it may use outside of tests. A new crate, or a new edge, is a line here.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("state", &["types"]),
    ("pattern", &[]),
    ("kernels", &["types", "pattern"]),
    ("operators", &["types", "kernels"]),
    ("connectors", &["types"]),
    ("coordinator", &["types"]),
    ("dataflow", &["types", "operators"]),
    ("sql", &["types"]),
    ("catalog", &["types"]),
    ("plan", &["types", "pattern", "sql", "catalog", "kernels", "operators", "dataflow"]),
    (
        "engine",
        &["types", "sql", "catalog", "plan", "kernels", "operators", "state", "connectors", "coordinator", "dataflow"],
    ),
    ("server", &["types", "sql", "engine"]),
    ("cli", &["types", "sql", "engine", "server"]),
    ("highwater", &["cli"]),
];

/// Libraries that shape what is built on them, and the crates that may know them.
const KNOWN_TO: &[(&str, &[&str])] = &[
    ("sled", &["state"]),
    ("timely", &["dataflow"]),
    ("datafusion", &["engine"]),
    ("datafusion-common", &["plan", "kernels"]),
    ("datafusion-expr", &["plan", "kernels"]),
    ("datafusion-sql", &["plan"]),
    ("datafusion-optimizer", &["plan"]),
    ("datafusion-physical-plan", &["kernels"]),
    ("pgwire", &["server"]),
    ("axum", &["server"]),
];

/// Files of the product have 100 to 300 lines; from here on one has to be split.
const LINES_MAX: usize = 420;

/// Dependencies outside of tests, by workspace crate.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    packages().into_iter().map(|package| (package.name, package.dependencies)).collect()
}

#[test]
fn imports_go_downward() {
    let found = dependencies();
    let layers: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    assert_eq!(found.len(), layers.len(), "LAYERS lists exactly the workspace's crates");
    for (name, used) in &found {
        let allowed = layers.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no place in LAYERS"));
        let ours = used.iter().filter(|u| layers.contains_key(u.as_str()));
        let wrong: Vec<&String> = ours.filter(|u| !allowed.contains(&u.as_str())).collect();
        assert!(wrong.is_empty(), "{name} may not depend on {wrong:?}");
    }
}

#[test]
fn libraries_stay_behind_their_fences() {
    for (name, used) in dependencies() {
        for (library, known_to) in KNOWN_TO {
            let fenced = !used.iter().any(|u| u == library) || known_to.contains(&name.as_str());
            assert!(fenced, "{library} may be known to {known_to:?} only, not to {name}");
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_and_stays_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> =
        ["src", "tests", "benches"].iter().flat_map(|folder| source::files(&root.join(folder))).collect();
    assert!(files.len() > 100, "the walk found the sources");
    for path in files {
        let text = source::read(&path);
        let length = text.lines().count();
        assert!(source::is_test(&path) || length <= LINES_MAX, "{} has {length} lines: split it", path.display());
        let header = text.lines().take(3).any(|line| line.starts_with("//!"));
        assert!(header, "{} has no //! header", path.display());
    }
}
