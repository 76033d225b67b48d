//! Random expressions over the columns of the batch: calls of every function in the registry, operators, and the forms
//! with a syntax of their own. Most arguments have a type that the function names; the rest may be anything.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::ScalarUDF;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::values::{Edge, of_type};

/// Arguments of a function that doesn't say how many it takes.
const ARGUMENTS_MAX: usize = 4;
/// Calls within calls.
const DEPTH_MAX: usize = 2;

const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "AND",
    "OR",
    "LIKE",
    "NOT LIKE",
    "ILIKE",
    "~",
    "~*",
    "!~",
    "!~*",
    "SIMILAR TO",
    "&",
    "|",
    "#",
    "<<",
    ">>",
    "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM",
    "@>",
    "<@",
    "&&",
    "^",
    "->",
    "->>",
    "^@",
    "AT TIME ZONE",
];
const FIELDS: &[&str] = &[
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
    "microseconds",
    "quarter",
    "week",
    "dow",
    "isodow",
    "doy",
    "epoch",
    "century",
    "decade",
    "millennium",
    "isoyear",
    "julian",
    "timezone",
];
/// `$` stands for an argument.
const FORMS: &[&str] = &[
    "CASE WHEN $ THEN $ ELSE $ END",
    "CASE $ WHEN $ THEN $ END",
    "COALESCE($, $)",
    "NULLIF($, $)",
    "GREATEST($, $, $)",
    "LEAST($, $)",
    "$ BETWEEN $ AND $",
    "$ NOT BETWEEN SYMMETRIC $ AND $",
    "$ IN ($, $)",
    "$ NOT IN ($, $, NULL)",
    "SUBSTRING($ FROM $)",
    "SUBSTRING($ FROM $ FOR $)",
    "POSITION($ IN $)",
    "TRIM(BOTH $ FROM $)",
    "TRIM(LEADING FROM $)",
    "OVERLAY($ PLACING $ FROM $ FOR $)",
    "($)[$]",
    "($)[$:$]",
    "$ = ANY($)",
    "$ < ALL($)",
    "ARRAY[$, $]",
    "ARRAY[]",
    "-($)",
    "NOT ($)",
    "~($)",
    "@ ($)",
    "($) IS NULL",
    "($) IS NOT TRUE",
    "($) IS UNKNOWN",
    "ROW($, $)",
    "$ LIKE $ ESCAPE '!'",
    "($, $) = ($, $)",
    "($, $) < ($, $)",
    "INTERVAL '1 day' * $",
    "CEIL($)",
    "FLOOR($)",
    "$ IS OF (text)",
    "|/ $",
    "$ !",
];
/// Besides those of the columns.
const CAST_TYPES: &[&str] = &[
    "varchar(3)",
    "char(2)",
    "numeric",
    "numeric(5,2)",
    "numeric(38,38)",
    "timestamp(0)",
    "json",
    "jsonb",
    "uuid",
    "oid",
    "regclass",
];

pub struct Generator<'a> {
    pub edges: &'a [Edge],
    pub batch: &'a RecordBatch,
    pub functions: Vec<(String, Arc<ScalarUDF>)>,
}

impl<'a> Generator<'a> {
    /// Every function by each of its names, in the order of names.
    pub fn new(edges: &'a [Edge], batch: &'a RecordBatch) -> Self {
        let mut functions = vec![];
        for function in kernels::functions::scalar_functions() {
            let names = function.aliases().iter().cloned().chain([function.name().to_string()]);
            functions.extend(names.map(|name| (name, function.clone())));
        }
        functions.sort_by(|a, b| a.0.cmp(&b.0));
        Generator { edges, batch, functions }
    }

    /// What the expression is about (a function's name, an operator), and its text.
    pub fn expression(&self, rng: &mut StdRng) -> (String, String) {
        match rng.random_range(0..10) {
            0..6 => self.call(rng, 0),
            6 | 7 => self.operation(rng, 0),
            8 => self.form(rng, 0),
            _ => self.cast(rng, 0),
        }
    }

    fn call(&self, rng: &mut StdRng, depth: usize) -> (String, String) {
        let (name, function) = self.functions.choose(rng).expect("there are functions");
        let examples = function.signature().type_signature.get_example_types();
        let mut types: Vec<Option<arrow::datatypes::DataType>> = match examples.choose(rng) {
            Some(example) if rng.random_bool(0.9) => example.iter().cloned().map(Some).collect(),
            _ => vec![None; rng.random_range(0..=ARGUMENTS_MAX)],
        };
        if rng.random_bool(0.1) {
            match rng.random_bool(0.5) {
                true => types.push(None),
                false => drop(types.pop()),
            }
        }
        let arguments: Vec<String> = types
            .into_iter()
            .map(|data_type| {
                let typed = data_type.map(|data_type| of_type(self.batch, &data_type)).unwrap_or_default();
                self.argument(rng, depth, &typed)
            })
            .collect();
        (name.clone(), format!("{name}({})", arguments.join(", ")))
    }

    fn operation(&self, rng: &mut StdRng, depth: usize) -> (String, String) {
        let operator = OPERATORS.choose(rng).expect("there are operators");
        let column = rng.random_range(0..self.edges.len());
        // Mostly two values of one type.
        let right = if rng.random_bool(0.6) { vec![column] } else { vec![] };
        let (left, right) = (self.argument(rng, depth, &[column]), self.argument(rng, depth, &right));
        (operator.to_string(), format!("({left} {operator} {right})"))
    }

    fn form(&self, rng: &mut StdRng, depth: usize) -> (String, String) {
        if rng.random_bool(0.15) {
            let field = FIELDS.choose(rng).expect("there are fields");
            return ("extract".into(), format!("EXTRACT({field} FROM {})", self.argument(rng, depth, &[])));
        }
        let form = FORMS.choose(rng).expect("there are forms");
        let column = rng.random_range(0..self.edges.len());
        let mut text = String::new();
        for (number, part) in form.split('$').enumerate() {
            if number > 0 {
                let columns = if rng.random_bool(0.6) { vec![column] } else { vec![] };
                text.push_str(&self.argument(rng, depth, &columns));
            }
            text.push_str(part);
        }
        (form.to_string(), format!("({text})"))
    }

    fn cast(&self, rng: &mut StdRng, depth: usize) -> (String, String) {
        let own = self.edges.iter().map(|edge| edge.sql_type);
        let types: Vec<&str> = own.chain(CAST_TYPES.iter().copied()).collect();
        let to = types.choose(rng).expect("there are types");
        (format!("cast to {to}"), format!("CAST({} AS {to})", self.argument(rng, depth, &[])))
    }

    /// A column, a value or an expression; of `columns` unless that is empty.
    fn argument(&self, rng: &mut StdRng, depth: usize, columns: &[usize]) -> String {
        if depth < DEPTH_MAX && rng.random_bool(0.15) {
            let inner = match rng.random_range(0..4) {
                0 => self.operation(rng, depth + 1),
                1 => self.form(rng, depth + 1),
                2 => self.cast(rng, depth + 1),
                _ => self.call(rng, depth + 1),
            };
            return inner.1;
        }
        let column = columns.choose(rng).copied().unwrap_or_else(|| rng.random_range(0..self.edges.len()));
        match rng.random_range(0..20) {
            0 => "NULL".into(),
            1..8 => self.edges[column].values.choose(rng).expect("a type has values").clone(),
            // Without a type, as people write them.
            8 => ["0", "1", "-1", "2147483648", "1.5", "'a'", "''", "'1'"].choose(rng).expect("some").to_string(),
            _ => format!("c{column}"),
        }
    }
}
