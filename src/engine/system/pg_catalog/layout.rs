//! Which columns the relations of `pg_catalog` and `information_schema` have, from `static/relations.tsv`, and rows by
//! column name. What a row doesn't mention is NULL, or the empty value of its type where Postgres has NOT NULL.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::logical_expr::TableSource;

use crate::system::table::{Cell, table_of};

/// A system relation as Postgres has it.
#[derive(Debug)]
pub struct Layout {
    pub schema: &'static str,
    pub name: &'static str,
    /// `r` or `v`, as in `pg_class.relkind`.
    pub kind: &'static str,
    /// As in Postgres; relations of `information_schema` have one given here, below the user range.
    pub oid: u32,
    pub columns: Vec<Column>,
}

#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    /// OID of its type.
    pub type_oid: u32,
    pub not_null: bool,
}

/// A row: cells by column name.
pub type Row = Vec<(&'static str, Cell)>;

/// OIDs of `information_schema`'s relations start here.
const INFORMATION_SCHEMA_FIRST: u32 = 13_000;
/// Relations whose hidden column `tableoid` clients ask for. It is an ordinary column here.
const WITH_TABLEOID: [&str; 8] = [
    "pg_class", "pg_constraint", "pg_language", "pg_opclass", "pg_opfamily", "pg_proc", "pg_rewrite", "pg_trigger",
];

/// All system relations but those of `hw_catalog`.
pub fn layouts() -> &'static BTreeMap<(&'static str, &'static str), Layout> {
    static LAYOUTS: OnceLock<BTreeMap<(&'static str, &'static str), Layout>> = OnceLock::new();
    LAYOUTS.get_or_init(|| {
        let lines = include_str!("static/relations.tsv").lines().enumerate();
        let layouts = lines.map(|(at, line)| parse(at as u32, line).expect("the file is generated"));
        layouts.map(|layout| ((layout.schema, layout.name), layout)).collect()
    })
}

/// The layout of a relation.
pub fn layout(schema: &str, name: &str) -> Option<&'static Layout> {
    layouts().values().find(|layout| layout.schema == schema && layout.name == name)
}

fn parse(line: u32, text: &'static str) -> Option<Layout> {
    let mut fields = text.split('\t');
    let (schema, name, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let oid = match fields.next()?.parse().ok()? {
        0 => INFORMATION_SCHEMA_FIRST + line,
        oid => oid,
    };
    let mut columns = vec![];
    for column in fields.next()?.split(' ') {
        let (name, type_oid) = column.split_once(':')?;
        let not_null = type_oid.ends_with('!');
        columns.push(Column { name, type_oid: type_oid.trim_end_matches('!').parse().ok()?, not_null });
    }
    if WITH_TABLEOID.contains(&name) {
        columns.push(Column { name: "tableoid", type_oid: super::oids::OID, not_null: true });
    }
    Some(Layout { schema, name, kind, oid, columns })
}

impl Layout {
    /// The relation with these rows.
    pub fn table(&self, rows: Vec<Row>) -> Arc<dyn TableSource> {
        let fields = self.columns.iter().map(Column::field).collect();
        let defaults: Vec<Cell> = self.columns.iter().map(|column| column.default(self.oid)).collect();
        let rows: Vec<Vec<Cell>> = rows
            .into_iter()
            .map(|row| {
                let mut cells = defaults.clone();
                for (name, cell) in row {
                    let at = self.columns.iter().position(|column| column.name == name);
                    cells[at.unwrap_or_else(|| panic!("{} has no column {name}", self.name))] = cell;
                }
                cells
            })
            .collect();
        table_of(fields, &rows)
    }
}

impl Column {
    pub fn field(&self) -> Field {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let (data_type, marked) = match self.type_oid {
            16 => (DataType::Boolean, false),
            20 => (DataType::Int64, false),
            21 => (DataType::Int16, false),
            23 => (DataType::Int32, false),
            25 => (DataType::Utf8, false),
            26 => (DataType::UInt32, false),
            700 => (DataType::Float32, false),
            701 => (DataType::Float64, false),
            1184 => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            1009 => (list(DataType::Utf8), false),
            1005 => (list(DataType::Int16), false),
            1028 => (list(DataType::UInt32), false),
            1021 => (list(DataType::Float32), false),
            1000 => (list(DataType::Boolean), false),
            1002 | 1003 | 1034 => (list(DataType::Utf8), true),
            22 => (list(DataType::Int16), true),
            30 | 2211 => (list(DataType::UInt32), true),
            24 | 28 | 2205 | 2206 => (DataType::UInt32, true),
            // Types that no catalog value has here travel as text.
            oid => (DataType::Utf8, oid < 10_000),
        };
        let field = Field::new(self.name, data_type, true);
        if marked { plan::with_wire_type(field, self.type_oid) } else { field }
    }

    fn default(&self, relation: u32) -> Cell {
        if self.name == "tableoid" {
            return relation.into();
        }
        if !self.not_null {
            return Cell::Null;
        }
        match self.field().data_type() {
            DataType::Boolean => Cell::Bool(false),
            DataType::Utf8 => "".into(),
            DataType::List(_) => Cell::List(vec![]),
            DataType::Float32 | DataType::Float64 => Cell::Float(0.0),
            DataType::Timestamp(..) => Cell::Null,
            _ => Cell::Int(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_have_postgres_columns() {
        let class = layout("pg_catalog", "pg_class").expect("exists");
        assert_eq!((class.oid, class.kind), (1259, "r"));
        assert_eq!(class.columns[0].name, "oid");
        assert!(layout("information_schema", "columns").is_some());
        let oids: std::collections::BTreeSet<u32> = layouts().values().map(|l| l.oid).collect();
        assert_eq!(oids.len(), layouts().len(), "every relation has its own OID");
    }

    #[test]
    fn what_a_row_leaves_out_is_null_or_empty() {
        let layout = layout("pg_catalog", "pg_class").expect("exists");
        let source = layout.table(vec![vec![("relname", "t".into())]]);
        assert_eq!(source.schema().fields().len(), layout.columns.len());
    }
}
