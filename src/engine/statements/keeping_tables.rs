//! The tables that `late_rows` and `dead_letter` name: one that is there is checked, one that is not is created with
//! the source or table that names it. That one depends on them; dropping it leaves them as ordinary append-only tables.

use arrow::datatypes::{DataType, TimeUnit};
use catalog::{CatalogChange, CatalogObject, ColumnEntry, KeepingTables, ObjectBody, TableBody};
use connectors::SourceOptions;
use sql::ast;
use types::{ObjectId, SqlError, SqlState};

use super::create_table::Table;
use super::names;
use crate::engine::Shared;
use crate::session::Session;
use crate::{dataflows, recovery};

/// The tables, and those of them that have to be created first.
#[derive(Default)]
pub(super) struct Keeping {
    pub tables: KeepingTables,
    pub created: Vec<CatalogObject>,
}

/// What the options of a source ask for. `time_column`: that of its watermark.
pub(super) fn of_source(
    session: &Session,
    source: &CatalogObject,
    options: &SourceOptions,
    time_column: Option<usize>,
) -> Result<Keeping, SqlError> {
    let mut keeping = Keeping::default();
    if let Some(name) = &options.late_rows {
        keeping.late_rows(session, source, name, time_column)?;
    }
    if let Some(name) = &options.dead_letter {
        let found =
            keeping.find_or_create(session, source, "malformed records", "dead_letter", name, dead_columns())?;
        keeping.tables.dead_letter = Some(found);
    }
    Ok(keeping)
}

/// What the options of `table` ask for, entered there; gives the tables to create before it.
pub(super) fn of_table(
    session: &Session,
    table: &mut CatalogObject,
    options: &[(String, String)],
) -> Result<Vec<CatalogObject>, SqlError> {
    let mut keeping = Keeping::default();
    let Some((_, name)) = options.iter().rev().find(|(name, _)| name == "late_rows") else { return Ok(vec![]) };
    let ObjectBody::Table(body) = &table.body else { unreachable!("only tables are asked") };
    let time_column = body.watermark.as_ref().map(|w| w.column);
    keeping.late_rows(session, table, name, time_column)?;
    table.depends_on = keeping.tables.ids();
    let ObjectBody::Table(body) = &mut table.body else { unreachable!("seen above") };
    body.late_rows = keeping.tables.late_rows;
    Ok(keeping.created)
}

/// Remembers new tables, and what comes with them, at once; then brings the tables to life.
pub(super) fn create(shared: &Shared, tables: Vec<CatalogObject>, with: Option<CatalogChange>) -> Result<(), SqlError> {
    shared.change_catalog(tables.iter().cloned().map(CatalogChange::Put).chain(with).collect())?;
    for table in tables {
        let graph = recovery::graph_of(&table)?.expect("a table has a graph");
        let job = shared.jobs.start(format!("CREATE TABLE {}", table.name));
        let relation = dataflows::build(shared, graph, &job, false)?;
        dataflows::wait_complete(shared, &relation, &job)?;
    }
    Ok(())
}

impl Keeping {
    /// The table for late rows of a source or table.
    pub fn late_rows(
        &mut self,
        session: &Session,
        of: &CatalogObject,
        name: &str,
        time_column: Option<usize>,
    ) -> Result<(), SqlError> {
        let Some(time_column) = time_column else {
            let message = "option \"late_rows\" needs a watermark";
            return Err(SqlError::new(SqlState::InvalidTableDefinition, message)
                .with_detail(format!("Without a watermark no row of \"{}\" is ever late.", of.name))
                .with_hint("Declare WATERMARK FOR a timestamp column."));
        };
        let columns = late_columns(&of.columns, time_column)?;
        self.tables.late_rows = Some(self.find_or_create(session, of, "late rows", "late_rows", name, columns)?);
        Ok(())
    }

