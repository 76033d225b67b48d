//! A reader's own changes on top of what a relation holds: rows it has added, rows it has taken away. Where the rows of
//! the relation lie does not matter: what is taken away is left out wherever it is met first.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use types::{DeltaBatch, consolidate};

use super::snapshot::Undone;

/// The net effect of a reader's changes.
#[derive(Debug, Clone)]
pub struct Overlay {
    net: DeltaBatch,
}

impl Overlay {
    /// `deltas` in any order; every row they take away is in the relation or among the added ones.
    pub fn new(schema: &SchemaRef, deltas: &[DeltaBatch]) -> Overlay {
        let net = consolidate(&DeltaBatch::concat(schema, deltas)).expect("relations hold rows that can be encoded");
        Overlay { net }
    }

    /// Batches with all columns of the relation, and what the reader sees instead.
    pub fn over<I>(&self, batches: I) -> impl Iterator<Item = RecordBatch> + Send + use<I>
    where
        I: Iterator<Item = RecordBatch> + Send,
    {
        let (mut undone, added) = Undone::of(&self.net);
        batches.map(move |batch| undone.filter(batch)).chain(added).filter(|batch| batch.num_rows() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn rows(values: &[i64]) -> RecordBatch {
        RecordBatch::try_from_iter([("v", Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    #[test]
    fn own_changes_cover_what_lies_below() {
        let below = [rows(&[1, 1, 2]), rows(&[1, 3])];
        let deltas =
            [DeltaBatch::new(rows(&[1, 1, 4]), vec![-1, -1, 1]), DeltaBatch::new(rows(&[4, 5, 3]), vec![-1, 1, -1])];
        let overlay = Overlay::new(&below[0].schema(), &deltas);
        for _ in 0..2 {
            let seen = overlay.over(below.clone().into_iter());
            let mut seen: Vec<i64> =
                seen.flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            seen.sort_unstable();
            assert_eq!(seen, [1, 2, 5]);
        }
    }
}
