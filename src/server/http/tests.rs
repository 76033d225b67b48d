//! The HTTP routes over a raw socket.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::is_loopback;
use crate::tests::{Fake, serve};

async fn get(address: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let fake = Fake::default();
    let server = serve(&fake).await;
    let address = server.http_addr().unwrap();
    assert_eq!(get(address, "/healthz", "localhost").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz", "localhost").await, (200, "ready\n".to_owned()));
    *fake.degraded.lock().unwrap() = vec!["view \"v\" has failed: a\nb (waiting)".into(), "source".into()];
    let degraded = "degraded\nview \"v\" has failed: a b (waiting)\nsource\n";
    assert_eq!(get(address, "/readyz", "localhost").await, (200, degraded.to_owned()));
    fake.ready.send_replace(false);
    assert_eq!(get(address, "/readyz", "localhost").await, (503, "starting\n".to_owned()));
    assert_eq!(get(address, "/", "localhost").await.0, 404);
    let expected = "\
# HELP highwater_epoch Newest epoch
# TYPE highwater_epoch gauge
highwater_epoch 3.0
# HELP highwater_source_rows Rows read
# TYPE highwater_source_rows counter
highwater_source_rows_total{source=\"bid\"} 7.0
highwater_source_rows_total{source=\"a\\\"b\"} 1.5
# EOF
";
    assert_eq!(get(address, "/metrics", "localhost").await, (200, expected.to_owned()));
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_rebound_name_gets_nothing() {
    let server = serve(&Fake::default()).await;
    let address = server.http_addr().unwrap();
    assert_eq!(get(address, "/metrics", "evil.example").await.0, 403);
    assert_eq!(get(address, "/metrics", &address.to_string()).await.0, 200);
}

#[test]
fn names_of_loopback() {
    for host in ["localhost", "LOCALHOST:7480", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80"] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["", "example.com", "localhost.example.com", "10.0.0.1:80", "127.0.0.1.example.com", "localhost:x"] {
        assert!(!is_loopback(host), "{host}");
    }
}
