//! The extended query protocol: Parse, Bind, Describe, Execute, Close. Sync, Flush and the skipping after an error
//! are the message loop's (`connection.rs`).

use arrow::datatypes::DataType;
use engine::{Column, Response};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use tokio::io::{AsyncRead, AsyncWrite};
use types::{SqlError, SqlState};

use crate::backend::BackendSession;
use crate::connection::{Connection, check_length, off_io};
use crate::copy_out::copy_out;
use crate::decode;
use crate::encode::{Format, pg_type};
use crate::errors::{Failure, protocol_violation};
use crate::interrupt::interruptible;
use crate::output::{Output, row_description, rows_tag};
use crate::portal::{Portal, PortalState, Stored, parameter_format, result_formats};

impl<S, R, W> Connection<S, R, W>
where
    S: BackendSession,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    pub(crate) fn parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let name = parse.name.unwrap_or_default();
        if name.is_empty() {
            self.registry.close_statement("");
        }
        self.registry.check_statement_name(&name)?;
        let stored = self.prepare(&parse.query, &parse.type_oids)?;
        self.registry.store_statement(name, stored);
        self.output.writer.send(&ParseComplete::new())
    }

    fn prepare(&mut self, sql: &str, declared: &[u32]) -> Result<Stored<S::Statement, S::Prepared>, SqlError> {
        check_length(sql)?;
        let mut statements = off_io(|| self.session.parse(sql))?;
        let Some(statement) = statements.pop() else {
            return Ok(Stored { body: None, parameter_oids: vec![] });
        };
        if !statements.is_empty() {
            return Err(SqlError::new(
                SqlState::SyntaxError,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let prepared = off_io(|| describe_with(&mut self.session, &statement, declared))?;
        let inferred = &S::described(&prepared).parameters;
        let oid_of = |(at, data_type)| match declared.get(at) {
            Some(&oid) if !is_unspecified(oid) => oid,
            _ => pg_type::oid(data_type),
        };
        let parameter_oids = inferred.iter().enumerate().map(oid_of).collect();
        Ok(Stored { body: Some((statement, prepared)), parameter_oids })
    }

    pub(crate) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let name = bind.portal_name.unwrap_or_default();
        let statement_name = bind.statement_name.unwrap_or_default();
        let statement = self.registry.statement(&statement_name)?;
        let (given, wanted) = (bind.parameters.len(), statement.parameter_oids.len());
        if given != wanted {
            let message = format!(
                "bind message supplies {given} parameters, but prepared statement \"{statement_name}\" requires {wanted}"
            );
            return Err(protocol_violation(message).into());
        }
        let mut parameters = Vec::with_capacity(given);
        if let Some((_, prepared)) = &statement.body {
            let described = S::described(prepared);
            result_formats(&bind.result_column_format_codes, described.columns.as_deref())?;
            for (at, value) in bind.parameters.iter().enumerate() {
                let format = parameter_format(&bind.parameter_format_codes, at, given)?;
                let oid = statement.parameter_oids[at];
                parameters.push(decode::parameter(oid, format, value.as_deref(), &described.parameters[at])?);
            }
        }
        let portal = Portal {
            body: statement.body.clone(),
            codes: bind.result_column_format_codes,
            state: PortalState::Ready(parameters),
        };
        if name.is_empty() {
            self.registry.close_portal("");
        }
        self.registry.open_portal(name, portal)?;
        self.output.writer.send(&BindComplete::new())
    }

    pub(crate) fn describe(&mut self, describe: &Describe) -> Result<(), Failure> {
        let name = describe.name.as_deref().unwrap_or_default();
        match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let statement = self.registry.statement(name)?;
                let columns = statement.body.as_ref().and_then(|(_, p)| S::described(p).columns.clone());
                let oids = statement.parameter_oids.clone();
                self.output.writer.send(&ParameterDescription::new(oids))?;
                self.send_description(columns, &[])
            }
            TARGET_TYPE_BYTE_PORTAL => match self.registry.portal(name) {
                Ok(portal) => {
                    let columns = portal.body.as_ref().and_then(|(_, p)| S::described(p).columns.clone());
                    let codes = portal.codes.clone();
                    self.send_description(columns, &codes)
                }
                Err(unknown) => match self.cursor_columns(name) {
                    Some(columns) => self.send_description(Some(columns), &[]),
                    None => Err(unknown.into()),
                },
            },
            _ => Err(Failure::Fatal(protocol_violation("invalid DESCRIBE message subtype"))),
        }
    }

    fn send_description(&mut self, columns: Option<Vec<Column>>, codes: &[i16]) -> Result<(), Failure> {
        let Some(columns) = columns else { return self.output.writer.send(&NoData::new()) };
        let formats = result_formats(codes, Some(&columns))?;
        self.output.writer.send(&row_description(&columns, &formats))
    }

    /// A cursor made by DECLARE is a portal too; psycopg describes it as one. What FETCH returns is what it has.
    fn cursor_columns(&mut self, name: &str) -> Option<Vec<Column>> {
        let fetch = format!("FETCH 0 FROM \"{}\"", name.replace('"', "\"\""));
        let statement = self.session.parse(&fetch).ok()?.pop()?;
        let prepared = self.session.describe(&statement, vec![]).ok()?;
        S::described(&prepared).columns.clone()
    }

    pub(crate) async fn execute(&mut self, execute: Execute) -> Result<(), Failure> {
        let rows_max = u64::try_from(execute.max_rows).ok().filter(|&max| max > 0);
        let name = execute.name.unwrap_or_default();
        let portal = self.registry.portal(&name)?;
        let Some((statement, prepared)) = portal.body.clone() else {
            return self.output.writer.send(&EmptyQueryResponse::new());
        };
        let codes = portal.codes.clone();
        let state = std::mem::replace(&mut portal.state, PortalState::Done);
        if matches!(state, PortalState::Ready(_)) && self.deallocate(&statement) {
            return self.complete("DEALLOCATE".to_owned());
        }
        // Whatever comes up to Sync is one transaction.
        self.session.begin_implicit();
        let Connection { reader, output, session, signals, .. } = self;
        let timeout = session.statement_timeout();
        // If this is interrupted or fails, the portal stays `Done`: it cannot run again.
        let work = run_portal(session, output, &prepared, &codes, state, rows_max);
        let (state, tag) = interruptible(signals, reader, timeout, work).await?;
        self.registry.portal(&name)?.state = state;
        match tag {
            Some(tag) => self.complete(tag),
            None => self.output.writer.send(&PortalSuspended::new()),
        }
    }

    pub(crate) fn close(&mut self, close: &Close) -> Result<(), Failure> {
        let name = close.name.as_deref().unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                self.registry.close_statement(name);
            }
            TARGET_TYPE_BYTE_PORTAL => self.registry.close_portal(name),
            _ => return Err(Failure::Fatal(protocol_violation("invalid CLOSE message subtype"))),
        }
        self.output.writer.send(&CloseComplete::new())
    }
}

