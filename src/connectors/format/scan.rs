//! Finding bytes, eight at a time. The inner loop of splitting text.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Position of the first `a` or `b` at or after `from`; the length of `bytes` if there is none.
#[inline]
pub(crate) fn find_either(bytes: &[u8], from: usize, a: u8, b: u8) -> usize {
    let (a_word, b_word) = (LOW * u64::from(a), LOW * u64::from(b));
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let hits = zero_bytes(word ^ a_word) | zero_bytes(word ^ b_word);
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && bytes[at] != a && bytes[at] != b {
        at += 1;
    }
    at
}

/// Position of the first quote, backslash or control character at or after `from`; the length if there is none.
#[inline]
pub(crate) fn find_string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let hits = zero_bytes(word ^ (LOW * u64::from(b'"'))) | zero_bytes(word ^ (LOW * u64::from(b'\\'))) | control;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && bytes[at] >= 0x20 && bytes[at] != b'"' && bytes[at] != b'\\' {
        at += 1;
    }
    at
}

/// A high bit in the lowest zero byte of `word`, and perhaps in bytes above it: the lowest is always right.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

/// Bytes of `input` from its start that are surely UTF-8.
pub(crate) fn utf8_prefix(input: &[u8]) -> usize {
    match std::str::from_utf8(input) {
        Ok(_) => input.len(),
        Err(error) => error.valid_up_to(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_plain_loop_finds() {
        let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).chain(*b"ab,c\"d\\e\nf\x80\xff\x1f ,").collect();
        for from in 0..=bytes.len() {
            let plain = |wanted: &dyn Fn(u8) -> bool| {
                bytes[from..].iter().position(|b| wanted(*b)).map_or(bytes.len(), |at| from + at)
            };
            assert_eq!(find_either(&bytes, from, b',', b'\n'), plain(&|b| b == b',' || b == b'\n'));
            assert_eq!(find_either(&bytes, from, 0xff, 0), plain(&|b| b == 0xff || b == 0));
            assert_eq!(find_string_end(&bytes, from), plain(&|b| b < 0x20 || b == b'"' || b == b'\\'));
        }
    }
}
