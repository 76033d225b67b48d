//! Errors of connectors: configuration (the user's) and reading (the world's).

use types::{SqlState, ToSqlState};

#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    #[error("option \"connector\" is required")]
    MissingConnector { known: String },
    #[error("unknown connector \"{name}\"")]
    UnknownConnector { name: String, known: String },
    #[error("unknown option \"{name}\" of connector \"{connector}\"")]
    UnknownOption { connector: String, name: String, known: String },
    #[error("option \"{name}\" is required by connector \"{connector}\"")]
    MissingOption { connector: String, name: String },
    #[error("invalid value \"{value}\" for option \"{name}\"")]
    InvalidOption { name: String, value: String, expected: String },
    #[error("format \"{format}\" is not supported by connector \"{connector}\"")]
    UnsupportedFormat { connector: String, format: String, known: String },
    #[error("column \"{column}\" of type {data_type} cannot be read by this source")]
    ColumnType { column: String, data_type: String, expected: String },
    #[error("column \"{column}\" is not in \"{path}\"")]
    MissingColumn { column: String, path: String },
    #[error("file \"{path}\" does not exist")]
    FileNotFound { path: String },
    #[error("cannot read \"{path}\"")]
    Io {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The recorded position is gone: never skipped silently.
    #[error("\"{partition}\" no longer holds the data up to position {position}")]
    HistoryLost { partition: String, position: u64 },
    #[error("\"{path}\" is not a valid {format} file")]
    Corrupt { path: String, format: &'static str, reason: String },
    #[error("reader failed: {message}")]
    Internal { message: String },
}

impl ToSqlState for ConnectorError {
    fn sql_state(&self) -> SqlState {
        use ConnectorError::*;
        match self {
            MissingConnector { .. }
            | UnknownConnector { .. }
            | UnknownOption { .. }
            | MissingOption { .. }
            | InvalidOption { .. } => SqlState::InvalidParameterValue,
            UnsupportedFormat { .. } => SqlState::FeatureNotSupported,
            ColumnType { .. } => SqlState::DatatypeMismatch,
            MissingColumn { .. } => SqlState::UndefinedColumn,
            FileNotFound { .. } => SqlState::UndefinedFile,
            Io { .. } => SqlState::IoError,
            HistoryLost { .. } | Corrupt { .. } => SqlState::DataCorrupted,
            Internal { .. } => SqlState::InternalError,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            ConnectorError::Corrupt { reason, .. } => Some(format!("{reason}.")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        use ConnectorError::*;
        match self {
            MissingConnector { known } | UnknownConnector { known, .. } => Some(format!("Known connectors: {known}.")),
            UnknownOption { known, .. } => Some(format!("Known options: {known}.")),
            MissingOption { name, .. } => Some(format!("Add {name} = '…' to the WITH clause.")),
            InvalidOption { expected, .. } => Some(format!("Expected {expected}.")),
            UnsupportedFormat { known, .. } => Some(format!("Known formats: {known}.")),
            ColumnType { expected, .. } => Some(format!("Declare it as {expected}.")),
            MissingColumn { .. } => Some("Columns are matched by name, first exactly, then ignoring case.".into()),
            FileNotFound { .. } => Some("Paths are resolved on the server.".into()),
            HistoryLost { .. } => Some("Drop and create the source again to read from what is there now.".into()),
            Io { .. } | Corrupt { .. } | Internal { .. } => None,
        }
    }
}
