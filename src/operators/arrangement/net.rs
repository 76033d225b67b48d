//! Consolidation by hash: what an epoch's changes amount to, without sorting them.

use arrow::array::UInt32Array;
use hashbrown::HashTable;
use types::{DeltaBatch, hash_columns};

use super::gather::take_rows;
use super::layout::{Cells, Float, Incoming, Layout, same_f32, same_f64};
use crate::OperatorError;

/// Sums the diffs of equal rows and drops zeros; keeps the order in which rows first came. Append-only batches pass
/// as they are. Errors: `Overflow` if a summed diff leaves i64.
pub(crate) fn net(layout: &Layout, mut batches: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>, OperatorError> {
    batches.retain(|b| !b.is_empty());
    let rows: usize = batches.iter().map(DeltaBatch::num_rows).sum();
    if batches.iter().all(|b| b.diffs().is_none()) || (rows == 1 && batches[0].diff(0) != 0) {
        return Ok(batches);
    }
    let all = DeltaBatch::concat(&layout.schema, &batches);
    let cells: Vec<Incoming> =
        layout.columns.iter().zip(all.rows().columns()).map(|(c, a)| c.read(a)).collect::<Result<_, _>>()?;
    let hashes = hash_columns(all.rows().columns(), rows)?;
    // Positions in `first`: the row that stands for its equals, and their sum.
    let mut table: HashTable<u32> = HashTable::with_capacity(rows);
    let mut first: Vec<(u32, i64)> = Vec::with_capacity(rows);
    for row in 0..rows {
        let same = |position: &u32| {
            let other = first[*position as usize].0 as usize;
            hashes[other] == hashes[row] && cells.iter().all(|c| c.same(other, row))
        };
        let diff = all.diff(row);
        match table.find(hashes[row], same) {
            Some(position) => {
                let sum = &mut first[*position as usize].1;
                *sum = sum.checked_add(diff).ok_or(types::TypesError::Overflow)?;
            }
            None => {
                let position = first.len() as u32;
                table.insert_unique(hashes[row], position, |_| unreachable!("room for every row was reserved"));
                first.push((row as u32, diff));
            }
        }
    }
    first.retain(|(_, diff)| *diff != 0);
    if first.is_empty() {
        return Ok(vec![]);
    }
    let diffs: Vec<i64> = first.iter().map(|(_, diff)| *diff).collect();
    if first.len() == rows {
        return Ok(vec![DeltaBatch::new(all.rows().clone(), diffs)]);
    }
    let taken = take_rows(all.rows(), &UInt32Array::from_iter_values(first.iter().map(|(row, _)| *row)));
    if diffs.iter().all(|d| *d == 1) {
        return Ok(vec![DeltaBatch::inserts(taken)]);
    }
    Ok(vec![DeltaBatch::new(taken, diffs)])
}

impl Incoming {
    /// Whether two rows hold the same cell; NULL equals NULL.
    pub fn same(&self, a: usize, b: usize) -> bool {
        match (self.is_null(a), self.is_null(b)) {
            (true, true) => return true,
            (false, false) => {}
            _ => return false,
        }
        match &self.cells {
            Cells::Nothing => true,
            Cells::Bit(v) => v.value(a) == v.value(b),
            Cells::Byte1(v) => v[a] == v[b],
            Cells::Byte2(v) => v[a] == v[b],
            Cells::Byte4(v) => v[a] == v[b] || (self.float == Float::F32 && same_f32(v[a], v[b])),
            Cells::Byte8(v) => v[a] == v[b] || (self.float == Float::F64 && same_f64(v[a], v[b])),
            Cells::Byte16(v) => v[a] == v[b],
            Cells::Bytes32(..) | Cells::Bytes64(..) | Cells::Encoded(_) => self.bytes(a) == self.bytes(b),
        }
    }
}
