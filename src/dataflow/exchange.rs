//! Exchange by vnode: rows go to the worker that owns the hash of their key columns.

use arrow::array::{ArrayRef, UInt32Array};
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;
use types::{DeltaBatch, hash_columns, vnode_of, worker_of};

use crate::container::{Content, Parcel};

/// Splits a batch by key hash and ships each part at once; nothing is buffered.
pub struct VnodeDistributor {
    columns: Vec<usize>,
    /// Row indices per target, reused between batches.
    indices: Vec<Vec<u32>>,
}

impl VnodeDistributor {
    pub fn new(columns: Vec<usize>, workers: usize) -> Self {
        VnodeDistributor { columns, indices: vec![vec![]; workers] }
    }

    fn split(&mut self, batch: DeltaBatch, mut ship: impl FnMut(usize, DeltaBatch)) {
        let workers = self.indices.len();
        let keys: Vec<ArrayRef> = self.columns.iter().map(|c| batch.rows().column(*c).clone()).collect();
        let hashes = hash_columns(&keys, batch.num_rows()).expect("the planner exchanges by hashable columns only");
        self.indices.iter_mut().for_each(Vec::clear);
        for (row, hash) in hashes.iter().enumerate() {
            self.indices[worker_of(vnode_of(*hash), workers)].push(row as u32);
        }
        for (target, rows) in self.indices.iter().enumerate() {
            if rows.len() == batch.num_rows() {
                ship(target, batch);
                return;
            }
            if !rows.is_empty() {
                ship(target, batch.take(&UInt32Array::from(rows.clone())));
            }
        }
    }
}

impl Distributor<Parcel> for VnodeDistributor {
    fn partition<T: Clone, P: Push<Message<T, Parcel>>>(&mut self, parcel: &mut Parcel, time: &T, pushers: &mut [P]) {
        match parcel.take() {
            Content::Empty => {}
            Content::Rows(batch) => self.split(batch, |target, part| {
                Message::push_at(&mut Parcel::rows(part), time.clone(), &mut pushers[target]);
            }),
            // Errors have no key: all on one worker, so that a retraction meets its insertion.
            Content::Errors(errors) => Message::push_at(&mut Parcel::errors(errors), time.clone(), &mut pushers[0]),
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Parcel>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}
