//! Integers as decimal text, without allocation.

use bytes::{BufMut, BytesMut};

const PAIRS: &[u8; 200] = b"\
00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354\
555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// Digits of the longest u128.
pub const U128_DIGITS: usize = 39;

pub fn put_i64(value: i64, out: &mut BytesMut) {
    if value < 0 {
        out.put_u8(b'-');
    }
    put_u64(value.unsigned_abs(), out);
}

pub fn put_u64(value: u64, out: &mut BytesMut) {
    let mut digits = [0; U128_DIGITS];
    out.put_slice(u64_digits(value, &mut digits));
}

/// At least `width` digits, filled up with zeros.
pub fn put_padded(value: u64, width: usize, out: &mut BytesMut) {
    let mut digits = [0; U128_DIGITS];
    let digits = u64_digits(value, &mut digits);
    out.put_bytes(b'0', width.saturating_sub(digits.len()));
    out.put_slice(digits);
}

/// The digits of a number, at the end of `digits`.
pub fn u128_digits(value: u128, digits: &mut [u8; U128_DIGITS]) -> &[u8] {
    if let Ok(value) = u64::try_from(value) {
        return u64_digits(value, digits);
    }
    let mut at = U128_DIGITS;
    let mut rest = value;
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    &digits[at..]
}

fn u64_digits(value: u64, digits: &mut [u8; U128_DIGITS]) -> &[u8] {
    let mut at = U128_DIGITS;
    let mut rest = value;
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        let pair = rest as usize * 2;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    &digits[at..]
}
