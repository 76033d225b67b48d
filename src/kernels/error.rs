//! Errors of the kernels, and how a DataFusion or Arrow error becomes a SQLSTATE with the words of Postgres.

use std::any::Any;

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use types::{SqlState, ToSqlState};

use crate::type_text::postgres_types_in;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// An expression failed on a value: division by zero, bad cast, overflow.
    #[error("{message}")]
    Evaluation { state: SqlState, message: String },
    /// The planner produced something this layer has no kernel for.
    #[error("{what} is not supported")]
    Unsupported { what: String },
    /// Each value fits, but not all of them in one array.
    #[error("the values of a batch are too large")]
    TooLarge,
    #[error("kernel invariant broken: {message}")]
    Internal { message: String },
}

impl ToSqlState for KernelError {
    fn sql_state(&self) -> SqlState {
        match self {
            KernelError::Evaluation { state, .. } => *state,
            KernelError::Unsupported { .. } => SqlState::FeatureNotSupported,
            KernelError::TooLarge => SqlState::ProgramLimitExceeded,
            KernelError::Internal { .. } => SqlState::InternalError,
        }
    }
}

impl KernelError {
    pub fn unsupported(what: impl Into<String>) -> Self {
        KernelError::Unsupported { what: what.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        KernelError::Internal { message: message.into() }
    }

    pub fn evaluation(state: SqlState, message: impl Into<String>) -> Self {
        KernelError::Evaluation { state, message: message.into() }
    }

    /// What a panic inside a library means, where that is known: arrays end the process' patience at 2 GB.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Option<Self> {
        let text = panic_text(panic);
        (text.contains("offset") && text.contains("overflow")).then_some(KernelError::TooLarge)
    }

    /// What an error met while building an expression or a plan means.
    pub fn from_planning(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::NotImplemented(what) => KernelError::unsupported(first_line(what)),
            DataFusionError::External(_) => KernelError::from_evaluation(error),
            DataFusionError::Plan(what) | DataFusionError::Execution(what) => {
                KernelError::unsupported(first_line(what))
            }
            other => KernelError::internal(first_line(&other.to_string())),
        }
    }

    /// What an error met while evaluating values means: always `Evaluation` (or what our own kernels raised), because
    /// the libraries also report bad values as internal errors, and a bad value must not stop a dataflow.
    pub fn from_evaluation(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::External(inner) => match inner.downcast_ref::<KernelError>() {
                Some(kernel) => kernel.clone(),
                None => KernelError::evaluation(SqlState::DataException, first_line(&inner.to_string())),
            },
            DataFusionError::ArrowError(inner, _) => KernelError::from_arrow(inner),
            DataFusionError::Execution(message) | DataFusionError::Plan(message) => {
                from_message(message, SqlState::InvalidParameterValue)
            }
            // Their assertions and downcasts are about types that a kernel does not take.
            DataFusionError::Internal(message) => from_message(message, SqlState::FeatureNotSupported).in_plain_words(),
            DataFusionError::NotImplemented(message) => from_message(message, SqlState::FeatureNotSupported),
            DataFusionError::ResourcesExhausted(message) => from_message(message, SqlState::OutOfMemory),
            other => from_message(&other.to_string(), SqlState::InternalError),
        }
    }

    /// Without what only developers of the libraries understand.
    fn in_plain_words(self) -> Self {
        match self {
            KernelError::Evaluation { state: SqlState::FeatureNotSupported, .. } => KernelError::evaluation(
                SqlState::FeatureNotSupported,
                "an operation is not supported for values of these types",
            ),
            other => other,
        }
    }

    /// Like [`from_evaluation`](Self::from_evaluation) for an Arrow kernel's error.
    pub fn from_arrow(error: &ArrowError) -> Self {
        match error {
            ArrowError::DivideByZero => division_by_zero(),
            ArrowError::OffsetOverflowError(_) => KernelError::TooLarge,
            ArrowError::ArithmeticOverflow(message) => overflow(message),
            ArrowError::CastError(message) | ArrowError::ParseError(message) => {
                from_message(message, SqlState::InvalidTextRepresentation)
            }
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(DataFusionError::External(cause)) => match cause.downcast_ref::<KernelError>() {
                    Some(kernel) => kernel.clone(),
                    None => from_message(&cause.to_string(), SqlState::DataException),
                },
                _ => from_message(&inner.to_string(), SqlState::DataException),
            },
            ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message) => {
                from_message(message, SqlState::DataException)
            }
            other => from_message(&other.to_string(), SqlState::InternalError),
        }
    }

    /// Wrapped so that it passes through DataFusion's evaluation unharmed.
    pub(crate) fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

