//! The database that is simulated: a source, two tables, views of every kind over them, with the graphs that the real
//! planner makes of their SQL, and what each view must hold, computed the plain way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use catalog::{Catalog, CatalogChange, CatalogObject, ColumnEntry, ObjectBody, SourceBody, TableBody, ViewBody};
use dataflow::DataflowGraph;
use plan::{PlanSession, Planner, TableChanges, ViewPlanOptions};
use sql::Statement;
use types::ObjectId;

/// A row as text: what is compared.
pub type Row = Vec<i64>;
/// Rows with how often each stands.
pub type Bag = BTreeMap<Row, i64>;

pub const SOURCE: ObjectId = ObjectId(20_100);
/// `acc (id PRIMARY KEY, v)`.
pub const ACCOUNTS: ObjectId = ObjectId(20_101);
/// `bag (v, w)`, without a key.
pub const LOOSE: ObjectId = ObjectId(20_102);

/// A view and its meaning.
pub struct View {
    pub id: ObjectId,
    pub name: &'static str,
    query: &'static str,
    /// From the relations by id.
    pub expected: fn(&BTreeMap<ObjectId, Bag>) -> Bag,
}

/// Views read only what stands before them.
pub const VIEWS: &[View] = &[
    View {
        id: ObjectId(20_110),
        name: "grouped",
        query: "SELECT v % 4 AS g, count(*) AS n, min(id) AS low FROM acc GROUP BY v % 4",
        expected: |at| group(&at[&ACCOUNTS], |row| row[1].rem_euclid(4), |row| row[0]),
    },
    View {
        id: ObjectId(20_111),
        name: "rich",
        query: "SELECT id, v FROM acc WHERE v > 3",
        expected: |at| at[&ACCOUNTS].iter().filter(|(row, _)| row[1] > 3).map(|(r, n)| (r.clone(), *n)).collect(),
    },
    View {
        id: ObjectId(20_112),
        name: "groups",
        query: "SELECT count(*) AS n FROM grouped",
        expected: |at| one(at[&ObjectId(20_110)].len() as i64),
    },
    View {
        id: ObjectId(20_113),
        name: "joined",
        query: "SELECT acc.id, bag.w FROM acc JOIN bag ON acc.v = bag.v",
        expected: |at| {
            let mut rows = Bag::new();
            for (a, n) in &at[&ACCOUNTS] {
                for (b, m) in at[&LOOSE].iter().filter(|(b, _)| b[0] == a[1]) {
                    *rows.entry(vec![a[0], b[1]]).or_default() += n * m;
                }
            }
            rows
        },
    },
    View {
        id: ObjectId(20_114),
        name: "read",
        query: "SELECT v % 8 AS g, count(*) AS n, min(k) AS low FROM src GROUP BY v % 8",
        expected: |at| group(&at[&SOURCE], |row| row[1].rem_euclid(8), |row| row[0]),
    },
    View {
        id: ObjectId(20_115),
        name: "met",
        query: "SELECT count(*) AS n FROM src JOIN acc ON src.v = acc.id",
        expected: |at| {
            let met = |v: i64| at[&ACCOUNTS].iter().filter(|(a, _)| a[0] == v).map(|(_, n)| n).sum::<i64>();
            one(at[&SOURCE].iter().map(|(row, n)| n * met(row[1])).sum())
        },
    },
    View {
        id: ObjectId(20_116),
        name: "top",
        query: "SELECT id, v FROM acc ORDER BY v DESC, id LIMIT 3",
        expected: |at| {
            let mut rows: Vec<&Row> = at[&ACCOUNTS].keys().collect();
            rows.sort_by_key(|row| (-row[1], row[0]));
            rows.into_iter().take(3).map(|row| (row.clone(), 1)).collect()
        },
    },
    View {
        id: ObjectId(20_117),
        name: "total",
        query: "SELECT count(*) AS n FROM rich",
        expected: |at| one(at[&ObjectId(20_111)].len() as i64),
    },
];

