//! Prepared statements and portals of one session.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use engine::{Column, RowStream};
use types::{SqlError, SqlState};

use crate::encode::{Format, pg_type};
use crate::errors::protocol_violation;
use crate::limits::{PORTALS_MAX, STATEMENTS_MAX};
use crate::output::Rest;

/// A prepared statement; `None` inside: the text was empty.
pub struct Stored<S, P> {
    pub body: Option<(S, P)>,
    /// Wire type of each parameter: what the client said, else what was inferred.
    pub parameter_oids: Vec<u32>,
}

pub struct Portal<S, P> {
    pub body: Option<(S, P)>,
    /// Result format codes as bound: none, one for all columns, or one each.
    pub codes: Vec<i16>,
    pub state: PortalState,
}

pub enum PortalState {
    /// Bound, not executed yet.
    Ready(Vec<ArrayRef>),
    /// Suspended after a row limit.
    Rows { stream: RowStream, rest: Option<Rest>, tag: &'static str, formats: Vec<Format> },
    /// All rows were sent; executing again returns none.
    Exhausted(&'static str),
    /// It returned no rows, or failed: it cannot run again.
    Done,
}

/// What a session has prepared and bound, by name; the empty name is the unnamed one.
pub struct Registry<S, P> {
    statements: HashMap<String, Stored<S, P>>,
    portals: HashMap<String, Portal<S, P>>,
}

impl<S, P> Default for Registry<S, P> {
    fn default() -> Self {
        Registry { statements: HashMap::new(), portals: HashMap::new() }
    }
}

impl<S, P> Registry<S, P> {
    /// Fails before the statement is planned if it could not be stored.
    pub fn check_statement_name(&self, name: &str) -> Result<(), SqlError> {
        if !name.is_empty() && self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicatePreparedStatement, message));
        }
        if self.statements.len() >= STATEMENTS_MAX {
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, "too many prepared statements")
                .with_hint("Deallocate statements that are not needed any more."));
        }
        Ok(())
    }

    pub fn store_statement(&mut self, name: String, statement: Stored<S, P>) {
        self.statements.insert(name, statement);
    }

    pub fn statement(&self, name: &str) -> Result<&Stored<S, P>, SqlError> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                _ => format!("prepared statement \"{name}\" does not exist"),
            };
            SqlError::new(SqlState::InvalidSqlStatementName, message)
        })
    }

    /// False if there was none of that name.
    pub fn close_statement(&mut self, name: &str) -> bool {
        self.statements.remove(name).is_some()
    }

    pub fn close_statements(&mut self) {
        self.statements.clear();
    }

    pub fn open_portal(&mut self, name: String, portal: Portal<S, P>) -> Result<(), SqlError> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(SqlError::new(SqlState::DuplicateCursor, format!("portal \"{name}\" already exists")));
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, "too many open portals"));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    pub fn portal(&mut self, name: &str) -> Result<&mut Portal<S, P>, SqlError> {
        self.portals
            .get_mut(name)
            .ok_or_else(|| SqlError::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist")))
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// At the end of a transaction: portals live no longer, and with them the work behind their streams.
    pub fn close_portals(&mut self) {
        self.portals.clear();
    }
}

/// One format per column from the codes of a Bind message: none means text, one means all.
pub fn result_formats(codes: &[i16], columns: Option<&[Column]>) -> Result<Vec<Format>, SqlError> {
    let known = columns.unwrap_or_default();
    let columns = known.len();
    match codes {
        [] => Ok(vec![Format::Text; columns]),
        [all] => known.iter().map(|column| result_format(*all, column)).collect(),
        each if each.len() == columns => {
            each.iter().zip(known).map(|(&code, column)| result_format(code, column)).collect()
        }
        each => Err(protocol_violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            each.len()
        ))),
    }
}

fn result_format(code: i16, column: &Column) -> Result<Format, SqlError> {
    Ok(match (format(code)?, pg_type::of_column(column)) {
        (Format::Binary, pg_type::JSONB) => Format::BinaryJsonb,
        (Format::Binary, pg_type::UUID) => Format::BinaryUuid,
        (format, _) => format,
    })
}

/// The format of parameter `at` from the codes of a Bind message.
pub fn parameter_format(codes: &[i16], at: usize, parameters: usize) -> Result<Format, SqlError> {
    match codes {
        [] => Ok(Format::Text),
        [all] => format(*all),
        each if each.len() == parameters => format(each[at]),
        each => Err(protocol_violation(format!(
            "bind message has {} parameter formats but {parameters} parameters",
            each.len()
        ))),
    }
}

fn format(code: i16) -> Result<Format, SqlError> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        _ => Err(SqlError::new(SqlState::InvalidParameterValue, format!("unsupported format code: {code}"))),
    }
}
