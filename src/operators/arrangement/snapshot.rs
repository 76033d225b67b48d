//! A shard as of one epoch: a version of its pages, and the changes above the epoch to take back.
//! Nothing here holds the shard's lock; pages are converted as the reader asks for them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use hashbrown::{HashMap, HashSet};
use types::limits::PAGE_ROWS;
use types::{DeltaBatch, Epoch, ErrorDelta, SqlError, canonical_columns, consolidate, hash_columns};

use super::errors::Errors;
use super::gather::{cell_bytes, gather, take_rows};
use super::layout::{Layout, Storage};
use super::page_table::{PageTable, place};
use super::segments::Segments;

/// Rows per batch a reader gets.
const READ_ROWS: usize = 8_192;
/// Bytes of text after which a batch ends early, so that offsets never overflow.
const READ_BYTES: usize = 64 * 1024 * 1024;

type Undo = Vec<Arc<Vec<DeltaBatch>>>;

/// What a reader sees of one shard at one epoch.
pub struct ShardSnapshot {
    pub(super) layout: Arc<Layout>,
    pub(super) epoch: Epoch,
    pub(super) pages: PageTable,
    pub(super) segments: Segments,
    /// Without those of segments above the epoch.
    pub(super) row_count: usize,
    /// Changes above the epoch.
    pub(super) undo: Undo,
    pub(super) broken: Option<String>,
    pub(super) errors: Errors,
    pub(super) errors_undo: Vec<Arc<Vec<ErrorDelta>>>,
}

impl ShardSnapshot {
    /// Live rows, `projection` columns, in batches of at most 8192 rows; rows with multiplicity m stand m times.
    /// Lazy: pages are converted as the iterator advances.
    pub fn batches(self, projection: Option<&[usize]>) -> Box<dyn Iterator<Item = RecordBatch> + Send> {
        let all: Vec<usize> = (0..self.layout.columns.len()).collect();
        let columns = projection.map_or(all, <[usize]>::to_vec);
        let schema = project_schema(&self.layout, &columns);
        let cursor = Cursor { layout: self.layout.clone(), pages: self.pages, next: 0, given: 0 };
        let (projection, projected) = (columns.clone(), schema.clone());
        let whole =
            self.segments.batches(self.epoch, READ_ROWS).map(move |b| project(&b, &projection, projected.clone()));
        if self.undo.is_empty() {
            return Box::new(cursor.batches(columns, schema).chain(whole));
        }
        let (undone, added) = Undone::new(&self.layout, &self.undo);
        let all: Vec<usize> = (0..self.layout.columns.len()).collect();
        let mut undone = undone;
        let kept = cursor.batches(all, self.layout.schema.clone()).map(move |batch| undone.filter(batch));
        let shown = kept.chain(added).filter(|b| b.num_rows() > 0);
        Box::new(shown.map(move |batch| project(&batch, &columns, schema.clone())).chain(whole))
    }

    /// The first error this shard holds at this epoch, if any. Where a relation has several shards an error and its
    /// retraction may lie in different ones: see [`first_error`].
    pub fn error(&self) -> Option<SqlError> {
        first_error(std::slice::from_ref(self))
    }

    /// Errors at this epoch with their counts, which may be negative in one shard of several.
    pub fn errors(&self) -> Vec<ErrorDelta> {
        self.net_errors().to_vec()
    }

    fn net_errors(&self) -> Errors {
        let mut errors = self.errors.clone();
        self.errors_undo.iter().for_each(|later| errors.subtract(later));
        errors
    }

    /// Rows at this epoch, counted with their multiplicity.
    pub fn num_rows(&self) -> usize {
        let since: i64 = self.undo.iter().flat_map(|d| d.iter()).map(net_rows).sum();
        usize::try_from(self.row_count as i64 - since).expect("no epoch has fewer than no rows")
    }
}

