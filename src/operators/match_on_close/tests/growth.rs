//! What it costs: partitions that are silent cost nothing, and go when their time is over.

use types::{EpochRecord, Watermarks};

use super::{INPUT, build, concat, spec, var};
use crate::changelog::{SOURCE, rows, schema};
use crate::{Output, Progress};

#[test]
fn silent_partitions_go_when_their_time_is_over() {
    let mut operator = build(&spec(concat([var(0), var(1)]), "ab", Some(10)));
    let mut out = Output::default();
    let cells = (0..10_000).map(|p: i64| (vec![p.to_string(), (p % 100).to_string(), "a".into(), "0".into()], 1));
    operator.on_batch(0, rows(&schema(INPUT), &cells.collect::<Vec<_>>()), &mut out).expect("takes rows");
    let mut seal = |operator: &mut Box<dyn crate::Operator>, epoch: u64, seconds: i64| {
        let mut watermarks = Watermarks::default();
        watermarks.set(SOURCE, seconds * 1_000_000);
        let record = EpochRecord::new(epoch, 0, watermarks);
        while operator.on_seal(&record, &mut out).expect("seals") == Progress::More {}
    };
    seal(&mut operator, 1, 0);
    let full = operator.memory_bytes();
    seal(&mut operator, 2, 61);
    let half = operator.memory_bytes();
    assert!(half < full * 3 / 4, "{half} of {full} bytes are held");
    seal(&mut operator, 3, 1_000);
    let cut = operator.checkpoint().gather().expect("gathers");
    let kept: usize =
        cut.iter().filter(|table| table.table == 1).flat_map(|table| &table.batches).map(|b| b.num_rows()).sum();
    assert_eq!((operator.memory_bytes(), kept), (0, 0));
}
