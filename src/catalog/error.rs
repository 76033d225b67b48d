//! Errors of name resolution and dependencies, worded as in Postgres.

use types::{SqlState, ToSqlState};

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("relation \"{name}\" does not exist")]
    UndefinedRelation { name: String },
    #[error("relation \"{name}\" already exists")]
    DuplicateRelation { name: String },
    #[error("schema \"{name}\" does not exist")]
    UndefinedSchema { name: String },
    #[error("schema \"{name}\" already exists")]
    DuplicateSchema { name: String },
    #[error("\"{name}\" is not a {expected}")]
    WrongKind { name: String, expected: &'static str, actual: &'static str },
    #[error("cannot drop {kind} {name} because other objects depend on it")]
    DependantsExist { kind: &'static str, name: String, dependants: String },
    #[error("{kind} \"{name}\" has not been populated")]
    NotPopulated { kind: &'static str, name: String },
}

impl ToSqlState for CatalogError {
    fn sql_state(&self) -> SqlState {
        match self {
            CatalogError::UndefinedRelation { .. } => SqlState::UndefinedTable,
            CatalogError::DuplicateRelation { .. } => SqlState::DuplicateTable,
            CatalogError::UndefinedSchema { .. } => SqlState::InvalidSchemaName,
            CatalogError::DuplicateSchema { .. } => SqlState::DuplicateSchema,
            CatalogError::WrongKind { .. } => SqlState::WrongObjectType,
            CatalogError::DependantsExist { .. } => SqlState::DependentObjectsStillExist,
            CatalogError::NotPopulated { .. } => SqlState::ObjectNotInPrerequisiteState,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            CatalogError::DependantsExist { dependants, .. } => Some(dependants.clone()),
            CatalogError::WrongKind { name, actual, .. } => Some(format!("\"{name}\" is a {actual}.")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CatalogError::DependantsExist { .. } => {
                Some("Use DROP ... CASCADE to drop the dependent objects too.".into())
            }
            CatalogError::WrongKind { actual, .. } => Some(format!("Use DROP {}.", actual.to_uppercase())),
            CatalogError::NotPopulated { .. } => {
                Some("It is being built: hw_catalog.jobs shows how far, WAIT waits for it.".into())
            }
            _ => None,
        }
    }
}
