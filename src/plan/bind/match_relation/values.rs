//! Takes out of an expression what it takes from the match: columns, FIRST, LAST, PREV, NEXT, CLASSIFIER, MATCH_NUMBER
//! and aggregates each become a value of their own; what is left is an expression over the values.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_common::DFSchemaRef;
use datafusion_expr::planner::RelationPlannerContext;
use kernels::{MatchExpr, MatchSource, MatchValue};
use pattern::{End, LabelSet};
use sql::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value, VisitMut, VisitorMut};
use types::SqlState;

use super::typed;
use crate::PlanError;

/// Everything that names mean inside the clause.
pub(super) struct Scope<'a> {
    pub context: &'a mut dyn RelationPlannerContext,
    /// Columns of the input by name.
    pub columns: BTreeMap<String, usize>,
    /// Rows as navigation sees them, by position: the input's columns, label, match number.
    pub rows: DFSchemaRef,
    /// Primary and union variables.
    pub variables: BTreeMap<String, LabelSet>,
    /// The first ORDER BY column.
    pub time: Option<usize>,
}

const ROW: &str = "c";
const VALUE: &str = "v";

/// The schema of [`Scope::rows`] over an input of these types.
pub(super) fn row_schema(input: impl Iterator<Item = DataType>) -> Result<DFSchemaRef, PlanError> {
    typed::positional(ROW, input.chain([DataType::Utf8, DataType::Int64]))
}

impl Scope<'_> {
    /// An expression and its type.
    pub fn expression(&mut self, expr: &Expr) -> Result<(MatchExpr, DataType), PlanError> {
        let mut expr = expr.clone();
        let mut lowering = Lowering { scope: self, values: vec![] };
        if let ControlFlow::Break(error) = expr.visit(&mut lowering) {
            return Err(error);
        }
        let values = lowering.values;
        let schema = typed::positional(VALUE, values.iter().map(|value| value.data_type.clone()))?;
        let bound = self.context.sql_to_expr(expr, &schema)?;
        let options = self.context.context_provider().options();
        let (expr, data_type) = typed::scalar(bound, &schema, options)?;
        Ok((MatchExpr { values, expr }, data_type))
    }

    fn column(&self, name: &Ident) -> Result<usize, PlanError> {
        let name = self.context.normalize_ident(name.clone());
        let found = self.columns.get(&name).copied();
        found.ok_or_else(|| PlanError::UndefinedColumn { name: format!("\"{name}\""), hint: None })
    }

    fn variable(&self, name: &Ident) -> Result<LabelSet, PlanError> {
        let name = self.context.normalize_ident(name.clone());
        self.variables.get(&name).copied().ok_or_else(|| PlanError::Invalid {
            state: SqlState::SyntaxError,
            message: format!("\"{name}\" is not a row pattern variable"),
            hint: Some(
                "Inside MATCH_RECOGNIZE columns are qualified by variables of the pattern, not by tables.".into(),
            ),
        })
    }

    fn is_aggregate(&self, name: &str) -> bool {
        self.context.context_provider().get_aggregate_meta(name).is_some()
    }

    /// An expression at one row; `what` asks for it.
    fn at_row(&mut self, what: &str, expr: &Expr, place: Place) -> Result<MatchValue, PlanError> {
        let mut expr = expr.clone();
        let mut strip = Strip { scope: self, set: None, inside: what.to_string() };
        if let ControlFlow::Break(error) = expr.visit(&mut strip) {
            return Err(error);
        }
        let set = strip
            .set
            .ok_or_else(|| syntax(format!("{what} needs a column of the input or CLASSIFIER in its argument")))?;
        let bound = self.context.sql_to_expr(expr, &self.rows)?;
        let options = self.context.context_provider().options();
        let (expr, data_type) = typed::scalar(bound, &self.rows, options)?;
        let Place { end, offset, shift, complete } = place;
        Ok(MatchValue { data_type, source: MatchSource::Row { set, end, offset, shift, complete, expr } })
    }

    fn aggregate(&mut self, mut call: Function, complete: bool) -> Result<MatchValue, PlanError> {
        let name = call.name.to_string().to_uppercase();
        let mut strip = Strip { scope: self, set: None, inside: name };
        if let FunctionArguments::List(list) = &mut call.args {
            list.args.iter_mut().try_for_each(|arg| strip.wildcard(arg))?;
        }
        let visited = [call.args.visit(&mut strip), call.filter.visit(&mut strip), call.within_group.visit(&mut strip)];
        for flow in visited {
            if let ControlFlow::Break(error) = flow {
                return Err(error);
            }
        }
        let set = strip.set.unwrap_or(LabelSet::ALL);
        let bound = self.context.sql_to_expr(Expr::Function(call), &self.rows)?;
        let options = self.context.context_provider().options();
        let (call, data_type) = typed::aggregate(bound, &self.rows, options)?;
        Ok(MatchValue { data_type, source: MatchSource::Aggregate { set, complete, call } })
    }
}

