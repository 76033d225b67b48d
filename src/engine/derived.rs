//! What a source's columns are beyond what its connector reads: generated columns, NOT NULL where rows are stored, and
//! the place of a row (partition, position) where a later row replaces an earlier one.
//!
//! A wrapper around the connector, so that everything behind it (the feed, admission, replay, backfill, ad-hoc reads)
//! sees ordinary columns; a watermark may stand on a generated one. The projection that comes in is translated: only
//! what the wanted and the generated columns need is decoded. A row that cannot be computed, or holds NULL where it must
//! not, is set aside like a malformed record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::{CatalogObject, ObjectBody, SourceBody};
use connectors::{
    Chunk, ConfiguredSource, ConnectorError, OpenRequest, PartitionState, ReadEvent, RecordError, SourceConfig,
    SourceReader,
};
use kernels::{CompiledExpr, OnError, ScalarExpr, evaluate_delta};
use types::{DeltaBatch, SqlError, SqlState, row_text};

/// Where a column comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// This column of the connector.
    Given(usize),
    /// Computed from these columns of the source, in this order.
    Computed {
        reads: Vec<usize>,
        expr: CompiledExpr,
    },
    Partition,
    Position,
}

/// A connector with derived columns.
#[derive(Debug, Clone)]
struct DerivedConfig {
    inner: Arc<dyn SourceConfig>,
    schema: SchemaRef,
    origins: Arc<Vec<Origin>>,
    /// Columns in which a NULL makes the row malformed.
    not_null: Arc<BTreeSet<usize>>,
}

/// `configured` as the catalog describes it.
pub(crate) fn derive(
    object: &CatalogObject,
    body: &SourceBody,
    configured: ConfiguredSource,
) -> Result<ConfiguredSource, SqlError> {
    let (stored, keyed) = match &object.body {
        ObjectBody::Table(table) => (true, !table.primary_key.is_empty()),
        ObjectBody::Source(_) | ObjectBody::View { .. } | ObjectBody::MaterializedView(_) => (false, false),
    };
    // Only where rows are stored NOT NULL is enforced, and only where a row replaces another it has a place.
    let not_null = |c: &catalog::ColumnEntry| stored && c.not_null;
    if body.generated.is_empty() && !keyed && !object.columns.iter().any(not_null) {
        return Ok(configured);
    }
    let declared = object.arrow_schema();
    let mut generated = BTreeMap::new();
    for entry in &body.generated {
        generated.insert(entry.column, computed(&declared, entry)?);
    }
    let mut given = 0..;
    let mut origins: Vec<Origin> = vec![];
    for column in 0..object.columns.len() {
        let next = || Origin::Given(given.next().expect("an endless range"));
        origins.push(generated.remove(&column).unwrap_or_else(next));
    }
    let mut fields: Vec<Field> = declared.fields().iter().map(|field| field.as_ref().clone()).collect();
    if keyed {
        fields.extend([
            Field::new("hw_partition", DataType::Utf8, true),
            Field::new("hw_position", DataType::Int64, true),
        ]);
        origins.extend([Origin::Partition, Origin::Position]);
    }
    let required = object.columns.iter().enumerate().filter(|(_, c)| not_null(c)).map(|(position, _)| position);
    let config = DerivedConfig {
        inner: configured.config,
        schema: Arc::new(Schema::new(fields)),
        origins: Arc::new(origins),
        not_null: Arc::new(required.collect()),
    };
    Ok(ConfiguredSource { config: Arc::new(config), ..configured })
}

fn computed(declared: &Schema, entry: &catalog::GeneratedEntry) -> Result<Origin, SqlError> {
    let corrupt = |e: &dyn std::fmt::Display| {
        SqlError::new(SqlState::DataCorrupted, format!("cannot read the expression of a generated column: {e}"))
    };
    let expr: ScalarExpr = serde_json::from_value(entry.expr.clone()).map_err(|e| corrupt(&e))?;
    let input = declared.project(&entry.reads).map_err(|e| corrupt(&e))?;
    let expr = CompiledExpr::compile(&expr, &input).map_err(|e| types::ToSqlState::to_sql_error(&e))?;
    Ok(Origin::Computed { reads: entry.reads.clone(), expr })
}

impl SourceConfig for DerivedConfig {
    fn connector(&self) -> &str {
        self.inner.connector()
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn bounded(&self) -> bool {
        self.inner.bounded()
    }

    fn replayable(&self) -> bool {
        self.inner.replayable()
    }

    fn validate(&self) -> Result<(), ConnectorError> {
        self.inner.validate()
    }

    fn open(&self, request: OpenRequest) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let wanted = request.projection.clone();
        let mut inner: BTreeSet<usize> = BTreeSet::new();
        for column in self.needed(&wanted) {
            match &self.origins[column] {
                Origin::Given(given) => inner.extend([*given]),
                Origin::Computed { reads, .. } => inner.extend(reads.iter().map(|read| self.given(*read))),
                Origin::Partition | Origin::Position => {}
            }
        }
        if inner.is_empty() && !self.inner.schema().fields().is_empty() {
            // Connectors count rows by a column.
            inner.insert(0);
        }
        let inner: Vec<usize> = inner.into_iter().collect();
        let reader = self.inner.open(OpenRequest { projection: inner.clone(), ..request })?;
        Ok(Box::new(DerivedReader { config: self.clone(), reader, inner, wanted }))
    }
}

impl DerivedConfig {
    /// What has to be there for these columns. A row that can't be computed is malformed for all readers or for none,
    /// so every generated column is among them.
    fn needed(&self, wanted: &[usize]) -> BTreeSet<usize> {
        let computed = |column: &usize| matches!(self.origins[*column], Origin::Computed { .. });
        let computed = (0..self.origins.len()).filter(computed);
        wanted.iter().chain(self.not_null.iter()).copied().chain(computed).collect()
    }

