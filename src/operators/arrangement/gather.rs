//! Rows of pages back as Arrow arrays.

use std::sync::Arc;

use ::types::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX};
use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::*;
use arrow::row::RowConverter;

use super::column::{Column, Store, bit};
use super::layout::{ColumnLayout, Layout, Storage, unpack_interval};
use super::page::Page;
use super::page_table::{PageTable, place};

/// Consecutive ids in parts whose gathered arrays stay within the limits of a batch; a row larger than that is alone.
pub(crate) fn parts<'a>(layout: &Layout, pages: &PageTable, ids: &'a [u32]) -> Vec<&'a [u32]> {
    let byte_columns: Vec<usize> = (0..layout.columns.len())
        .filter(|c| matches!(layout.columns[*c].storage, Storage::Bytes | Storage::Encoded(_)))
        .collect();
    if byte_columns.is_empty() {
        return ids.chunks(BATCH_ROWS_MAX).collect();
    }
    let (mut parts, mut start, mut bytes) = (vec![], 0, 0);
    for (position, id) in ids.iter().enumerate() {
        let (number, slot) = place(*id);
        let page = pages.page(number);
        let row: usize = byte_columns.iter().map(|c| cell_bytes(page, *c, slot)).sum();
        if position > start && (position - start == BATCH_ROWS_MAX || bytes + row > BATCH_BYTES_MAX) {
            parts.push(&ids[start..position]);
            (start, bytes) = (position, 0);
        }
        bytes += row;
    }
    if start < ids.len() {
        parts.push(&ids[start..]);
    }
    parts
}

/// Bytes of a text, binary or encoded cell.
pub(super) fn cell_bytes(page: &Page, column: usize, slot: usize) -> usize {
    match &page.columns[column].store {
        Store::Bytes(heap) => heap.len_of(slot),
        _ => 0,
    }
}

/// Columns `columns` of the rows `ids`, in that order, as a batch of `schema`.
pub(crate) fn gather(
    layout: &Layout,
    pages: &PageTable,
    ids: &[u32],
    columns: &[usize],
    schema: SchemaRef,
) -> RecordBatch {
    let arrays = columns.iter().map(|c| gather_column(&layout.columns[*c], pages, ids, *c)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
    RecordBatch::try_new_with_options(schema, arrays, &options).expect("pages hold what the schema says")
}

/// One column of the rows `ids`.
pub(crate) fn gather_column(layout: &ColumnLayout, pages: &PageTable, ids: &[u32], column: usize) -> ArrayRef {
    let nulls = match layout.storage {
        Storage::Encoded(_) => None,
        _ => gather_nulls(pages, ids, column),
    };
    match &layout.storage {
        Storage::Nothing => new_null_array(&layout.data_type, ids.len()),
        Storage::Bit => gather_bits(pages, ids, column, nulls),
        Storage::Byte1 => scalars(layout, pages, ids, column, nulls, |s, i| match s {
            Store::Byte1(v) => v[i],
            _ => wrong_store(),
        }),
        Storage::Byte2 => scalars(layout, pages, ids, column, nulls, |s, i| match s {
            Store::Byte2(v) => v[i],
            _ => wrong_store(),
        }),
        Storage::Byte4 => scalars(layout, pages, ids, column, nulls, |s, i| match s {
            Store::Byte4(v) => v[i],
            _ => wrong_store(),
        }),
        Storage::Byte8 => scalars(layout, pages, ids, column, nulls, |s, i| match s {
            Store::Byte8(v) => v[i],
            _ => wrong_store(),
        }),
        Storage::Byte16 => gather_wide(layout, pages, ids, column, nulls),
        Storage::Bytes => match layout.data_type {
            DataType::Utf8 | DataType::Binary => gather_bytes::<i32>(layout, pages, ids, column, nulls),
            _ => gather_bytes::<i64>(layout, pages, ids, column, nulls),
        },
        Storage::Encoded(converter) => gather_encoded(converter, layout, pages, ids, column),
    }
}

fn wrong_store() -> ! {
    unreachable!("a column's storage follows from its type")
}

/// Calls `each` with runs of ids of one page.
fn by_page<'a>(pages: &'a PageTable, ids: &'a [u32], column: usize, mut each: impl FnMut(&'a Column, &'a [u32])) {
    for run in ids.chunk_by(|a, b| place(*a).0 == place(*b).0) {
        each(&pages.page(place(run[0]).0).columns[column], run);
    }
}

