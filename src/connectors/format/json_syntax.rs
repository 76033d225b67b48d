//! The grammar of JSON within one line: where values end, what strings stand for. Knows nothing of columns.
//! All functions take the input and a position in it, and give the position after what they read.

use super::scan::{find_either, find_string_end};

const DEPTH_MAX: usize = 128;

/// Spaces within a line.
#[inline]
pub(super) fn skip_space(input: &[u8], mut pos: usize) -> usize {
    while matches!(input.get(pos), Some(b' ' | b'\t' | b'\r')) {
        pos += 1;
    }
    pos
}

/// A string's text lies in [from, to).
pub(super) struct Text {
    pub from: usize,
    /// Position of the closing quote.
    pub to: usize,
    pub escaped: bool,
}

#[inline]
pub(super) fn string(input: &[u8], pos: usize) -> Result<Text, String> {
    if input.get(pos) != Some(&b'"') {
        return Err("expected a string".into());
    }
    let (mut to, mut escaped) = (pos + 1, false);
    loop {
        to = find_string_end(input, to);
        match input.get(to) {
            Some(b'"') => return Ok(Text { from: pos + 1, to, escaped }),
            Some(b'\\') if to + 1 < input.len() => {
                escaped = true;
                to += 2;
            }
            _ => return Err("unterminated string".into()),
        }
    }
}

/// Appends the text that `raw` stands for.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || "invalid escape in a string".to_string();
    let mut pos = 0;
    while pos < raw.len() {
        let next = find_either(raw, pos, b'\\', b'\\');
        out.extend_from_slice(&raw[pos..next]);
        pos = next;
        if pos == raw.len() {
            break;
        }
        let plain = match raw.get(pos + 1).ok_or_else(wrong)? {
            quoted @ (b'"' | b'\\' | b'/') => *quoted,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, length) = unicode_escape(&raw[pos..]).ok_or_else(wrong)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                pos += length;
                continue;
            }
            _ => return Err(wrong()),
        };
        out.push(plain);
        pos += 2;
    }
    Ok(())
}

/// `\uXXXX`, or two of them for a character beyond the basic plane. Postgres' text can't hold U+0000.
fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let hex = raw.get(at..at + 6)?.strip_prefix(b"\\u")?;
        hex.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
    };
    match unit(0)? {
        0 => None,
        high @ 0xD800..=0xDBFF => {
            let low = unit(6).filter(|low| (0xDC00..=0xDFFF).contains(low))?;
            Some((char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 12))
        }
        single => Some((char::from_u32(single)?, 6)),
    }
}

/// The end of the number at `pos`, by the grammar of JSON.
#[inline]
pub(super) fn number(input: &[u8], pos: usize) -> Result<usize, String> {
    let digits = |mut at: usize| {
        let from = at;
        while input.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(at)
    };
    let wrong = || "invalid number".to_string();
    let whole = pos + usize::from(input[pos] == b'-');
    let mut end = digits(whole).ok_or_else(wrong)?;
    if input[whole] == b'0' && end > whole + 1 {
        return Err(wrong());
    }
    if input.get(end) == Some(&b'.') {
        end = digits(end + 1).ok_or_else(wrong)?;
    }
    if matches!(input.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(input.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign).ok_or_else(wrong)?;
    }
    Ok(end)
}

pub(super) fn word(input: &[u8], pos: usize, word: &[u8]) -> Result<usize, String> {
    if input[pos..].starts_with(word) { Ok(pos + word.len()) } else { Err("expected a JSON value".into()) }
}

/// Checks the value at `pos` and gives the position after it.
pub(super) fn skip_value(input: &[u8], pos: usize, depth: usize) -> Result<usize, String> {
    match input.get(pos) {
        Some(b'"') => {
            let text = string(input, pos)?;
            if text.escaped {
                unescape(&input[text.from..text.to], &mut vec![])?;
            }
            Ok(text.to + 1)
        }
        Some(b'-' | b'0'..=b'9') => number(input, pos),
        Some(b'n') => word(input, pos, b"null"),
        Some(b't') => word(input, pos, b"true"),
        Some(b'f') => word(input, pos, b"false"),
        Some(open @ (b'{' | b'[')) if depth < DEPTH_MAX => {
            let (is_object, close) = if *open == b'{' { (true, b'}') } else { (false, b']') };
            let mut pos = skip_space(input, pos + 1);
            if input.get(pos) == Some(&close) {
                return Ok(pos + 1);
            }
            loop {
                if is_object {
                    pos = skip_space(input, string(input, pos)?.to + 1);
                    if input.get(pos) != Some(&b':') {
                        return Err("expected \":\"".into());
                    }
                    pos = skip_space(input, pos + 1);
                }
                pos = skip_space(input, skip_value(input, pos, depth + 1)?);
                match input.get(pos) {
                    Some(b',') => pos = skip_space(input, pos + 1),
                    Some(byte) if *byte == close => return Ok(pos + 1),
                    _ => return Err("unterminated object or array".into()),
                }
            }
        }
        Some(b'{' | b'[') => Err(format!("nested more than {DEPTH_MAX} deep")),
        _ => Err("expected a JSON value".into()),
    }
}