    /// The connector's column behind a column that is not computed.
    fn given(&self, column: usize) -> usize {
        match &self.origins[column] {
            Origin::Given(given) => *given,
            _ => unreachable!("a generated column reads given ones, checked when it was bound"),
        }
    }
}

struct DerivedReader {
    config: DerivedConfig,
    reader: Box<dyn SourceReader>,
    /// Columns of the connector that are decoded.
    inner: Vec<usize>,
    /// Columns of the source that are asked for.
    wanted: Vec<usize>,
}

impl SourceReader for DerivedReader {
    fn next(&mut self, wait: Duration) -> Result<ReadEvent, ConnectorError> {
        match self.reader.next(wait)? {
            ReadEvent::Chunk(chunk) => self.complete(chunk).map(ReadEvent::Chunk),
            other => Ok(other),
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        self.reader.partitions()
    }
}

impl DerivedReader {
    /// The chunk with the wanted columns.
    fn complete(&self, chunk: Chunk) -> Result<Chunk, ConnectorError> {
        let needed = self.config.needed(&self.wanted);
        let mut rows = Rows { chunk, derived: BTreeMap::new() };
        // Computed ones first: a row that fails leaves, and the others are made for those that stay.
        for column in &needed {
            if let Origin::Computed { reads, expr } = &self.config.origins[*column] {
                self.compute(*column, reads, expr, &mut rows)?;
            }
        }
        for column in needed.iter().filter(|column| self.config.not_null.contains(column)) {
            self.refuse_nulls(*column, &mut rows)?;
        }
        let columns: Vec<ArrayRef> = self.wanted.iter().map(|column| self.column(*column, &rows)).collect();
        let schema = self.config.schema.project(&self.wanted).map_err(internal)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.chunk.positions.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).map_err(internal)?;
        Ok(Chunk { rows: batch, ..rows.chunk })
    }

    fn compute(
        &self,
        column: usize,
        reads: &[usize],
        expr: &CompiledExpr,
        rows: &mut Rows,
    ) -> Result<(), ConnectorError> {
        let inputs: Vec<ArrayRef> = reads.iter().map(|read| self.column(*read, rows)).collect();
        let schema = Arc::new(self.config.schema.project(reads).map_err(internal)?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.chunk.positions.len()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), inputs, &options).map_err(internal)?;
        let batch = DeltaBatch::inserts(batch);
        let evaluated = evaluate_delta(std::slice::from_ref(expr), &batch, &schema, OnError::Fail);
        let evaluated = evaluated.map_err(internal)?;
        if let Some(kept) = &evaluated.kept {
            let name = self.config.schema.field(column).name();
            let reasons = evaluated.errors.iter();
            let reasons = reasons.map(|e| (e.state, format!("cannot compute column \"{name}\": {}", e.message)));
            rows.keep(kept, reasons)?;
        }
        let [values] = evaluated.columns.as_slice() else { unreachable!("one expression gives one column") };
        rows.derived.insert(column, values.clone());
        Ok(())
    }

    fn refuse_nulls(&self, column: usize, rows: &mut Rows) -> Result<(), ConnectorError> {
        let values = self.column(column, rows);
        if values.null_count() == 0 {
            return Ok(());
        }
        let kept: UInt32Array = (0..values.len()).filter(|row| values.is_valid(*row)).map(|row| row as u32).collect();
        let name = self.config.schema.field(column).name();
        let reason = format!("null value in column \"{name}\" violates not-null constraint");
        rows.keep(&kept, std::iter::repeat((SqlState::NotNullViolation, reason)))
    }

    fn column(&self, column: usize, rows: &Rows) -> ArrayRef {
        match &self.config.origins[column] {
            Origin::Given(given) => {
                let place = self.inner.iter().position(|inner| inner == given).expect("it was asked for");
                rows.chunk.rows.column(place).clone()
            }
            Origin::Computed { .. } => rows.derived[&column].clone(),
            Origin::Partition => {
                let partition = rows.chunk.partition.as_str();
                Arc::new(StringArray::from_iter_values(rows.chunk.positions.iter().map(|_| partition)))
            }
            Origin::Position => {
                Arc::new(Int64Array::from_iter_values(rows.chunk.positions.iter().map(|position| *position as i64)))
            }
        }
    }
}

/// A chunk on its way: rows may leave it as errors.
struct Rows {
    chunk: Chunk,
    derived: BTreeMap<usize, ArrayRef>,
}

impl Rows {
    /// Leaves `kept` (ascending); each of the others becomes an error, `reasons` in their order.
    fn keep(
        &mut self,
        kept: &UInt32Array,
        reasons: impl Iterator<Item = (SqlState, String)>,
    ) -> Result<(), ConnectorError> {
        let positions = std::mem::take(&mut self.chunk.positions);
        let stays: BTreeSet<u32> = kept.values().iter().copied().collect();
        let left = positions.iter().enumerate().filter(|(row, _)| !stays.contains(&(*row as u32)));
        let errors = left.zip(reasons).map(|((row, position), (state, reason))| {
            // The record itself is gone; what was decoded of it says which it was.
            RecordError { position: *position, state, reason, raw: row_text(&self.chunk.rows, row).into_bytes() }
        });
        self.chunk.errors.extend(errors);
        self.chunk.positions = kept.values().iter().map(|row| positions[*row as usize]).collect();
        self.chunk.rows = take_record_batch(&self.chunk.rows, kept).map_err(internal)?;
        for values in self.derived.values_mut() {
            *values = arrow::compute::take(values, kept, None).map_err(internal)?;
        }
        Ok(())
    }
}

fn internal(error: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Internal { message: error.to_string() }
}
