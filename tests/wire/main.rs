//! The wire as clients meet it, against the real binary: raw protocol scripts (`scripts/`, run by `script.rs`), what ends
//! a statement early (`interrupts.rs`), subscriptions (`subscriptions.rs`), and three real clients: tokio-postgres
//! (`driver.rs`), psql (`psql.rs`) and psycopg (`psycopg.rs`, `psycopg_checks.py`). What belongs to one session is in `sessions.rs`,
//! what sessions do to each other in `backends.rs` and `advisory_locks.rs`; views that come at once to one source in
//! `running_sources.rs`.
//!
//! psql and psycopg are programs of their own: where one isn't installed its test says so and passes, unless
//! `HIGHWATER_REQUIRE_CLIENTS` is set, as `.ci/run` does. `HIGHWATER_TEST_PSQL` and `HIGHWATER_TEST_PYTHON` name them.
//! The loops themselves are tested message by message, with a scripted engine, in `src/server/tests`.

mod advisory_locks;
mod backends;
#[path = "../../src/server/tests/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate server")]
mod client;
mod driver;
mod interrupts;
mod peers;
#[path = "../process/mod.rs"]
mod process;
mod psql;
mod psycopg;
mod running_sources;
mod script;
mod sessions;
mod subscriptions;
mod transactions;

use process::{Options, Place, Server};

const OPTIONS: Options = Options { workers: 2, checkpoint_interval_ms: 10_000 };

/// A server of its own for one test.
fn start(name: &str) -> (Place, Server) {
    let place = Place::new(name);
    let server = Server::start(&place, OPTIONS);
    (place, server)
}

async fn check_script(name: &str) {
    let (place, server) = start("wire");
    script::run(server.socket_address(), name).await;
    // Whatever a script sends, the server lives, and has met no bug of its own.
    assert_eq!(process::value(&server.connect().await, "SELECT 'alive'").await.as_deref(), Some("alive"));
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn start_up() {
    check_script("startup.wire").await;
}

#[tokio::test]
async fn simple_queries() {
    check_script("simple.wire").await;
}

#[tokio::test]
async fn extended_queries() {
    check_script("extended.wire").await;
}

#[tokio::test]
async fn portals() {
    check_script("portals.wire").await;
}

#[tokio::test]
async fn values_as_text_and_binary() {
    check_script("types.wire").await;
}

#[tokio::test]
async fn errors_have_their_sqlstates() {
    check_script("errors.wire").await;
}

#[tokio::test]
async fn hostile_bytes_end_only_their_connection() {
    check_script("hostile.wire").await;
}
