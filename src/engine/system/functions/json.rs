//! `json_build_object`, which reflection queries use for options.

use types::{SqlError, SqlState};

use super::scalar::Returns::TextAs;
use super::scalar::{Call, Function, lenient};
use super::text::shown;
use crate::system::table::Cell;

const JSON: u32 = 114;
const MANY: usize = 100;

pub const FUNCTIONS: &[Function] = &[lenient("json_build_object", (0, MANY), TextAs(JSON), build_object)];

fn build_object(call: &Call) -> Result<Cell, SqlError> {
    if call.arguments.len() % 2 == 1 {
        let message = "argument list must have even number of elements";
        return Err(SqlError::new(SqlState::InvalidParameterValue, message));
    }
    let mut members = vec![];
    for pair in call.arguments.chunks(2) {
        if pair[0] == Cell::Null {
            return Err(SqlError::new(SqlState::InvalidParameterValue, "argument 1: key must not be null"));
        }
        members.push(format!("{} : {}", string(&shown(&pair[0])), value(&pair[1])));
    }
    Ok(format!("{{{}}}", members.join(", ")).into())
}

fn value(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Bool(value) => value.to_string(),
        Cell::Int(_) | Cell::Float(_) => shown(cell),
        Cell::List(cells) => format!("[{}]", cells.iter().map(value).collect::<Vec<_>>().join(",")),
        Cell::Text(_) | Cell::Time(_) => string(&shown(cell)),
    }
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
