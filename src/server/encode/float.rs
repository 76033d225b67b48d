//! Floats as Postgres prints them: the shortest digits that read back, in C's `%g` layout.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

/// Exponents from −4 up to here are written out (as Postgres d2s.c, f2s.c).
const FIXED_EXPONENT_MAX_F64: i32 = 15;
const FIXED_EXPONENT_MAX_F32: i32 = 6;

pub fn put_f64(value: f64, out: &mut BytesMut) {
    if !put_special(value, out) {
        let mut shortest = Stack::default();
        write!(shortest, "{value:e}").expect("the shortest form of a float fits");
        put_shortest(shortest.as_str(), FIXED_EXPONENT_MAX_F64, out);
    }
}

pub fn put_f32(value: f32, out: &mut BytesMut) {
    if !put_special(f64::from(value), out) {
        let mut shortest = Stack::default();
        write!(shortest, "{value:e}").expect("the shortest form of a float fits");
        put_shortest(shortest.as_str(), FIXED_EXPONENT_MAX_F32, out);
    }
}

fn put_special(value: f64, out: &mut BytesMut) -> bool {
    if value.is_finite() {
        return false;
    }
    out.put_slice(match () {
        () if value.is_nan() => b"NaN",
        () if value > 0.0 => b"Infinity",
        () => b"-Infinity",
    });
    true
}

/// `shortest` is Rust's `[-]d[.ddd]e[-]x`.
fn put_shortest(shortest: &str, fixed_exponent_max: i32, out: &mut BytesMut) {
    let (mantissa, exponent) = shortest.split_once('e').expect("exponential form");
    let exponent: i32 = exponent.parse().expect("a decimal exponent");
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if negative {
        out.put_u8(b'-');
    }
    if !(-4..fixed_exponent_max).contains(&exponent) {
        out.put_slice(first.as_bytes());
        if !rest.is_empty() {
            out.put_u8(b'.');
            out.put_slice(rest.as_bytes());
        }
        write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()).expect("buffers grow");
    } else if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
        out.put_slice(first.as_bytes());
        out.put_slice(rest.as_bytes());
    } else {
        let whole = exponent.unsigned_abs() as usize;
        out.put_slice(first.as_bytes());
        out.put_slice(&rest.as_bytes()[..whole.min(rest.len())]);
        out.put_bytes(b'0', whole.saturating_sub(rest.len()));
        if rest.len() > whole {
            out.put_u8(b'.');
            out.put_slice(&rest.as_bytes()[whole..]);
        }
    }
}

/// Room for one float in exponential form.
#[derive(Default)]
struct Stack {
    bytes: [u8; 32],
    length: usize,
}

impl Stack {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).expect("only whole strings are written")
    }
}

impl Write for Stack {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
