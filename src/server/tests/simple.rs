//! The simple query protocol.

use super::client::{message, query};
use super::session;

#[tokio::test]
async fn rows_are_described_sent_and_counted() {
    let (_fake, _server, mut client) = session().await;
    let expected = ["columns n:23:0", "row 0", "row 1", "row 2", "row 3", "tag SELECT 4", "ready I"];
    assert_eq!(client.query("rows 4").await, expected);
    assert_eq!(client.query("rows 0").await, ["columns n:23:0", "tag SELECT 0", "ready I"]);
    assert_eq!(client.query("explain").await, ["columns n:23:0", "row 0", "tag EXPLAIN", "ready I"]);
    assert_eq!(client.query("create table").await, ["tag CREATE TABLE", "ready I"]);
}

#[tokio::test]
async fn a_large_result_arrives_whole() {
    let (fake, _server, mut client) = session().await;
    let messages = client.query("rows 100000").await;
    assert_eq!(messages.len(), 100_003);
    assert_eq!(messages[100_000], "row 99999");
    fake.wait_for_live(0).await;
}

#[tokio::test]
async fn empty_and_comment_only_texts_are_empty_queries() {
    let (_fake, _server, mut client) = session().await;
    for text in ["", " ; ;", "-- ping"] {
        assert_eq!(client.query(text).await, ["empty", "ready I"], "{text}");
    }
}

#[tokio::test]
async fn statements_are_answered_one_by_one_up_to_the_first_error() {
    let (_fake, _server, mut client) = session().await;
    let expected = [
        "tag ONE",
        "columns n:23:0",
        "row 0",
        "tag SELECT 1",
        "error ERROR 22012 division by zero [D: One.] [H: Two.] [P: 3]",
        "ready I",
    ];
    assert_eq!(client.query("one; rows 1; fail; two").await, expected);
    // Nothing runs if the text does not parse.
    let expected = ["error ERROR 42601 syntax error at or near \"syntax\" [P: 1]", "ready I"];
    assert_eq!(client.query("one; syntax").await, expected);
}

#[tokio::test]
async fn an_error_fails_the_transaction_block() {
    let (_fake, _server, mut client) = session().await;
    assert_eq!(client.query("begin").await, ["tag BEGIN", "ready T"]);
    assert_eq!(client.query("fail").await.last().unwrap(), "ready E");
    assert_eq!(client.query("rows 1").await, ["error ERROR 25P02 current transaction is aborted", "ready E"]);
    assert_eq!(client.query("rollback").await, ["tag ROLLBACK", "ready I"]);
    // A text that does not parse fails the block as well.
    client.query("begin").await;
    assert_eq!(client.query("syntax").await.last().unwrap(), "ready E");
}

#[tokio::test]
async fn notices_come_before_the_tag_and_at_once() {
    let (fake, server, mut client) = session().await;
    assert_eq!(client.query("notice hello").await, ["notice NOTICE 00000 hello", "tag NOTICE HELLO", "ready I"]);
    client.send(&query("slow notice soon")).await;
    assert_eq!(client.message().await.unwrap(), "notice NOTICE 00000 notice soon");
    fake.wait_for_live(1).await;
    client.cancel(server.local_addr()).await;
    assert!(client.until_ready().await[0].starts_with("error ERROR 57014"));
}

#[tokio::test]
async fn changed_parameters_are_reported() {
    let (_fake, _server, mut client) = session().await;
    let expected = ["tag SET X", "parameter application_name=x", "ready I"];
    assert_eq!(client.query("set x").await, expected);
}

#[tokio::test]
async fn a_quiet_stream_delivers_what_it_has() {
    let (_fake, _server, mut client) = session().await;
    client.send(&query("quiet")).await;
    assert_eq!(client.message().await.unwrap(), "columns n:23:0");
    assert_eq!(client.message().await.unwrap(), "row 7");
}

#[tokio::test]
async fn copy_out_escapes_fields_and_counts_rows() {
    let (_fake, server, mut client) = session().await;
    let expected = [
        "copy out 0 2".to_owned(),
        format!("copy {:?}", "a\\tb\\\\c\\nd\ta\\tb\\\\c\\nd\n"),
        format!("copy {:?}", "\\N\t\\N\n"),
        format!("copy {:?}", "\t\n"),
        "copy done".to_owned(),
        "tag COPY 3".to_owned(),
        "ready I".to_owned(),
    ];
    assert_eq!(client.query("copy 3").await, expected);
    client.send(&query("copy quiet")).await;
    for expected in &expected[..4] {
        assert_eq!(&client.message().await.unwrap(), expected);
    }
    client.cancel(server.local_addr()).await;
    assert_eq!(client.until_ready().await, ["error ERROR 57014 canceling statement due to user request", "ready I"]);
}

#[tokio::test]
async fn stray_copy_messages_are_ignored() {
    let (_fake, _server, mut client) = session().await;
    client.send(&[message(b'd', b"x"), message(b'c', b""), message(b'f', b"why\0")].concat()).await;
    assert_eq!(client.query("one").await, ["tag ONE", "ready I"]);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error_not_a_guess() {
    let (_fake, _server, mut client) = session().await;
    client.send(&message(b'Q', b"one \xff\0")).await;
    let expected =
        "error ERROR 22000 invalid byte sequence for encoding \"UTF8\": 0xff [H: Set the client encoding to UTF8.]";
    assert_eq!(client.until_ready().await, [expected, "ready I"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planning_also_works_beside_other_threads() {
    let (_fake, _server, mut client) = session().await;
    assert_eq!(client.query("one").await, ["tag ONE", "ready I"]);
}
