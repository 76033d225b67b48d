//! DataFusion's errors in Postgres' words. Its errors are mostly text, so this matches on the texts of the pinned
//! version; what isn't recognised keeps its text under a general SQLSTATE, without DataFusion's own prefixes.

use datafusion_common::{Column, DataFusionError, SchemaError};
use types::SqlState;

use crate::PlanError;

impl From<DataFusionError> for PlanError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<PlanError>() {
                Ok(error) => *error,
                Err(other) => PlanError::internal(first_line(&other.to_string())),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => PlanError::from(*inner),
            DataFusionError::Collection(errors) => errors
                .into_iter()
                .next()
                .map(PlanError::from)
                .unwrap_or_else(|| PlanError::internal("an empty collection of errors")),
            DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
                Ok(error) => PlanError::from(error),
                Err(shared) => from_text(&shared.to_string()),
            },
            DataFusionError::SchemaError(error, _) => from_schema_error(*error),
            DataFusionError::NotImplemented(text) => {
                let line = first_line(&text);
                operator_of(&line).map_or_else(|| PlanError::unsupported(not_implemented(&line), ""), no_operator)
            }
            DataFusionError::Plan(text) | DataFusionError::Execution(text) => from_text(&text),
            DataFusionError::ArrowError(error, _) => from_text(&error.to_string()),
            DataFusionError::SQL(error, _) => PlanError::invalid(SqlState::SyntaxError, first_line(&error.to_string())),
            DataFusionError::Internal(text) => PlanError::internal(first_line(&text)),
            other => from_text(&other.strip_backtrace()),
        }
    }
}

fn from_schema_error(error: SchemaError) -> PlanError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => undefined_column(&field, &valid_fields),
        SchemaError::AmbiguousReference { field } => PlanError::AmbiguousColumn { name: field.name.clone() },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            PlanError::DuplicateColumn { name }
        }
    }
}

/// `column "x" does not exist`, `column t.x does not exist`, or Postgres' error for a qualifier nobody declared.
fn undefined_column(field: &Column, valid: &[Column]) -> PlanError {
    let similar = valid.iter().find(|other| other.name.eq_ignore_ascii_case(&field.name) && other.name != field.name);
    let hint = similar.map(|other| format!("Perhaps you meant to reference the column \"{}\".", other.name));
    match &field.relation {
        Some(relation) if !valid.iter().any(|other| other.relation.as_ref() == Some(relation)) && !valid.is_empty() => {
            PlanError::Invalid {
                state: SqlState::UndefinedTable,
                message: format!("missing FROM-clause entry for table \"{}\"", relation.table()),
                hint,
            }
        }
        Some(relation) => PlanError::UndefinedColumn { name: format!("{}.{}", relation.table(), field.name), hint },
        None => PlanError::UndefinedColumn { name: format!("\"{}\"", field.name), hint },
    }
}

fn from_text(text: &str) -> PlanError {
    let line = first_line(text);
    let hint_of_function = || {
        text.split_once("Did you mean '")
            .and_then(|(_, rest)| rest.split_once('\''))
            .map(|(name, _)| format!("Perhaps you meant \"{name}\"; no function of the given name exists."))
    };
    if let Some(rest) = line.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or(rest);
        return PlanError::UndefinedFunction { name: name.to_string(), hint: hint_of_function() };
    }
    if line.contains("must appear in the GROUP BY clause") || line.contains("must be in GROUP BY") {
        return PlanError::Grouping { message: grouping(&line) };
    }
    if line.contains("Aggregate functions are not allowed in the WHERE clause") {
        return PlanError::Grouping { message: "aggregate functions are not allowed in WHERE".into() };
    }
    if let Some(name) = line.strip_prefix("Invalid qualifier ") {
        let message = format!("missing FROM-clause entry for table \"{name}\"");
        return PlanError::invalid(SqlState::UndefinedTable, message);
    }
    if let Some((_, found)) = line.split_once("non-boolean predicate ") {
        let found = found.rsplit_once("returning ").map(|(_, found)| found).unwrap_or(found);
        let message = format!("argument of WHERE must be type boolean, not type {}", types_in(found));
        return PlanError::TypeMismatch { message, hint: None };
    }
    if line.contains("Recursive CTE is not implemented") || line.contains("Recursive CTEs are not enabled") {
        return PlanError::unsupported("WITH RECURSIVE is not supported here", "");
    }
    if line.contains("cannot be nested") {
        return PlanError::Grouping { message: "aggregate function calls cannot be nested".into() };
    }
    if line.contains("queries have different number of columns") {
        let operation = line.split_whitespace().next().unwrap_or("UNION").to_uppercase();
        let message = format!("each {operation} query must have the same number of columns");
        return PlanError::invalid(SqlState::SyntaxError, message);
    }
    from_type_text(&line)
}

/// Postgres' words.
const NO_OPERATOR: &str =
    "No operator matches the given name and argument types. You might need to add explicit type casts.";

