//! What the planner sees of a window table function, and the one shape all spellings are brought into.
//!
//! Shape after `parse`: `tumble((SELECT * FROM bid), time => ts, size => INTERVAL '10' SECOND) [AS alias]`, the name in
//! lower case, the data as a subquery, then named arguments in this order: `time`, the intervals of the kind in the
//! order of [`WindowCall::intervals`], `partition => (a, b)` where given. The text of a normalised query parses back to
//! the same tree. The planner reads it with [`window_call`] and needs to know none of this.

use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, GroupByExpr, Ident, ObjectName, SelectFlavor,
    SelectItem, SetExpr, Spanned, TableFactor, TableFunctionArgs, TableWithJoins,
};
use sqlparser::tokenizer::Location;
use types::{SqlError, SqlState};

use crate::error::Failure;
use crate::tokens::{Parsed, folded};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowCallKind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl WindowCallKind {
    pub(crate) const ALL: [WindowCallKind; 4] =
        [WindowCallKind::Tumble, WindowCallKind::Hop, WindowCallKind::Cumulate, WindowCallKind::Session];

    /// The SQL function, lower case.
    pub fn name(self) -> &'static str {
        match self {
            WindowCallKind::Tumble => "tumble",
            WindowCallKind::Hop => "hop",
            WindowCallKind::Cumulate => "cumulate",
            WindowCallKind::Session => "session",
        }
    }

    /// The kind a single-part name stands for, ignoring case.
    pub(crate) fn of(name: &ObjectName) -> Option<WindowCallKind> {
        let [ast::ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
        WindowCallKind::ALL.into_iter().find(|kind| name.value.eq_ignore_ascii_case(kind.name()))
    }

    /// Names of the interval arguments in positional order, and how many of them must be given.
    pub(crate) fn interval_names(self) -> (&'static [&'static str], usize) {
        match self {
            WindowCallKind::Tumble => (&["size", "offset"], 1),
            WindowCallKind::Hop => (&["slide", "size", "offset"], 2),
            WindowCallKind::Cumulate => (&["step", "size", "offset"], 2),
            WindowCallKind::Session => (&["gap"], 1),
        }
    }
}

/// A window table function in FROM.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    pub kind: WindowCallKind,
    /// `SELECT * FROM t`, or the subquery that was given.
    pub input: Box<ast::Query>,
    /// A column of the input, possibly qualified.
    pub time_column: Expr,
    /// tumble(size[, offset]), hop(slide, size[, offset]), cumulate(step, size[, offset]), session(gap).
    /// Constant; evaluate with [`crate::interval_us`].
    pub intervals: Vec<Expr>,
    /// Only SESSION: columns of the input. Empty: one session over all rows.
    pub partition_by: Vec<Expr>,
    pub alias: Option<ast::TableAlias>,
}

/// The window table function that a table factor is, in any spelling.
///
/// `None`: some other relation. Errors: 22023 for wrong arguments, with position where the AST has one.
pub fn window_call(factor: &TableFactor) -> Option<Result<WindowCall, SqlError>> {
    let call = interpret(factor)?;
    Some(call.map_err(|failure| match failure {
        Failure::Refused { error, .. } => *error,
        Failure::Parser(error) => SqlError::new(SqlState::SyntaxError, error.to_string()),
    }))
}

pub(crate) fn interpret(factor: &TableFactor) -> Option<Parsed<WindowCall>> {
    match factor {
        TableFactor::Table { name, alias, args: Some(args), .. } => {
            let kind = WindowCallKind::of(name)?;
            Some(interpret_arguments(kind, name.span().start, &args.args, alias))
        }
        // `TABLE(TUMBLE(…))`
        TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
            let kind = WindowCallKind::of(&function.name)?;
            let ast::FunctionArguments::List(list) = &function.args else { return None };
            Some(interpret_arguments(kind, function.name.span().start, &list.args, alias))
        }
        _ => None,
    }
}

