//! A statement on one line, for tests: the fields that parsing decides, queries as SQL text.

use crate::*;

pub(super) fn summary_of(statement: &Statement) -> String {
    match statement {
        Statement::CreateSource(s) => format!(
            "CreateSource {}{} [{}]{} with {:?}{}",
            s.name,
            flag(" if-not-exists", s.if_not_exists),
            columns(&s.columns),
            watermark(&s.watermark),
            s.options,
            format(&s.format)
        ),
        Statement::CreateTable(t) => format!(
            "CreateTable {}{}{} [{}] key [{}]{} with {:?}{}{}",
            t.name,
            flag(" if-not-exists", t.if_not_exists),
            flag(" append-only", t.append_only),
            columns(&t.columns),
            list(&t.primary_key),
            watermark(&t.watermark),
            t.options,
            format(&t.format),
            optional(" as ", &t.query)
        ),
        Statement::CreateView(v) => format!(
            "CreateView {}{}{}{} ({}) as {}",
            v.name,
            flag(" or-replace", v.or_replace),
            flag(" temporary", v.temporary),
            flag(" if-not-exists", v.if_not_exists),
            list(&v.columns),
            v.query
        ),
        Statement::CreateMaterializedView(v) => format!(
            "CreateMaterializedView {}{}{} ({}) with {:?} as {}",
            v.name,
            flag(" if-not-exists", v.if_not_exists),
            flag(" emit-on-window-close", v.emit_on_window_close),
            list(&v.columns),
            v.options,
            v.query
        ),
        Statement::Drop(d) => format!(
            "Drop {:?} {}{}{}",
            d.kind,
            list(&d.names),
            flag(" if-exists", d.if_exists),
            flag(" cascade", d.cascade)
        ),
        Statement::Insert(i) => format!(
            "Insert {} ({}){} on-conflict {:?} returning [{}]",
            i.table,
            list(&i.columns),
            optional(" ", &i.source),
            i.on_conflict,
            list(&i.returning)
        ),
        Statement::Update(u) => {
            let set: Vec<String> = u.assignments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let where_ = optional(" where ", &u.selection);
            let alias = optional(" ", &u.alias);
            format!("Update {}{alias} set {}{where_} returning [{}]", u.table, set.join(", "), list(&u.returning))
        }
        Statement::Delete(d) => format!(
            "Delete {}{}{} returning [{}]",
            d.table,
            optional(" ", &d.alias),
            optional(" where ", &d.selection),
            list(&d.returning)
        ),
        Statement::Query(query) => format!("Query {query}"),
        Statement::Subscribe(s) => subscribe(s),
        Statement::CopyTo { from, options } => {
            let from = match from {
                CopySource::Query(query) => query.to_string(),
                CopySource::Relation { name, columns } => format!("{name} ({})", list(columns)),
                CopySource::Subscribe(s) => subscribe(s),
            };
            format!("CopyTo {from} {options:?}")
        }
        Statement::Explain { options, statement: inner } => {
            let flags = flag(" verbose", options.verbose) + &flag(" analyze", options.analyze);
            format!("Explain {:?}{flags}: {}", options.format, summary_of(inner))
        }
        Statement::Prepare { name, statement: inner } => format!("Prepare {name}: {}", summary_of(inner)),
        Statement::Declare { name, statement: inner, hold } => {
            format!("Declare {name}{}: {}", flag(" hold", *hold), summary_of(inner))
        }
        Statement::Execute { name, parameters } => format!("Execute {name} ({})", list(parameters)),
        Statement::Describe { name } => format!("Describe {name}"),
        Statement::CreateSchema { name, if_not_exists } => {
            format!("CreateSchema {name}{}", flag(" if-not-exists", *if_not_exists))
        }
        Statement::Comment { kind, name, column, text } => {
            format!("Comment {kind:?} {name}{} {text:?}", optional(".", column))
        }
        Statement::Show(Show::Columns(name)) => format!("Show Columns {name}"),
        Statement::Show(Show::Create(name)) => format!("Show Create {name}"),
        other => format!("{other:?}"),
    }
}

fn subscribe(s: &Subscribe) -> String {
    let target = match &s.target {
        SubscribeTarget::Relation(name) => name.to_string(),
        SubscribeTarget::Query(query) => format!("({query})"),
    };
    let as_of = s.as_of.map(|epoch| format!(" as of {epoch}")).unwrap_or_default();
    format!("Subscribe {target} snapshot={} progress={}{as_of}", s.snapshot, s.progress)
}

fn columns(columns: &[ColumnDefinition]) -> String {
    let one = |c: &ColumnDefinition| {
        let flags = flag(" not-null", c.not_null) + &flag(" key", c.primary_key);
        let more = optional(" default ", &c.default) + &optional(" generated ", &c.generated);
        format!("{} {}{flags}{more}", c.name, c.data_type)
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn watermark(watermark: &Option<WatermarkDefinition>) -> String {
    watermark.as_ref().map(|w| format!(" watermark {} as {}", w.column, w.expr)).unwrap_or_default()
}

fn format(format: &Option<FormatClause>) -> String {
    format.as_ref().map(|f| format!(" {}/{} {:?}", f.format, f.encode, f.options)).unwrap_or_default()
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn optional<T: ToString>(prefix: &str, item: &Option<T>) -> String {
    item.as_ref().map(|item| format!("{prefix}{}", item.to_string())).unwrap_or_default()
}

fn flag(name: &str, set: bool) -> String {
    if set { name.to_owned() } else { String::new() }
}
