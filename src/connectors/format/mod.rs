//! Formats: bytes → rows, straight into Arrow columns. Pure (no I/O) except Parquet, which needs to seek.
//!
//! A malformed record never stops its neighbours: it becomes a [`RecordError`](crate::RecordError) with its raw bytes.
//! Whether a *record* is well-formed (quotes, braces, number of fields, UTF-8) is checked in full; whether a *field* is
//! a value of its type only for the projected columns.

pub(crate) mod csv;
pub(crate) mod json;
mod json_syntax;
pub(crate) mod parquet;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod text;

use crate::ConnectorError;
use crate::format::rows::RowBuilder;

/// A format of records that follow each other in a file, decoded from any record boundary.
pub(crate) trait TextDecoder: Send {
    /// Reads what precedes the records (a header line) from the first bytes of a file. Gives its length, 0 if there is
    /// none; `None` if it isn't complete yet. Called once per file, before `decode`, also when resuming further on.
    fn begin(&mut self, head: &[u8], complete: bool) -> Result<Option<usize>, ConnectorError>;

    /// Decodes whole records from the start of `input`, which lies at `base` in the file, until `rows_max` of them.
    /// Gives the bytes consumed; an unfinished record at the end is left alone unless `complete` (no bytes follow).
    fn decode(&mut self, input: &[u8], base: u64, complete: bool, rows_max: usize, rows: &mut RowBuilder) -> usize;
}

/// Where a file column goes: matches `wanted` exactly, else without regard to ASCII case. Index into `names`.
pub(crate) fn match_name<'a>(names: impl Iterator<Item = &'a str> + Clone, wanted: &str) -> Option<usize> {
    names.clone().position(|name| name == wanted).or_else(|| {
        let mut names = names;
        names.position(|name| name.eq_ignore_ascii_case(wanted))
    })
}

#[cfg(test)]
mod tests;
