//! What recompute keeps per key: the rows with their multiplicity, in the order of their encoding (which is what breaks
//! ties, so answers depend on the rows alone), and the last answer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::HashMap;
use types::{DeltaBatch, SqlState, canonical, canonical_columns};

use crate::OperatorError;

/// Rough cost of a map entry beside its bytes.
const ENTRY_BYTES: usize = 64;

/// Converts whole rows of one schema to bytes and back.
pub(crate) struct RowCodec {
    schema: SchemaRef,
    converter: RowConverter,
    parser: RowParser,
}

impl RowCodec {
    /// Errors: `Internal` for a schema without columns, `Arrow` if a type has no row encoding.
    pub fn new(schema: &SchemaRef) -> Result<Self, OperatorError> {
        if schema.fields().is_empty() {
            return Err(OperatorError::internal("recompute needs at least one column"));
        }
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        Ok(RowCodec { schema: schema.clone(), parser: converter.parser(), converter })
    }

    pub fn encode(&self, rows: &RecordBatch) -> Result<Rows, OperatorError> {
        Ok(self.converter.convert_columns(&canonical_columns(rows.columns()))?)
    }

    pub fn buffer(&self) -> Rows {
        self.converter.empty_rows(0, 0)
    }

    pub fn push(&self, buffer: &mut Rows, row: &[u8]) {
        buffer.push(self.parser.parse(row));
    }

    pub fn decode(&self, rows: &Rows) -> Result<RecordBatch, OperatorError> {
        let columns = self.converter.convert_rows(rows)?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// What a key answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Rows(EncodedRows),
    Error { state: SqlState, message: String, key: Option<String> },
}

impl Answer {
    pub fn none() -> Answer {
        Answer::Rows(EncodedRows::default())
    }