    fn find_or_create(
        &mut self,
        session: &Session,
        of: &CatalogObject,
        what: &str,
        option: &str,
        name: &str,
        columns: Vec<ColumnEntry>,
    ) -> Result<ObjectId, SqlError> {
        let shared = &session.engine.shared;
        let catalog = shared.catalog();
        let (schema, name) = split(option, name)?;
        let schema = names::schema_or_default(&catalog, Some(schema.unwrap_or_else(|| of.schema.clone())), &[])?;
        let here = |object: &CatalogObject| object.schema == schema && object.name == name;
        if here(of) {
            return Err(SqlError::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
        }
        let found = catalog.find(Some(&schema), &name).map(|object| object.as_ref());
        let id = match found.or_else(|| self.created.iter().find(|object| here(object))) {
            Some(object) => {
                check(object, &columns, what, &of.name)?;
                object.id
            }
            None => {
                let object = table(shared, schema, name.clone(), columns);
                let id = object.id;
                self.created.push(object);
                id
            }
        };
        let verb = if self.created.iter().any(|object| object.id == id) { "was created and keeps" } else { "keeps" };
        session.notice(format!("table \"{name}\" {verb} {what} of \"{}\", however many they are", of.name));
        Ok(id)
    }
}

/// A table's name, given as an option's text.
pub(super) fn split(option: &str, name: &str) -> Result<(Option<String>, String), SqlError> {
    let idents = match sql::parse_expression(name) {
        Ok(ast::Expr::Identifier(ident)) => vec![ident],
        Ok(ast::Expr::CompoundIdentifier(idents)) => idents,
        _ => {
            let message = format!("invalid value \"{name}\" for option \"{option}\"");
            return Err(SqlError::new(SqlState::InvalidParameterValue, message).with_hint("Expected a table's name."));
        }
    };
    names::split(&ast::ObjectName::from(idents))
}

fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn entry(name: &str, data_type: DataType) -> ColumnEntry {
    ColumnEntry { name: name.into(), data_type, not_null: false, default: None, generated: None, comment: None }
}

/// The columns of `of`, then where the row came from and what it was late for.
fn late_columns(of: &[ColumnEntry], time_column: usize) -> Result<Vec<ColumnEntry>, SqlError> {
    let mut columns: Vec<ColumnEntry> = of.iter().map(|c| entry(&c.name, c.data_type.clone())).collect();
    let time = of[time_column].data_type.clone();
    for (name, data_type) in [
        ("hw_source", DataType::Utf8),
        ("hw_partition", DataType::Utf8),
        ("hw_position", DataType::Int64),
        ("hw_watermark", time),
        ("hw_seen", timestamptz()),
    ] {
        if columns.iter().any(|c| c.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DuplicateColumn, message)
                .with_detail(format!("A table of late rows has a column \"{name}\" of its own.")));
        }
        columns.push(entry(name, data_type));
    }
    Ok(columns)
}

/// As `hw_catalog.source_errors`.
fn dead_columns() -> Vec<ColumnEntry> {
    let text = |name| entry(name, DataType::Utf8);
    vec![
        text("source"),
        text("partition"),
        entry("position", DataType::Int64),
        text("error"),
        text("sqlstate"),
        text("raw"),
        entry("seen", timestamptz()),
    ]
}

/// Refuses a table that can't keep rows of these columns.
fn check(object: &CatalogObject, columns: &[ColumnEntry], what: &str, of: &str) -> Result<(), SqlError> {
    let refused = |state, detail: String| {
        Err(SqlError::new(state, format!("{} \"{}\" cannot keep {what} of \"{of}\"", object.kind_name(), object.name))
            .with_detail(detail)
            .with_hint("Name a table that does not exist: it is created as needed."))
    };
    let plain = |body: &TableBody| {
        body.append_only && body.primary_key.is_empty() && body.watermark.is_none() && body.source.is_none()
    };
    if !matches!(&object.body, ObjectBody::Table(body) if plain(body)) {
        let detail = "It is not an append-only table without primary key, watermark and connector.";
        return refused(SqlState::WrongObjectType, detail.into());
    }
    let same = |a: &ColumnEntry, b: &ColumnEntry| a.name == b.name && a.data_type == b.data_type;
    let fits = object.columns.len() == columns.len() && object.columns.iter().zip(columns).all(|(a, b)| same(a, b));
    if !fits || object.columns.iter().any(|c| c.not_null || c.generated.is_some()) {
        return refused(SqlState::DatatypeMismatch, format!("Its columns must be {}.", show(columns)));
    }
    Ok(())
}

fn show(columns: &[ColumnEntry]) -> String {
    let one = |c: &ColumnEntry| format!("{} {}", c.name, plan::type_name(&c.data_type));
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn table(shared: &Shared, schema: String, name: String, columns: Vec<ColumnEntry>) -> CatalogObject {
    let sql = format!("CREATE TABLE {schema}.{name} ({}) APPEND ONLY", show(&columns));
    let table = Table { id: shared.allocate_id(), schema, name, append_only: true };
    table.object(columns, TableBody { append_only: true, ..TableBody::default() }, &sql)
}
