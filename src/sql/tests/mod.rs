//! Tests of the whole crate through `parse`.

use super::*;

#[test]
fn smoke() {
    let parsed =
        parse("select 1; SELECT window_start FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))")
            .unwrap();
    for s in parsed {
        if let Statement::Query(q) = s.statement {
            println!("{q}");
        }
    }
}
