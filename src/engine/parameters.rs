//! Session parameters: those that mean something to us, those Postgres clients insist on, and those of other vendors
//! that are accepted and remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{SqlError, SqlState};

use crate::sessions::SessionLimits;

/// The version clients are told: psql chooses its catalog queries by it.
pub const SERVER_VERSION: &str = "15.0";
pub const SERVER_VERSION_NUM: &str = "150000";

/// (name in its own spelling, default, reported to clients)
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("background_ddl", "off", false),
    ("bytea_output", "hex", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("DateStyle", "ISO, MDY", true),
    ("default_transaction_deferrable", "off", false),
    ("default_transaction_isolation", "read committed", false),
    ("default_transaction_read_only", "off", true),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("in_hot_standby", "off", true),
    ("integer_datetimes", "on", true),
    ("IntervalStyle", "postgres", true),
    ("is_superuser", "on", true),
    ("jit", "off", false),
    ("lock_timeout", "0", false),
    ("max_connections", "100", false),
    ("max_identifier_length", "63", false),
    ("row_security", "off", false),
    ("search_path", "\"$user\", public", false),
    ("server_encoding", "UTF8", true),
    ("server_version", SERVER_VERSION, true),
    ("server_version_num", SERVER_VERSION_NUM, false),
    ("session_authorization", "", true),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", false),
    ("superuser_reserved_connections", "3", false),
    ("synchronize_seqscans", "on", false),
    ("TimeZone", "UTC", true),
    ("transaction_deferrable", "off", false),
    ("transaction_isolation", "read committed", false),
    ("transaction_read_only", "off", false),
];

const READ_ONLY: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "max_connections",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "superuser_reserved_connections",
];

/// Of the read-only ones: options of the server.
const SERVER_OPTIONS: &[&str] = &["max_connections", "superuser_reserved_connections"];

const ISOLATION_LEVELS: [&str; 4] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

/// The parameters of one session.
#[derive(Debug, Clone)]
pub struct Parameters {
    values: BTreeMap<String, String>,
    defaults: BTreeMap<String, String>,
    changed: Vec<&'static str>,
}

fn known(name: &str) -> Option<&'static (&'static str, &'static str, bool)> {
    KNOWN.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(name))
}

