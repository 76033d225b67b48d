//! Functions written value by value. They are called on few rows and read the catalog, so each takes and gives cells.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use types::{SqlError, SqlState};

use crate::system::SessionView;
use crate::system::table::{Cell, array_of};

/// The type of what returns nothing.
pub const VOID: u32 = 2278;

/// What a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    Bool,
    Int4,
    Int8,
    Oid,
    Text,
    Time,
    /// Text that clients see as the type with this OID.
    TextAs(u32),
    /// An OID that shows as a name.
    OidAs(u32),
    Int4List,
    TextList,
    /// A list of text that clients see as the type with this OID.
    TextListAs(u32),
}

impl Returns {
    pub fn field(self, name: &str) -> Field {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let plain = |data_type| Field::new(name, data_type, true);
        match self {
            Returns::Bool => plain(DataType::Boolean),
            Returns::Int4 => plain(DataType::Int32),
            Returns::Int8 => plain(DataType::Int64),
            Returns::Oid => plain(DataType::UInt32),
            Returns::Text => plain(DataType::Utf8),
            Returns::Time => plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            Returns::TextAs(oid) => plan::with_wire_type(plain(DataType::Utf8), oid),
            Returns::OidAs(oid) => plan::with_wire_type(plain(DataType::UInt32), oid),
            Returns::Int4List => plain(list(DataType::Int32)),
            Returns::TextList => plain(list(DataType::Utf8)),
            Returns::TextListAs(oid) => plan::with_wire_type(plain(list(DataType::Utf8)), oid),
        }
    }
}

pub type Body = fn(&Call) -> Result<Cell, SqlError>;

/// One function. A strict one is NULL if an argument is.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    /// Fewest and most arguments.
    pub arity: (usize, usize),
    pub strict: bool,
    /// It does something: it is called for every row, and never at plan time.
    pub volatile: bool,
    pub returns: Returns,
    pub body: Body,
}

/// NULL for a NULL argument.
pub const fn strict(name: &'static str, arity: (usize, usize), returns: Returns, body: Body) -> Function {
    Function { name, arity, strict: true, volatile: false, returns, body }
}

/// Does something; NULL for a NULL argument, and then it does nothing.
pub const fn acting(name: &'static str, arity: (usize, usize), returns: Returns, body: Body) -> Function {
    Function { name, arity, strict: true, volatile: true, returns, body }
}

/// Sees NULL arguments.
pub const fn lenient(name: &'static str, arity: (usize, usize), returns: Returns, body: Body) -> Function {
    Function { name, arity, strict: false, volatile: false, returns, body }
}

/// One call: arguments and what they are read against.
pub struct Call<'a> {
    pub view: &'a SessionView,
    pub arguments: &'a [Cell],
    pub fields: &'a [FieldRef],
}

impl Call<'_> {
    pub fn text(&self, at: usize) -> Option<&str> {
        match self.arguments.get(at)? {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An argument that is a number, or text with one in it.
    pub fn int(&self, at: usize) -> Option<i64> {
        match self.arguments.get(at)? {
            Cell::Int(value) => Some(*value),
            Cell::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub fn float(&self, at: usize) -> Result<f64, SqlError> {
        match &self.arguments[at] {
            Cell::Float(value) => Ok(*value),
            Cell::Int(value) => Ok(*value as f64),
            Cell::Text(text) => text.trim().parse().map_err(|_| {
                let message = format!("invalid input syntax for type double precision: \"{text}\"");
                SqlError::new(SqlState::InvalidTextRepresentation, message)
            }),
            Cell::Null | Cell::Bool(_) | Cell::Time(_) | Cell::List(_) => {
                Err(SqlError::new(SqlState::UndefinedFunction, "function does not exist for this argument type"))
            }
        }
    }

    pub fn oid(&self, at: usize) -> Option<u32> {
        self.int(at).and_then(|value| u32::try_from(value).ok())
    }

    pub fn bool(&self, at: usize) -> Option<bool> {
        match self.arguments.get(at)? {
            Cell::Bool(value) => Some(*value),
            Cell::Text(text) => Some(matches!(text.as_str(), "t" | "true" | "on" | "1")),
            _ => None,
        }
    }

    pub fn list(&self, at: usize) -> Option<&[Cell]> {
        match self.arguments.get(at)? {
            Cell::List(cells) => Some(cells),
            _ => None,
        }
    }
}

/// The function for one session.
pub fn udf(function: &'static Function, view: &Arc<SessionView>) -> ScalarUDF {
    let arity = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
    let volatility = if function.volatile { Volatility::Volatile } else { Volatility::Stable };
    let signature = Signature::new(arity, volatility);
    ScalarUDF::from(SessionFunction { function, view: view.clone(), signature })
}

struct SessionFunction {
    function: &'static Function,
    view: Arc<SessionView>,
    signature: Signature,
}

impl fmt::Debug for SessionFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for SessionFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && Arc::ptr_eq(&self.view, &other.view)
    }
}

impl Eq for SessionFunction {}

impl Hash for SessionFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        check_arity(self.function.name, self.function.arity, arguments.len())?;
        Ok(self.function.returns.field(self.function.name).data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        self.return_type(&types)?;
        Ok(Arc::new(self.function.returns.field(self.function.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = !self.function.volatile && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| cells(&arg.to_array(rows)?)).collect::<Result<Vec<_>>>()?;
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let arguments: Vec<Cell> = columns.iter().map(|column| column[row].clone()).collect();
            if self.function.strict && arguments.contains(&Cell::Null) {
                results.push(Cell::Null);
                continue;
            }
            let call = Call { view: &self.view, arguments: &arguments, fields: &args.arg_fields };
            let result = (self.function.body)(&call).map_err(|error| DataFusionError::External(Box::new(error)))?;
            results.push(result);
        }
        let array = array_of(args.return_field.data_type(), results.iter());
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}

/// `arity`: fewest and most arguments.
pub fn check_arity(name: &str, arity: (usize, usize), arguments: usize) -> Result<()> {
    match (arity.0..=arity.1).contains(&arguments) {
        true => Ok(()),
        false => plan_err!("Failed to coerce arguments to satisfy a call to '{name}' function"),
    }
}

/// An array value by value.
pub fn cells(array: &ArrayRef) -> Result<Vec<Cell>> {
    use DataType as T;
    let to = |target: &T| arrow::compute::cast(array, target);
    Ok(match array.data_type() {
        T::Null => vec![Cell::Null; array.len()],
        T::Boolean => array.as_boolean().iter().map(Cell::from).collect(),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 => {
            to(&T::Int64)?.as_primitive::<Int64Type>().iter().map(Cell::from).collect()
        }
        T::Float16 | T::Float32 | T::Float64 => {
            let floats = to(&T::Float64)?;
            floats.as_primitive::<Float64Type>().iter().map(|v| v.map_or(Cell::Null, Cell::Float)).collect()
        }
        T::Timestamp(TimeUnit::Microsecond, _) => {
            let times = array.as_primitive::<TimestampMicrosecondType>().iter();
            times.map(|v| v.map_or(Cell::Null, Cell::Time)).collect()
        }
        T::List(_) => {
            let lists = array.as_list::<i32>();
            let list = |at| match lists.is_null(at) {
                true => Ok(Cell::Null),
                false => Ok(Cell::List(cells(&lists.value(at))?)),
            };
            (0..lists.len()).map(list).collect::<Result<_>>()?
        }
        _ => to(&T::Utf8)?.as_string::<i32>().iter().map(Cell::from).collect(),
    })
}
