//! Frames that arrive in pieces, and frames that never should.

use tokio::io::AsyncWriteExt;

use super::{FrameReader, Incoming};
use crate::errors::Failure;

async fn read(bytes: &[u8]) -> Vec<String> {
    let (mut client, server) = tokio::io::duplex(64);
    let mut reader = FrameReader::new(server);
    let sent = bytes.to_vec();
    // One byte at a time: no frame arrives whole.
    let send = async move {
        for byte in sent {
            client.write_all(&[byte]).await.unwrap();
        }
    };
    let receive = async {
        let mut seen = vec![];
        loop {
            match reader.next().await {
                Ok(Incoming::Message(message)) => seen.push(format!("{message:?}")),
                Ok(Incoming::BadText { simple, .. }) => seen.push(format!("bad text {simple}")),
                Err(Failure::Fatal(error)) => {
                    seen.push(error.message);
                    return seen;
                }
                Err(_) => return seen,
            }
        }
    };
    futures::join!(send, receive).1
}

#[tokio::test]
async fn frames_are_put_together() {
    let seen = read(b"Q\0\0\0\x08abc\0S\0\0\0\x04").await;
    assert_eq!(seen, [r#"Query(Query { query: "abc" })"#, "Sync(Sync)"]);
}

#[tokio::test]
async fn frames_before_a_broken_one_are_still_read() {
    assert_eq!(read(b"S\0\0\0\x04Q\0\0\0\x03").await, ["Sync(Sync)", "invalid message length"]);
}

#[tokio::test]
async fn nothing_is_read_after_terminate() {
    assert_eq!(read(b"S\0\0\0\x04X\0\0\0\x04S\0\0\0\x04").await, ["Sync(Sync)"]);
}

#[tokio::test]
async fn half_a_frame_is_no_message() {
    assert!(read(b"Q\0\0\0\x08ab").await.is_empty());
}

#[tokio::test]
async fn memory_follows_what_was_received() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut reader = FrameReader::new(server);
    client.write_all(b"Q\x03\xff\xff\xff").await.unwrap();
    drop(client);
    assert!(matches!(reader.next().await, Err(Failure::Gone)));
    assert!(reader.buf.capacity() < 1024 * 1024, "a claimed 64 MB reserve nothing");
}

#[tokio::test]
async fn any_body_of_any_type_is_survived() {
    // Every type with bodies of small counts and lengths: whatever passes the check must decode without a panic.
    for kind in 0..=255u8 {
        for body in
            [&b""[..], b"\0", b"\0\0", b"\0\0\0\0", b"a\0b\0\0\x01\0\0\0\x17", b"S\0", b"\0\0\0\0\0\x01\0\0\0\0\0\0"]
        {
            let mut frame = vec![kind];
            frame.extend((body.len() as i32 + 4).to_be_bytes());
            frame.extend(body);
            read(&frame).await;
        }
    }
}
