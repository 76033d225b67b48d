//! What ends a statement early: cancel, timeout, a client that left, a server that stops, a bug.

use super::client::{Client, bind, execute, message, parse, query, sync};
use super::session;

const CANCELLED: &str = "error ERROR 57014 canceling statement due to user request";

#[tokio::test]
async fn a_cancel_reaches_an_endless_stream() {
    let (fake, server, mut client) = session().await;
    client.send(&query("endless")).await;
    assert_eq!(client.message().await.unwrap(), "columns n:23:0");
    fake.wait_for_live(1).await;
    let address = server.local_addr();
    let wrong = Client { socket: Client::connect(address).await.socket, pid: client.pid, secret: vec![1, 2, 3, 4] };
    wrong.cancel(address).await;
    assert_eq!(client.message().await.unwrap(), "row 0", "a wrong key cancels nothing");
    client.cancel(address).await;
    let messages = client.until_ready().await;
    assert_eq!(&messages[messages.len() - 2..], [CANCELLED, "ready I"]);
    fake.wait_for_live(0).await;
    // The session goes on, and an idle session cannot be cancelled in advance.
    client.cancel(address).await;
    assert_eq!(client.query("rows 1").await.last().unwrap(), "ready I");
}

#[tokio::test]
async fn a_cancel_reaches_a_statement_without_answer() {
    let (fake, server, mut client) = session().await;
    client.query("begin").await;
    client.send(&query("hang")).await;
    fake.wait_for_live(1).await;
    client.cancel(server.local_addr()).await;
    assert_eq!(client.until_ready().await, [CANCELLED, "ready E"]);
    fake.wait_for_live(0).await;
}

#[tokio::test]
async fn a_cancelled_execute_skips_to_sync() {
    let (fake, server, mut client) = session().await;
    let portal = [parse("", "hang", &[]), bind("", "", &[], &[], &[]), execute("", 0)].concat();
    client.send(&[portal, parse("", "one", &[]), sync()].concat()).await;
    fake.wait_for_live(1).await;
    client.cancel(server.local_addr()).await;
    assert_eq!(client.until_ready().await, ["parsed", "bound", CANCELLED, "ready I"]);
}

#[tokio::test]
async fn a_long_secret_cancels_too() {
    let (fake, server, _client) = session().await;
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&super::client::startup(0x0003_0002, &[("user", "ann")])).await;
    client.until_ready().await;
    client.send(&query("hang")).await;
    fake.wait_for_live(1).await;
    client.cancel(server.local_addr()).await;
    assert_eq!(client.until_ready().await, [CANCELLED, "ready I"]);
}

#[tokio::test]
async fn a_statement_times_out() {
    let (fake, _server, mut client) = session().await;
    client.query("timeout 20").await;
    let timed_out = "error ERROR 57014 canceling statement due to statement timeout";
    assert_eq!(client.query("hang").await, [timed_out, "ready I"]);
    let messages = client.query("quiet").await;
    assert_eq!(messages, ["columns n:23:0", "row 7", timed_out, "ready I"]);
    fake.wait_for_live(0).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_statement() {
    for statement in ["quiet", "hang", "endless"] {
        let (fake, _server, mut client) = session().await;
        client.send(&query(statement)).await;
        fake.wait_for_live(1).await;
        drop(client);
        fake.wait_for_live(0).await;
    }
}

#[tokio::test]
async fn terminate_ends_a_running_statement() {
    let (fake, _server, mut client) = session().await;
    client.send(&query("hang")).await;
    fake.wait_for_live(1).await;
    client.send(&message(b'X', &[])).await;
    fake.wait_for_live(0).await;
    assert_eq!(client.message().await, None);
}

#[tokio::test]
async fn messages_sent_while_a_statement_runs_are_kept() {
    let (fake, server, mut client) = session().await;
    client.send(&query("hang")).await;
    fake.wait_for_live(1).await;
    client.send(&query("one")).await;
    client.cancel(server.local_addr()).await;
    assert_eq!(client.until_ready().await, [CANCELLED, "ready I"]);
    assert_eq!(client.until_ready().await, ["tag ONE", "ready I"]);
}

#[tokio::test]
async fn a_bug_ends_one_session() {
    let (_fake, server, mut client) = session().await;
    client.send(&query("panic")).await;
    let expected = "error FATAL XX000 the statement hit a bug in the server; the connection is closed";
    assert_eq!(client.until_closed().await, [expected]);
    Client::start(server.local_addr()).await;
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let (fake, server, mut idle) = session().await;
    let mut busy = Client::start(server.local_addr()).await;
    busy.send(&query("hang")).await;
    fake.wait_for_live(1).await;
    let address = server.local_addr();
    server.stop().await;
    let goodbye = ["error FATAL 57P01 terminating connection due to administrator command"];
    assert_eq!(idle.until_closed().await, goodbye);
    assert_eq!(busy.until_closed().await, goodbye);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    fake.wait_for_live(0).await;
}
