//! What goes into a dataflow's input ports: the shared or private feed, what other dataflows publish on this worker, and
//! the snapshot with which a new reader of a relation begins.
//!
//! Invariant: a reader gets every change of a relation once. Its snapshot holds the epochs up to `RenderedInput::contains`
//! whole, whatever of them has left the relation's last operator by then; what is published of later ones follows.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use operators::OperatorError;
use operators::arrangement::Shard;
use types::{DeltaBatch, Epoch, ErrorDelta, ObjectId};

use crate::command::FeedBatch;
use crate::container::Parcel;
use crate::render::RenderedInput;
use crate::taps::Published;
use crate::worker::Hosted;

/// Batches of a starting snapshot moved per turn, so that a big backfill does not starve other dataflows.
const SNAPSHOT_BATCHES_PER_TURN: usize = 4;

/// What a port still gets of the relation as it was when its dataflow was created.
pub(crate) struct Snapshot {
    batches: Box<dyn Iterator<Item = RecordBatch> + Send>,
    errors: Vec<ErrorDelta>,
    /// Published meanwhile: follows the snapshot.
    behind: VecDeque<Published>,
}

impl Snapshot {
    /// Everything that `shard` holds.
    pub fn of(shard: &Shard, columns: &[usize]) -> Snapshot {
        let newest = shard.snapshot(Epoch::MAX);
        let errors = newest.errors();
        Snapshot { batches: newest.batches(Some(columns)), errors, behind: VecDeque::new() }
    }
}

pub(crate) fn advance_port(input: &mut RenderedInput, upper: Epoch) {
    if *input.port.time() < upper {
        input.port.advance_to(upper);
    }
}

/// Sends a batch of a relation to the ports that read it, each with its own columns.
///
/// Errors, with the node that reads: the batch lacks a column. Its feed should have been widened before; the dataflow that misses it
/// has failed, its neighbours on the worker have not.
pub(crate) fn feed(hosted: &mut Hosted, epoch: Epoch, batch: &FeedBatch) -> Result<(), (u32, OperatorError)> {
    for input in hosted.rendered.inputs.iter_mut().filter(|i| !i.tapped && i.relation == batch.relation) {
        let place = |column| batch.columns.iter().position(|given| given == column);
        let positions: Option<Vec<usize>> = input.columns.iter().map(place).collect();
        let Some(positions) = positions else {
            let (relation, read, given) = (batch.relation, &input.columns, &batch.columns);
            let message = format!("a batch of relation {relation} has columns {given:?}, its reader needs {read:?}");
            return Err((input.node, OperatorError::internal(message)));
        };
        let rows = batch.rows.rows().project(&positions).expect("positions lie inside the batch");
        advance_port(input, epoch);
        send(input, batch.rows.with_rows(rows), &batch.errors);
    }
    Ok(())
}

fn send(input: &mut RenderedInput, rows: DeltaBatch, errors: &[ErrorDelta]) {
    if !rows.is_empty() {
        input.port.send_batch(&mut Parcel::rows(rows));
    }
    if !errors.is_empty() {
        input.port.send_batch(&mut Parcel::errors(errors.to_vec()));
    }
}

/// Gives a reader what `relation` has sealed, and lets its ports advance to `upper`.
pub(crate) fn forward(reader: &mut Hosted, relation: ObjectId, published: &[Published], upper: Epoch) {
    for (port, input) in reader.rendered.inputs.iter_mut().enumerate() {
        if !input.tapped || input.relation != relation {
            continue;
        }
        let contains = input.contains;
        let later = published.iter().filter(|(epoch, ..)| *epoch > contains);
        if let Some(snapshot) = reader.snapshots.get_mut(&port) {
            snapshot.behind.extend(later.cloned());
            continue;
        }
        for published in later {
            send_published(input, published);
        }
        advance_port(input, upper);
    }
}

fn send_published(input: &mut RenderedInput, (epoch, rows, errors): &Published) {
    advance_port(input, *epoch);
    for batch in rows {
        let projected = batch.rows().project(&input.columns).expect("columns of the relation");
        send(input, batch.with_rows(projected), &[]);
    }
    if !errors.is_empty() {
        input.port.send_batch(&mut Parcel::errors(errors.clone()));
    }
}

/// Moves some of one snapshot; true once it and what waited behind it are through.
pub(crate) fn move_snapshot(hosted: &mut Hosted, port: usize) -> bool {
    let input = &mut hosted.rendered.inputs[port];
    let snapshot = hosted.snapshots.get_mut(&port).expect("the caller listed it");
    let errors = std::mem::take(&mut snapshot.errors);
    if !errors.is_empty() {
        input.port.send_batch(&mut Parcel::errors(errors));
    }
    for _ in 0..SNAPSHOT_BATCHES_PER_TURN {
        match snapshot.batches.next() {
            Some(rows) => send(input, DeltaBatch::inserts(rows), &[]),
            None => {
                let snapshot = hosted.snapshots.remove(&port).expect("still there");
                for published in &snapshot.behind {
                    send_published(input, published);
                }
                return true;
            }
        }
    }
    false
}
