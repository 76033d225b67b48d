//! One block as bytes: an Arrow IPC stream.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

/// Blocks below this are encoded both ways, and the shorter one is kept; larger ones always gain from LZ4.
const SMALL_BYTES: usize = 4 * 1024;

pub(super) fn encode(batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let compressed = encode_with(batches, Some(CompressionType::LZ4_FRAME))?;
    if compressed.len() > SMALL_BYTES {
        return Ok(compressed);
    }
    let plain = encode_with(batches, None)?;
    Ok(if plain.len() <= compressed.len() { plain } else { compressed })
}

fn encode_with(batches: &[RecordBatch], compression: Option<CompressionType>) -> Result<Vec<u8>, ArrowError> {
    let schema = batches[0].schema();
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()
}

pub(super) fn decode(bytes: Vec<u8>) -> Result<Vec<RecordBatch>, ArrowError> {
    StreamReader::try_new(Cursor::new(bytes), None)?.collect()
}
