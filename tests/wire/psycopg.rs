//! psycopg 3, the driver of Python programs. What it does stands in `psycopg_checks.py`, which asserts by itself.

use std::path::Path;
use std::process::Command;

use crate::peers::{self, ended};
use crate::start;

#[tokio::test]
async fn psycopg_works() {
    let install = "Install psycopg 3 (pip install 'psycopg[binary]')";
    let Some(python) = peers::find("HIGHWATER_TEST_PYTHON", "python3", &["-c", "import psycopg"], install) else {
        return;
    };
    let (place, server) = start("psycopg");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/psycopg_checks.py");
    let port = server.socket_address().port();
    let dsn = format!("host=127.0.0.1 port={port} user=ann dbname=highwater");
    let ended = ended(Command::new(python).arg(script).arg(dsn).output().expect("python runs"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    assert!(ended.out.ends_with("all passed"), "{}", ended.out);
    drop(server);
    place.check_log();
}
