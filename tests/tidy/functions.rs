//! Functions stay short: one that has outgrown a screen does more than one thing.

use std::path::Path;

use crate::source;

/// The conventions say 70; from here on a function has to be split.
const LINES_MAX: usize = 80;

/// Name, first line and length of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = vec![];
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some(end) = end_of_body(&code[at..]) {
            let first = code[..at].matches('\n').count() + 1;
            let length = code[at..at + end].matches('\n').count() + 1;
            found.push((name, first, length));
        }
    }
    found
}

/// Where the body of the function that starts here ends; `None`: it has no body.
fn end_of_body(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            // In array types a semicolon stands in brackets.
            ';' if depth == 0 => return None,
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return end_of_block(&code[at..]).map(|length| at + length),
            _ => {}
        }
    }
    None
}

fn end_of_block(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn functions_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut seen, mut long) = (0, vec![]);
    for path in source::files(&root.join("src")).into_iter().filter(|path| !source::is_test(path)) {
        for (name, line, length) in functions(&source::code(&source::read(&path))) {
            seen += 1;
            if length > LINES_MAX {
                let path = path.strip_prefix(root).expect("below the root");
                long.push(format!("{}:{line}: {name} has {length} lines", path.display()));
            }
        }
    }
    assert!(seen > 2_000, "only {seen} functions were found");
    assert!(long.is_empty(), "functions of more than {LINES_MAX} lines, split them:\n{}", long.join("\n"));
}

#[test]
fn length_of_a_function_is_from_its_first_line_to_its_last() {
    let code =
        "impl A {\n    fn a(x: [u8; 4]) -> B\n    where\n        C: D,\n    {\n        { }\n    }\n\n    fn b();\n}\n";
    assert_eq!(functions(code), [("a".to_string(), 2, 6)]);
}
