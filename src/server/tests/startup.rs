//! From the first byte to the first ReadyForQuery.

use super::client::{Client, startup};
use super::{Fake, serve};
use crate::limits::STARTING_CONNECTIONS_MAX;

const V3_0: i32 = 0x0003_0000;

#[tokio::test]
async fn a_session_starts() {
    let server = serve(&Fake::default()).await;
    let mut client = Client::connect(server.local_addr()).await;
    let parameters =
        [("user", "ann"), ("database", "db"), ("application_name", "app"), ("options", "-c a=b\\ c --d-e=f")];
    client.send(&startup(V3_0, &parameters)).await;
    let expected = [
        "authentication 0",
        "parameter server_version=15.0",
        r#"parameter start=ann@db [("a", "b c"), ("d_e", "f"), ("application_name", "app")]"#,
        "key",
        "ready I",
    ];
    assert_eq!(client.until_ready().await, expected);
    assert_eq!(client.secret.len(), 4);
}

#[tokio::test]
async fn encryption_is_refused_and_start_up_goes_on() {
    let server = serve(&Fake::default()).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&[0, 0, 0, 8, 4, 210, 22, 48]).await;
    assert_eq!(client.bytes(1).await, b"N");
    client.send(&[0, 0, 0, 8, 4, 210, 22, 47]).await;
    assert_eq!(client.bytes(1).await, b"N");
    client.send(&startup(V3_0, &[("user", "ann")])).await;
    assert!(client.until_ready().await.contains(&"parameter start=ann@ann []".to_owned()));
    // Asking twice for the same is a loop, not a client.
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&[0, 0, 0, 8, 4, 210, 22, 47, 0, 0, 0, 8, 4, 210, 22, 47]).await;
    assert_eq!(client.bytes(1).await, b"N");
    assert_eq!(client.message().await, None);
}

#[tokio::test]
async fn newer_minor_versions_are_negotiated() {
    let server = serve(&Fake::default()).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&startup(0x0003_0002, &[("user", "ann")])).await;
    assert_eq!(client.until_ready().await[0], "authentication 0");
    assert_eq!(client.secret.len(), 32);
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&startup(0x0003_270f, &[("user", "ann"), ("_pq_.x", "1")])).await;
    assert_eq!(client.until_ready().await[0], "negotiate 3.2 _pq_.x;");
}

#[tokio::test]
async fn start_up_errors_are_told() {
    let server = serve(&Fake::default()).await;
    let cases = [
        (startup(V3_0, &[]), "error FATAL 28000 no PostgreSQL user name specified in startup packet"),
        (
            startup(V3_0, &[("user", "a"), ("database", "missing")]),
            "error FATAL 3D000 database \"missing\" does not exist",
        ),
        (
            startup(V3_0, &[("user", "a"), ("options", "-x")]),
            "error FATAL 42601 invalid command-line argument for server process: -x \
             [H: Write settings as \"-c name=value\" in the connection's options.]",
        ),
        (
            startup(0x0002_0000, &[("user", "a")]),
            "error FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2",
        ),
        (
            startup(V3_0, &[("user", "a"), ("replication", "database")]),
            "error FATAL 0A000 replication connections are not supported [H: Use SUBSCRIBE to follow changes.]",
        ),
    ];
    for (packet, expected) in cases {
        let mut client = Client::connect(server.local_addr()).await;
        client.send(&packet).await;
        assert_eq!(client.until_closed().await, [expected]);
    }
}

#[tokio::test]
async fn hostile_first_packets_are_closed_without_answer() {
    let server = serve(&Fake::default()).await;
    let packets: [&[u8]; 9] = [
        &[0, 0, 0, 0, 0, 3, 0, 0],
        &[0, 0, 0, 1, 0, 3, 0, 0],
        &[0, 0, 0, 3, 0, 3, 0, 0],
        &[0, 0, 0, 7, 0, 3, 0, 0],
        &[255, 255, 255, 255, 0, 3, 0, 0],
        &[0x7f, 255, 255, 255, 0, 3, 0, 0],
        &[0, 0, 0x27, 0x11, 0, 3, 0, 0],
        b"GET / HTTP/1.1\r\n\r\n",
        // A cancel request without room for a key.
        &[0, 0, 0, 12, 4, 210, 22, 46, 0, 0, 0, 1],
    ];
    for packet in packets {
        let mut client = Client::connect(server.local_addr()).await;
        client.send(packet).await;
        assert_eq!(client.message().await, None, "{packet:?}");
    }
    // The server is none the worse for it.
    Client::start(server.local_addr()).await;
}

#[tokio::test]
async fn hostile_lengths_in_a_session_end_only_that_session() {
    let server = serve(&Fake::default()).await;
    for kind in *b"QPBDCEdpSX" {
        for length in [0i32, 1, 3, -1, i32::MAX, 64 * 1024 * 1024 + 1] {
            let mut client = Client::start(server.local_addr()).await;
            let mut message = vec![kind];
            message.extend(length.to_be_bytes());
            client.send(&message).await;
            assert_eq!(
                client.until_closed().await,
                ["error FATAL 08P01 invalid message length"],
                "{} {length}",
                kind as char
            );
        }
    }
}

#[tokio::test]
async fn broken_bodies_end_only_that_session() {
    let server = serve(&Fake::default()).await;
    let bodies: [(u8, &[u8]); 9] = [
        (b'Q', b"no end"),
        (b'Q', b""),
        (b'P', b"\0\0\xff\xff"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'E', b"\0\0"),
        (b'D', b""),
        (b'F', b""),
        (b'S', b"x"),
    ];
    for (kind, body) in bodies {
        let mut client = Client::start(server.local_addr()).await;
        client.send(&super::client::message(kind, body)).await;
        let messages = client.until_closed().await;
        let expected = format!("error FATAL 08P01 invalid frontend message of type {}", kind as char);
        assert_eq!(messages, [expected], "{body:?}");
    }
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let server = serve(&Fake::with_limits(2, 1)).await;
    let first = Client::start(server.local_addr()).await;
    let refused = async |user: &str| {
        let mut client = Client::connect(server.local_addr()).await;
        client.send(&startup(V3_0, &[("user", user)])).await;
        client.until_closed().await
    };
    let reserved = "remaining connection slots are reserved for non-replication superuser connections";
    assert_eq!(refused("bob").await, [format!("error FATAL 53300 {reserved}")]);
    let mut administrator = Client::connect(server.local_addr()).await;
    administrator.send(&startup(V3_0, &[("user", "postgres")])).await;
    administrator.until_ready().await;
    assert_eq!(refused("postgres").await, ["error FATAL 53300 sorry, too many clients already"]);
    // Cancelling needs no free place: the session ends only if the request is served.
    first.cancel(server.local_addr()).await;
}

#[tokio::test]
async fn silent_sockets_keep_nobody_out() {
    let server = serve(&Fake::with_limits(2, 0)).await;
    let mut silent = vec![];
    for _ in 0..3 * STARTING_CONNECTIONS_MAX {
        silent.push(Client::connect(server.local_addr()).await);
    }
    let _first = Client::start(server.local_addr()).await;
    // Half a start-up message is silence too.
    for client in &mut silent[2 * STARTING_CONNECTIONS_MAX + 2..] {
        client.send(&[0, 0, 0, 50, 0, 3]).await;
    }
    let mut second = Client::start(server.local_addr()).await;
    assert_eq!(second.query("one").await, ["tag ONE", "ready I"]);
    // The oldest had to go.
    assert_eq!(silent[0].message().await, None);
}
