//! Sizes.

use types::SqlError;

use super::catalog::relation;
use super::scalar::Returns::{Int8, Text};
use super::scalar::{Call, Function, strict};
use crate::system::table::Cell;

pub const FUNCTIONS: &[Function] = &[
    strict("pg_relation_size", (1, 2), Int8, size),
    strict("pg_table_size", (1, 1), Int8, size),
    strict("pg_total_relation_size", (1, 1), Int8, size),
    strict("pg_indexes_size", (1, 1), Int8, |_| Ok(0.into())),
    strict("pg_database_size", (1, 1), Int8, |call| Ok((call.view.shared.budget.used_bytes() as i64).into())),
    strict("pg_tablespace_size", (1, 1), Int8, |call| Ok((call.view.shared.budget.used_bytes() as i64).into())),
    strict("pg_size_pretty", (1, 1), Text, |call| Ok(pretty(call.int(0).unwrap_or_default()).into())),
];

fn size(call: &Call) -> Result<Cell, SqlError> {
    Ok(relation(call).map(|oid| call.view.size(oid)).into())
}

/// Bytes with the largest unit of which there are ten, rounded half away from zero.
fn pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    for unit in &UNITS[..5] {
        if value.round().abs() < 10_240.0 {
            return format!("{} {unit}", value.round());
        }
        value /= 1024.0;
    }
    format!("{} {}", value.round(), UNITS[5])
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn sizes_have_units() {
        assert_eq!(pretty(0), "0 bytes");
        assert_eq!(pretty(10_239), "10239 bytes");
        assert_eq!(pretty(10_240), "10 kB");
        assert_eq!(pretty(16_384), "16 kB");
        assert_eq!(pretty(-20_480), "-20 kB");
        assert_eq!(pretty(50 << 30), "50 GB");
    }
}
