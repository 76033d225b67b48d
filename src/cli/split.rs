//! Cuts SQL text at semicolons without parsing it, so that each statement can be sent by itself and named by its line.
//! Knows strings, quoted names, dollar quotes and comments. Whether a statement is right is the server's to say.

/// A statement and the 1-based line of the text it begins at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece<'t> {
    pub(crate) line: usize,
    pub(crate) text: &'t str,
}

/// The statements of a text, without semicolons, comments before them or empty ones.
pub(crate) fn statements(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = vec![];
    let mut line = 1;
    let mut counted = 0;
    for (start, end) in scan(text).ranges {
        line += text[counted..start].matches('\n').count();
        counted = start;
        pieces.push(Piece { line, text: text[start..end].trim_end() });
    }
    pieces
}

/// True if nothing is open at the end: the last statement has its semicolon, or there is none.
pub(crate) fn is_complete(text: &str) -> bool {
    let scanned = scan(text);
    !scanned.open_quote && !scanned.unterminated
}

struct Scan {
    /// Byte ranges of statements.
    ranges: Vec<(usize, usize)>,
    open_quote: bool,
    /// The last range has no semicolon.
    unterminated: bool,
}

fn scan(text: &str) -> Scan {
    let bytes = text.as_bytes();
    let mut scanned = Scan { ranges: vec![], open_quote: false, unterminated: false };
    let mut start = None;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = comment_end(text, at) {
            scanned.open_quote |= end.is_none();
            at = end.unwrap_or(bytes.len());
            continue;
        }
        if bytes[at] == b';' {
            if let Some(start) = start.take() {
                scanned.ranges.push((start, at));
            }
            at += 1;
            continue;
        }
        if bytes[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        start.get_or_insert(at);
        match quote_end(text, at) {
            Some(end) => {
                scanned.open_quote |= end.is_none();
                at = end.unwrap_or(bytes.len());
            }
            None => at += 1,
        }
    }
    if let Some(start) = start {
        scanned.unterminated = true;
        scanned.ranges.push((start, bytes.len()));
    }
    scanned
}

/// `Some(end)` if a comment begins at `at`; the end is `None` if it never closes.
fn comment_end(text: &str, at: usize) -> Option<Option<usize>> {
    let rest = &text.as_bytes()[at..];
    if rest.starts_with(b"--") {
        return Some(Some(rest.iter().position(|b| *b == b'\n').map_or(text.len(), |n| at + n)));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let mut depth = 0;
    let mut n = 0;
    while n + 1 < rest.len() {
        match &rest[n..n + 2] {
            b"/*" => {
                depth += 1;
                n += 2;
            }
            b"*/" => {
                depth -= 1;
                n += 2;
                if depth == 0 {
                    return Some(Some(at + n));
                }
            }
            _ => n += 1,
        }
    }
    Some(None)
}

/// `Some(end)` if a quoted token begins at `at`; the end is `None` if it never closes.
fn quote_end(text: &str, at: usize) -> Option<Option<usize>> {
    let bytes = text.as_bytes();
    match bytes[at] {
        quote @ (b'\'' | b'"') => {
            let escapes =
                quote == b'\'' && at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !part_of_word(bytes, at - 1);
            let mut n = at + 1;
            while n < bytes.len() {
                if escapes && bytes[n] == b'\\' {
                    n += 2;
                } else if bytes[n] == quote {
                    // A doubled quote continues: the next token begins with it.
                    return Some(Some(n + 1));
                } else {
                    n += 1;
                }
            }
            Some(None)
        }
        b'$' if !part_of_word(bytes, at) => {
            let tag = &text[at + 1..];
            let length = tag.find('$')?;
            let is_tag = tag[..length].chars().all(|c| c.is_alphanumeric() || c == '_')
                && !tag.starts_with(|c: char| c.is_ascii_digit());
            if !is_tag {
                return None;
            }
            let opening = &text[at..at + length + 2];
            let body = at + opening.len();
            Some(text[body..].find(opening).map(|n| body + n + opening.len()))
        }
        _ => None,
    }
}

/// True if the byte before `at` belongs to a word, so that what stands at `at` does not begin one.
fn part_of_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_' || !bytes[at - 1].is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let found = statements(text);
        let found: Vec<(usize, &str)> = found.iter().map(|piece| (piece.line, piece.text)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn semicolons_end_statements_only_outside_quotes_and_comments() {
        check(
            "select 1;\n\nselect ';' ; -- a;b\n/* c; /* d */ ; */ select 2",
            &[(1, "select 1"), (3, "select ';'"), (4, "select 2")],
        );
        check(
            "select $$a;b$$, $x$;$x$, $1; select \"a;\"\"b\"",
            &[(1, "select $$a;b$$, $x$;$x$, $1"), (1, "select \"a;\"\"b\"")],
        );
        check(r"select e'a\';', 'a\'; select 'it''s;'", &[(1, r"select e'a\';', 'a\'"), (1, "select 'it''s;'")]);
        check("-- only\n;;", &[]);
        check("select a$b; select 'ü;'", &[(1, "select a$b"), (1, "select 'ü;'")]);
    }

    #[test]
    fn completeness() {
        for complete in ["", "select 1;", "-- x", "select ';';  ", "select 1; -- more"] {
            assert!(is_complete(complete), "{complete}");
        }
        for open in ["select 1", "select ';", "select 1; select", "/* x", "select $$;", "select \"a;"] {
            assert!(!is_complete(open), "{open}");
        }
    }
}
