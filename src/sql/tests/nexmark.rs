//! Every query of the Nexmark suite parses, and its normalised text parses back to the same tree.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Visit, Visitor};

use super::*;
use crate::{Statement, ast, window_call};

fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("nexmark_cases.sql").split("--- ").filter_map(|case| case.split_once('\n'))
}

#[derive(Default)]
struct Windows(Vec<String>);

impl Visitor for Windows {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        if let Some(call) = window_call(factor) {
            self.0.push(call.expect("normalised").kind.name().to_owned());
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn all_cases_parse_and_their_text_parses_back() {
    let mut kinds = BTreeSet::new();
    let mut count = 0;
    for (name, sql) in cases() {
        let parsed = parse(sql).unwrap_or_else(|error| panic!("{name}: {:?}", error.to_sql_error()));
        assert!(!parsed.is_empty(), "{name}");
        for one in &parsed {
            let query = match &one.statement {
                Statement::Query(query) => query,
                Statement::CreateView(view) => &view.query,
                other => panic!("{name}: {other:?}"),
            };
            let mut windows = Windows::default();
            let _ = query.visit(&mut windows);
            if name.starts_with("win_") && one.text.starts_with("SELECT") {
                assert!(!windows.0.is_empty(), "{name}: no window found");
            }
            kinds.extend(windows.0);
            if query.to_string().contains("SYSTEM_TIME") {
                continue; // sqlparser prints it after the alias, where it does not read it.
            }
            let again = parse(&query.to_string()).unwrap_or_else(|error| panic!("{name}: {error}\n{query}"));
            let Statement::Query(again) = &again[0].statement else { panic!("{name}") };
            assert_eq!(query.to_string(), again.to_string(), "{name}");
        }
        count += 1;
    }
    assert!(count > 50, "only {count} cases");
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["cumulate", "hop", "session", "tumble"]);
}
