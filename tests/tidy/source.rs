//! Rust sources as the house rules see them: which files there are, and their code without comments and literals.

use std::path::{Path, PathBuf};

/// All `.rs` files below `folder`, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}

/// A file of tests, wherever it stands.
pub(crate) fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.starts_with("tests") || name.ends_with("_tests.rs") || name == "benches" || name == "examples"
    })
}

/// The text with comments and the insides of literals blanked out: what is left is code, on the lines where it was.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(bytes, at);
        if end > at {
            let blanked = &text[at..end];
            code.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let c = text[at..].chars().next().expect("at a character");
            code.push(c);
            at += c.len_utf8();
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` if there is none.
fn literal_or_comment(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| at + end);
    }
    if rest.starts_with(b"/*") {
        return block_comment(bytes, at);
    }
    let before_is_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if !before_is_name && let Some(end) = raw_string(bytes, at) {
        return end;
    }
    match rest[0] {
        b'"' => string(bytes, at),
        b'\'' => character(bytes, at),
        _ => at,
    }
}

fn block_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, with `b` or `c` in front or not.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut next = at;
    if matches!(bytes[next], b'b' | b'c') {
        next += 1;
    }
    if bytes.get(next) != Some(&b'r') {
        return None;
    }
    next += 1;
    let hashes = bytes[next..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(next + hashes) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = next + hashes + 1;
    let length = bytes[body..].windows(close.len()).position(|window| window == close)?;
    Some(body + length + close.len())
}

fn string(bytes: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while next < bytes.len() {
        match bytes[next] {
            b'\\' => next += 2,
            b'"' => return next + 1,
            _ => next += 1,
        }
    }
    next
}

/// A character literal; a lifetime is none.
fn character(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return bytes[at + 3..].iter().position(|b| *b == b'\'').map_or(bytes.len(), |end| at + 4 + end);
    }
    // At most four bytes of one character.
    let close = bytes[at + 1..].iter().take(5).position(|b| *b == b'\'');
    match close {
        Some(length) if length > 0 && std::str::from_utf8(&bytes[at + 1..at + 1 + length]).is_ok_and(one) => {
            at + length + 2
        }
        _ => at,
    }
}

fn one(text: &str) -> bool {
    text.chars().count() == 1
}

#[test]
fn code_is_what_is_left() {
    let text =
        "let a = \"x // {\\\"\"; // b\nlet c: &'a str = r#\"\"}\"#; /* d /* e */ f */ let g = '{'; let h = b'\\'';\n";
    let left: String = code(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(left, "let a = ; let c: &'a str = ; let g = ; let h = b ;");
}
