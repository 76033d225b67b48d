//! The database: sessions, statements, epochs, reads, durability. Everything a client can do, without the wire.

mod api;

pub use api::{Column, Described, Notice, NoticeSeverity, Prepared, Response, RowStream, TransactionStatus};
