//! Arrow types ↔ built-in Postgres types. Only built-in OIDs ever leave: anything else makes drivers query catalogs.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use std::sync::Arc;

pub const BOOL: u32 = 16;
pub const BYTEA: u32 = 17;
pub const CHAR: u32 = 18;
pub const NAME: u32 = 19;
pub const INT8: u32 = 20;
pub const INT2: u32 = 21;
pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;
pub const REGPROC: u32 = 24;
pub const OID: u32 = 26;
pub const XID: u32 = 28;
pub const JSON: u32 = 114;
pub const FLOAT4: u32 = 700;
pub const FLOAT8: u32 = 701;
pub const UNKNOWN: u32 = 705;
pub const BPCHAR: u32 = 1042;
pub const VARCHAR: u32 = 1043;
pub const DATE: u32 = 1082;
pub const TIME: u32 = 1083;
pub const TIMESTAMP: u32 = 1114;
pub const TIMESTAMPTZ: u32 = 1184;
pub const INTERVAL: u32 = 1186;
pub const NUMERIC: u32 = 1700;
pub const RECORD: u32 = 2249;
pub const UUID: u32 = 2950;
pub const JSONB: u32 = 3802;
pub const REGNAMESPACE: u32 = 4089;
pub const REGROLE: u32 = 4096;

/// Element type, its array type.
const ARRAYS: [(u32, u32); 23] = [
    (BOOL, 1000),
    (BYTEA, 1001),
    (CHAR, 1002),
    (NAME, 1003),
    (INT2, 1005),
    (INT4, 1007),
    (TEXT, 1009),
    (BPCHAR, 1014),
    (VARCHAR, 1015),
    (INT8, 1016),
    (FLOAT4, 1021),
    (FLOAT8, 1022),
    (OID, 1028),
    (TIMESTAMP, 1115),
    (DATE, 1182),
    (TIME, 1183),
    (TIMESTAMPTZ, 1185),
    (INTERVAL, 1187),
    (NUMERIC, 1231),
    (JSON, 199),
    (UUID, 2951),
    (JSONB, 3807),
    (RECORD, 2287),
];

/// The type a column is announced with.
pub fn oid(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Boolean => BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => INT2,
        DataType::UInt16 | DataType::Int32 => INT4,
        DataType::UInt32 => OID,
        DataType::Int64 => INT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => NUMERIC,
        DataType::Float16 | DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => BYTEA,
        DataType::Date32 | DataType::Date64 => DATE,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => array_of(element),
        DataType::Struct(_) => RECORD,
        DataType::Dictionary(_, value) => oid(value),
        DataType::RunEndEncoded(_, value) => oid(value.data_type()),
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TEXT,
        // Refused when the first row is encoded; described as text so that an empty result still works.
        DataType::Map(..) | DataType::Union(..) => TEXT,
    }
}

/// The type a result column is announced with.
pub fn of_column(column: &engine::Column) -> u32 {
    column.wire_type.unwrap_or_else(|| oid(&column.data_type))
}

/// Arrays of arrays have the same type as arrays.
fn array_of(element: &Field) -> u32 {
    let element = oid(element.data_type());
    if ARRAYS.iter().any(|&(_, array)| array == element) {
        return element;
    }
    ARRAYS.iter().find(|&&(of, _)| of == element).map_or(TEXT, |&(_, array)| array)
}

/// Size in bytes as `pg_type.typlen`; −1 for variable length.
pub fn size(oid: u32) -> i16 {
    match oid {
        BOOL | CHAR => 1,
        INT2 => 2,
        INT4 | FLOAT4 | DATE | OID | XID => 4,
        // Object identifiers that show as names.
        REGPROC | 2202..=2206 | REGNAMESPACE | REGROLE => 4,
        INT8 | FLOAT8 | TIME | TIMESTAMP | TIMESTAMPTZ => 8,
        INTERVAL | UUID => 16,
        NAME => 64,
        _ => -1,
    }
}

/// Precision and scale of a numeric column, packed as in `pg_attribute.atttypmod`; −1 for none.
pub fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4,
        _ => -1,
    }
}

/// The Arrow type in which values of a Postgres type are decoded; `None` for unknown types.
pub fn data_type(oid: u32) -> Option<DataType> {
    Some(match oid {
        BOOL => DataType::Boolean,
        INT2 => DataType::Int16,
        INT4 => DataType::Int32,
        INT8 => DataType::Int64,
        OID => DataType::UInt32,
        FLOAT4 => DataType::Float32,
        FLOAT8 => DataType::Float64,
        NUMERIC => DataType::Decimal128(38, 10),
        TEXT | VARCHAR | BPCHAR | NAME | CHAR | JSON | JSONB | UUID => DataType::Utf8,
        BYTEA => DataType::Binary,
        DATE => DataType::Date32,
        TIME => DataType::Time64(TimeUnit::Microsecond),
        TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => {
            let element = element_of(oid).filter(|&element| element != RECORD)?;
            DataType::List(Arc::new(Field::new_list_field(data_type(element)?, true)))
        }
    })
}

/// The element type of an array type.
pub fn element_of(array: u32) -> Option<u32> {
    ARRAYS.iter().find(|&&(_, of)| of == array).map(|&(element, _)| element)
}

/// Postgres' spelling, for error messages.
pub fn name(oid: u32) -> &'static str {
    match oid {
        BOOL => "boolean",
        BYTEA => "bytea",
        INT8 => "bigint",
        INT2 => "smallint",
        INT4 => "integer",
        OID => "oid",
        FLOAT4 => "real",
        FLOAT8 => "double precision",
        DATE => "date",
        TIME => "time",
        TIMESTAMP => "timestamp",
        TIMESTAMPTZ => "timestamp with time zone",
        INTERVAL => "interval",
        NUMERIC => "numeric",
        UUID => "uuid",
        JSON => "json",
        JSONB => "jsonb",
        RECORD => "record",
        _ if element_of(oid).is_some() => "array",
        _ => "text",
    }
}
