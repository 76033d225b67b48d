//! The text form of bytea: `\x` and hex digits, as Postgres writes it; read in that form or in its older one, where a
//! backslash starts three octal digits or another backslash.

/// `\x` and two hex digits per byte.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

/// `None` if the text is in neither form.
pub(crate) fn from_text(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(digits) => from_hex(digits),
        None => from_escapes(text.as_bytes()),
    }
}

/// White space may stand between the pairs of digits.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).map(|d| d as u8);
    let mut bytes = vec![];
    let mut rest = digits.chars();
    while let Some(first) = rest.next() {
        if first.is_ascii_whitespace() {
            continue;
        }
        bytes.push(digit(first)? << 4 | digit(rest.next()?)?);
    }
    Some(bytes)
}

fn from_escapes(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![];
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match rest {
            [b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_hex_is_written() {
        assert_eq!(from_text("\\xDEad be\nEF"), Some(vec![0xde, 0xad, 0xbe, 0xef]));
        assert_eq!(from_text("a\\\\b\\001\\377"), Some(vec![b'a', b'\\', b'b', 1, 255]));
        assert_eq!(from_text(""), Some(vec![]));
        assert_eq!(to_text(&[0, 0xab, 255]), "\\x00abff");
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(["\\xabc", "\\xzz", "\\9", "\\400"].map(from_text), [None, None, None, None]);
    }
}
