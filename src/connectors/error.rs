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
    MissingColumn { column: String, path: String, found: String },
    #[error("file \"{path}\" does not exist")]
    FileNotFound { path: String },
    /// Opening it could block, and it has no positions to come back to.
    #[error("\"{path}\" is not a regular file")]
    NotRegular { path: String, kind: &'static str },
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

impl ConnectorError {
    /// Whether the same read may succeed later without anybody changing the source: a file that is away for a moment, a
    /// missing permission, a failing disk or network. What is damaged or declared otherwise stays so.
    pub fn may_pass(&self) -> bool {
        use ConnectorError::*;
        match self {
            FileNotFound { .. } | Io { .. } | Internal { .. } => true,
            MissingConnector { .. }
            | UnknownConnector { .. }
            | UnknownOption { .. }
            | MissingOption { .. }
            | InvalidOption { .. }
            | UnsupportedFormat { .. }
            | ColumnType { .. }
            | MissingColumn { .. }
            | NotRegular { .. }
            | HistoryLost { .. }
            | Corrupt { .. } => false,
        }
    }
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
            NotRegular { .. } => SqlState::WrongObjectType,
            Io { .. } => SqlState::IoError,
            HistoryLost { .. } | Corrupt { .. } => SqlState::DataCorrupted,
            Internal { .. } => SqlState::InternalError,
        }
    }

    fn detail(&self) -> Option<String> {
        use ConnectorError::*;
        match self {
            MissingConnector { known } | UnknownConnector { known, .. } => Some(format!("Known connectors: {known}.")),
            UnknownOption { known, .. } => Some(format!("Known options: {known}.")),
            MissingOption { connector, name } => Some(format!("Connector \"{connector}\" has no default for {name}.")),
            InvalidOption { name, expected, .. } => Some(format!("Option \"{name}\" takes {expected}.")),
            UnsupportedFormat { known, .. } => Some(format!("Known formats: {known}.")),
            FileNotFound { path } => Some(format!("The server looked for \"{}\".", absolute(path))),
            ColumnType { expected, .. } => Some(format!("It can be read as {expected}.")),
            MissingColumn { found, .. } => Some(format!("Its columns: {found}.")),
            Corrupt { reason, .. } => Some(format!("{reason}.")),
            NotRegular { kind, .. } => Some(format!("It is {kind}.")),
            // The cause of `Io` stands for itself.
            Io { .. } | HistoryLost { .. } | Internal { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        use ConnectorError::*;
        let hint = match self {
            MissingConnector { .. } => "Add connector = '…' to the WITH clause.".into(),
            UnknownConnector { name, known } | UnknownOption { name, known, .. } => match similar(name, known) {
                Some(meant) => format!("Perhaps you meant \"{meant}\"."),
                None => "Correct the name, or remove the option.".into(),
            },
            MissingOption { name, .. } => format!("Add {name} = '…' to the WITH clause."),
            InvalidOption { .. } => "Correct the value, or remove the option if it has a default.".into(),
            UnsupportedFormat { .. } => "Convert the data to one of these formats.".into(),
            ColumnType { .. } => "Declare it so, and cast it where it is used.".into(),
            MissingColumn { .. } => "Columns are matched by name, first exactly, then ignoring case.".into(),
            FileNotFound { .. } => "Paths are resolved on the server.".into(),
            NotRegular { .. } => {
                "Sources read regular files, again and again from any position: let a file collect what is written."
                    .into()
            }
            Io { .. } => "Check that the path is right and that the server may read it.".into(),
            HistoryLost { .. } => "Drop and create the source again to read from what is there now.".into(),
            Corrupt { .. } => "Check the file, and the format that the source declares.".into(),
            Internal { .. } => return None,
        };
        Some(hint)
    }
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_string(), |path| path.display().to_string())
}

/// The known name that `name` is a misspelling of: at most two letters differ.
fn similar<'a>(name: &str, known: &'a str) -> Option<&'a str> {
    const LETTERS_MAX: usize = 2;
    let names = known.split([',', '(', ')']).map(str::trim).filter(|known| !known.is_empty());
    let closest = names.map(|known| (distance(name, known), known)).min()?;
    (closest.0 <= LETTERS_MAX).then_some(closest.1)
}

/// Letters to insert, remove or exchange (two of them next to each other counted as two).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let exchanged = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_are_recognised() {
        let known = "allowed_lateness, connector, follow, path, file (filesystem)";
        assert_eq!(similar("folow", known), Some("follow"));
        assert_eq!(similar("PATH", known), Some("path"));
        assert_eq!(similar("fiel", known), Some("file"));
        assert_eq!(similar("allowed_latness", known), Some("allowed_lateness"));
        assert_eq!(similar("something_else", known), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
