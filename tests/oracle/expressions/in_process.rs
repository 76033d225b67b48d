//! Expressions bound by the planner and run by the kernels of views, on a thread that is watched.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use kernels::{CompiledExpr, OnError, evaluate_delta};
use plan::Planner;
use sql::{Statement, ast};
use types::{DeltaBatch, SqlError, SqlState, ToSqlState};

/// Longer is a hang.
const TIME_MAX: Duration = Duration::from_secs(20);
/// More is a blow-up: the batch is small.
const RESULT_BYTES_MAX: usize = 64 << 20;
/// Words of the libraries below, which no user should have to read.
const INTERNAL_WORDS: &[&str] = &[
    "DataFusion",
    "Arrow",
    "Utf8",
    "Int64",
    "Int32",
    "Float64",
    "Decimal128",
    "Timestamp(",
    "Interval(",
    "LargeUtf8",
    "invariant",
    "downcast",
    "physical plan",
    "ScalarUDF",
    "ScalarValue",
    "RecordBatch",
    "UDF",
    "Expr",
    "panicked",
    "MonthDayNano",
    "TypeSignature",
    "ColumnarValue",
    "sqltorel",
    "FixedSizeList",
    "List(",
    "user-defined",
    "coercion",
];

thread_local! {
    /// Where the last panic of this thread was.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers panics instead of printing them.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let text = info.payload_as_str().unwrap_or("a panic without text").to_string();
        PANIC.with(|last| *last.borrow_mut() = Some(format!("{text} at {place}")));
    }));
}

/// What became of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The planner refused it.
    Refused,
    /// It ran; so many rows failed.
    Ran { failed: usize },
}

pub fn parse_expression(text: &str) -> Option<ast::Expr> {
    let Statement::Query(query) = sql::parse(&format!("SELECT {text}")).ok()?.pop()?.statement else { return None };
    let ast::SetExpr::Select(select) = *query.body else { return None };
    match select.projection.into_iter().next()? {
        ast::SelectItem::UnnamedExpr(expr) => Some(expr),
        _ => None,
    }
}

/// Binds and runs `text` over the batch. Errors: what no expression may do.
pub fn attempt(planner: &Planner, batch: &RecordBatch, text: &str) -> Result<Outcome, String> {
    PANIC.with(|last| *last.borrow_mut() = None);
    let started = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| run(planner, batch, text)));
    // A panic that something caught on its way is one as well.
    if let Some(panic) = PANIC.with(|last| last.borrow_mut().take()) {
        return Err(format!("panic: {panic}"));
    }
    if started.elapsed() > TIME_MAX {
        return Err("it took too long".into());
    }
    done.unwrap_or_else(|_| Err("panic".into()))
}

fn run(planner: &Planner, batch: &RecordBatch, text: &str) -> Result<Outcome, String> {
    let Some(expr) = parse_expression(text) else { return Ok(Outcome::Refused) };
    let schema = batch.schema();
    let refused = |error: SqlError| judge(&error).map(|()| Outcome::Refused);
    let bound = match planner.bind_expr(&expr, &schema, None) {
        Ok(bound) => bound,
        Err(error) => return refused(error.to_sql_error()),
    };
    let compiled = match CompiledExpr::compile(&bound.scalar, &schema) {
        Ok(compiled) => compiled,
        Err(error) => return refused(error.to_sql_error()),
    };
    let rows = DeltaBatch::inserts(batch.clone());
    match evaluate_delta(&[compiled], &rows, &schema, OnError::Fail) {
        Err(error) => refused(error.to_sql_error()),
        Ok(evaluated) => {
            for error in &evaluated.errors {
                judge(&SqlError::new(error.state, error.message.as_str()))?;
            }
            let bytes: usize = evaluated.columns.iter().map(|column| column.get_array_memory_size()).sum();
            match bytes > RESULT_BYTES_MAX {
                true => Err(format!("its result has {bytes} bytes")),
                false => Ok(Outcome::Ran { failed: evaluated.errors.len() }),
            }
        }
    }
}

/// Whether an error is one that a user may get.
pub fn judge(error: &SqlError) -> Result<(), String> {
    if error.state == SqlState::InternalError {
        return Err(format!("XX000: {}", error.message));
    }
    match INTERNAL_WORDS.iter().find(|word| error.message.contains(**word)) {
        Some(_) => Err(format!("internal words: {} {}", error.state, error.message)),
        None => Ok(()),
    }
}
