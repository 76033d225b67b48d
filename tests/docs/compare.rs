//! Answers beside what a page says they are. Layout does not count: cells do.

/// Rows as they came; `None` is NULL.
#[derive(Debug, Default, Clone)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    /// COPY: no heading is printed, cells are parted by tabs.
    pub is_copy: bool,
}

/// Stands for any text in an expected line.
const ANYTHING: &str = "…";

/// Compares in the layout of psql. Errors: both sides, as text.
pub fn rows(expected: &[String], answer: &Answer) -> Result<(), String> {
    let actual = printed(answer);
    let wanted = expected_rows(expected, answer);
    let equal = wanted.len() == actual.len()
        && wanted.iter().zip(&actual).all(|(wanted, actual)| {
            wanted.len() == actual.len() && wanted.iter().zip(actual).all(|(w, a)| matches(w, a))
        });
    if equal { Ok(()) } else { Err(both(&wanted, &actual)) }
}

/// Compares without regard to order: what a stream brings within one epoch has none.
pub fn unordered_rows(expected: &[String], answer: &Answer) -> Result<(), String> {
    let mut left = printed(answer);
    let wanted = expected_rows(expected, answer);
    for row in &wanted {
        let equal = |actual: &Vec<String>| {
            actual.len() == row.len() && row.iter().zip(actual).all(|(wanted, actual)| matches(wanted, actual))
        };
        match left.iter().position(equal) {
            Some(found) => drop(left.remove(found)),
            None => return Err(both(&wanted, &printed(answer))),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(both(&wanted, &printed(answer))) }
}

/// Rows that a text block promises of a stream; the stream is cut after so many.
pub fn promised(expected: &[String], answer: &Answer) -> usize {
    let heading = usize::from(!answer.is_copy);
    expected_rows(expected, answer).len().saturating_sub(heading)
}

/// Compares messages line by line.
pub fn lines(expected: &[String], actual: &str) -> Result<(), String> {
    let wanted: Vec<&str> = expected.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    let found: Vec<&str> = actual.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let equal = wanted.len() == found.len() && wanted.iter().zip(&found).all(|(w, a)| matches(w, a));
    if equal { Ok(()) } else { Err(format!("expected:\n{}\nactual:\n{actual}", wanted.join("\n"))) }
}

fn expected_rows(expected: &[String], answer: &Answer) -> Vec<Vec<String>> {
    let is_ruler = |line: &str| !line.is_empty() && line.chars().all(|c| matches!(c, '-' | '+' | ' '));
    let is_footer = |line: &str| line.starts_with('(') && (line.ends_with(" rows)") || line.ends_with(" row)"));
    let lines = expected.iter().map(|line| line.trim_end());
    let lines = lines.filter(|line| !line.trim().is_empty() && !is_ruler(line.trim()) && !is_footer(line.trim()));
    lines.map(|line| cells(line, answer)).collect()
}

fn cells(line: &str, answer: &Answer) -> Vec<String> {
    let width = if answer.is_copy { answer.rows.first().map_or(1, Vec::len) } else { answer.columns.len() };
    // A cell of a plan may hold the separator; a table of one column has none.
    if width <= 1 {
        return vec![line.trim().to_string()];
    }
    let separator = if answer.is_copy { "  " } else { "|" };
    let parts = line.split(separator).map(|cell| cell.trim().to_string());
    if answer.is_copy { parts.filter(|cell| !cell.is_empty()).collect() } else { parts.collect() }
}

fn printed(answer: &Answer) -> Vec<Vec<String>> {
    let heading = (!answer.is_copy).then(|| answer.columns.clone());
    let cell = |cell: &Option<String>| cell.as_deref().unwrap_or_default().trim().to_string();
    let rows = answer.rows.iter().map(|row| row.iter().map(cell).collect());
    heading.into_iter().chain(rows).collect()
}

/// `…` in `wanted` matches any text, also none.
fn matches(wanted: &str, actual: &str) -> bool {
    let mut parts = wanted.split(ANYTHING);
    let first = parts.next().expect("a split has a first part");
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some(at) = rest.find(previous) else { return false };
            rest = &rest[at + previous.len()..];
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

fn both(wanted: &[Vec<String>], actual: &[Vec<String>]) -> String {
    let text = |rows: &[Vec<String>]| rows.iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
    format!("expected:\n{}\nactual:\n{}", text(wanted), text(actual))
}
