//! What travels on timely's channels: one delta batch, or some errors, at one epoch.
//! `record_count` is load-bearing: timely's progress tracking counts it, so an exchange must preserve the rows.

use std::cell::OnceCell;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use timely::Accountable;
use timely::dataflow::channels::ContainerBytes;
use types::{DeltaBatch, ErrorDelta, SqlState};

/// Rows or errors; `Empty` only as the moved-out default.
#[derive(Clone, Default)]
pub struct Parcel {
    pub content: Content,
    /// Wire form, built once: timely asks for its length before its bytes.
    encoded: OnceCell<Arc<Vec<u8>>>,
}

#[derive(Clone, Default)]
pub enum Content {
    #[default]
    Empty,
    Rows(DeltaBatch),
    Errors(Vec<ErrorDelta>),
}

impl Parcel {
    pub fn rows(batch: DeltaBatch) -> Self {
        Parcel { content: Content::Rows(batch), encoded: OnceCell::new() }
    }

    pub fn errors(errors: Vec<ErrorDelta>) -> Self {
        Parcel { content: Content::Errors(errors), encoded: OnceCell::new() }
    }

    /// Moves the content out and leaves `Empty`.
    pub fn take(&mut self) -> Content {
        self.encoded = OnceCell::new();
        std::mem::take(&mut self.content)
    }
}

impl Accountable for Parcel {
    fn record_count(&self) -> i64 {
        match &self.content {
            Content::Empty => 0,
            Content::Rows(batch) => batch.num_rows() as i64,
            Content::Errors(errors) => errors.len() as i64,
        }
    }
}

// Used between processes only. Form: one tag byte (rows or errors), then an Arrow IPC stream, padded to 8 bytes.
const TAG_ROWS: u8 = 1;
const TAG_ERRORS: u8 = 2;

impl Parcel {
    fn encode(&self) -> &Arc<Vec<u8>> {
        self.encoded.get_or_init(|| {
            let (tag, batch) = match &self.content {
                Content::Empty => return Arc::new(vec![]),
                Content::Rows(batch) => (TAG_ROWS, batch.to_record_batch()),
                Content::Errors(errors) => (TAG_ERRORS, errors_to_batch(errors)),
            };
            let mut bytes = vec![tag];
            let mut writer =
                StreamWriter::try_new(&mut bytes, &batch.schema()).expect("writing to memory does not fail");
            writer.write(&batch).expect("writing to memory does not fail");
            writer.finish().expect("writing to memory does not fail");
            drop(writer);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            Arc::new(bytes)
        })
    }
}

impl ContainerBytes for Parcel {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        let Some((tag, stream)) = bytes.split_first() else { return Parcel::default() };
        let mut reader = StreamReader::try_new(stream, None).expect("a peer of the same version wrote it");
        let batch = reader.next().expect("one batch per parcel").expect("a peer of the same version wrote it");
        match *tag {
            TAG_ROWS => Parcel::rows(DeltaBatch::from_record_batch(&batch).expect("rows carry their diffs")),
            TAG_ERRORS => Parcel::errors(errors_from_batch(&batch)),
            other => unreachable!("parcel tag {other}"),
        }
    }

    fn length_in_bytes(&self) -> usize {
        self.encode().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(self.encode()).expect("timely's buffer has the announced length");
    }
}

fn errors_to_batch(errors: &[ErrorDelta]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("state", Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.state.code())))),
        ("message", Arc::new(StringArray::from_iter_values(errors.iter().map(|e| &e.message)))),
        ("row", Arc::new(StringArray::from_iter(errors.iter().map(|e| e.row.as_deref())))),
        ("diff", Arc::new(Int64Array::from_iter_values(errors.iter().map(|e| e.diff)))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns have one length")
}

fn errors_from_batch(batch: &RecordBatch) -> Vec<ErrorDelta> {
    use arrow::array::{Array, AsArray};
    let (states, messages) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let rows = batch.column(2).as_string::<i32>();
    let diffs = batch.column(3).as_primitive::<arrow::datatypes::Int64Type>();
    (0..batch.num_rows())
        .map(|row| ErrorDelta {
            state: SqlState::from_code(states.value(row)).unwrap_or(SqlState::InternalError),
            message: messages.value(row).to_string(),
            row: rows.is_valid(row).then(|| rows.value(row).to_string()),
            diff: diffs.value(row),
        })
        .collect()
}
