//! Object names of statements → schema and name, as Postgres folds them.

use sql::ast;
use types::{SqlError, SqlState};

/// The name an identifier means: folded unless quoted.
pub fn fold(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// (schema if given, name). A leading database name is accepted and dropped.
pub fn split(name: &ast::ObjectName) -> Result<(Option<String>, String), SqlError> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(fold)).collect();
    let parts = parts.unwrap_or_default();
    match parts.as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] => Ok((Some(schema.clone()), name.clone())),
        [_, schema, name] => Ok((Some(schema.clone()), name.clone())),
        _ => Err(SqlError::new(SqlState::SyntaxError, format!("improper qualified name: {name}"))),
    }
}

/// The schema in which an unqualified new object goes.
///
/// Errors: 3F000 if it does not exist, or if no schema of the search path does.
pub fn schema_or_default(
    catalog: &catalog::Catalog,
    schema: Option<String>,
    search_path: &[String],
) -> Result<String, SqlError> {
    let first = || search_path.iter().find(|schema| catalog.schemas.contains(schema)).cloned();
    let Some(schema) = schema.or_else(first) else {
        let message = "no schema has been selected to create in";
        return Err(SqlError::new(SqlState::InvalidSchemaName, message).with_hint("SET search_path = public."));
    };
    if catalog.schemas.contains(&schema) {
        return Ok(schema);
    }
    if matches!(schema.as_str(), "pg_catalog" | "information_schema" | "hw_catalog") {
        let message = format!("permission denied to create in schema \"{schema}\"");
        return Err(
            SqlError::new(SqlState::InsufficientPrivilege, message).with_detail("System schemas are read-only.")
        );
    }
    Err(SqlError::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")))
}
