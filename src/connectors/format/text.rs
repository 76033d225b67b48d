//! Text → values, as Postgres reads them: the same functions for CSV fields and JSON scalars.
//! All take bytes known to be UTF-8 and return `None` for what is not a value of the type; nothing is guessed.

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A whole number; surrounding spaces and a leading sign are allowed. `None` also when out of range of i64.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // Below 19 digits nothing can overflow.
    if digits.len() <= 18 {
        let mut value = 0i64;
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        return Some(if negative { -value } else { value });
    }
    let mut value = 0i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Counted downwards, so that the smallest i64 needs no special case.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

pub(crate) fn parse_float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// `t`, `true`, `yes`, `on`, `1` and their opposites, in any case.
pub(crate) fn parse_boolean(text: &[u8]) -> Option<bool> {
    match text.trim_ascii() {
        b"true" | b"t" => Some(true),
        b"false" | b"f" => Some(false),
        other => crate::options::parse_boolean(std::str::from_utf8(other).ok()?),
    }
}

/// A decimal number as an integer scaled by 10^`scale`, rounded half away from zero; an exponent is allowed.
/// The flag says whether nothing was rounded off. `None` also when it has more than `precision` digits.
pub(crate) fn parse_decimal(text: &[u8], precision: u8, scale: i8) -> Option<(i128, bool)> {
    let text = text.trim_ascii();
    let (negative, unsigned) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], parse_integer(&unsigned[at + 1..]).filter(|e| e.abs() <= 10_000)?),
        None => (unsigned, 0),
    };
    let point = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let fraction = mantissa.get(point + 1..).unwrap_or_default();
    let digits = || mantissa[..point].iter().chain(fraction);
    if digits().next().is_none() || digits().any(|d| !d.is_ascii_digit()) {
        return None;
    }
    // Digits before the position that counts one unit of the scaled value.
    let kept = point as i64 + exponent + i64::from(scale);
    let limit = 10i128.checked_pow(u32::from(precision))?;
    let mut value: i128 = 0;
    let (mut exact, mut round_up) = (true, false);
    for (at, digit) in digits().enumerate() {
        let digit = i128::from(digit - b'0');
        if (at as i64) < kept {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else {
            round_up |= at as i64 == kept && digit >= 5;
            exact &= digit == 0;
        }
        if value >= limit {
            return None;
        }
    }
    let missing = kept - digits().count() as i64;
    if missing > 0 && value != 0 {
        value = value.checked_mul(10i128.checked_pow(u32::try_from(missing).ok()?)?)?;
    }
    value += i128::from(round_up);
    (value < limit).then_some((if negative { -value } else { value }, exact))
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let (days, rest) = date_prefix(text.trim_ascii())?;
    rest.is_empty().then_some(i32::try_from(days).ok()?)
}

/// `HH:MM[:SS[.fraction]]` as microseconds since midnight.
pub(crate) fn parse_time(text: &[u8]) -> Option<i64> {
    let (micros, rest) = time_prefix(text.trim_ascii())?;
    rest.is_empty().then_some(micros)
}

/// `YYYY-MM-DD[(T| )HH:MM[:SS[.fraction]][Z|±HH[[:]MM]]]` as microseconds since the epoch. With a zone the instant
/// in UTC, without one taken as UTC. Digits beyond the microsecond are rounded.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let (days, rest) = date_prefix(text)?;
    let midnight = days.checked_mul(MICROS_PER_DAY)?;
    let rest = match rest.split_first() {
        None => return Some(midnight),
        Some((b'T' | b't' | b' ', rest)) => rest,
        Some(_) => return None,
    };
    let (micros, zone) = time_prefix(rest)?;
    midnight.checked_add(micros)?.checked_sub(zone_us(zone.trim_ascii_start())?)
}

