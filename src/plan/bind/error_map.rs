//! DataFusion's errors in Postgres' words. Its errors are mostly text, so this matches on the texts of the pinned
//! version; what isn't recognised keeps its text under a general SQLSTATE, without DataFusion's own prefixes.

use datafusion_common::{Column, DataFusionError, SchemaError};
use kernels::postgres_types_in;
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
            // What its assertions refuse are combinations of types that its rules forgot.
            DataFusionError::Internal(text) => match from_text(&text) {
                PlanError::Invalid { state: SqlState::SyntaxError, message, .. } => PlanError::unsupported(
                    "an expression of this form is not supported for these types",
                    format!("The planner says: {message}."),
                ),
                known => known,
            },
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
        let message = format!("argument of WHERE must be type boolean, not type {}", postgres_types_in(found));
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
    if line.contains("user-defined coercion failed")
        || (line.starts_with("Function '") && line.contains(" requires "))
        || line.contains("Failed to coerce arguments")
        || line.contains("No function matches the given name")
        || line.contains("failed to match any signature")
    {
        return function_signature(line);
    }
    if line.contains("logical boolean operation ") {
        return logic_of_other_types(line);
    }
    if let Some((_, found)) = line.split_once("'NOT' requires a boolean expression, got ") {
        let message = format!("argument of NOT must be type boolean, not type {}", postgres_types_in(found));
        return PlanError::TypeMismatch { message, hint: None };
    }
    if line.contains("Cannot coerce arithmetic expression")
        || line.contains("find compatible types to compare")
        || line.contains("Cannot automatically convert")
        || line.contains("to common types in CASE")
        || line.contains("Failed to coerce types")
        || line.contains("annot infer common")
        || line.contains("Cannot infer common argument type")
        || line.contains("Cannot get result type for")
        || line.contains("common type")
    {
        return PlanError::Invalid {
            state: SqlState::UndefinedFunction,
            message: format!("operator does not exist: {}", operation_in(&postgres_types_in(line))),
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
        return PlanError::TypeMismatch { message: lower_first(&postgres_types_in(line)), hint: None };
    }
    PlanError::invalid(SqlState::SyntaxError, lower_first(&postgres_types_in(line)))
}

/// AND and OR of what is no boolean.
fn logic_of_other_types(line: &str) -> PlanError {
    let operation = operation_in(&postgres_types_in(line));
    let operator = if operation.contains(" OR ") { "OR" } else { "AND" };
    let between = format!(" {operator} ");
    let sides = operation.split(&between);
    let found =
        sides.map(str::trim).find(|side| !["boolean", "unknown"].contains(side)).unwrap_or("unknown").to_string();
    let message = format!("argument of {operator} must be type boolean, not type {found}");
    PlanError::TypeMismatch { message, hint: None }
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
fn operation_in(line: &str) -> String {
    let between = |start: &str, end: &str| {
        let (_, rest) = line.split_once(start)?;
        Some(rest.split_once(end).map_or(rest, |(inside, _)| inside).to_string())
    };
    let pair = |operator: &str, (left, right): (&str, &str)| format!("{left} {operator} {right}");
    // Of "Failed to coerce types X and Y in BETWEEN expression".
    let in_between = || Some(pair(">=", between("coerce types ", " in ")?.split_once(" and ")?));
    let in_like = || Some(pair("~~", between("type to coerce ", " in LIKE")?.split_once(" and ")?));
    let in_case = || {
        let (operand, when) = (between("coerce case (", ") and when")?, between("and when (", ") to common")?);
        Some(pair("=", (&operand, when.split(", ").next().unwrap_or(&when))))
    };
    let in_list = || {
        let (_, list) = line.rsplit_once(" with [")?;
        let (left, list) = (between("to compare ", " with [")?, list.trim_end_matches(']'));
        let other = list.split(", ").find(|item| *item != left && *item != "unknown").unwrap_or("unknown").to_string();
        Some(pair("=", (&left, &other)))
    };
    let converted = || Some(pair("=", between("automatically convert ", "\n")?.split_once(" to ")?));
    let operation = in_between().or_else(in_like).or_else(in_case).or_else(in_list).or_else(converted);
    let operation = operation.unwrap_or_else(|| {
        let markers = ["arithmetic expression ", "comparison operation ", "operation "];
        let rest = markers.iter().find_map(|marker| line.split_once(marker)).map_or(line, |(_, rest)| rest);
        let rest = rest.split(" to valid").next().unwrap_or(rest);
        rest.split(": ").next().unwrap_or(rest).to_string()
    });
    operation.replace("BIT_XOR", "#")
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