/// The text of a panic, if it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

pub(crate) fn division_by_zero() -> KernelError {
    KernelError::evaluation(SqlState::DivisionByZero, "division by zero")
}

fn first_line(message: &str) -> String {
    const PREFIXES: [&str; 4] = ["Error during planning: ", "Execution error: ", "Internal error: ", "Arrow error: "];
    let mut line = message.lines().next().unwrap_or_default();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| line.strip_prefix(prefix)) {
        line = rest;
    }
    let line = &postgres_types_in(line);
    let mut chars = line.trim_end_matches('.').chars();
    // A capital that begins a sentence goes; one that begins an acronym or a name stays.
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            format!("{}{second}{}", first.to_lowercase(), chars.as_str())
        }
        _ => line.trim_end_matches('.').to_string(),
    }
}

/// Libraries tell some failures only in words.
fn from_message(message: &str, otherwise: SqlState) -> KernelError {
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return division_by_zero();
    }
    if lower.contains("scalar subquery returned more than one row") {
        let message = "more than one row returned by a subquery used as an expression";
        return KernelError::evaluation(SqlState::CardinalityViolation, message);
    }
    if message.contains("'AtArrow'") {
        return KernelError::evaluation(otherwise, "operator @> is not supported");
    }
    if let Some((value, data_type)) = bad_text(message) {
        let message = format!("invalid input syntax for type {}: \"{value}\"", postgres_types_in(data_type));
        return KernelError::evaluation(SqlState::InvalidTextRepresentation, message);
    }
    if let Some((state, words)) = in_words_of_postgres(&lower) {
        return KernelError::evaluation(state, words);
    }
    if lower.contains("overflow") || lower.contains("out of range") || lower.contains("too large to store") {
        return overflow(message);
    }
    KernelError::evaluation(otherwise, first_line(message))
}

/// Failures that Postgres has a state of its own for, by the libraries' words in lowercase.
fn in_words_of_postgres(lower: &str) -> Option<(SqlState, String)> {
    let found = |words: &str| lower.contains(words);
    let (state, words) = if found("limit must be >= 0") {
        (SqlState::InvalidRowCountInLimitClause, "LIMIT must not be negative")
    } else if found("offset must be >=") || found("offset must be non-negative") {
        (SqlState::InvalidRowCountInResultOffsetClause, "OFFSET must not be negative")
    } else if found("negative substring length") || found("negative count not allowed") {
        (SqlState::SubstringError, "negative substring length not allowed")
    } else if found("square root of a negative") {
        (SqlState::InvalidArgumentForPowerFunction, "cannot take square root of a negative number")
    } else if found("logarithm of a negative") {
        (SqlState::InvalidArgumentForLogarithm, "cannot take logarithm of a negative number")
    } else if found("logarithm of zero") {
        (SqlState::InvalidArgumentForLogarithm, "cannot take logarithm of zero")
    } else if found("regex parse error") || found("regular expression did not compile") || found("regex compilation") {
        (SqlState::InvalidRegularExpression, "invalid regular expression")
    } else if found("unable to parse date from") {
        (SqlState::DatetimeFieldOverflow, "date field value out of range")
    } else {
        return None;
    };
    Some((state, words.to_string()))
}

/// Of `Cannot cast string 'x' to value of Int64 type`.
fn bad_text(message: &str) -> Option<(&str, &str)> {
    let rest = message.strip_prefix("Cannot cast string '")?.strip_suffix(" type")?;
    rest.rsplit_once("' to value of ")
}

/// `Overflow happened on: 2147483647 + 1` says the operands, not the type: it is the narrowest one they fit.
fn overflow(message: &str) -> KernelError {
    let numbers: Vec<i128> = message.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let fits = |max: i128| !numbers.is_empty() && numbers.iter().all(|n| (-max - 1..=max).contains(n));
    let what = if message.to_ascii_lowercase().contains("decimal") {
        "numeric field overflow"
    } else if fits(i16::MAX as i128) {
        "smallint out of range"
    } else if fits(i32::MAX as i128) {
        "integer out of range"
    } else if fits(i64::MAX as i128) {
        "bigint out of range"
    } else {
        "numeric field overflow"
    };
    KernelError::evaluation(SqlState::NumericValueOutOfRange, what)
}