fn digits<const N: usize>(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(N)?;
    let mut value = 0;
    for byte in head {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some((value, rest))
}

fn date_prefix(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = digits::<4>(text)?;
    let (month, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let (day, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) {
        return None;
    }
    Some((days_from_civil(year, month, day), rest))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for years from 0 on. Years are counted from March, so
/// that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn time_prefix(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = digits::<2>(text)?;
    let (minute, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => digits::<2>(rest)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let whole = ((hour * 60 + minute) * 60 + second) * 1_000_000;
    let Some(fraction) = rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b",")) else {
        return Some((whole, rest));
    };
    let count = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (mut micros, mut unit) = (0, 100_000);
    for digit in fraction[..count].iter().take(6) {
        micros += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    micros += i64::from(count > 6 && fraction[6] >= b'5');
    Some((whole + micros, &fraction[count..]))
}

/// Offset east of UTC, microseconds; 0 for none.
fn zone_us(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        b"" | b"Z" | b"z" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = digits::<2>(rest)?;
    let minutes = match rest.strip_prefix(b":").unwrap_or(rest) {
        b"" => 0,
        rest => digits::<2>(rest).filter(|(_, rest)| rest.is_empty())?.0,
    };
    (hours <= 15 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_to_the_edge() {
        assert_eq!(parse_integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_integer(b"9223372036854775808"), None);
        assert_eq!(parse_integer(b" +007 "), Some(7));
        assert_eq!(parse_integer(b"9007199254740993"), Some(9_007_199_254_740_993));
        for wrong in [&b""[..], b"-", b"1.5", b"0x1", b"1 2", b"--1"] {
            assert_eq!(parse_integer(wrong), None);
        }
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        let cases: [(&str, Option<(i128, bool)>); 14] = [
            ("1.25", Some((125, true))),
            ("1.255", Some((126, false))),
            ("-1.255", Some((-126, false))),
            ("1.2549", Some((125, false))),
            ("7", Some((700, true))),
            (".5", Some((50, true))),
            ("1e2", Some((10_000, true))),
            ("125e-2", Some((125, true))),
            ("0.001", Some((0, false))),
            ("0.0e5", Some((0, true))),
            ("999.99", Some((99_999, true))),
            ("999.995", None),
            ("1e99", None),
            ("1.2.3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_decimal(text.as_bytes(), 5, 2), expected, "{text}");
        }
        assert_eq!(parse_decimal(b"5e-4", 5, 2), Some((0, false)));
        assert_eq!(parse_decimal(b".", 5, 2), None);
    }

    #[test]
    fn timestamps_in_the_forms_that_occur() {
        let base = 1_704_067_200_000_000; // 2024-01-01 00:00:00
        let cases = [
            ("2024-01-01", Some(base)),
            ("2024-01-01 00:00:00", Some(base)),
            ("2024-01-01T00:00:01Z", Some(base + 1_000_000)),
            ("2024-01-01T00:00", Some(base)),
            ("2024-01-01 00:00:00.123", Some(base + 123_000)),
            ("2024-01-01 00:00:00.1234565", Some(base + 123_457)),
            ("2024-01-01 02:00:00+02", Some(base)),
            ("2023-12-31T19:00:00.5-05:00", Some(base + 500_000)),
            ("2024-01-01 05:30:00 +0530", Some(base)),
            ("1970-01-01 00:00:00", Some(0)),
            ("1969-12-31 23:59:59.999999", Some(-1)),
            ("2000-02-29", Some(951_782_400_000_000)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-01-01 24:00:00", None),
            ("2024-01-01 00:00:00.", None),
            ("2024-01-01 00:00:00 CET", None),
            ("1704067200", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_timestamp(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse_date(b"1969-12-31"), Some(-1));
        assert_eq!(parse_time(b"23:59:59.5"), Some(86_399_500_000));
        for year in [1600i64, 1899, 1900, 2000, 2100, 9999] {
            let date = chrono::NaiveDate::from_ymd_opt(year as i32, 3, 1).unwrap();
            let expected = date.signed_duration_since(chrono::NaiveDate::default()).num_days();
            assert_eq!(days_from_civil(year, 3, 1), expected);
        }
    }
}