fn one(n: i64) -> Bag {
    Bag::from([(vec![n], 1)])
}

fn group(rows: &Bag, key: fn(&Row) -> i64, low: fn(&Row) -> i64) -> Bag {
    let mut groups: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for (row, n) in rows {
        let group = groups.entry(key(row)).or_insert((0, i64::MAX));
        group.0 += n;
        group.1 = group.1.min(low(row));
    }
    groups.into_iter().map(|(g, (n, low))| (vec![g, n, low], 1)).collect()
}

/// The graphs by relation, planned once per process.
pub fn graphs() -> &'static BTreeMap<ObjectId, Arc<DataflowGraph>> {
    static GRAPHS: OnceLock<BTreeMap<ObjectId, Arc<DataflowGraph>>> = OnceLock::new();
    GRAPHS.get_or_init(plan_all)
}

/// What a view needs to be there, itself not among it.
pub fn needs(id: ObjectId) -> BTreeSet<ObjectId> {
    graphs()[&id].inputs().into_iter().filter(|input| *input != id).collect()
}

pub fn is_table(id: ObjectId) -> bool {
    id == ACCOUNTS || id == LOOSE
}

fn plan_all() -> BTreeMap<ObjectId, Arc<DataflowGraph>> {
    let mut catalog = Catalog::new();
    let mut graphs = BTreeMap::new();
    let source = SourceBody {
        options: vec![],
        format: "PLAIN".into(),
        encode: "JSON".into(),
        format_options: vec![],
        watermark: None,
        generated: vec![],
        bounded: false,
        keeps: Default::default(),
    };
    put(&mut catalog, SOURCE, "src", columns(&["k", "v"]), ObjectBody::Source(source));
    for (id, name, fields, key) in [(ACCOUNTS, "acc", ["id", "v"], vec![0]), (LOOSE, "bag", ["v", "w"], vec![])] {
        let columns = columns(&fields);
        let graph = plan::plan_table(id, name, &columns, &key, TableChanges::Updatable);
        graphs.insert(id, Arc::new(graph));
        let body = TableBody {
            primary_key: key,
            append_only: false,
            watermark: None,
            late_rows: None,
            source: None,
            plan: Default::default(),
        };
        put(&mut catalog, id, name, columns, ObjectBody::Table(body));
    }
    for view in VIEWS {
        let planner = Planner::new(Arc::new(catalog.clone()), PlanSession::default());
        let parsed = sql::parse(view.query).expect("it parses").pop().expect("one statement");
        let Statement::Query(query) = parsed.statement else { panic!("a view has a query") };
        let planned = planner.plan_view(view.id, &query, &[], ViewPlanOptions::default()).expect("it can be planned");
        graphs.insert(view.id, Arc::new(planned.graph.clone()));
        let body = ViewBody {
            plan: Default::default(),
            key: planned.key,
            append_only: planned.append_only,
            bounds: planned.bounds,
            emit_on_window_close: false,
            dead_letter: None,
            errors_of: None,
            options: vec![],
            names: vec![],
        };
        put(&mut catalog, view.id, view.name, planned.columns, ObjectBody::MaterializedView(body));
    }
    graphs
}

fn columns(names: &[&str]) -> Vec<ColumnEntry> {
    let column = |name: &&str| ColumnEntry {
        name: (*name).into(),
        data_type: DataType::Int64,
        not_null: false,
        default: None,
        generated: None,
        comment: None,
    };
    names.iter().map(column).collect()
}

fn put(catalog: &mut Catalog, id: ObjectId, name: &str, columns: Vec<ColumnEntry>, body: ObjectBody) {
    catalog.apply(CatalogChange::Put(CatalogObject {
        id,
        schema: catalog::DEFAULT_SCHEMA.into(),
        name: name.into(),
        columns,
        body,
        depends_on: vec![],
        sql: String::new(),
        comment: None,
        created_us: 0,
        building: None,
    }));
}