/// Errors of types, positions and values.
fn from_type_text(line: &str) -> PlanError {
    if line.contains("Failed to coerce arguments")
        || line.contains("No function matches the given name")
        || line.contains("failed to match any signature")
    {
        return function_signature(line);
    }
    if line.contains("Cannot coerce arithmetic expression")
        || line.contains("Cannot infer common argument type")
        || line.contains("Cannot get result type for")
        || line.contains("common type")
    {
        return PlanError::Invalid {
            state: SqlState::UndefinedFunction,
            message: format!("operator does not exist: {}", operation_in(&types_in(line))),
            hint: Some(NO_OPERATOR.into()),
        };
    }
    if line.contains("Projections require unique expression names") {
        return PlanError::invalid(SqlState::DuplicateColumn, "two result columns have the same name and no alias");
    }
    if line.contains("Divide by zero") || line.contains("DivideByZero") {
        return PlanError::invalid(SqlState::DivisionByZero, "division by zero");
    }
    if line.contains("should only return one column") || line.contains("Too many columns") {
        return PlanError::invalid(SqlState::SyntaxError, "subquery must return only one column");
    }
    if line.contains("Cannot find column with position") || line.contains("Order by column out of bounds") {
        return PlanError::invalid(
            SqlState::InvalidColumnReference,
            "a position in ORDER BY or GROUP BY is not in select list",
        );
    }
    if line.contains("Cannot cast") || line.contains("must be of type") || line.contains("must be boolean") {
        return PlanError::TypeMismatch { message: lower_first(line), hint: None };
    }
    PlanError::invalid(SqlState::SyntaxError, lower_first(line))
}

/// The first line without DataFusion's prefixes.
fn first_line(text: &str) -> String {
    const PREFIXES: [&str; 8] = [
        "DataFusion error: ",
        "Error during planning: ",
        "Execution error: ",
        "Schema error: ",
        "Arrow error: ",
        "type_coercion\ncaused by\n",
        "This feature is not implemented: ",
        "Internal error: ",
    ];
    let mut text = text.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim_start();
    }
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_string()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // An acronym or SQL word keeps its case.
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

fn grouping(line: &str) -> String {
    let column = line.split_once("column \"").and_then(|(_, rest)| rest.split_once('"')).map(|(column, _)| column);
    match column {
        Some(column) => {
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function")
        }
        None => "an expression must appear in the GROUP BY clause or be used in an aggregate function".into(),
    }
}

/// "Failed to coerce arguments to satisfy a call to 'f' function: coercion from Int64, Utf8 to …".
fn function_signature(line: &str) -> PlanError {
    let name = line.split_once("call to '").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
    let name = name.or_else(|| line.strip_prefix("Function '").and_then(|rest| rest.split('\'').next()));
    let name = name.or_else(|| {
        let (_, rest) = line.split_once("argument types '")?;
        rest.split_once('(').map(|(name, _)| name)
    });
    let hint = Some(
        "No function matches the given name and argument types. You might need to add explicit type casts.".into(),
    );
    PlanError::UndefinedFunction { name: format!("{}(…)", name.unwrap_or("?")), hint }
}

/// `bigint + text` of "Cannot coerce arithmetic expression bigint + text to valid types" and its like.
fn operation_in(line: &str) -> &str {
    let after = |marker: &str| line.split_once(marker).map(|(_, rest)| rest);
    let rest = after("arithmetic expression ").or_else(|| after("comparison operation ")).unwrap_or(line);
    rest.split(" to valid").next().unwrap_or(rest)
}

/// Arrow type names in a message as Postgres spells them.
fn types_in(line: &str) -> String {
    const NAMES: [(&str, &str); 12] = [
        ("Int16", "smallint"),
        ("Int32", "integer"),
        ("Int64", "bigint"),
        ("Float32", "real"),
        ("Float64", "double precision"),
        ("Utf8", "text"),
        ("Boolean", "boolean"),
        ("Date32", "date"),
        ("Timestamp(µs)", "timestamp"),
        ("Timestamp(Microsecond, None)", "timestamp"),
        ("Interval(MonthDayNano)", "interval"),
        ("Null", "unknown"),
    ];
    NAMES.iter().fold(line.to_string(), |text, (arrow, postgres)| text.replace(arrow, postgres))
}

/// The operator that an error says is missing, as users write it.
fn operator_of(line: &str) -> Option<&str> {
    line.strip_prefix("Operator ")?.strip_suffix(" is not yet supported")
}

fn no_operator(operator: &str) -> PlanError {
    const OF_JSON: [&str; 12] = ["->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&", "#-", "@?", "@@"];
    let hint = match OF_JSON.contains(&operator) {
        true => "Values of json and jsonb are kept as text; give the fields that matter columns of their own.",
        false => "",
    };
    PlanError::unsupported(format!("operator {operator} is not supported"), hint)
}

fn not_implemented(line: &str) -> String {
    let line = line.trim_start_matches("Unsupported ast node in sqltorel: ");
    // The binder prints syntax trees of what it doesn't know; nobody can read those.
    match line.find('{').or_else(|| line.find("Ident")) {
        Some(position) if position > 0 => {
            let head = line[..position].trim_end_matches(|c: char| !c.is_alphanumeric());
            format!("{} is not supported here", lower_first(head))
        }
        _ if line.contains("not supported") || line.contains("not implemented") => lower_first(line),
        _ => format!("{line} is not supported"),
    }
}