/// The first error a relation holds over all its shards at one epoch.
pub fn first_error(shards: &[ShardSnapshot]) -> Option<SqlError> {
    if let Some(broken) = shards.iter().find_map(|s| s.broken.as_ref()) {
        return Some(SqlError::internal(broken.clone()));
    }
    let mut errors = Errors::new();
    for shard in shards {
        let own = shard.net_errors();
        if errors.is_empty() {
            errors = own;
        } else {
            errors.add(&own.to_vec());
        }
    }
    errors.first()
}

fn net_rows(delta: &DeltaBatch) -> i64 {
    delta.diffs().map_or(delta.num_rows() as i64, |d| d.iter().sum())
}

fn project_schema(layout: &Layout, columns: &[usize]) -> SchemaRef {
    Arc::new(layout.schema.project(columns).expect("a projection names columns of the relation"))
}

fn project(batch: &RecordBatch, columns: &[usize], schema: SchemaRef) -> RecordBatch {
    let arrays = columns.iter().map(|c| batch.column(*c).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, arrays, &options).expect("columns of one batch")
}

/// Walks live rows in id order.
struct Cursor {
    layout: Arc<Layout>,
    pages: PageTable,
    /// Next id to look at.
    next: usize,
    /// How often row `next` was given already.
    given: i64,
}

impl Cursor {
    fn batches(mut self, columns: Vec<usize>, schema: SchemaRef) -> impl Iterator<Item = RecordBatch> + Send {
        let bytes_of: Vec<usize> = columns
            .iter()
            .copied()
            .filter(|c| matches!(self.layout.columns[*c].storage, Storage::Bytes | Storage::Encoded(_)))
            .collect();
        std::iter::from_fn(move || {
            let ids = self.take(&bytes_of);
            (!ids.is_empty()).then(|| gather(&self.layout, &self.pages, &ids, &columns, schema.clone()))
        })
    }

    /// The next ids, each as often as its weight says.
    fn take(&mut self, byte_columns: &[usize]) -> Vec<u32> {
        let end = self.pages.len() * PAGE_ROWS;
        let mut ids = vec![];
        let mut bytes = 0;
        while self.next < end && ids.len() < READ_ROWS && bytes < READ_BYTES {
            let (number, slot) = place(self.next as u32);
            let page = self.pages.page(number);
            let rest = page.live_bits()[slot / 64] >> (slot % 64);
            if rest == 0 {
                self.next += 64 - slot % 64;
                continue;
            }
            let skipped = rest.trailing_zeros() as usize;
            if skipped > 0 {
                self.next += skipped;
                continue;
            }
            let wanted = page.weight(slot) - self.given;
            let room = (READ_ROWS - ids.len()) as i64;
            let row_bytes: usize = byte_columns.iter().map(|c| cell_bytes(page, *c, slot)).sum();
            let room = room.min(((READ_BYTES - bytes) / row_bytes.max(1)).max(1) as i64);
            let taken = wanted.min(room);
            ids.extend(std::iter::repeat_n(self.next as u32, taken as usize));
            bytes += row_bytes * taken as usize;
            if taken < wanted {
                self.given += taken;
                break;
            }
            self.given = 0;
            self.next += 1;
        }
        ids
    }
}

/// Rows to leave out of the newest version, by the encoding of the whole row.
pub(super) struct Undone {
    converter: RowConverter,
    /// Hash → encoded rows with how often each is still to be left out.
    rows: HashMap<u64, Vec<(Box<[u8]>, i64)>>,
}

impl Undone {
    /// What to leave out, and the batches to add.
    fn new(layout: &Layout, undo: &Undo) -> (Self, Vec<RecordBatch>) {
        Undone::of(&net_undo(layout, undo))
    }

