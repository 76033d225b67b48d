//! What exists: objects, names, dependencies. An immutable snapshot per change, shared by all sessions; the engine
//! journals each change and rebuilds the catalog from the journal.

mod catalog;
mod error;
mod object;

pub use catalog::{Catalog, CatalogChange, FailureEntry};
pub use error::CatalogError;
pub use object::{
    Building, CatalogObject, ColumnEntry, DEFAULT_SCHEMA, GeneratedEntry, KeepingTables, NameBinding, ObjectBody,
    SourceBody, TEMPORARY_SCHEMA, TableBody, ViewBody, WatermarkEntry,
};
