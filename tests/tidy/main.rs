//! The house rules that a machine can check: who may depend on whom, and that every file says what it is and stays
//! short, that links lead somewhere.

mod links;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Each crate with the workspace crates it may use outside of tests. A new crate, or a new edge, is a line here.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("state", &["types"]),
    ("pattern", &[]),
    ("kernels", &["types", "pattern"]),
    ("operators", &["types", "state", "kernels"]),
    ("connectors", &["types"]),
    ("coordinator", &["types"]),
    ("dataflow", &["types", "state", "operators", "connectors"]),
    ("sql", &["types"]),
    ("catalog", &["types", "sql"]),
    ("plan", &["types", "pattern", "sql", "catalog", "kernels", "operators", "connectors", "dataflow"]),
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
    ("datafusion-common", &["plan", "kernels", "engine"]),
    ("datafusion-expr", &["plan", "kernels", "engine"]),
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
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_string();
    let packages = metadata["packages"].as_array().expect("packages").iter().map(|package| {
        let all = package["dependencies"].as_array().expect("dependencies");
        let normal = all.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"]));
        (text(&package["name"]), normal.collect())
    });
    packages.collect()
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
    let mut seen = 0;
    for folder in ["src", "tests", "benches"] {
        check_headers(&root.join(folder), &mut seen);
    }
    assert!(seen > 100, "the walk found the sources");
}

fn check_headers(folder: &Path, seen: &mut usize) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check_headers(&path, seen);
        } else if path.extension().is_some_and(|e| e == "rs") {
            *seen += 1;
            let text = std::fs::read_to_string(&path).expect("readable");
            let length = text.lines().count();
            let test = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            assert!(test || length <= LINES_MAX, "{} has {length} lines: split it", path.display());
            let header = text.lines().take(3).any(|line| line.starts_with("//!"));
            assert!(header, "{} has no //! header", path.display());
        }
    }
}
