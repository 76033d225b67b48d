//! OIDs: of our objects and what Postgres derives from them, of schemas and roles, and of the types of columns.
//!
//! An object's OID is its id. Indexes, constraints and rules of an object have OIDs at a fixed distance from it, so that
//! they are the same in every catalog and after every restart.

use arrow::datatypes::DataType;
use catalog::{CatalogObject, ObjectBody};

pub const OID: u32 = 26;
pub const PG_CATALOG: u32 = 11;
pub const PG_TOAST: u32 = 99;
pub const PUBLIC: u32 = 2200;
pub const INFORMATION_SCHEMA: u32 = 12_900;
pub const HW_CATALOG: u32 = 12_901;
/// The role that owns everything.
pub const OWNER: u32 = 10;
pub const OWNER_NAME: &str = "highwater";
/// The role of the session's user, if it has another name.
pub const SESSION_USER: u32 = 9_999;
pub const DATABASE: u32 = 5;
pub const DEFAULT_TABLESPACE: u32 = 1663;
pub const HEAP: u32 = 2;
pub const BTREE: u32 = 403;
/// OIDs of `hw_catalog`'s relations start here.
pub const HW_CATALOG_FIRST: u32 = 13_500;

const RULES: u32 = 500_000_000;
const INDEXES: u32 = 1_000_000_000;
const DEFAULTS: u32 = 1_500_000_000;
const CONSTRAINTS: u32 = 2_000_000_000;
/// Schemas made by users: from here on, by a hash of their name.
const SCHEMAS: u32 = 0x3000_0000;

pub fn index_of(object: &CatalogObject) -> u32 {
    object.id.0 + INDEXES
}

pub fn constraint_of(object: &CatalogObject) -> u32 {
    object.id.0 + CONSTRAINTS
}

pub fn rule_of(object: &CatalogObject) -> u32 {
    object.id.0 + RULES
}

/// The table whose primary key has this index OID.
pub fn table_of_index(oid: u32) -> Option<u32> {
    (INDEXES..DEFAULTS).contains(&oid).then(|| oid - INDEXES)
}

/// The table whose primary key this constraint is.
pub fn table_of_constraint(oid: u32) -> Option<u32> {
    oid.checked_sub(CONSTRAINTS)
}

/// The `number`th default of all.
pub fn default_of(number: usize) -> u32 {
    DEFAULTS + number as u32
}

pub fn schema(name: &str) -> u32 {
    match name {
        "pg_catalog" => PG_CATALOG,
        "information_schema" => INFORMATION_SCHEMA,
        "hw_catalog" => HW_CATALOG,
        "pg_toast" => PG_TOAST,
        "public" => PUBLIC,
        // FNV-1a: stable across restarts, and few schemas share 28 bits.
        name => {
            let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
            SCHEMAS + (hash & 0x0fff_ffff)
        }
    }
}

/// `pg_class.relkind`. Sources are foreign tables: their rows live elsewhere.
pub fn kind(object: &CatalogObject) -> &'static str {
    match &object.body {
        ObjectBody::Source(_) => "f",
        ObjectBody::Table(_) => "r",
        ObjectBody::View { .. } => "v",
        ObjectBody::MaterializedView(_) => "m",
    }
}

/// Columns of the primary key, from 0; empty if there is none.
pub fn primary_key(object: &CatalogObject) -> &[usize] {
    match &object.body {
        ObjectBody::Table(table) => &table.primary_key,
        _ => &[],
    }
}

/// Type and modifier of a column, as in `pg_attribute`.
pub fn column_type(data_type: &DataType) -> (u32, i32) {
    let oid = match data_type {
        DataType::Boolean => 16,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => 21,
        DataType::UInt16 | DataType::Int32 => 23,
        DataType::UInt32 => OID,
        DataType::Int64 => 20,
        DataType::Float16 | DataType::Float32 => 700,
        DataType::Float64 => 701,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => 1700,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => 17,
        DataType::Date32 | DataType::Date64 => 1082,
        DataType::Time32(_) | DataType::Time64(_) => 1083,
        DataType::Timestamp(_, None) => 1114,
        DataType::Timestamp(_, Some(_)) => 1184,
        DataType::Interval(_) | DataType::Duration(_) => 1186,
        DataType::Struct(_) => 2249,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let (item, _) = column_type(item.data_type());
            super::pg_types::by_oid(item).map_or(1009, |t| if t.array == 0 { item } else { t.array })
        }
        _ => 25,
    };
    let modifier = match data_type {
        // Plain numeric; its scale is an implementation's limit, not the user's wish.
        DataType::Decimal128(38, 10) => -1,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
        }
        _ => -1,
    };
    (oid, modifier)
}