/// Which row.
#[derive(Clone, Copy)]
struct Place {
    end: End,
    offset: usize,
    shift: i64,
    complete: bool,
}

const CURRENT: Place = Place { end: End::Last, offset: 0, shift: 0, complete: false };

struct Lowering<'s, 'a> {
    scope: &'s mut Scope<'a>,
    values: Vec<MatchValue>,
}

impl VisitorMut for Lowering<'_, '_> {
    type Break = PlanError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PlanError> {
        match self.value(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(value)) => {
                let known = self.values.iter().position(|other| *other == value);
                let index = known.unwrap_or(self.values.len());
                if known.is_none() {
                    self.values.push(value);
                }
                *expr = Expr::Identifier(Ident::with_quote('"', format!("{VALUE}{index}")));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Lowering<'_, '_> {
    /// The value that an expression as a whole is; `None`: an operation on values.
    fn value(&mut self, expr: &Expr) -> Result<Option<MatchValue>, PlanError> {
        let call = match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                return self.scope.at_row("a column", expr, CURRENT).map(Some);
            }
            Expr::Function(call) if call.over.is_none() => call,
            _ => return Ok(None),
        };
        let name = name_of(call);
        Ok(Some(match name.as_str() {
            "running" | "final" => self.with_semantics(call, &name)?,
            "first" | "last" => self.logical(call, 0, false)?,
            "prev" | "next" => self.physical(call)?,
            "classifier" => self.scope.at_row("CLASSIFIER", expr, CURRENT)?,
            "match_number" => MatchValue { data_type: DataType::Int64, source: MatchSource::MatchNumber },
            "timed_out" => MatchValue { data_type: DataType::Boolean, source: MatchSource::TimedOut },
            "match_rowtime" => self.row_time()?,
            _ if self.scope.is_aggregate(&name) => self.scope.aggregate(call.clone(), false)?,
            _ => return Ok(None),
        }))
    }

    fn with_semantics(&mut self, call: &Function, name: &str) -> Result<MatchValue, PlanError> {
        let upper = name.to_uppercase();
        let wrong = || syntax(format!("{upper} stands before FIRST, LAST, CLASSIFIER or an aggregate"));
        let arguments = arguments(call);
        let [Expr::Function(inner)] = arguments.as_slice() else { return Err(wrong()) };
        let complete = name == "final";
        match name_of(inner).as_str() {
            "first" | "last" => self.logical(inner, 0, complete),
            "classifier" => {
                let place = Place { complete, ..CURRENT };
                self.scope.at_row("CLASSIFIER", &Expr::Function(inner.clone()), place)
            }
            other if self.scope.is_aggregate(other) => self.scope.aggregate(inner.clone(), complete),
            _ => Err(wrong()),
        }
    }

    fn logical(&mut self, call: &Function, shift: i64, complete: bool) -> Result<MatchValue, PlanError> {
        let name = name_of(call);
        let (argument, offset) = navigation(call, 0)?;
        let end = if name == "first" { End::First } else { End::Last };
        let place = Place { end, offset: offset as usize, shift, complete };
        self.scope.at_row(&name.to_uppercase(), &argument, place)
    }

    fn physical(&mut self, call: &Function) -> Result<MatchValue, PlanError> {
        let name = name_of(call);
        let (argument, offset) = navigation(call, 1)?;
        let shift = if name == "prev" { -offset } else { offset };
        if let Expr::Function(inner) = &argument {
            let arguments = arguments(inner);
            match (name_of(inner).as_str(), arguments.as_slice()) {
                ("first" | "last", _) => return self.logical(inner, shift, false),
                (semantics @ ("running" | "final"), [Expr::Function(inner)])
                    if ["first", "last"].contains(&name_of(inner).as_str()) =>
                {
                    return self.logical(inner, shift, semantics == "final");
                }
                _ => {}
            }
        }
        self.scope.at_row(&name.to_uppercase(), &argument, Place { shift, ..CURRENT })
    }

    fn row_time(&mut self) -> Result<MatchValue, PlanError> {
        let time = self.scope.time.ok_or_else(|| syntax("MATCH_ROWTIME needs ORDER BY".into()))?;
        let column = Expr::Identifier(Ident::with_quote('"', format!("{ROW}{time}")));
        let bound = self.scope.context.sql_to_expr(column, &self.scope.rows)?;
        let options = self.scope.context.context_provider().options();
        let (expr, data_type) = typed::scalar(bound, &self.scope.rows, options)?;
        let (set, end, offset, shift, complete) = (LabelSet::ALL, End::Last, 0, 0, true);
        Ok(MatchValue { data_type, source: MatchSource::Row { set, end, offset, shift, complete, expr } })
    }
}

/// Brings an expression at a row into columns by position, and notes whose row it is.
struct Strip<'s, 'a> {
    scope: &'s mut Scope<'a>,
    set: Option<LabelSet>,
    inside: String,
}

impl VisitorMut for Strip<'_, '_> {
    type Break = PlanError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PlanError> {
        match self.replaced(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(column)) => {
                *expr = Expr::Identifier(Ident::with_quote('"', format!("{ROW}{column}")));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Strip<'_, '_> {
    fn replaced(&mut self, expr: &Expr) -> Result<Option<usize>, PlanError> {
        let label = self.scope.rows.fields().len() - 2;
        match expr {
            Expr::Identifier(name) => {
                let column = self.scope.column(name)?;
                self.of(LabelSet::ALL)?;
                Ok(Some(column))
            }
            Expr::CompoundIdentifier(parts) => {
                let [variable, name] = parts.as_slice() else {
                    return Err(syntax("columns in MATCH_RECOGNIZE are written as variable.column".into()));
                };
                let set = self.scope.variable(variable)?;
                let column = self.scope.column(name)?;
                self.of(set)?;
                Ok(Some(column))
            }
            Expr::Function(call) => match name_of(call).as_str() {
                "classifier" => {
                    let arguments = arguments(call);
                    let set = match arguments.as_slice() {
                        [] => LabelSet::ALL,
                        [Expr::Identifier(variable)] => self.scope.variable(variable)?,
                        _ => return Err(syntax("CLASSIFIER takes a row pattern variable or nothing".into())),
                    };
                    self.of(set)?;
                    Ok(Some(label))
                }
                "match_number" => Ok(Some(label + 1)),
                name @ ("first" | "last" | "prev" | "next" | "running" | "final") => {
                    Err(syntax(format!("{} cannot be nested in {}", name.to_uppercase(), self.inside)))
                }
                name if self.scope.is_aggregate(name) => Err(PlanError::Grouping {
                    message: format!("aggregate function {name} cannot be nested in {}", self.inside),
                }),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn of(&mut self, set: LabelSet) -> Result<(), PlanError> {
        match self.set.replace(set) {
            Some(other) if other != set => Err(syntax(format!(
                "all columns in the argument of {} must be of one row pattern variable",
                self.inside
            ))),
            _ => Ok(()),
        }
    }

    /// `count(A.*)`
    fn wildcard(&mut self, arg: &mut FunctionArg) -> Result<(), PlanError> {
        let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg else { return Ok(()) };
        let variable = match name.0.as_slice() {
            [part] => part.as_ident().cloned(),
            _ => None,
        };
        let variable = variable.ok_or_else(|| syntax(format!("\"{name}\" is not a row pattern variable")))?;
        let set = self.scope.variable(&variable)?;
        self.of(set)?;
        *arg = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
        Ok(())
    }
}

fn name_of(call: &Function) -> String {
    match call.name.0.as_slice() {
        [part] => part.as_ident().map_or_else(String::new, |name| name.value.to_lowercase()),
        _ => String::new(),
    }
}

fn arguments(call: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &call.args else { return vec![] };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// The argument of a navigation and its offset.
fn navigation(call: &Function, default: i64) -> Result<(Expr, i64), PlanError> {
    let name = name_of(call).to_uppercase();
    let mut arguments = arguments(call);
    let offset = match arguments.len() {
        1 => default,
        2 => {
            let offset = arguments.pop().as_ref().and_then(whole_number);
            offset.ok_or_else(|| syntax(format!("the offset of {name} must be a whole number that is not negative")))?
        }
        _ => return Err(syntax(format!("{name} takes an expression and an offset"))),
    };
    Ok((arguments.remove(0), offset))
}

/// Navigation goes no further than that many rows.
const OFFSET_MAX: i64 = 1_000_000;

fn whole_number(expr: &Expr) -> Option<i64> {
    let Expr::Value(value) = expr else { return None };
    let Value::Number(digits, _) = &value.value else { return None };
    digits.to_string().parse().ok().filter(|offset| *offset <= OFFSET_MAX)
}

fn syntax(message: String) -> PlanError {
    PlanError::invalid(SqlState::SyntaxError, message)
}
