//! The clause as a function in FROM: `row_pattern_matches((SELECT * FROM t), partition => …, …)`. All of it is expressions;
//! what is no expression (patterns, lists, names) is a call of a function that only `decode.rs` knows.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, TableFactor, TableFunctionArgs, Value,
};

use super::{MATCH_FUNCTION, MatchClause, MatchOrder, MatchPattern, MatchRows, MatchSkip};
use crate::window_call::table_factor;

impl MatchClause {
    pub(crate) fn into_factor(self) -> TableFactor {
        let mut args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(self.input)))];
        let mut add = |name: &str, expr: Expr| {
            args.push(FunctionArg::Named {
                name: Ident::with_quote('"', name),
                arg: FunctionArgExpr::Expr(expr),
                operator: FunctionArgOperator::RightArrow,
            });
        };
        add("partition", call("list", self.partition_by));
        add("order", call("list", self.order_by.into_iter().map(order).collect()));
        let pair = |name: &str, (expr, ident): (Expr, Ident)| call(name, vec![expr, Expr::Identifier(ident)]);
        add("measures", call("list", self.measures.into_iter().map(|measure| pair("measure", measure)).collect()));
        add("rows", text(rows_name(self.rows)));
        add("timed_out", boolean(self.timed_out));
        add("skip", skip(self.after_match));
        add("pattern", pattern(self.pattern));
        if let Some(within) = self.within {
            add("within", within);
        }
        let subset = |(name, members): (Ident, Vec<Ident>)| {
            call("subset", std::iter::once(name).chain(members).map(Expr::Identifier).collect())
        };
        add("subsets", call("list", self.subsets.into_iter().map(subset).collect()));
        let define = |(name, expr): (Ident, Expr)| pair("define", (expr, name));
        add("defines", call("list", self.defines.into_iter().map(define).collect()));
        let mut factor = table_factor(Ident::new(MATCH_FUNCTION).into());
        if let TableFactor::Table { args: slot, alias, .. } = &mut factor {
            *slot = Some(TableFunctionArgs { args, settings: None });
            *alias = self.alias;
        }
        factor
    }
}

pub(super) fn rows_name(rows: MatchRows) -> &'static str {
    match rows {
        MatchRows::One => "one",
        MatchRows::AllShowEmpty => "all show empty",
        MatchRows::AllOmitEmpty => "all omit empty",
        MatchRows::AllWithUnmatched => "all with unmatched",
    }
}

fn order(order: MatchOrder) -> Expr {
    let nulls = match order.nulls_first {
        None => Expr::Value(Value::Null.into()),
        Some(first) => boolean(first),
    };
    call("order_key", vec![order.expr, boolean(order.descending), nulls])
}

fn skip(skip: MatchSkip) -> Expr {
    match skip {
        MatchSkip::PastLastRow => call("past_last_row", vec![]),
        MatchSkip::ToNextRow => call("to_next_row", vec![]),
        MatchSkip::ToFirst(name) => call("to_first", vec![Expr::Identifier(name)]),
        MatchSkip::ToLast(name) => call("to_last", vec![Expr::Identifier(name)]),
    }
}

fn pattern(tree: MatchPattern) -> Expr {
    let all = |parts: Vec<MatchPattern>| parts.into_iter().map(pattern).collect();
    match tree {
        MatchPattern::Empty => call("pattern_empty", vec![]),
        MatchPattern::Start => call("pattern_start", vec![]),
        MatchPattern::End => call("pattern_end", vec![]),
        MatchPattern::Variable(name) => Expr::Identifier(name),
        MatchPattern::Concat(parts) => call("pattern_concat", all(parts)),
        MatchPattern::Alternate(parts) => call("pattern_alternate", all(parts)),
        MatchPattern::Permute(parts) => call("pattern_permute", all(parts)),
        MatchPattern::Exclude(body) => call("pattern_exclude", vec![pattern(*body)]),
        MatchPattern::Repeat { body, min, max, greedy } => {
            let max = max.map_or(Expr::Value(Value::Null.into()), number);
            call("pattern_repeat", vec![pattern(*body), number(min), max, boolean(greedy)])
        }
    }
}

/// A plain function call.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(Ident::new(name)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.into()).into())
}

fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).into())
}

fn number(value: u32) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}
