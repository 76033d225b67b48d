//! Numeric: decimal digits and a scale → text, or Postgres' base-10,000 binary form.
//!
//! Works on digit strings, so that 128-bit and 256-bit decimals share one path.

use bytes::{BufMut, BytesMut};

/// A decimal as sign, digits and scale. A negative scale means zeros to the right.
pub struct Digits<'a> {
    pub negative: bool,
    /// ASCII digits without sign; no leading zeros except for zero itself.
    pub digits: &'a [u8],
    pub scale: i8,
}

impl Digits<'_> {
    fn is_zero(&self) -> bool {
        self.digits.iter().all(|&d| d == b'0')
    }

    /// Digits after the point.
    fn fraction_digits(&self) -> usize {
        usize::try_from(self.scale).unwrap_or(0)
    }

    /// Zeros to append to the digits.
    fn zeros(&self) -> usize {
        if self.is_zero() { 0 } else { usize::from(self.scale.min(0).unsigned_abs()) }
    }

    pub fn text(&self, out: &mut BytesMut) {
        if self.negative && !self.is_zero() {
            out.put_u8(b'-');
        }
        let fraction = self.fraction_digits();
        let whole = self.digits.len().saturating_sub(fraction);
        if whole == 0 {
            out.put_u8(b'0');
        } else {
            out.put_slice(&self.digits[..whole]);
            out.put_bytes(b'0', self.zeros());
        }
        if fraction > 0 {
            out.put_u8(b'.');
            out.put_bytes(b'0', fraction - (self.digits.len() - whole));
            out.put_slice(&self.digits[whole..]);
        }
    }

    /// ndigits, weight, sign, display scale, digits in base 10,000 without zeros at either end.
    pub fn binary(&self, out: &mut BytesMut) {
        let fraction = self.fraction_digits();
        let length = self.digits.len() + self.zeros();
        // Decimal position p counts from the point: 0 is the ones, −1 the tenths.
        let top = length as i32 - 1 - fraction as i32;
        let digit = |position: i32| {
            usize::try_from(top - position).ok().and_then(|at| self.digits.get(at)).map_or(0, |d| i16::from(d - b'0'))
        };
        let group = |weight: i32| (0..4).rev().fold(0, |sum, p| sum * 10 + digit(weight * 4 + p));
        let (mut high, mut low) = (top.div_euclid(4), (-(fraction as i32)).div_euclid(4));
        while high >= low && group(high) == 0 {
            high -= 1;
        }
        while low <= high && group(low) == 0 {
            low += 1;
        }
        out.put_i16((high - low + 1) as i16);
        out.put_i16(if high < low { 0 } else { high as i16 });
        out.put_u16(if self.negative && high >= low { 0x4000 } else { 0 });
        out.put_u16(fraction as u16);
        (low..=high).rev().for_each(|weight| out.put_i16(group(weight)));
    }
}
