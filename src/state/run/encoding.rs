//! One block as bytes: an Arrow IPC stream.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
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
    let mut writer = encoder(Vec::new(), &batches[0].schema(), compression)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()
}

/// Writes a block batch by batch.
pub(super) fn encoder<W: Write>(
    sink: W,
    schema: &Schema,
    compression: Option<CompressionType>,
) -> Result<StreamWriter<W>, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    StreamWriter::try_new_with_options(sink, schema, options)
}
