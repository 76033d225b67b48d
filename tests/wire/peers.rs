//! Clients that are programs of their own: found, or missed loudly.

use std::process::{Command, Output, Stdio};

/// The program that `variable` names, else `default`, if `arguments` run it well. Says what is missing otherwise.
///
/// Panics where clients are required (`HIGHWATER_REQUIRE_CLIENTS`) and this one is absent.
pub fn find(variable: &str, default: &str, arguments: &[&str], install: &str) -> Option<String> {
    let program = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let tried = Command::new(&program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    let missing = format!("{program} {} does not run: not tested. {install}, or set {variable}.", arguments.join(" "));
    assert!(std::env::var_os("HIGHWATER_REQUIRE_CLIENTS").is_none(), "{missing}");
    // Past the harness, which keeps what passing tests print.
    use std::io::Write;
    writeln!(std::io::stderr(), "CLIENT ABSENT: {missing}").expect("standard error is open");
    None
}

/// What a client printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn ended(output: Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
