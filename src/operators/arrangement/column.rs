//! One column of one page: up to `PAGE_ROWS` cells of one width, with validity.
//! Text and binary share one heap per page; bytes of overwritten cells are squeezed out when they outweigh the rest.

use types::limits::PAGE_ROWS;

use super::layout::{Cells, Float, Incoming, Storage, same_f32, same_f64};

/// One bit per row of a page.
pub(crate) type PageBits = [u64; PAGE_ROWS / 64];

/// Heaps smaller than this are not worth squeezing.
const SQUEEZE_BYTES_MIN: usize = 4_096;

#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub store: Store,
    /// `None`: all valid.
    valid: Option<Box<PageBits>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Store {
    Nothing,
    Bit(Box<PageBits>),
    Byte1(Vec<u8>),
    Byte2(Vec<u16>),
    Byte4(Vec<u32>),
    Byte8(Vec<u64>),
    Byte16(Vec<i128>),
    Bytes(Heap),
}

/// Cells of varying length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heap {
    /// (start, length) per slot.
    spans: Vec<(u32, u32)>,
    bytes: Vec<u8>,
    garbage: usize,
}

pub(super) fn bit(bits: &PageBits, slot: usize) -> bool {
    bits[slot / 64] >> (slot % 64) & 1 == 1
}

pub(super) fn set_bit(bits: &mut PageBits, slot: usize, value: bool) {
    let mask = 1u64 << (slot % 64);
    if value {
        bits[slot / 64] |= mask;
    } else {
        bits[slot / 64] &= !mask;
    }
}

impl Column {
    pub fn new(storage: &Storage) -> Self {
        let store = match storage {
            Storage::Nothing => Store::Nothing,
            Storage::Bit => Store::Bit(Box::default()),
            Storage::Byte1 => Store::Byte1(vec![]),
            Storage::Byte2 => Store::Byte2(vec![]),
            Storage::Byte4 => Store::Byte4(vec![]),
            Storage::Byte8 => Store::Byte8(vec![]),
            Storage::Byte16 => Store::Byte16(vec![]),
            Storage::Bytes | Storage::Encoded(_) => Store::Bytes(Heap::default()),
        };
        Column { store, valid: None }
    }

    pub fn is_valid(&self, slot: usize) -> bool {
        self.valid.as_ref().is_none_or(|v| bit(v, slot))
    }

    pub fn all_valid(&self) -> bool {
        self.valid.is_none()
    }

    /// Copies cells `rows[i]` of `incoming` to `slots[i]`.
    pub fn write(&mut self, incoming: &Incoming, rows: &[u32], slots: &[u16]) {
        match (&mut self.store, &incoming.cells) {
            (Store::Nothing, _) => {}
            (Store::Bit(bits), Cells::Bit(values)) => {
                rows.iter().zip(slots).for_each(|(r, s)| set_bit(bits, *s as usize, values.value(*r as usize)));
            }
            (Store::Byte1(cells), Cells::Byte1(values)) => write_scalars(cells, values, rows, slots),
            (Store::Byte2(cells), Cells::Byte2(values)) => write_scalars(cells, values, rows, slots),
            (Store::Byte4(cells), Cells::Byte4(values)) => write_scalars(cells, values, rows, slots),
            (Store::Byte8(cells), Cells::Byte8(values)) => write_scalars(cells, values, rows, slots),
            (Store::Byte16(cells), Cells::Byte16(values)) => write_scalars(cells, values, rows, slots),
            (Store::Bytes(heap), _) => heap.write(incoming, rows, slots),
            _ => unreachable!("a column's storage follows from its type"),
        }
        if incoming.nulls.is_some() || self.valid.is_some() {
            let valid = self.valid.get_or_insert_with(|| Box::new([u64::MAX; PAGE_ROWS / 64]));
            rows.iter().zip(slots).for_each(|(r, s)| set_bit(valid, *s as usize, !incoming.is_null(*r as usize)));
        }
    }

