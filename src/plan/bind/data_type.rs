//! Type names: Postgres' spelling → Arrow, and back for messages.
//!
//! Timestamps count microseconds; `timestamptz` is UTC. All text types are Utf8 and their length is not enforced, as
//! are `uuid`, `json` and `jsonb`. Plain `numeric` is Decimal128(38, 10), because Arrow decimals have one scale per
//! column; `numeric(p)` has scale 0.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::planner::TypePlanner;
use sql::ast;
use types::SqlState;

use super::wire_type::catalog_type;
use crate::PlanError;

const NUMERIC_PRECISION: u8 = 38;
const NUMERIC_SCALE: i8 = 10;
/// Largest precision of Decimal256.
const NUMERIC_PRECISION_MAX: u64 = 76;

/// The Arrow type of a SQL type name.
///
/// Errors: 42704 for names we don't know, 22023 for a precision or scale out of range.
pub fn data_type(name: &ast::DataType) -> Result<DataType, PlanError> {
    use ast::DataType as Sql;
    Ok(match name {
        Sql::Bool | Sql::Boolean => DataType::Boolean,
        Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Int64,
        Sql::Real | Sql::Float4 => DataType::Float32,
        Sql::Float(ast::ExactNumberInfo::Precision(bits)) if (1..=24).contains(bits) => DataType::Float32,
        Sql::Float(_) | Sql::Float8 | Sql::Float64 | Sql::Double(_) | Sql::DoublePrecision => DataType::Float64,
        Sql::Numeric(info) | Sql::Decimal(info) | Sql::Dec(info) => numeric(info)?,
        Sql::Varchar(_) | Sql::CharVarying(_) | Sql::CharacterVarying(_) | Sql::Char(_) | Sql::Character(_) => {
            DataType::Utf8
        }
        Sql::Text | Sql::String(_) | Sql::Uuid | Sql::JSON | Sql::JSONB | Sql::Regclass => DataType::Utf8,
        Sql::Bytea | Sql::Varbinary(_) | Sql::Binary(_) | Sql::Blob(_) | Sql::Bytes(_) => DataType::Binary,
        Sql::Date => DataType::Date32,
        Sql::Time(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        Sql::Timestamp(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone)
        | Sql::TimestampNtz(_)
        | Sql::Datetime(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Sql::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        Sql::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        Sql::Array(ast::ArrayElemTypeDef::SquareBracket(element, _) | ast::ArrayElemTypeDef::AngleBracket(element)) => {
            DataType::List(Arc::new(Field::new_list_field(data_type(element)?, true)))
        }
        Sql::Custom(custom, modifiers) => custom_type(custom, modifiers)?,
        other => return Err(PlanError::UndefinedType { name: other.to_string().to_lowercase() }),
    })
}

fn numeric(info: &ast::ExactNumberInfo) -> Result<DataType, PlanError> {
    let (precision, scale) = match info {
        ast::ExactNumberInfo::None => return Ok(DataType::Decimal128(NUMERIC_PRECISION, NUMERIC_SCALE)),
        ast::ExactNumberInfo::Precision(precision) => (*precision, 0),
        ast::ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let invalid = |message: String| PlanError::invalid(SqlState::InvalidParameterValue, message);
    if !(1..=NUMERIC_PRECISION_MAX).contains(&precision) {
        return Err(invalid(format!("numeric precision {precision} must be between 1 and {NUMERIC_PRECISION_MAX}")));
    }
    if scale < 0 || scale.unsigned_abs() > precision {
        return Err(invalid(format!("numeric scale {scale} must be between 0 and precision {precision}")));
    }
    let (precision, scale) = (precision as u8, scale as i8);
    Ok(match precision {
        ..=38 => DataType::Decimal128(precision, scale),
        _ => DataType::Decimal256(precision, scale),
    })
}

/// Names sqlparser leaves alone, and `pg_catalog.`-qualified ones.
fn custom_type(name: &ast::ObjectName, modifiers: &[String]) -> Result<DataType, PlanError> {
    let full = name.to_string().to_lowercase();
    let plain = full.trim_start_matches("pg_catalog.").replace('"', "");
    Ok(match plain.as_str() {
        "name" | "text" | "varchar" | "bpchar" | "json" | "jsonb" | "uuid" | "regtype" | "regproc" | "char" => {
            DataType::Utf8
        }
        "int2" => DataType::Int16,
        "int4" | "oid" | "xid" | "serial" => DataType::Int32,
        "int8" | "bigserial" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "bool" => DataType::Boolean,
        "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "numeric" if modifiers.is_empty() => DataType::Decimal128(NUMERIC_PRECISION, NUMERIC_SCALE),
        _ => return Err(PlanError::UndefinedType { name: full }),
    })
}

/// How Postgres names an Arrow type in messages.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".into(),
        DataType::Int32 | DataType::UInt16 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::UInt32 => "oid".into(),
        DataType::UInt64 => "numeric(20,0)".into(),
        DataType::Float16 | DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("numeric({p},{s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".into()
        }
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".into(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => format!("{}[]", type_name(item.data_type())),
        DataType::Struct(_) => "record".into(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::RunEndEncoded(_, value) => type_name(value.data_type()),
        DataType::Map(..) | DataType::Union(..) => "record".into(),
    }
}

/// Whether Postgres casts `from` to `to` by itself when a column is written. Text is a literal of any type.
pub fn assignable(from: &DataType, to: &DataType) -> bool {
    #[derive(PartialEq)]
    enum Family {
        Number,
        Moment,
        TimeOfDay,
        Interval,
        Other,
    }
    let family = |data_type: &DataType| match data_type {
        number if number.is_numeric() => Family::Number,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Family::Moment,
        DataType::Time32(_) | DataType::Time64(_) => Family::TimeOfDay,
        DataType::Interval(_) | DataType::Duration(_) => Family::Interval,
        _ => Family::Other,
    };
    if from == to || from.is_null() || from.is_string() || to.is_string() {
        return true;
    }
    match (family(from), family(to)) {
        (Family::Other, Family::Other) => {
            arrow::compute::can_cast_types(from, to) && from.is_nested() == to.is_nested()
        }
        // A timestamp has a time of day, and an interval may be one.
        (Family::Moment, Family::TimeOfDay) => matches!(from, DataType::Timestamp(..)),
        (Family::Interval, Family::TimeOfDay) | (Family::TimeOfDay, Family::Interval) => true,
        (from, to) => from == to && from != Family::Other,
    }
}

/// Hands [`data_type`] to DataFusion's binder.
#[derive(Debug)]
pub(crate) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, name: &ast::DataType) -> Result<Option<FieldRef>> {
        if let Some(field) = catalog_type(name) {
            return Ok(Some(Arc::new(field)));
        }
        let mapped = data_type(name).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Some(Arc::new(Field::new("", mapped, true))))
    }
}