/// Starts or resumes a portal. Returns its next state, and the command tag unless it was suspended.
async fn run_portal<S: BackendSession, W: AsyncWrite + Unpin>(
    session: &mut S,
    output: &mut Output<W>,
    prepared: &S::Prepared,
    codes: &[i16],
    state: PortalState,
    rows_max: Option<u64>,
) -> Result<(PortalState, Option<String>), Failure> {
    let (mut stream, mut rest, tag, formats) = match state {
        PortalState::Ready(parameters) => match output.response(session.execute(prepared, parameters)).await? {
            Response::Rows { columns, stream, tag } => {
                let formats = result_formats(codes, Some(&columns))?;
                (stream, None, tag, formats)
            }
            Response::CopyOut { columns, mut stream } => {
                let rows = copy_out(output, &columns, &mut stream).await?;
                return Ok((PortalState::Done, Some(format!("COPY {rows}"))));
            }
            Response::Command { tag } => return Ok((PortalState::Done, Some(tag))),
        },
        PortalState::Rows { stream, rest, tag, formats } => (stream, rest, tag, formats),
        PortalState::Exhausted(tag) => return Ok((PortalState::Exhausted(tag), Some(rows_tag(tag, 0)))),
        PortalState::Done => {
            let error = SqlError::new(SqlState::ObjectNotInPrerequisiteState, "portal cannot be run");
            return Err(error.into());
        }
    };
    let formats: Vec<Format> = formats;
    let sent = output.data_rows(&mut stream, &mut rest, &formats, rows_max).await?;
    Ok(match sent.complete {
        true => (PortalState::Exhausted(tag), Some(rows_tag(tag, sent.rows))),
        false => (PortalState::Rows { stream, rest, tag, formats }, None),
    })
}

/// Describes with the declared types. A numeric's scale is not declared, so its type is inferred first, as the
/// statement may know it better; where nothing tells (then it is text, or an error) the usual one is taken.
fn describe_with<S: BackendSession>(
    session: &mut S,
    statement: &S::Statement,
    declared: &[u32],
) -> Result<S::Prepared, SqlError> {
    let types = |numeric: Option<DataType>| {
        let of = |&oid: &u32| match oid {
            _ if is_unspecified(oid) => Ok(None),
            pg_type::NUMERIC => Ok(numeric.clone()),
            _ => pg_type::data_type(oid).map(Some).ok_or_else(|| unknown_type(oid)),
        };
        declared.iter().map(of).collect::<Result<Vec<_>, _>>()
    };
    let inferred = session.describe(statement, types(None)?);
    let untold = match &inferred {
        Ok(prepared) => S::described(prepared)
            .parameters
            .iter()
            .zip(declared)
            .any(|(data_type, &oid)| oid == pg_type::NUMERIC && pg_type::oid(data_type) == pg_type::TEXT),
        Err(error) => error.state == SqlState::IndeterminateDatatype && declared.contains(&pg_type::NUMERIC),
    };
    match untold {
        true => session.describe(statement, types(pg_type::data_type(pg_type::NUMERIC))?),
        false => inferred,
    }
}

fn is_unspecified(oid: u32) -> bool {
    oid == 0 || oid == pg_type::UNKNOWN
}

fn unknown_type(oid: u32) -> SqlError {
    SqlError::new(SqlState::UndefinedObject, format!("type with OID {oid} does not exist"))
        .with_hint("Only built-in types can be sent as parameters; leave the type unspecified and pass text.")
}