    /// Whether the cell equals `incoming[row]`; NULL equals NULL.
    pub fn equals(&self, slot: usize, incoming: &Incoming, row: usize) -> bool {
        let valid = self.is_valid(slot);
        if valid == incoming.is_null(row) {
            return false;
        }
        if !valid {
            return true;
        }
        match (&self.store, &incoming.cells) {
            (Store::Nothing, _) => true,
            (Store::Bit(bits), Cells::Bit(values)) => bit(bits, slot) == values.value(row),
            (Store::Byte1(cells), Cells::Byte1(values)) => cells[slot] == values[row],
            (Store::Byte2(cells), Cells::Byte2(values)) => cells[slot] == values[row],
            (Store::Byte4(cells), Cells::Byte4(values)) => {
                cells[slot] == values[row] || (incoming.float == Float::F32 && same_f32(cells[slot], values[row]))
            }
            (Store::Byte8(cells), Cells::Byte8(values)) => {
                cells[slot] == values[row] || (incoming.float == Float::F64 && same_f64(cells[slot], values[row]))
            }
            (Store::Byte16(cells), Cells::Byte16(values)) => cells[slot] == values[row],
            (Store::Bytes(heap), _) => heap.get(slot) == incoming.bytes(row),
            _ => unreachable!("a column's storage follows from its type"),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let cells = match &self.store {
            Store::Nothing => 0,
            Store::Bit(_) => size_of::<PageBits>(),
            Store::Byte1(v) => v.capacity(),
            Store::Byte2(v) => v.capacity() * 2,
            Store::Byte4(v) => v.capacity() * 4,
            Store::Byte8(v) => v.capacity() * 8,
            Store::Byte16(v) => v.capacity() * 16,
            Store::Bytes(heap) => heap.spans.capacity() * 8 + heap.bytes.capacity(),
        };
        cells + self.valid.as_ref().map_or(0, |_| size_of::<PageBits>())
    }
}

/// Makes `slot` addressable; capacity doubles up to exactly one page.
fn grow<T: Clone + Default>(cells: &mut Vec<T>, slots: &[u16]) {
    let Some(last) = slots.iter().max() else { return };
    let len = *last as usize + 1;
    if len > cells.capacity() {
        let capacity = len.max(8).next_power_of_two().min(PAGE_ROWS);
        cells.reserve_exact(capacity - cells.len());
    }
    if len > cells.len() {
        cells.resize(len, T::default());
    }
}

fn write_scalars<T: Copy + Default>(cells: &mut Vec<T>, values: &[T], rows: &[u32], slots: &[u16]) {
    grow(cells, slots);
    rows.iter().zip(slots).for_each(|(r, s)| cells[*s as usize] = values[*r as usize]);
}

impl Heap {
    pub fn get(&self, slot: usize) -> &[u8] {
        let (start, len) = self.spans[slot];
        &self.bytes[start as usize..(start + len) as usize]
    }

    pub fn len_of(&self, slot: usize) -> usize {
        self.spans[slot].1 as usize
    }

    fn write(&mut self, incoming: &Incoming, rows: &[u32], slots: &[u16]) {
        grow(&mut self.spans, slots);
        let added: usize = rows.iter().map(|r| incoming.bytes(*r as usize).len()).sum();
        self.reserve(added);
        for (row, slot) in rows.iter().zip(slots) {
            let value = incoming.bytes(*row as usize);
            let span = &mut self.spans[*slot as usize];
            if value.len() <= span.1 as usize {
                // Fits where the old value was.
                self.bytes[span.0 as usize..span.0 as usize + value.len()].copy_from_slice(value);
                self.garbage += span.1 as usize - value.len();
                span.1 = value.len() as u32;
                continue;
            }
            self.garbage += span.1 as usize;
            let start = u32::try_from(self.bytes.len()).expect("a page holds less than 4 GiB of text");
            *span = (start, value.len() as u32);
            self.bytes.extend_from_slice(value);
        }
        if self.bytes.len() > SQUEEZE_BYTES_MIN && self.garbage > self.bytes.len() / 2 {
            self.squeeze();
        }
    }

    /// Room for `added` bytes, with a little to spare; a full page wastes at most an eighth.
    fn reserve(&mut self, added: usize) {
        let needed = self.bytes.len() + added;
        if needed > self.bytes.capacity() {
            let spare = needed + needed / 8;
            self.bytes.reserve_exact(spare - self.bytes.len());
        }
    }

    fn squeeze(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for span in &mut self.spans {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[span.0 as usize..(span.0 + span.1) as usize]);
            span.0 = start;
        }
        self.bytes = bytes;
        self.garbage = 0;
    }
}
