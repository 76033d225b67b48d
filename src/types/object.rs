//! Identity of catalog objects: persistent, never reused, also the Postgres OID of the object.

use serde::{Deserialize, Serialize};

/// A catalog object's id. User objects start at 16384, as in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(pub u32);

impl ObjectId {
    pub const FIRST_USER: ObjectId = ObjectId(16384);
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
