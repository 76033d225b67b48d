//! Every dependency is used, and where it says: an edge between crates that nothing needs still orders the build and
//! misleads the reader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::source;

/// A dependency whose name stands in no source of the crate, and why it is one.
const USED_UNNAMED: &[(&str, &str, &str)] = &[
    ("types", "arrow-schema", "turns on serde for schemas, for all that build on `types`"),
    ("highwater", "bytes", "the wire tests take the server's test client by its path"),
];

/// A crate of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) dependencies: Vec<String>,
    pub(crate) dev_dependencies: Vec<String>,
}

pub(crate) fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("a string").to_string();
    let all = package["dependencies"].as_array().expect("dependencies");
    let of_kind = |kind: Value| all.iter().filter(|d| d["kind"] == kind).map(|d| text(&d["name"])).collect();
    let folder = Path::new(&text(&package["manifest_path"])).parent().expect("a folder").to_path_buf();
    Package {
        name: text(&package["name"]),
        folder,
        dependencies: of_kind(Value::Null),
        dev_dependencies: of_kind("dev".into()),
    }
}

/// Whether code names the crate: a path that begins with its name, unless the file has a module called so.
fn names(code: &str, krate: &str) -> bool {
    if code.contains(&format!("mod {krate};")) {
        return false;
    }
    code.match_indices(krate).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + krate.len()..]);
        let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let outermost = whole || before.ends_with(" ::");
        let path = after.starts_with("::") || (before.ends_with("use ") && after.starts_with([';', ' ']));
        outermost && path
    })
}

/// The sources of a crate; the root package is what is not below `src/<crate>`.
fn sources(package: &Package) -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = if package.folder == root {
        let mut files: Vec<PathBuf> = ["tests", "benches"].iter().flat_map(|f| source::files(&root.join(f))).collect();
        files.push(root.join("src/main.rs"));
        files
    } else {
        source::files(&package.folder)
    };
    files.into_iter().map(|path| (path.clone(), source::code(&source::read(&path)))).collect()
}

#[test]
fn every_dependency_is_used() {
    let mut unused = vec![];
    for package in packages() {
        let sources = sources(&package);
        let used = |krate: &str, in_tests: bool| {
            let name = krate.replace('-', "_");
            let known = USED_UNNAMED.iter().any(|(of, known, _)| *of == package.name && *known == krate);
            known || sources.iter().any(|(path, code)| (in_tests || !source::is_test(path)) && names(code, &name))
        };
        for krate in package.dependencies.iter().filter(|krate| !used(krate, false)) {
            unused.push(format!("{} does not use {krate}", package.name));
        }
        for krate in package.dev_dependencies.iter().filter(|krate| !used(krate, true)) {
            unused.push(format!("{} does not use {krate} in its tests", package.name));
        }
    }
    assert!(unused.is_empty(), "dependencies that nothing uses:\n{}", unused.join("\n"));
}

/// Versions stand in the root manifest; one that no crate takes up is a leftover.
#[test]
fn every_version_in_the_root_manifest_is_taken_up() {
    let manifest = source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the section is there");
    let section = section.split("\n[").next().expect("it ends");
    let foreign = section.lines().filter(|line| !line.contains("{ path = "));
    let listed: Vec<&str> = foreign.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert!(listed.len() > 40, "only {} versions were found", listed.len());
    let packages = packages();
    let taken = |name: &str| {
        packages.iter().any(|p| p.dependencies.iter().chain(&p.dev_dependencies).any(|dependency| dependency == name))
    };
    let left: Vec<&str> = listed.into_iter().filter(|name| !taken(name)).collect();
    assert!(left.is_empty(), "versions in Cargo.toml that no crate takes up: {left:?}");
}

#[test]
fn a_crate_is_named_by_the_first_part_of_a_path() {
    for (code, expected) in [
        ("use state::A;", true),
        ("let a = state::b();", true),
        ("use ::state::A;", true),
        ("#[state::test]", true),
        ("use crate::state::A;", false),
        ("mod state;\nuse state::A;", false),
        ("my_state::A", false),
        ("a.state", false),
    ] {
        assert_eq!(names(code, "state"), expected, "{code}");
    }
}
