//! What the journal holds, entry by entry.
//!
//! One order for everything: catalog changes, table rows, epoch records. The manifest names how far each kind is
//! already part of the checkpoint; what lies beyond is replayed.

use std::collections::BTreeMap;

use catalog::CatalogChange;
use serde::{Deserialize, Serialize};
use types::{Epoch, Incarnation, ObjectId};

use crate::history::HistoryEvent;

/// Entry kinds as stored.
pub const KIND_CATALOG: u8 = 1;
pub const KIND_TABLE_ROWS: u8 = 2;
pub const KIND_EPOCH: u8 = 3;

/// A catalog change. `KIND_CATALOG`, JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatalogEntry {
    pub changes: Vec<CatalogChange>,
}

/// An epoch's record: which inputs it stands for. `KIND_EPOCH`, JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EpochEntry {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub wall_time_us: i64,
    /// Journal position of the last table write in this or an earlier epoch.
    pub table_position: u64,
    pub sources: BTreeMap<ObjectId, Vec<HistoryEvent>>,
}
