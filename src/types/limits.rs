//! Every bound of a queue, loop or buffer, by name.

/// Rows per batch between operators; also the fuel of one `on_seal` call.
pub const BATCH_ROWS_MAX: usize = 65_536;
/// Bytes per batch between operators, as far as single rows allow: no array can come near 2 GiB, where offsets end.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Rows per page of an arrangement.
pub const PAGE_ROWS: usize = 1_024;
/// Pages per copy-on-write chunk of an arrangement's page table.
pub const PAGES_PER_CHUNK: usize = 64;
/// Rows from which on an insertion into a relation without retractions is kept as the arrays it came in.
pub const SEGMENT_ROWS_MIN: usize = 1_024;
/// Epochs the slowest attached dataflow may be behind before sources wait.
pub const EPOCHS_IN_FLIGHT_MAX: usize = 8;
/// Times in a row that a view may fail before it is not rebuilt by itself any more.
pub const FAILURES_IN_A_ROW_MAX: u32 = 3;
/// Failed relations and stopped sources that a new session is told of by name.
pub const FAILURES_TOLD_MAX: usize = 10;
/// Rows in flight between a source's reader and the epoch clock.
pub const SOURCE_QUEUE_BATCHES_MAX: usize = 4;
/// Threads of feeds, those among them of dropped sources whose last read hangs.
pub const FEED_THREADS_MAX: usize = 1_000;
/// Looks at files and directories for statements that run at once, or hang.
pub const OUTSIDE_CHECKS_MAX: usize = 16;
/// Raw bytes of a malformed record that are kept.
pub const SOURCE_ERROR_BYTES_MAX: usize = 64 * 1024;
/// Errors of a view that name what failed; all are counted.
pub const ERRORS_NAMED_MAX: usize = 1_000;
/// Longest text of a row in an error table.
pub const ROW_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Malformed records kept per source; all are counted.
pub const SOURCE_ERRORS_KEPT_MAX: usize = 1_000;
/// Longest SQL text accepted.
pub const SQL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Windows one row may belong to (size ÷ slide).
pub const WINDOWS_PER_ROW_MAX: i64 = 10_000;
/// Largest value stored in the facts store; larger ones go to files.
pub const FACT_BYTES_MAX: usize = 4 * 1024;
/// A journal segment that has so many bytes of entries is followed by a new one: only whole segments are deleted.
pub const JOURNAL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Disk space kept back: one half for queued entries, the other for the checkpoint that lets the journal be cut.
pub const DISK_RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// Time between checkpoints, milliseconds.
pub const CHECKPOINT_INTERVAL_MS: u64 = 10_000;
/// Bytes of input after which a checkpoint starts early: what it writes is held in memory, and merged there.
pub const CHECKPOINT_INPUT_BYTES: usize = 256 * 1024 * 1024;
/// The same as a part of the memory limit: a checkpoint never holds much of it.
pub const CHECKPOINT_INPUT_PART: usize = 16;
/// Manifests (and the runs they name) kept on disk.
pub const MANIFESTS_KEPT: usize = 3;
/// Largest value of a text or an array, as in Postgres.
pub const VALUE_BYTES_MAX: usize = 0x3fff_ffff;
/// Rows and tables that open transactions may hold locked, all together: half a gigabyte at most.
pub const LOCKS_MAX: usize = 8 * 1024 * 1024;
/// Savepoints of one transaction.
pub const SAVEPOINTS_MAX: usize = 10_000;
/// Advisory locks that all sessions may hold together.
pub const ADVISORY_LOCKS_MAX: usize = 1024 * 1024;
