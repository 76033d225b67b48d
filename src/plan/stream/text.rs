//! Texts of EXPLAIN and notices that several nodes share.

use arrow::datatypes::Schema;
use catalog::Catalog;
use types::EventTimeBound;

/// Microseconds in the largest unit that is exact.
pub(super) fn duration(us: i64) -> String {
    const UNITS: [(i64, &str); 5] =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    match UNITS.iter().find(|(unit, _)| us != 0 && us % unit == 0) {
        Some((unit, name)) => format!("{} {name}", us / unit),
        None if us == 0 => "0 s".into(),
        None => format!("{us} us"),
    }
}

/// `[a, b]`.
pub(super) fn columns(columns: &[usize], schema: &Schema) -> String {
    let names: Vec<&str> = columns.iter().map(|c| schema.field(*c).name().as_str()).collect();
    format!("[{}]", names.join(", "))
}

/// `[a, b]`, or `all rows` where nothing divides them.
pub(super) fn keys(keys: &[usize], schema: &Schema) -> String {
    if keys.is_empty() { "all rows".into() } else { columns(keys, schema) }
}

/// `watermark(bid)`, `min(watermark(bid), watermark(auction) - 10 s)`.
pub(super) fn bound(bound: &EventTimeBound, catalog: &Catalog) -> String {
    let one = |(source, offset): &(types::ObjectId, i64)| {
        let name = catalog.get(*source).map(|o| o.name.clone()).unwrap_or_else(|| source.to_string());
        match *offset {
            0 => format!("watermark({name})"),
            offset if offset < 0 => format!("watermark({name}) + {}", duration(-offset)),
            offset => format!("watermark({name}) - {}", duration(offset)),
        }
    };
    match bound.sources.as_slice() {
        [source] => one(source),
        sources => format!("min({})", sources.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}
