//! Links between pages of the documentation lead somewhere, to the heading they name.

use std::path::{Path, PathBuf};

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
}

/// Text outside of fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Targets of `[text](target)`.
fn targets(prose: &str) -> Vec<&str> {
    let starts = prose.match_indices("](").map(|(at, _)| at + 2);
    starts.filter_map(|at| prose[at..].split_once(')').map(|(target, _)| target)).collect()
}

/// The anchor that a heading gets: lower case, spaces as hyphens, no other punctuation.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn leads_somewhere(page: &Path, target: &str) -> bool {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_path_buf() } else { page.parent().expect("a folder").join(file) };
    if heading.is_empty() {
        return path.exists();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    prose(&text).lines().any(|line| line.starts_with('#') && anchor(line) == heading)
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md"), root.join("CONVENTIONS.md")];
    for folder in ["docs", "benches", "sql-tests", "tests"] {
        pages(&root.join(folder), &mut found);
    }
    let mut checked = 0;
    for page in &found {
        let text = prose(&std::fs::read_to_string(page).expect("readable"));
        for target in targets(&text).into_iter().filter(|t| !t.contains("://")) {
            assert!(leads_somewhere(page, target), "{} links to {target}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} links were found");
}