    fn bytes(&self) -> usize {
        match self {
            Answer::Rows(rows) => rows.bytes.len() + rows.ends.len() * size_of::<usize>(),
            Answer::Error { message, key, .. } => message.len() + key.as_ref().map_or(0, String::len),
        }
    }
}

/// Encoded rows in ascending order, in one piece.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct EncodedRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EncodedRows {
    pub fn sorted<'a>(rows: impl Iterator<Item = &'a [u8]>) -> EncodedRows {
        let mut rows: Vec<&[u8]> = rows.collect();
        rows.sort_unstable();
        let mut encoded = EncodedRows::default();
        for row in rows {
            encoded.bytes.extend_from_slice(row);
            encoded.ends.push(encoded.bytes.len());
        }
        encoded
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// The change of one key in one epoch.
#[derive(Debug)]
pub(super) struct TouchedKey {
    pub key: Box<[u8]>,
    /// Encoded rows with their diffs, each row once.
    pub changes: Vec<(Box<[u8]>, i64)>,
}

#[derive(Debug)]
struct KeyState {
    rows: BTreeMap<Box<[u8]>, i64>,
    /// `None`: restored and not touched since, or being recomputed.
    answer: Option<Answer>,
}

/// The input by key.
pub(super) struct KeyedRows {
    pub codec: RowCodec,
    key: Vec<usize>,
    /// `None`: one key for everything.
    key_converter: Option<RowConverter>,
    keys: HashMap<Box<[u8]>, KeyState>,
    bytes: usize,
}

impl KeyedRows {
    pub fn new(input: &SchemaRef, key: &[usize]) -> Result<Self, OperatorError> {
        let fields: Vec<SortField> =
            key.iter().map(|column| SortField::new(input.field(*column).data_type().clone())).collect();
        let key_converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(KeyedRows { codec: RowCodec::new(input)?, key: key.to_vec(), key_converter, keys: HashMap::new(), bytes: 0 })
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Sorts a consolidated delta by key, ascending. The state stays as it is.
    pub fn touch(&self, delta: &DeltaBatch) -> Result<VecDeque<TouchedKey>, OperatorError> {
        let mut touched: BTreeMap<Box<[u8]>, Vec<(Box<[u8]>, i64)>> = BTreeMap::new();
        let rows = self.codec.encode(delta.rows())?;
        let keys = match &self.key_converter {
            Some(converter) => {
                let columns: Vec<ArrayRef> =
                    self.key.iter().map(|column| canonical(delta.rows().column(*column))).collect();
                Some(converter.convert_columns(&columns)?)
            }
            None => None,
        };
        for row in 0..delta.num_rows() {
            let key: &[u8] = keys.as_ref().map_or(&[], |keys| keys.row(row).data());
            let change = (Box::from(rows.row(row).data()), delta.diff(row));
            match touched.get_mut(key) {
                Some(changes) => changes.push(change),
                None => drop(touched.insert(key.into(), vec![change])),
            }
        }
        Ok(touched.into_iter().map(|(key, changes)| TouchedKey { key, changes }).collect())
    }

    /// Takes the last answer of `key` out. `None`: not known, to be recomputed from its rows as they are now.
    pub fn take_answer(&mut self, key: &[u8]) -> Option<Answer> {
        let Some(state) = self.keys.get_mut(key) else { return Some(Answer::none()) };
        let answer = state.answer.take();
        self.bytes -= answer.as_ref().map_or(0, Answer::bytes);
        answer
    }

    /// Appends the rows of `key`, each as often as it stands there, to `buffer`.
    pub fn expand(&self, key: &[u8], buffer: &mut Rows) {
        let Some(state) = self.keys.get(key) else { return };
        for (row, weight) in &state.rows {
            for _ in 0..*weight {
                self.codec.push(buffer, row);
            }
        }
    }

    /// Applies changes of a sealed epoch. Errors: `Internal` if a row was retracted more often than inserted.
    pub fn apply(&mut self, touched: TouchedKey) -> Result<(), OperatorError> {
        self.change(touched, true)
    }

    /// Adds restored rows: what their keys answered is not known. Weights may pass below zero on the way.
    pub fn restore(&mut self, touched: TouchedKey) -> Result<(), OperatorError> {
        let key = touched.key.clone();
        self.change(touched, false)?;
        // The one key of a recompute without key columns has an answer even without rows.
        if !key.is_empty() && self.keys.get(&key).is_some_and(|state| state.rows.is_empty()) {
            self.keys.remove(&key);
            self.bytes -= key.len() + ENTRY_BYTES;
        }
        Ok(())
    }

    fn change(&mut self, touched: TouchedKey, strict: bool) -> Result<(), OperatorError> {
        let key_bytes = touched.key.len() + ENTRY_BYTES;
        let state = self.keys.entry(touched.key).or_insert_with(|| {
            self.bytes += key_bytes;
            KeyState { rows: BTreeMap::new(), answer: None }
        });
        for (row, diff) in touched.changes {
            let row_bytes = row.len() + ENTRY_BYTES;
            let weight = match state.rows.entry(row) {
                Entry::Vacant(entry) => {
                    self.bytes += row_bytes;
                    *entry.insert(diff)
                }
                Entry::Occupied(mut entry) => {
                    let weight = entry.get().checked_add(diff).ok_or(types::TypesError::Overflow)?;
                    *entry.get_mut() = weight;
                    if weight == 0 {
                        entry.remove();
                        self.bytes -= row_bytes;
                    }
                    weight
                }
            };
            if strict && weight < 0 {
                return Err(OperatorError::internal("a row was retracted more often than it was inserted"));
            }
        }
        Ok(())
    }

    /// Keeps what `key` answers now; a key without rows and answer goes.
    pub fn set_answer(&mut self, key: &[u8], answer: Answer) {
        let Some(state) = self.keys.get_mut(key) else { return };
        debug_assert!(state.answer.is_none(), "the old answer was taken out");
        self.bytes += answer.bytes();
        let gone = state.rows.is_empty() && answer == Answer::none();
        state.answer = Some(answer);
        if gone {
            self.keys.remove(key);
            self.bytes -= key.len() + ENTRY_BYTES;
        }
    }
}