fn gather_nulls(pages: &PageTable, ids: &[u32], column: usize) -> Option<NullBuffer> {
    let mut any = false;
    by_page(pages, ids, column, |c, _| any |= !c.all_valid());
    if !any {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(ids.len());
    by_page(pages, ids, column, |c, run| run.iter().for_each(|id| bits.append(c.is_valid(place(*id).1))));
    Some(NullBuffer::new(bits.finish())).filter(|n| n.null_count() > 0)
}

fn gather_bits(pages: &PageTable, ids: &[u32], column: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let mut bits = BooleanBufferBuilder::new(ids.len());
    by_page(pages, ids, column, |c, run| {
        let Store::Bit(cells) = &c.store else { wrong_store() };
        run.iter().for_each(|id| bits.append(bit(cells, place(*id).1)));
    });
    let values: BooleanBuffer = bits.finish();
    Arc::new(BooleanArray::new(values, nulls))
}

fn scalars<T: ArrowNativeType>(
    layout: &ColumnLayout,
    pages: &PageTable,
    ids: &[u32],
    column: usize,
    nulls: Option<NullBuffer>,
    cell: impl Fn(&Store, usize) -> T,
) -> ArrayRef {
    let mut values: Vec<T> = Vec::with_capacity(ids.len());
    by_page(pages, ids, column, |c, run| values.extend(run.iter().map(|id| cell(&c.store, place(*id).1))));
    let data = ArrayData::builder(layout.data_type.clone())
        .len(ids.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls)
        .build();
    make_array(data.expect("one cell of the type's width per row"))
}

fn gather_wide(
    layout: &ColumnLayout,
    pages: &PageTable,
    ids: &[u32],
    column: usize,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let mut values: Vec<i128> = Vec::with_capacity(ids.len());
    by_page(pages, ids, column, |c, run| {
        let Store::Byte16(cells) = &c.store else { wrong_store() };
        values.extend(run.iter().map(|id| cells[place(*id).1]));
    });
    if let DataType::Interval(_) = layout.data_type {
        let intervals: Vec<IntervalMonthDayNano> = values.into_iter().map(unpack_interval).collect();
        return Arc::new(IntervalMonthDayNanoArray::new(intervals.into(), nulls));
    }
    Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(layout.data_type.clone()))
}

fn heap(column: &Column) -> &super::column::Heap {
    let Store::Bytes(heap) = &column.store else { wrong_store() };
    heap
}

fn gather_bytes<O: OffsetSizeTrait>(
    layout: &ColumnLayout,
    pages: &PageTable,
    ids: &[u32],
    column: usize,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let mut total = 0;
    by_page(pages, ids, column, |c, run| total += run.iter().map(|id| heap(c).len_of(place(*id).1)).sum::<usize>());
    let mut bytes: Vec<u8> = Vec::with_capacity(total);
    let mut offsets: Vec<O> = Vec::with_capacity(ids.len() + 1);
    offsets.push(O::zero());
    by_page(pages, ids, column, |c, run| {
        for id in run {
            bytes.extend_from_slice(heap(c).get(place(*id).1));
            offsets.push(O::from_usize(bytes.len()).expect("batches are bounded in bytes"));
        }
    });
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let values = Buffer::from_vec(bytes);
    match layout.data_type {
        DataType::Utf8 | DataType::LargeUtf8 => Arc::new(GenericStringArray::<O>::new(offsets, values, nulls)),
        _ => Arc::new(GenericBinaryArray::<O>::new(offsets, values, nulls)),
    }
}

fn gather_encoded(
    converter: &RowConverter,
    layout: &ColumnLayout,
    pages: &PageTable,
    ids: &[u32],
    column: usize,
) -> ArrayRef {
    let parser = converter.parser();
    let rows = ids.iter().map(|id| {
        let (page, slot) = place(*id);
        parser.parse(heap(&pages.page(page).columns[column]).get(slot))
    });
    let array = converter.convert_rows(rows).expect("cells were encoded by this converter").remove(0);
    // Dictionaries come back as their values.
    if array.data_type() == &layout.data_type {
        return array;
    }
    cast(&array, &layout.data_type).expect("values of a dictionary can be encoded again")
}

/// The rows of `batch` at `indices`; unlike arrow's kernel also of a batch without columns.
pub(crate) fn take_rows(batch: &RecordBatch, indices: &UInt32Array) -> RecordBatch {
    let arrays = batch.columns().iter().map(|c| take(c, indices, None).expect("indices lie inside the batch"));
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    RecordBatch::try_new_with_options(batch.schema(), arrays.collect(), &options).expect("columns of one batch")
}
