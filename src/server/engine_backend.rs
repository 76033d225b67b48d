//! The engine behind the wire: the one implementation of [`Backend`] besides the tests' double.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use engine::{Described, Engine, MetricSample, Notice, Prepared, Response, Session, Signals, TransactionStatus};
use futures::future::BoxFuture;
use sql::{ParsedStatement, Statement};
use tokio::sync::mpsc::UnboundedReceiver;
use types::SqlError;

use crate::backend::{Backend, BackendSession};

impl Backend for Engine {
    type Session = Session;

    fn session(&self, user: &str, database: &str, parameters: Vec<(String, String)>) -> Result<Session, SqlError> {
        Engine::session(self, user, database, parameters)
    }

    fn cancel(&self, session: u32, key: &[u8]) {
        Engine::cancel(self, session, key);
    }

    fn metrics(&self) -> Vec<MetricSample> {
        Engine::metrics(self)
    }

    fn ready(&self) -> bool {
        Engine::ready(self)
    }

    fn degraded(&self) -> Vec<String> {
        Engine::degraded(self)
    }
}

impl BackendSession for Session {
    type Statement = Arc<ParsedStatement>;
    type Prepared = Prepared;

    fn id(&self) -> u32 {
        Session::id(self)
    }

    fn signals(&self) -> Arc<Signals> {
        Session::signals(self)
    }

    fn set_cancel_key(&mut self, key: Vec<u8>) {
        Session::set_cancel_key(self, key);
    }

    fn parse(&self, sql: &str) -> Result<Vec<Self::Statement>, SqlError> {
        Ok(Session::parse(self, sql)?.into_iter().map(Arc::new).collect())
    }

    fn describe(
        &mut self,
        statement: &Self::Statement,
        parameter_types: Vec<Option<DataType>>,
    ) -> Result<Prepared, SqlError> {
        Session::describe(self, statement.clone(), parameter_types)
    }

    fn described(prepared: &Prepared) -> &Described {
        &prepared.described
    }

    fn execute<'a>(
        &'a mut self,
        prepared: &'a Prepared,
        parameters: Vec<ArrayRef>,
    ) -> BoxFuture<'a, Result<Response, SqlError>> {
        Session::execute(self, prepared, parameters)
    }

    fn execute_simple(&mut self, statement: &Self::Statement) -> BoxFuture<'_, Result<Response, SqlError>> {
        Session::execute_simple(self, statement.clone())
    }

    fn transaction_status(&self) -> TransactionStatus {
        Session::transaction_status(self)
    }

    fn begin_implicit(&mut self) {
        Session::begin_implicit(self);
    }

    fn end_implicit(&mut self) -> BoxFuture<'_, Result<(), SqlError>> {
        Session::end_implicit(self)
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        Session::idle_in_transaction_timeout(self)
    }

    fn fail_transaction(&mut self) {
        Session::fail_transaction(self);
    }

    fn notices(&mut self) -> UnboundedReceiver<Notice> {
        Session::notices(self)
    }

    fn reported_parameters(&self) -> Vec<(&'static str, String)> {
        Session::reported_parameters(self)
    }

    fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)> {
        Session::take_changed_parameters(self)
    }

    fn statement_timeout(&self) -> Option<Duration> {
        Session::statement_timeout(self)
    }

    fn deallocates(statement: &Self::Statement) -> Option<String> {
        match &statement.statement {
            Statement::Deallocate { name } => name.clone(),
            _ => None,
        }
    }
}
