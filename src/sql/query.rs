//! Queries as statements, and the normalisation every query in every statement goes through: window table functions
//! into one shape, grouped windows into window table functions, session keys from GROUP BY, MATCH_RECOGNIZE back into
//! its place.

use std::ops::ControlFlow;

use sqlparser::ast::{self, SetExpr, TableFactor, VisitMut, VisitorMut};
use sqlparser::parser::Parser;

use crate::error::Failure;
use crate::match_recognize::Lifted;
use crate::statement::{ConflictAction, CopySource, OnConflict, Statement, Subscribe, SubscribeTarget};
use crate::tokens::{self, Parsed};
use crate::window_call::{select_star_from, table_factor};
use crate::{grouped_windows, session_keys, window_tvf};

pub(crate) fn parse(p: &mut Parser) -> Parsed<Statement> {
    Ok(Statement::Query(parse_query(p)?))
}

/// A query that only reads.
pub(crate) fn parse_query(p: &mut Parser) -> Parsed<Box<ast::Query>> {
    let start = tokens::here(p);
    if tokens::accept(p, "TABLE") {
        // sqlparser's `TABLE name` reads one token too many and forgets quotes.
        let name = tokens::parse_object_name(p)?;
        return Ok(Box::new(select_star_from(table_factor(name))));
    }
    let query = p.parse_query()?;
    refuse_writes(&query.body, start)?;
    Ok(query)
}

fn refuse_writes(body: &SetExpr, at: sqlparser::tokenizer::Location) -> Parsed<()> {
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => Err(Failure::unsupported(
            at,
            "WITH before a data-modifying statement is not supported",
            "Put the WITH clause into the SELECT of INSERT … SELECT.",
        )),
        SetExpr::Select(select) if select.into.is_some() => Err(Failure::unsupported(
            at,
            "SELECT INTO is not supported",
            "Create the table, then INSERT INTO … SELECT.",
        )),
        SetExpr::SetOperation { left, right, .. } => {
            refuse_writes(left, at)?;
            refuse_writes(right, at)
        }
        SetExpr::Query(query) => refuse_writes(&query.body, at),
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
    }
}

/// Normalises all queries inside `node`.
pub(crate) fn normalise(node: &mut impl VisitMut, lifted: &Lifted) -> Parsed<()> {
    visit_all(node, &mut Normaliser { lifted, offset: None })
}

/// Normalises all queries of a statement, also of one nested in EXPLAIN, PREPARE or DECLARE.
pub(crate) fn normalise_statement(statement: &mut Statement, lifted: &Lifted) -> Parsed<()> {
    visit_statement(statement, &mut Normaliser { lifted, offset: None })
}

pub(crate) fn visit_all<V>(node: &mut impl VisitMut, visitor: &mut V) -> Parsed<()>
where
    V: VisitorMut<Break = Box<Failure>>,
{
    match node.visit(visitor) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(failure) => Err(*failure),
    }
}

/// Sends `visitor` through every AST node of a statement.
pub(crate) fn visit_statement<V>(statement: &mut Statement, v: &mut V) -> Parsed<()>
where
    V: VisitorMut<Break = Box<Failure>>,
{
    match statement {
        Statement::CreateTable(create) => visit_all(&mut create.query, v),
        Statement::CreateView(create) => visit_all(&mut create.query, v),
        Statement::CreateMaterializedView(create) => visit_all(&mut create.query, v),
        Statement::Insert(insert) => {
            visit_all(&mut insert.source, v)?;
            if let Some(OnConflict { action: ConflictAction::Update { assignments, selection }, .. }) =
                &mut insert.on_conflict
            {
                assignments.iter_mut().try_for_each(|(_, value)| visit_all(value, v))?;
                visit_all(selection, v)?;
            }
            visit_all(&mut insert.returning, v)
        }
        Statement::Update(update) => {
            for (_, value) in &mut update.assignments {
                visit_all(value, v)?;
            }
            visit_all(&mut update.selection, v)?;
            visit_all(&mut update.returning, v)
        }
        Statement::Delete(delete) => {
            visit_all(&mut delete.selection, v)?;
            visit_all(&mut delete.returning, v)
        }
        Statement::Query(query) => visit_all(query, v),
        Statement::Subscribe(subscribe) => visit_subscribe(subscribe, v),
        Statement::CopyTo { from, .. } => match from {
            CopySource::Query(query) => visit_all(query, v),
            CopySource::Subscribe(subscribe) => visit_subscribe(subscribe, v),
            CopySource::Relation { .. } => Ok(()),
        },
        Statement::Explain { statement, .. }
        | Statement::Prepare { statement, .. }
        | Statement::Declare { statement, .. } => visit_statement(statement, v),
        Statement::Execute { parameters, .. } => visit_all(parameters, v),
        Statement::CreateSource(_)
        | Statement::CreateSchema { .. }
        | Statement::Drop(_)
        | Statement::Comment { .. }
        | Statement::Show(_)
        | Statement::Describe { .. }
        | Statement::Set { .. }
        | Statement::Reset { .. }
        | Statement::Flush
        | Statement::Wait
        | Statement::Refresh { .. }
        | Statement::CancelJobs { .. }
        | Statement::Begin { .. }
        | Statement::SetTransaction { .. }
        | Statement::Commit
        | Statement::Rollback
        | Statement::Savepoint { .. }
        | Statement::DiscardAll
        | Statement::Unlisten
        | Statement::Deallocate { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. } => Ok(()),
    }
}

fn visit_subscribe<V>(subscribe: &mut Subscribe, v: &mut V) -> Parsed<()>
where
    V: VisitorMut<Break = Box<Failure>>,
{
    match &mut subscribe.target {
        SubscribeTarget::Query(query) => visit_all(query, v),
        SubscribeTarget::Relation(_) => Ok(()),
    }
}

/// Inner nodes first: a grouped window may read a window table function, never the other way round.
struct Normaliser<'l> {
    lifted: &'l Lifted,
    /// An OFFSET that was taken for a part of FROM, for the query around.
    offset: Option<ast::Expr>,
}

impl VisitorMut for Normaliser<'_> {
    type Break = Box<Failure>;

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        match self.lifted.restore(factor) {
            Ok(offset) => self.offset = offset.or(self.offset.take()),
            Err(failure) => return ControlFlow::Break(Box::new(failure)),
        }
        flow(window_tvf::normalise(factor))
    }

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Self::Break> {
        if let Some(value) = self.offset.take() {
            let value = Some(ast::Offset { value, rows: ast::OffsetRows::None });
            match &mut query.limit_clause {
                Some(ast::LimitClause::LimitOffset { offset, .. }) => *offset = value,
                Some(ast::LimitClause::OffsetCommaLimit { .. }) => {}
                None => {
                    let clause = ast::LimitClause::LimitOffset { limit: None, offset: value, limit_by: vec![] };
                    query.limit_clause = Some(clause);
                }
            }
        }
        flow(grouped_windows::rewrite(query).and_then(|()| session_keys::infer(query)))
    }
}

fn flow(result: Parsed<()>) -> ControlFlow<Box<Failure>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(failure) => ControlFlow::Break(Box::new(failure)),
    }
}
