//! `set_config` and `current_setting`. A function can't reach the session it runs in: it leaves what is to be set here,
//! and the session takes it once the query is done, before anything else runs.

use std::sync::Mutex;

use types::{SqlError, SqlState};

use super::SessionView;

/// One call of `set_config`.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub name: String,
    pub value: String,
    /// Until the end of the transaction.
    pub local: bool,
}

/// Settings that queries of one session have made and the session has not taken over yet.
#[derive(Debug, Default)]
pub(crate) struct PendingSettings {
    settings: Mutex<Vec<Setting>>,
}

impl PendingSettings {
    pub fn take(&self) -> Vec<Setting> {
        std::mem::take(&mut self.settings.lock().expect("not poisoned"))
    }
}

impl SessionView {
    /// The value that a session will have for a parameter after this query so far.
    pub fn setting(&self, name: &str) -> Option<String> {
        let pending = self.pending.settings.lock().expect("not poisoned");
        let newest = pending.iter().rev().find(|setting| setting.name.eq_ignore_ascii_case(name));
        newest.map(|setting| setting.value.clone()).or_else(|| self.parameters.get(name))
    }

    /// Checks and remembers a setting; returns the value as it will be shown.
    pub fn set(&self, name: &str, value: &str, local: bool) -> Result<String, SqlError> {
        let mut tried = self.parameters.as_ref().clone();
        tried.set(name, value)?;
        let value = tried.get(name).ok_or_else(|| unknown(name))?;
        let setting = Setting { name: name.to_string(), value: value.clone(), local };
        self.pending.settings.lock().expect("not poisoned").push(setting);
        Ok(value)
    }
}

/// No parameter has this name.
pub(crate) fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}
