//! What changed in a keyed relation since its last checkpoint: the rows written, in their last state, and the keys
//! that went. Key columns stand first.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use types::{DeltaBatch, canonical, hash_columns, with_diff as with_diff_column};

use super::gather::{gather_column, parts};
use super::layout::{Incoming, Layout};
use super::page_table::PageTable;
use super::rows::{Prepared, Rows};
use super::shard::Shard;
use crate::OperatorError;
use crate::bits::Bits;

/// Distinct keys deleted since the last cut, in pages of their own.
pub(super) struct Graveyard {
    layout: Layout,
    rows: Rows,
}

impl Graveyard {
    pub fn new(relation: &Layout) -> Self {
        let key = relation.key.as_ref().expect("only keyed relations delete by key");
        let schema = Arc::new(relation.schema.project(key).expect("the key names columns of the relation"));
        let layout = Layout::new(schema, Some((0..key.len()).collect()));
        let rows = Rows::new(&layout);
        Graveyard { layout, rows }
    }

    /// Remembers the keys at `rows`.
    pub fn bury(&mut self, keys: &[ArrayRef], rows: &UInt32Array) -> Result<(), OperatorError> {
        let columns = keys.iter().map(|k| take(k, rows, None)).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let delta = RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)?;
        let delta = DeltaBatch::inserts(delta);
        let prepared = Prepared::new(&self.layout, &delta)?;
        self.rows.upsert(&self.layout, &prepared)
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
    }
}

/// Order of the columns in a cut of a keyed relation: key columns, then the others.
pub(super) fn cut_columns(layout: &Layout) -> Vec<usize> {
    let key = layout.key.as_ref().expect("only keyed relations are cut by key");
    key.iter().copied().chain((0..layout.columns.len()).filter(|c| !key.contains(c))).collect()
}

/// What [`Shard::cut_keyed`] took: a version of the pages and which of their rows were written. Whoever writes the
/// checkpoint gathers them, while the worker goes on.
pub(crate) struct KeyedCut {
    layout: Arc<Layout>,
    pages: PageTable,
    /// Rows that died since are among them.
    written: Bits,
    buried: Graveyard,
    /// Ids in `buried` of keys that have no live row.
    gone: Vec<u32>,
}

impl KeyedCut {
    /// Puts and deletes, each key once, with the diff column last.
    pub fn gather(self) -> Result<Vec<RecordBatch>, OperatorError> {
        let KeyedCut { layout, pages, mut written, buried, gone } = self;
        let columns = cut_columns(&layout);
        let key = layout.key.as_ref().expect("only keyed relations are cut by key");
        let schema = cut_schema(&layout, &columns);
        let mut puts = written.drain();
        puts.retain(|id| pages.is_live(*id));
        let mut batches = vec![];
        for ids in parts(&layout, &pages, &puts) {
            let gathered = columns.iter().map(|c| (c, gather_column(&layout.columns[*c], &pages, ids, *c)));
            // A key is found again by its bytes: those of a put and of a later delete must be the same.
            let arrays = gathered.map(|(c, array)| if key.contains(c) { canonical(&array) } else { array }).collect();
            batches.push(with_diff(&schema, arrays, ids.len(), 1)?);
        }
        for ids in parts(&buried.layout, &buried.rows.pages, &gone) {
            let width = buried.layout.columns.len();
            let keys = (0..width).map(|c| gather_column(&buried.layout.columns[c], &buried.rows.pages, ids, c));
            let values = columns[width..].iter().map(|c| new_null_array(&layout.columns[*c].data_type, ids.len()));
            let keys = keys.map(|key| canonical(&key));
            batches.push(with_diff(&schema, keys.chain(values).collect(), ids.len(), -1)?);
        }
        Ok(batches)
    }
}

impl Shard {
    /// Puts and deletes since the last call. Keyed relations only.
    pub(crate) fn cut_keyed(&self) -> Result<KeyedCut, OperatorError> {
        let mut inner = self.lock();
        let written = inner.rows.take_written();
        let pages = inner.rows.pages.clone();
        let buried = inner.deleted.replace(Graveyard::new(&self.layout)).expect("keyed relations have a graveyard");
        let gone = still_gone(&self.layout, &inner.rows, &buried)?;
        Ok(KeyedCut { layout: self.layout.clone(), pages, written, buried, gone })
    }

    /// Takes back one batch of [`KeyedCut::gather`].
    pub(crate) fn restore_keyed(&self, batch: &RecordBatch) -> Result<(), OperatorError> {
        let columns = cut_columns(&self.layout);
        if batch.num_columns() != columns.len() + 1 {
            return Err(OperatorError::internal("a checkpointed relation has another number of columns"));
        }
        let mut arrays: Vec<(usize, ArrayRef)> = columns.into_iter().zip(batch.columns().iter().cloned()).collect();
        arrays.sort_by_key(|(column, _)| *column);
        let arrays = arrays.into_iter().map(|(_, a)| a).chain(batch.columns().last().cloned()).collect();
        let all: Vec<usize> = (0..self.layout.columns.len()).collect();
        self.restore_rows(&RecordBatch::try_new(cut_schema(&self.layout, &all), arrays)?)
    }
}

/// Ids in `buried` of keys that have no live row.
fn still_gone(layout: &Layout, rows: &Rows, buried: &Graveyard) -> Result<Vec<u32>, OperatorError> {
    let ids = buried.rows.live_ids();
    let width = buried.layout.columns.len();
    let mut gone = vec![];
    for ids in parts(&buried.layout, &buried.rows.pages, &ids) {
        let keys: Vec<ArrayRef> =
            (0..width).map(|c| gather_column(&buried.layout.columns[c], &buried.rows.pages, ids, c)).collect();
        let hashes = hash_columns(&keys, ids.len())?;
        let cells: Vec<Incoming> =
            buried.layout.columns.iter().zip(&keys).map(|(c, a)| c.read(a)).collect::<Result<_, _>>()?;
        let cells: Vec<(usize, &Incoming)> = layout.identity().into_iter().zip(&cells).collect();
        gone.extend((0..ids.len()).filter(|r| rows.find_live(hashes[*r], &cells, *r).is_none()).map(|r| ids[r]));
    }
    Ok(gone)
}

/// Value columns are nullable here: deletes carry none.
fn cut_schema(layout: &Layout, columns: &[usize]) -> SchemaRef {
    let field = |c: &usize| layout.schema.field(*c).clone().with_nullable(true);
    with_diff_column(&Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())))
}

fn with_diff(
    schema: &SchemaRef,
    mut arrays: Vec<ArrayRef>,
    rows: usize,
    diff: i64,
) -> Result<RecordBatch, OperatorError> {
    arrays.push(Arc::new(Int64Array::from_value(diff, rows)));
    Ok(RecordBatch::try_new(schema.clone(), arrays)?)
}
