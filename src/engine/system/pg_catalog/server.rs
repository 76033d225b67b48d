//! The server itself: schemas, databases, roles, settings, sessions, and the few fixed rows of small catalogs.

use super::layout::Row;
use super::oids::{self, OWNER};
use crate::advisory;
use crate::locks::{LockReading, Mode, Resource};
use crate::sessions::{SessionReading, SessionState};
use crate::system::SessionView;
use crate::system::table::Cell;

const UTF8: i32 = 6;
const NO_LIMIT: i32 = -1;

pub fn pg_namespace(view: &SessionView) -> Vec<Row> {
    let row = |name: &str| -> Row {
        vec![("oid", oids::schema(name).into()), ("nspname", name.into()), ("nspowner", OWNER.into())]
    };
    view.schemas().map(row).collect()
}

/// The one database, under the name it was connected to.
pub fn pg_database(view: &SessionView) -> Vec<Row> {
    vec![vec![
        ("oid", oids::DATABASE.into()),
        ("datname", view.database.as_str().into()),
        ("datdba", OWNER.into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", NO_LIMIT.into()),
        ("dattablespace", oids::DEFAULT_TABLESPACE.into()),
        ("datcollate", "C".into()),
        ("datctype", "C".into()),
    ]]
}

/// Everybody who can connect may do everything.
pub fn pg_roles(view: &SessionView) -> Vec<Row> {
    roles(view, true)
}

pub fn pg_authid(view: &SessionView) -> Vec<Row> {
    roles(view, false)
}

fn roles(view: &SessionView, with_password: bool) -> Vec<Row> {
    let row = |(oid, name): (u32, &str)| -> Row {
        let mut row: Row = vec![
            ("oid", oid.into()),
            ("rolname", name.into()),
            ("rolsuper", true.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", true.into()),
            ("rolcreatedb", true.into()),
            ("rolcanlogin", true.into()),
            ("rolreplication", false.into()),
            ("rolbypassrls", true.into()),
            ("rolconnlimit", NO_LIMIT.into()),
        ];
        if with_password {
            row.push(("rolpassword", "********".into()));
        }
        row
    };
    view.roles().into_iter().map(row).collect()
}

pub fn pg_user(view: &SessionView) -> Vec<Row> {
    let row = |(oid, name): (u32, &str)| -> Row {
        vec![
            ("usename", name.into()),
            ("usesysid", oid.into()),
            ("usecreatedb", true.into()),
            ("usesuper", true.into()),
            ("userepl", false.into()),
            ("usebypassrls", true.into()),
            ("passwd", "********".into()),
        ]
    };
    view.roles().into_iter().map(row).collect()
}

pub fn pg_settings(view: &SessionView) -> Vec<Row> {
    let row = |(name, value): (&String, &String)| -> Row {
        let default = view.parameters.built_in(name);
        let changed = default.is_none_or(|default| default != value);
        vec![
            ("name", name.as_str().into()),
            ("setting", value.as_str().into()),
            ("category", "Highwater".into()),
            ("short_desc", "".into()),
            ("context", view.parameters.context(name).into()),
            ("vartype", "string".into()),
            ("source", if changed { "session" } else { "default" }.into()),
            ("boot_val", default.into()),
            ("reset_val", view.parameters.default(name).into()),
            ("pending_restart", false.into()),
        ]
    };
    view.parameters.all().map(row).collect()
}

pub fn pg_tablespace() -> Vec<Row> {
    let row = |oid: u32, name: &str| -> Row {
        vec![("oid", oid.into()), ("spcname", name.into()), ("spcowner", OWNER.into())]
    };
    vec![row(oids::DEFAULT_TABLESPACE, "pg_default"), row(1664, "pg_global")]
}

pub fn pg_am() -> Vec<Row> {
    let row = |oid: u32, name: &str, kind: &str, handler: u32| -> Row {
        vec![("oid", oid.into()), ("amname", name.into()), ("amhandler", handler.into()), ("amtype", kind.into())]
    };
    vec![row(oids::HEAP, "heap", "t", 3), row(oids::BTREE, "btree", "i", 330)]
}

/// Text sorts by bytes.
pub fn pg_collation() -> Vec<Row> {
    let row = |oid: u32, name: &str, provider: &str, locale: Option<&str>| -> Row {
        vec![
            ("oid", oid.into()),
            ("collname", name.into()),
            ("collnamespace", oids::PG_CATALOG.into()),
            ("collowner", OWNER.into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", (-1).into()),
            ("collcollate", locale.into()),
            ("collctype", locale.into()),
        ]
    };
    vec![row(100, "default", "d", None), row(950, "C", "c", Some("C")), row(951, "POSIX", "c", Some("POSIX"))]
}

pub fn pg_language() -> Vec<Row> {
    let row = |oid: u32, name: &str| -> Row {
        vec![("oid", oid.into()), ("lanname", name.into()), ("lanowner", OWNER.into())]
    };
    vec![row(12, "internal"), row(14, "sql")]
}

pub fn pg_stat_activity(view: &SessionView) -> Vec<Row> {
    let (sessions, locks) = (view.shared.sessions.read().into_iter(), view.shared.locks.read());
    let row = |session: SessionReading| -> Row {
        let waits_for = match session.state {
            SessionState::Active => {
                let waits = |(of, lock): &&(u32, LockReading)| *of == session.id && !lock.granted;
                match locks.iter().find(waits) {
                    Some((_, lock)) => Some(("Lock", lock_kind(lock.resource))),
                    None if view.shared.advisory.blockers(session.id).is_empty() => None,
                    None => Some(("Lock", "advisory")),
                }
            }
            SessionState::Idle | SessionState::IdleInTransaction | SessionState::IdleInFailedTransaction => {
                Some(("Client", "ClientRead"))
            }
        };
        let role = view.roles().into_iter().find(|(_, name)| *name == session.user).map(|(oid, _)| oid);
        vec![
            ("datid", oids::DATABASE.into()),
            ("datname", view.database.as_str().into()),
            ("pid", session.id.into()),
            ("usesysid", role.into()),
            ("usename", session.user.into()),
            ("application_name", session.application.into()),
            ("backend_start", Cell::Time(session.started_us)),
            ("query_start", session.query_started_us.map_or(Cell::Null, Cell::Time)),
            ("state_change", Cell::Time(session.state_changed_us)),
            ("wait_event_type", waits_for.map(|(kind, _)| kind).into()),
            ("wait_event", waits_for.map(|(_, event)| event).into()),
            ("state", session.state.name().into()),
            ("query", session.query.into()),
            ("backend_type", "client backend".into()),
        ]
    };
    sessions.map(row).collect()
}

/// Locks of transactions under the names of Postgres: on a table `relation`, on a row `tuple`; and advisory locks.
pub fn pg_locks(view: &SessionView) -> Vec<Row> {
    let row = |(session, lock): (u32, LockReading)| -> Row {
        let mode = match (lock.resource, lock.mode) {
            (Resource::Table(_), Mode::Share) => "RowExclusiveLock",
            (Resource::Table(_), Mode::Exclusive) => "AccessExclusiveLock",
            (Resource::Line(_) | Resource::Row(..), Mode::Share | Mode::Exclusive) => "ExclusiveLock",
        };
        vec![
            ("locktype", lock_kind(lock.resource).into()),
            ("database", oids::DATABASE.into()),
            ("relation", lock.resource.table().0.into()),
            ("virtualtransaction", format!("{session}/{}", lock.owner).into()),
            ("pid", session.into()),
            ("mode", mode.into()),
            ("granted", lock.granted.into()),
            ("fastpath", false.into()),
        ]
    };
    let of_transactions = view.shared.locks.read().into_iter().map(row);
    of_transactions.chain(view.shared.advisory.read().into_iter().map(|lock| advisory_lock(view, lock))).collect()
}

fn lock_kind(resource: Resource) -> &'static str {
    match resource {
        Resource::Table(_) => "relation",
        Resource::Line(_) => "advisory",
        Resource::Row(..) => "tuple",
    }
}

fn advisory_lock(view: &SessionView, lock: advisory::LockReading) -> Row {
    let (class, object, form) = lock.key.parts();
    let transaction = view.shared.advisory.transaction(lock.session);
    vec![
        ("locktype", "advisory".into()),
        ("database", oids::DATABASE.into()),
        ("classid", class.into()),
        ("objid", object.into()),
        ("objsubid", form.into()),
        ("virtualtransaction", format!("{}/{transaction}", lock.session).into()),
        ("pid", lock.session.into()),
        ("mode", lock.mode.name().into()),
        ("granted", lock.granted.into()),
        ("fastpath", false.into()),
    ]
}

/// The name of the role with this OID, as `pg_get_userbyid` words it.
pub fn role_name(view: &SessionView, oid: u32) -> String {
    let role = view.roles().into_iter().find(|(role, _)| *role == oid);
    role.map_or_else(|| format!("unknown (OID={oid})"), |(_, name)| name.to_string())
}