impl Parameters {
    pub fn new(user: &str, limits: SessionLimits) -> Self {
        let mut values: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, value, _)| (name.to_string(), value.to_string())).collect();
        values.insert("session_authorization".into(), user.into());
        values.insert("max_connections".into(), limits.sessions_max.to_string());
        values.insert("superuser_reserved_connections".into(), limits.reserved.to_string());
        Parameters { defaults: values.clone(), values, changed: vec![] }
    }

    /// A start-up parameter: becomes the session's default.
    pub fn set_at_start(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        self.set(name, value)?;
        if let Some(value) = self.get(name) {
            self.defaults.insert(canonical(name), value);
        }
        self.changed.clear();
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(&canonical(name)).cloned()
    }

    /// Sets a parameter. True if the name was not one we know (accepted and remembered).
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, SqlError> {
        let name = canonical(name);
        if READ_ONLY.contains(&name.as_str()) {
            let without = if is_server_option(&name) { " without restarting the server" } else { "" };
            let message = format!("parameter \"{name}\" cannot be changed{without}");
            return Err(SqlError::new(SqlState::CantChangeRuntimeParam, message));
        }
        let value = self.checked(&name, value)?;
        let known = known(&name);
        if let Some((reported, _, true)) = known
            && self.values.get(&name) != Some(&value)
        {
            self.changed.push(reported);
        }
        self.values.insert(name, value);
        Ok(known.is_none())
    }

    fn checked(&self, name: &str, value: &str) -> Result<String, SqlError> {
        let invalid = |expected: &str| {
            SqlError::new(
                SqlState::InvalidParameterValue,
                format!("invalid value for parameter \"{name}\": \"{value}\""),
            )
            .with_hint(format!("Expected {expected}."))
        };
        match name {
            "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
                let timeout = milliseconds(value).ok_or_else(|| invalid("milliseconds, or a time like '5s'"))?;
                Ok(time_text(timeout))
            }
            "default_transaction_isolation" | "transaction_isolation" => {
                let level = value.to_ascii_lowercase();
                let known = ISOLATION_LEVELS.contains(&level.as_str());
                if known { Ok(level) } else { Err(invalid("an isolation level such as 'read committed'")) }
            }
            "background_ddl"
            | "default_transaction_read_only"
            | "transaction_read_only"
            | "default_transaction_deferrable"
            | "transaction_deferrable" => {
                boolean(value).map(|on| if on { "on" } else { "off" }.to_string()).ok_or_else(|| invalid("on or off"))
            }
            "client_encoding" => {
                // As Postgres compares encoding names: letters and digits only (a driver sends `'utf-8'`, quotes and all).
                let letters: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                let known = matches!(letters.to_ascii_uppercase().as_str(), "UTF8" | "UNICODE");
                if known { Ok("UTF8".into()) } else { Err(invalid("UTF8")) }
            }
            "DateStyle" if !value.to_ascii_uppercase().contains("ISO") => Err(invalid("a style with ISO")),
            "DateStyle" => Ok("ISO, MDY".into()),
            "TimeZone" if value.parse::<zone::Zone>().is_err() => Err(invalid("a time zone name or offset")),
            _ => Ok(value.to_string()),
        }
    }

    pub fn reset(&mut self, name: &str) -> Result<(), SqlError> {
        let name = canonical(name);
        let default = self.defaults.get(&name).cloned().unwrap_or_default();
        if READ_ONLY.contains(&name.as_str()) {
            return Ok(());
        }
        self.set(&name, &default).map(|_| ())
    }

    pub fn reset_all(&mut self) {
        for name in self.values.keys().cloned().collect::<Vec<_>>() {
            if let Some(default) = self.defaults.get(&name).cloned() {
                // Defaults were accepted once.
                let _ = self.set(&name, &default);
            }
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter()
    }

    /// All parameters that clients are told at start.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        let reported = KNOWN.iter().filter(|(_, _, reported)| *reported);
        reported.map(|(name, _, _)| (*name, self.values[*name].clone())).collect()
    }

    /// The value a parameter has when nobody says otherwise.
    pub fn built_in(&self, name: &str) -> Option<&'static str> {
        known(name).map(|(_, value, _)| *value)
    }

    /// What RESET sets a parameter to.
    pub fn default(&self, name: &str) -> Option<String> {
        self.defaults.get(&canonical(name)).cloned()
    }

    fn is_read_only(&self, name: &str) -> bool {
        READ_ONLY.contains(&canonical(name).as_str())
    }

    /// When a parameter can be changed, as `pg_settings` words it.
    pub fn context(&self, name: &str) -> &'static str {
        match () {
            () if is_server_option(name) => "postmaster",
            () if self.is_read_only(name) => "internal",
            () => "user",
        }
    }

    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub fn take_changed(&mut self) -> Vec<(&'static str, String)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|name| (name, self.values[name].clone())).collect()
    }

    pub fn statement_timeout(&self) -> Option<Duration> {
        self.timeout("statement_timeout")
    }

    /// A time-out that is on.
    fn timeout(&self, name: &str) -> Option<Duration> {
        let ms = milliseconds(&self.values[name])?;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    pub fn lock_timeout(&self) -> Option<Duration> {
        self.timeout("lock_timeout")
    }

    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.timeout("idle_in_transaction_session_timeout")
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value == "on")
    }

    /// Whether a transaction reads at one instant.
    pub fn repeatable_read(&self) -> bool {
        matches!(self.values["transaction_isolation"].as_str(), "repeatable read" | "serializable")
    }

    pub fn background_ddl(&self) -> bool {
        self.values["background_ddl"] == "on"
    }

    /// Schemas searched for unqualified names.
    pub fn search_path(&self) -> Vec<String> {
        let path = self.values["search_path"].split(',').map(|part| part.trim().trim_matches('"').to_string());
        let path: Vec<String> = path.filter(|part| !part.is_empty() && part != "$user").collect();
        if path.is_empty() { vec![catalog::DEFAULT_SCHEMA.into()] } else { path }
    }
}

fn is_server_option(name: &str) -> bool {
    SERVER_OPTIONS.contains(&canonical(name).as_str())
}

fn canonical(name: &str) -> String {
    match known(name) {
        Some((name, _, _)) => name.to_string(),
        None => name.to_ascii_lowercase(),
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "yes" | "1" => Some(true),
        "off" | "false" | "f" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// As Postgres shows times: in the largest unit that is exact.
fn time_text(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match UNITS.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => "0".into(),
    }
}

/// Postgres' time values: a bare number is milliseconds.
fn milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().ok()?;
    let factor = match value[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Whether text names a time zone that timestamps can be shown in.
mod zone {
    pub struct Zone;

    impl std::str::FromStr for Zone {
        type Err = arrow::error::ArrowError;

        fn from_str(text: &str) -> Result<Zone, Self::Err> {
            text.parse::<arrow::array::timezone::Tz>().map(|_| Zone)
        }
    }
}
