//! Catalog objects in their persisted form.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use types::{EventTimeBound, ObjectId};

use crate::CatalogError;

pub const DEFAULT_SCHEMA: &str = "public";
/// What the schema of a session's temporary objects begins with, as in Postgres; the session's id follows.
pub const TEMPORARY_SCHEMA: &str = "pg_temp_";

/// One source, table, view or materialized view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogObject {
    pub id: ObjectId,
    pub schema: String,
    pub name: String,
    pub columns: Vec<ColumnEntry>,
    pub body: ObjectBody,
    /// Objects this one reads.
    pub depends_on: Vec<ObjectId>,
    /// The statement that created it.
    pub sql: String,
    pub comment: Option<String>,
    /// Microseconds since the Unix epoch.
    pub created_us: i64,
    /// It is not complete: its name is taken, but nobody reads it yet.
    #[serde(default)]
    pub building: Option<Building>,
}

/// What becomes of an unfinished object after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Building {
    /// Nobody was told that it exists: it is removed.
    Foreground,
    /// The statement has been acknowledged: the job goes on.
    Background,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnEntry {
    pub name: String,
    pub data_type: DataType,
    pub not_null: bool,
    /// SQL text of the default expression.
    pub default: Option<String>,
    /// SQL text of the generating expression.
    pub generated: Option<String>,
    pub comment: Option<String>,
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkEntry {
    pub column: usize,
    pub delay_us: i64,
    pub allowed_lateness_us: i64,
    pub idle_timeout_us: i64,
    pub max_future_us: i64,
    /// `idle_advance = 'wall_clock'`.
    #[serde(default)]
    pub follow_clock: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ObjectBody {
    Source(SourceBody),
    Table(TableBody),
    /// A plain view: its query text, planned anew inside each query.
    View {
        query: String,
        temporary: bool,
        #[serde(default)]
        names: Vec<NameBinding>,
    },
    MaterializedView(ViewBody),
}

/// What a name in the text of a view means, settled when the view was made: neither the reader's search path nor a
/// relation that comes later changes it. Names of system relations are not bound, they mean the same to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameBinding {
    /// As written, folded.
    pub schema: Option<String>,
    pub name: String,
    pub object: ObjectId,
    /// How many columns the object had: those that came later are not meant by `*`.
    pub columns: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceBody {
    /// Options as given, without those in `watermark`.
    pub options: Vec<(String, String)>,
    /// (FORMAT, ENCODE, options) as given.
    pub format: String,
    pub encode: String,
    pub format_options: Vec<(String, String)>,
    pub watermark: Option<WatermarkEntry>,
    pub bounded: bool,
    #[serde(default)]
    pub keeps: KeepingTables,
    /// Columns that are computed when read.
    #[serde(default)]
    pub generated: Vec<GeneratedEntry>,
}

/// Tables that keep what is left out of a source. The source depends on them, not they on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepingTables {
    pub late_rows: Option<ObjectId>,
    pub dead_letter: Option<ObjectId>,
}

impl KeepingTables {
    pub fn ids(&self) -> Vec<ObjectId> {
        [self.late_rows, self.dead_letter].into_iter().flatten().collect()
    }
}

/// A generated column in its bound form: its text stands with the column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratedEntry {
    pub column: usize,
    /// Columns of the row that it reads.
    pub reads: Vec<usize>,
    /// Over `reads`, as JSON (`kernels::ScalarExpr`).
    pub expr: serde_json::Value,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableBody {
    /// Column indices; empty: no primary key.
    pub primary_key: Vec<usize>,
    pub append_only: bool,
    pub watermark: Option<WatermarkEntry>,
    /// Table that keeps the rows left out as late.
    #[serde(default)]
    pub late_rows: Option<ObjectId>,
    /// A table with a connector stores the rows of this source (same id space: the table's own id + its source's).
    pub source: Option<SourceBody>,
    /// The persisted dataflow that keeps the table readable, as JSON (`dataflow::DataflowGraph`).
    pub plan: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewBody {
    /// The persisted plan, as JSON (`dataflow::DataflowGraph`): a restart never replans.
    pub plan: serde_json::Value,
    pub key: Option<Vec<usize>>,
    pub append_only: bool,
    /// (column, bound) as in the plan's last node, for views on this view.
    pub bounds: Vec<(usize, EventTimeBound)>,
    pub emit_on_window_close: bool,
    /// `on_error = 'dead_letter'`: the view that shows its errors.
    #[serde(default)]
    pub dead_letter: Option<ObjectId>,
    /// Of such a view: the one whose errors it shows. It comes and goes with that.
    #[serde(default)]
    pub errors_of: Option<ObjectId>,
    /// Options as given (`on_error`, `retain_history`).
    pub options: Vec<(String, String)>,
    /// Names in the text: the plan knows them by id, who shows the text does not.
    #[serde(default)]
    pub names: Vec<NameBinding>,
}

impl CatalogObject {
    /// Columns as an Arrow schema; every field nullable, NOT NULL is enforced at the door.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
        Arc::new(Schema::new(fields))
    }

    /// `NotPopulated` while it is being built.
    pub fn check_complete(&self) -> Result<(), CatalogError> {
        match self.building {
            None => Ok(()),
            Some(_) => Err(CatalogError::NotPopulated { kind: self.kind_name(), name: self.name.clone() }),
        }
    }

    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub fn is_append_only(&self) -> bool {
        match &self.body {
            ObjectBody::Source(_) => true,
            ObjectBody::Table(t) => t.append_only,
            ObjectBody::View { .. } => false,
            ObjectBody::MaterializedView(v) => v.append_only,
        }
    }

    /// What the names in a view's text mean.
    pub fn name_bindings(&self) -> &[NameBinding] {
        match &self.body {
            ObjectBody::View { names, .. } => names,
            ObjectBody::MaterializedView(view) => &view.names,
            ObjectBody::Source(_) | ObjectBody::Table(_) => &[],
        }
    }

    /// Belongs to one session and ends with it.
    pub fn is_temporary(&self) -> bool {
        matches!(self.body, ObjectBody::View { temporary: true, .. })
    }

    /// Word used in messages and tags: `source`, `table`, `view`, `materialized view`.
    pub fn kind_name(&self) -> &'static str {
        match &self.body {
            ObjectBody::Source(_) => "source",
            ObjectBody::Table(_) => "table",
            ObjectBody::View { .. } => "view",
            ObjectBody::MaterializedView(_) => "materialized view",
        }
    }
}