fn interpret_arguments(
    kind: WindowCallKind,
    place: Location,
    args: &[FunctionArg],
    alias: &Option<ast::TableAlias>,
) -> Parsed<WindowCall> {
    let (interval_names, required) = kind.interval_names();
    let mut given = Arguments::new(kind, place);
    for arg in args {
        given.take(arg)?;
    }
    let data = given.data.ok_or_else(|| wrong(kind, place, "needs a table or subquery as its first argument"))?;
    let (input, mut partition_by) = input_of(kind, data)?;
    if let Some(partition) = given.partition {
        partition_by = partition;
    }
    let mut positional = given.positional;
    let time = match given.time {
        Some(time) => time,
        // `SESSION(TABLE t PARTITION BY k, ts, INTERVAL …)`: the time column was read as the last key.
        None if positional.first().is_none_or(is_interval) && partition_by.len() > 1 => {
            partition_by.pop().expect("two or more")
        }
        None if !positional.is_empty() => positional.remove(0),
        None => return Err(wrong(kind, place, "needs a time column")),
    };
    if !partition_by.is_empty() && kind != WindowCallKind::Session {
        return Err(wrong(kind, place, "takes no PARTITION BY; group by the columns instead"));
    }
    let mut intervals = given.intervals;
    for interval in positional {
        let free = intervals.iter_mut().find(|slot| slot.is_none());
        *free.ok_or_else(|| wrong(kind, place, "has too many arguments"))? = Some(interval);
    }
    if let Some(missing) = (0..required).find(|n| intervals[*n].is_none()) {
        return Err(wrong(kind, place, &format!("needs the interval {}", interval_names[missing])));
    }
    Ok(WindowCall {
        kind,
        input,
        time_column: time_column(kind, place, time)?,
        intervals: intervals.into_iter().flatten().collect(),
        partition_by,
        alias: alias.clone(),
    })
}

/// Arguments by role, while they are read.
struct Arguments {
    kind: WindowCallKind,
    place: Location,
    data: Option<Expr>,
    time: Option<Expr>,
    partition: Option<Vec<Expr>>,
    intervals: Vec<Option<Expr>>,
    /// Unnamed arguments after the data.
    positional: Vec<Expr>,
}

impl Arguments {
    fn new(kind: WindowCallKind, place: Location) -> Self {
        let intervals = vec![None; kind.interval_names().0.len()];
        Arguments { kind, place, data: None, time: None, partition: None, intervals, positional: vec![] }
    }

    fn take(&mut self, arg: &FunctionArg) -> Parsed<()> {
        let (name, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (None, expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => (Some(name), expr),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                (Some(name), expr)
            }
            _ => return Err(wrong(self.kind, self.place, "cannot take this argument")),
        };
        let Some(name) = name else {
            if self.data.is_none() {
                self.data = Some(expr.clone());
            } else {
                self.positional.push(expr.clone());
            }
            return Ok(());
        };
        let lower = name.value.to_lowercase();
        let slot = self.kind.interval_names().0.iter().position(|interval| *interval == lower);
        let previous = match (lower.as_str(), slot) {
            (_, Some(slot)) => self.intervals[slot].replace(expr.clone()),
            ("data" | "input" | "table", None) => self.data.replace(expr.clone()),
            ("timecol" | "time" | "time_col", None) => self.time.replace(expr.clone()),
            ("partition" | "partition_by", None) => {
                self.partition = Some(match expr {
                    Expr::Tuple(columns) => columns.clone(),
                    Expr::Nested(column) => vec![column.as_ref().clone()],
                    column => vec![column.clone()],
                });
                None
            }
            _ => return Err(wrong(self.kind, name.span.start, &format!("has no argument \"{lower}\""))),
        };
        match previous {
            None => Ok(()),
            Some(_) => Err(wrong(self.kind, name.span.start, &format!("is given \"{lower}\" twice"))),
        }
    }
}

