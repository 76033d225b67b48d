//! Postgres types that have no Arrow type of their own. Their values travel as text, integers or lists; which type they
//! are is a mark on the field, kept by columns, aliases and casts and lost by every computation, as it should be.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use sql::ast;

/// Arrow's key for extension types: casts to plain types drop it.
const KEY: &str = "ARROW:extension:name";
const PREFIX: &str = "postgres:";

pub const REGCLASS: u32 = 2205;
const CHAR: u32 = 18;
const NAME: u32 = 19;
const INT2VECTOR: u32 = 22;
const REGPROC: u32 = 24;
const XID: u32 = 28;
const OIDVECTOR: u32 = 30;
const JSON: u32 = 114;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;

/// The OID of the Postgres type a field is marked with; `None`: its Arrow type says all.
pub fn wire_type(field: &Field) -> Option<u32> {
    field.metadata().get(KEY)?.strip_prefix(PREFIX)?.parse().ok()
}

/// Marks a field as holding values of the Postgres type with this OID.
pub fn with_wire_type(field: Field, oid: u32) -> Field {
    let metadata = HashMap::from([(KEY.to_string(), format!("{PREFIX}{oid}"))]);
    field.with_metadata(metadata)
}

/// Types whose values are OIDs shown as names: (OID, name). Functions `<name>in` and `<name>out` convert.
pub(crate) const NAMED_OBJECTS: [(u32, &str); 7] = [
    (REGPROC, "regproc"),
    (2202, "regprocedure"),
    (2203, "regoper"),
    (REGCLASS, "regclass"),
    (2206, "regtype"),
    (4089, "regnamespace"),
    (4096, "regrole"),
];

/// The name of an object-identifier type that shows as a name.
pub(crate) fn named_object(field: &Field) -> Option<&'static str> {
    let oid = wire_type(field).filter(|_| field.data_type() == &DataType::UInt32)?;
    NAMED_OBJECTS.iter().find(|(of, _)| *of == oid).map(|(_, name)| *name)
}

/// Lists that Postgres shows as numbers with spaces between.
pub(crate) fn is_vector(field: &Field) -> bool {
    matches!(wire_type(field), Some(INT2VECTOR | OIDVECTOR)) && matches!(field.data_type(), DataType::List(_))
}

/// The field of a cast to a type that only catalogs and clients use, or that needs a mark.
pub(crate) fn catalog_type(name: &ast::DataType) -> Option<Field> {
    use ast::DataType as Sql;
    let text = |oid| Some(with_wire_type(Field::new("", DataType::Utf8, true), oid));
    match name {
        Sql::Regclass => Some(with_wire_type(Field::new("", DataType::UInt32, true), REGCLASS)),
        Sql::Varchar(_) | Sql::CharVarying(_) | Sql::CharacterVarying(_) => text(VARCHAR),
        Sql::Char(_) | Sql::Character(_) => text(BPCHAR),
        Sql::JSON => text(JSON),
        Sql::JSONB => text(JSONB),
        Sql::Uuid => text(UUID),
        Sql::Custom(custom, _) => by_name(&plain_name(custom)),
        Sql::Array(ast::ArrayElemTypeDef::SquareBracket(element, _)) => {
            let element = catalog_type(element)?.with_name(Field::LIST_FIELD_DEFAULT_NAME);
            let plain = Field::new_list_field(element.data_type().clone(), true);
            Some(Field::new("", DataType::List(Arc::new(plain)), true))
        }
        _ => None,
    }
}

/// `pg_type.typname` of a type that [`catalog_type`] knows.
pub(crate) fn catalog_type_name(name: &ast::DataType) -> Option<String> {
    use ast::DataType as Sql;
    let known = catalog_type(name)?;
    Some(match name {
        Sql::Regclass => "regclass".into(),
        Sql::Custom(custom, _) => plain_name(custom),
        _ => match wire_type(&known)? {
            VARCHAR => "varchar".into(),
            BPCHAR => "bpchar".into(),
            JSON => "json".into(),
            JSONB => "jsonb".into(),
            UUID => "uuid".into(),
            _ => return None,
        },
    })
}

/// The last part of a type's name; types of any schema but `pg_catalog` don't exist.
fn plain_name(name: &ast::ObjectName) -> String {
    let full = name.to_string().to_lowercase().replace('"', "");
    full.strip_prefix("pg_catalog.").map(str::to_string).unwrap_or(full)
}

fn by_name(name: &str) -> Option<Field> {
    let marked = |data_type, oid| Some(with_wire_type(Field::new("", data_type, true), oid));
    match name {
        "oid" => Some(Field::new("", DataType::UInt32, true)),
        "xid" => marked(DataType::UInt32, XID),
        "name" => marked(DataType::Utf8, NAME),
        "char" => marked(DataType::Utf8, CHAR),
        "varchar" => marked(DataType::Utf8, VARCHAR),
        "bpchar" => marked(DataType::Utf8, BPCHAR),
        "json" => marked(DataType::Utf8, JSON),
        "jsonb" => marked(DataType::Utf8, JSONB),
        "uuid" => marked(DataType::Utf8, UUID),
        _ => {
            let (oid, _) = NAMED_OBJECTS.iter().find(|(_, known)| *known == name)?;
            marked(DataType::UInt32, *oid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_only_on_the_field() {
        let field = with_wire_type(Field::new("c", DataType::UInt32, true), REGCLASS);
        assert_eq!(wire_type(&field), Some(REGCLASS));
        assert_eq!(named_object(&field), Some("regclass"));
        assert_eq!(wire_type(&Field::new("c", DataType::UInt32, true)), None);
        let text = with_wire_type(Field::new("c", DataType::Utf8, true), REGCLASS);
        assert_eq!(named_object(&text), None, "already shown as a name");
    }
}