    /// The same for one consolidated change.
    pub(super) fn of(net: &DeltaBatch) -> (Self, Vec<RecordBatch>) {
        let converter = converter(net.rows().columns());
        let (mut added, mut diffs_left) = (vec![], HashMap::<u64, Vec<(Box<[u8]>, i64)>>::new());
        let hashes = hashes(net.rows().columns(), net.num_rows());
        let encoded = converter.as_ref().map(|c| encode(c, net.rows().columns()));
        for row in 0..net.num_rows() {
            let diff = net.diff(row);
            if diff > 0 {
                added.extend(std::iter::repeat_n(row as u32, diff as usize));
                continue;
            }
            let bytes = encoded.as_ref().map_or(&[][..], |e| e.row(row).data());
            diffs_left.entry(hashes[row]).or_default().push((bytes.into(), -diff));
        }
        let added =
            added.chunks(READ_ROWS).map(|ids| take_rows(net.rows(), &UInt32Array::from(ids.to_vec()))).collect();
        let converter = converter.unwrap_or_else(|| RowConverter::new(vec![]).expect("no columns always encode"));
        (Undone { converter, rows: diffs_left }, added)
    }

    pub(super) fn filter(&mut self, batch: RecordBatch) -> RecordBatch {
        if self.rows.is_empty() {
            return batch;
        }
        let hashes = hashes(batch.columns(), batch.num_rows());
        let suspects: Vec<u32> =
            (0..batch.num_rows()).filter(|r| self.rows.contains_key(&hashes[*r])).map(|r| r as u32).collect();
        if suspects.is_empty() {
            return batch;
        }
        let taken = take_rows(&batch, &UInt32Array::from(suspects.clone()));
        let encoded = (batch.num_columns() > 0).then(|| encode(&self.converter, taken.columns()));
        let mut keep = vec![true; batch.num_rows()];
        for (position, row) in suspects.iter().enumerate() {
            let bytes = encoded.as_ref().map_or(&[][..], |e| e.row(position).data());
            let hash = hashes[*row as usize];
            let left = self.rows.get_mut(&hash).and_then(|l| l.iter_mut().find(|(b, n)| &**b == bytes && *n > 0));
            if let Some((_, count)) = left {
                *count -= 1;
                keep[*row as usize] = false;
            }
        }
        filter_record_batch(&batch, &BooleanArray::from(keep)).expect("one flag per row")
    }
}

/// The change that leads back from the newest version.
fn net_undo(layout: &Layout, undo: &Undo) -> DeltaBatch {
    let batches: Vec<DeltaBatch> = undo.iter().flat_map(|d| d.iter()).map(DeltaBatch::negate).collect();
    consolidate(&DeltaBatch::concat(&layout.schema, &batches)).expect("relations hold rows that can be encoded")
}

/// The rows among `found` (newest version) and `undo` that have one of `keys`, as of the epoch below the undone ones.
pub(super) fn keep_keys(
    layout: &Layout,
    found: RecordBatch,
    undo: &Undo,
    columns: &[usize],
    keys: &[ArrayRef],
) -> RecordBatch {
    let net = net_undo(layout, undo);
    let converter = converter(keys);
    let of = |arrays: &[ArrayRef], rows: usize| -> Vec<Vec<u8>> {
        match &converter {
            Some(converter) => encode(converter, arrays).iter().map(|r| r.data().to_vec()).collect(),
            None => vec![vec![]; rows],
        }
    };
    let wanted: HashSet<Vec<u8>> = of(keys, 1).into_iter().collect();
    let key_columns: Vec<ArrayRef> = columns.iter().map(|c| net.rows().column(*c).clone()).collect();
    let rows: Vec<u32> = of(&key_columns, net.num_rows())
        .iter()
        .enumerate()
        .filter(|(_, key)| wanted.contains(*key))
        .map(|(row, _)| row as u32)
        .collect();
    let found = DeltaBatch::inserts(found);
    let then = DeltaBatch::concat(&layout.schema, &[found, net.take(&rows.into())]);
    consolidate(&then).expect("relations hold rows that can be encoded").rows().clone()
}

fn hashes(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    hash_columns(columns, rows).expect("relations hold columns that can be hashed")
}

fn converter(columns: &[ArrayRef]) -> Option<RowConverter> {
    let fields: Vec<SortField> = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    (!fields.is_empty()).then(|| RowConverter::new(fields).expect("relations hold columns that can be encoded"))
}

fn encode(converter: &RowConverter, columns: &[ArrayRef]) -> arrow::row::Rows {
    converter.convert_columns(&canonical_columns(columns)).expect("relations hold columns that can be encoded")
}