/// The data argument as a query, and the keys of `TABLE t PARTITION BY …`.
fn input_of(kind: WindowCallKind, data: Expr) -> Parsed<(Box<ast::Query>, Vec<Expr>)> {
    let place = data.span().start;
    match data {
        Expr::Identifier(name) => Ok((Box::new(select_star_from(table_factor(name.into()))), vec![])),
        Expr::CompoundIdentifier(parts) => Ok((Box::new(select_star_from(table_factor(parts.into()))), vec![])),
        Expr::Subquery(mut query) => {
            let keys = match query.body.as_mut() {
                SetExpr::Select(select) => std::mem::take(&mut select.distribute_by),
                _ => vec![],
            };
            Ok((query, keys))
        }
        _ => Err(wrong(kind, place, "needs a table or subquery as its first argument")),
    }
}

fn time_column(kind: WindowCallKind, place: Location, time: Expr) -> Parsed<Expr> {
    match time {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(time),
        Expr::Function(function) if is_descriptor(&function.name) => {
            if let ast::FunctionArguments::List(list) = &function.args
                && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
                && matches!(column, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            {
                return Ok(column.clone());
            }
            Err(wrong(kind, place, "needs DESCRIPTOR with one column"))
        }
        _ => Err(wrong(kind, place, "needs a column as its time argument")),
    }
}

fn is_descriptor(name: &ObjectName) -> bool {
    matches!(name.0.as_slice(), [ast::ObjectNamePart::Identifier(name)] if name.value.eq_ignore_ascii_case("descriptor"))
}

fn is_interval(expr: &Expr) -> bool {
    crate::interval_us(expr).is_ok() || matches!(expr, Expr::Interval(_))
}

fn wrong(kind: WindowCallKind, place: Location, what: &str) -> Failure {
    let form = match kind {
        WindowCallKind::Tumble => "TUMBLE(table, time column, size [, offset])",
        WindowCallKind::Hop => "HOP(table, time column, slide, size [, offset])",
        WindowCallKind::Cumulate => "CUMULATE(table, time column, step, size [, offset])",
        WindowCallKind::Session => "SESSION(table [PARTITION BY column, …], time column, gap)",
    };
    let message = format!("window function {} {what}", kind.name().to_uppercase());
    let error = SqlError::new(SqlState::InvalidParameterValue, message).with_hint(format!("The form is {form}."));
    Failure::from(error).placed(place)
}

impl WindowCall {
    /// The normalised shape of this call.
    pub(crate) fn into_factor(self) -> TableFactor {
        let named = |name: &str, expr: Expr| FunctionArg::Named {
            // OFFSET and PARTITION are keywords; quotes keep them names in any parser.
            name: if ["offset", "partition"].contains(&name) { Ident::with_quote('"', name) } else { Ident::new(name) },
            arg: FunctionArgExpr::Expr(expr),
            operator: FunctionArgOperator::RightArrow,
        };
        let mut args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(self.input)))];
        args.push(named("time", self.time_column));
        for (name, interval) in self.kind.interval_names().0.iter().zip(self.intervals) {
            args.push(named(name, interval));
        }
        if !self.partition_by.is_empty() {
            args.push(named("partition", Expr::Tuple(self.partition_by)));
        }
        let mut factor = table_factor(Ident::new(self.kind.name()).into());
        if let TableFactor::Table { args: slot, alias, .. } = &mut factor {
            *slot = Some(TableFunctionArgs { args, settings: None });
            *alias = self.alias;
        }
        factor
    }
}

/// `name` as a plain relation in FROM.
pub(crate) fn table_factor(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// `SELECT * FROM factor`.
pub(crate) fn select_star_from(factor: TableFactor) -> ast::Query {
    let select = ast::Select {
        select_token: ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation: factor, joins: vec![] }],
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    ast::Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

/// The last part of a column reference, folded; `None` for other expressions.
pub(crate) fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Nested(inner) => column_name(inner),
        _ => None,
    }
}

/// A column reference without its qualifier; `None` for other expressions.
pub(crate) fn unqualified(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Identifier(_) => Some(expr.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned().map(Expr::Identifier),
        Expr::Nested(inner) => unqualified(inner),
        _ => None,
    }
}
