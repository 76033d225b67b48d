//! The extended query protocol.

use super::client::{bind, close, describe_message, execute, flush, message, parse, sync};
use super::session;

#[tokio::test]
async fn parse_bind_describe_execute() {
    let (_fake, _server, mut client) = session().await;
    let flow = [
        parse("s", "echo $1 $2", &[0, 25]),
        describe_message(b'S', "s"),
        bind("", "s", &[1, 0], &[Some(&[0, 0, 0, 0, 0, 0, 0, 42]), Some(b"x")], &[1, 0]),
        describe_message(b'P', ""),
        execute("", 0),
        sync(),
    ];
    client.send(&flow.concat()).await;
    let expected = [
        "parsed",
        "parameters 20,25",
        "columns p:20:0 p:25:0",
        "bound",
        "columns p:20:1 p:25:0",
        r"row \x00\x00\x00\x00\x00\x00\x00* x",
        "tag SELECT 1",
        "ready I",
    ];
    assert_eq!(client.until_ready().await, expected);
}

#[tokio::test]
async fn what_returns_nothing_is_described_as_no_data() {
    let (_fake, _server, mut client) = session().await;
    let empty = [parse("", "", &[]), describe_message(b'S', ""), bind("", "", &[], &[], &[]), execute("", 0), sync()];
    client.send(&empty.concat()).await;
    assert_eq!(client.until_ready().await, ["parsed", "parameters ", "no data", "bound", "empty", "ready I"]);
    let command =
        [parse("", "one", &[]), bind("", "", &[], &[], &[]), describe_message(b'P', ""), execute("", 0), sync()];
    client.send(&command.concat()).await;
    assert_eq!(client.until_ready().await, ["parsed", "bound", "no data", "tag ONE", "ready I"]);
}

#[tokio::test]
async fn null_and_declared_types() {
    let (_fake, _server, mut client) = session().await;
    let flow = [
        parse("", "echo $1 $2", &[23, 1700]),
        describe_message(b'S', ""),
        bind("", "", &[], &[None, Some(b"12")], &[]),
        execute("", 0),
        sync(),
    ];
    client.send(&flow.concat()).await;
    // The backend infers bigint where it is told nothing, as for a numeric; the client is told what it declared.
    let expected =
        ["parsed", "parameters 23,1700", "columns p:23:0 p:20:0", "bound", "row NULL 12", "tag SELECT 1", "ready I"];
    assert_eq!(client.until_ready().await, expected);
}

#[tokio::test]
async fn a_declared_numeric_is_numeric_where_nothing_else_tells() {
    let (_fake, _server, mut client) = session().await;
    let flow =
        [parse("", "say $1 $2", &[1700, 0]), bind("", "", &[], &[Some(b"1.5"), Some(b"x")], &[]), execute("", 0)];
    client.send(&[flow.concat(), describe_message(b'S', ""), sync()].concat()).await;
    let expected = [
        "parsed",
        "bound",
        "row 1.5000000000 x",
        "tag SELECT 1",
        "parameters 1700,25",
        "columns p:1700:0 p:25:0",
        "ready I",
    ];
    assert_eq!(client.until_ready().await, expected);
}

#[tokio::test]
async fn after_an_error_messages_are_skipped_up_to_sync() {
    let (_fake, _server, mut client) = session().await;
    let unit = |sql: &str| [parse("", sql, &[]), bind("", "", &[], &[], &[]), execute("", 0)].concat();
    let pipeline =
        [unit("one"), unit("fail"), unit("two"), super::client::query("three"), sync(), unit("four"), sync()];
    client.send(&pipeline.concat()).await;
    let failed = "error ERROR 22012 division by zero [D: One.] [H: Two.] [P: 3]";
    assert_eq!(client.until_ready().await, ["parsed", "bound", "tag ONE", "parsed", "bound", failed, "ready I"]);
    assert_eq!(client.until_ready().await, ["parsed", "bound", "tag FOUR", "ready I"]);
}

#[tokio::test]
async fn portals_are_suspended_and_resumed() {
    let (fake, _server, mut client) = session().await;
    client.query("begin").await;
    let start = [parse("", "rows 7", &[]), bind("c", "", &[], &[], &[]), execute("c", 2), sync()];
    client.send(&start.concat()).await;
    assert_eq!(client.until_ready().await, ["parsed", "bound", "row 0", "row 1", "suspended", "ready T"]);
    // The limit ends inside a batch, at its end, and beyond the rows.
    client.send(&[execute("c", 4), execute("c", 1), execute("c", 0), execute("c", 5), sync()].concat()).await;
    let expected = [
        "row 2",
        "row 3",
        "row 4",
        "row 5",
        "suspended",
        "row 6",
        "suspended",
        "tag SELECT 0",
        "tag SELECT 0",
        "ready T",
    ];
    assert_eq!(client.until_ready().await, expected);
    client.send(&[bind("d", "", &[], &[], &[]), execute("d", 1), sync()].concat()).await;
    client.until_ready().await;
    fake.wait_for_live(1).await;
    // The end of the transaction ends the portal, and the work behind it.
    client.query("commit").await;
    fake.wait_for_live(0).await;
    client.send(&[execute("d", 1), sync()].concat()).await;
    assert_eq!(client.until_ready().await, ["error ERROR 34000 portal \"d\" does not exist", "ready I"]);
}

#[tokio::test]
async fn flush_delivers_without_sync() {
    let (_fake, _server, mut client) = session().await;
    client.send(&[parse("", "rows 5", &[]), bind("", "", &[], &[], &[]), execute("", 1), flush()].concat()).await;
    for expected in ["parsed", "bound", "row 0", "suspended"] {
        assert_eq!(client.message().await.unwrap(), expected);
    }
    // No Sync yet: the portal lives on outside a transaction block.
    client.send(&[execute("", 1), flush()].concat()).await;
    assert_eq!(client.message().await.unwrap(), "row 1");
}

#[tokio::test]
async fn a_command_runs_once() {
    let (_fake, _server, mut client) = session().await;
    client
        .send(&[parse("", "one", &[]), bind("", "", &[], &[], &[]), execute("", 0), execute("", 0), sync()].concat())
        .await;
    let expected = ["parsed", "bound", "tag ONE", "error ERROR 55000 portal cannot be run", "ready I"];
    assert_eq!(client.until_ready().await, expected);
}

#[tokio::test]
async fn names_are_checked() {
    let (_fake, _server, mut client) = session().await;
    let one_name_twice = [parse("s", "one", &[]), parse("s", "two", &[]), sync()].concat();
    let cases: [(Vec<u8>, &str); 9] = [
        (one_name_twice, "42P05 prepared statement \"s\" already exists"),
        (bind("", "x", &[], &[], &[]), "26000 prepared statement \"x\" does not exist"),
        (bind("", "", &[], &[], &[]), "26000 unnamed prepared statement does not exist"),
        (execute("x", 0), "34000 portal \"x\" does not exist"),
        (describe_message(b'S', "x"), "26000 prepared statement \"x\" does not exist"),
        (describe_message(b'P', "x"), "34000 portal \"x\" does not exist"),
        (parse("", "one; two", &[]), "42601 cannot insert multiple commands into a prepared statement"),
        (
            bind("", "s", &[], &[Some(b"1")], &[]),
            "08P01 bind message supplies 1 parameters, but prepared statement \"s\" requires 0",
        ),
        (bind("", "s", &[], &[], &[7]), "22023 unsupported format code: 7"),
    ];
    for (messages, expected) in cases {
        client.send(&[messages, sync()].concat()).await;
        let mut answers = client.until_ready().await;
        if answers[0] == "parsed" {
            client.until_ready().await;
            answers.remove(0);
        }
        assert_eq!(answers, [format!("error ERROR {expected}"), "ready I".to_owned()]);
    }
}

#[tokio::test]
async fn a_cursor_of_declare_can_be_described_as_a_portal() {
    let (_fake, _server, mut client) = session().await;
    client.send(&[describe_message(b'P', "c"), sync()].concat()).await;
    assert_eq!(client.until_ready().await, ["columns of_cursor:25:0", "ready I"]);
}

#[tokio::test]
async fn statements_can_be_closed_and_deallocated() {
    let (_fake, _server, mut client) = session().await;
    let use_it = |name: &str| [bind("", name, &[], &[], &[]), execute("", 0), sync()].concat();
    let prepare = [parse("a", "one", &[]), parse("b", "one", &[]), parse("d", "one", &[]), sync()].concat();
    client.send(&prepare).await;
    client.until_ready().await;
    client.send(&[close(b'S', "a"), close(b'S', "never"), close(b'P', "never"), use_it("a")].concat()).await;
    let gone = |name: &str| format!("error ERROR 26000 prepared statement \"{name}\" does not exist");
    assert_eq!(client.until_ready().await, ["closed", "closed", "closed", &gone("a"), "ready I"]);
    // One that the client prepared by message is deallocated here, others are the engine's.
    assert_eq!(client.query("deallocate b").await, ["tag DEALLOCATE", "ready I"]);
    client.send(&use_it("b")).await;
    assert_eq!(client.until_ready().await, [&gone("b"), "ready I"]);
    assert_eq!(client.query("deallocate b").await, ["tag DEALLOCATE B", "ready I"]);
    assert_eq!(client.query("deallocate all").await, ["tag DEALLOCATE ALL", "ready I"]);
    client.send(&use_it("d")).await;
    assert_eq!(client.until_ready().await, [&gone("d"), "ready I"]);
}

#[tokio::test]
async fn a_bad_parameter_fails_the_bind() {
    let (_fake, _server, mut client) = session().await;
    client.send(&[parse("", "echo $1", &[23]), bind("", "", &[0], &[Some(b"x")], &[]), sync()].concat()).await;
    let expected = ["parsed", "error ERROR 22P02 invalid input syntax for type integer: \"x\"", "ready I"];
    assert_eq!(client.until_ready().await, expected);
    client.send(&[parse("", "echo $1", &[99999]), sync()].concat()).await;
    assert!(client.until_ready().await[0].starts_with("error ERROR 42704 type with OID 99999 does not exist"));
}

#[tokio::test]
async fn an_unexpected_message_is_fatal() {
    let (_fake, _server, mut client) = session().await;
    client.send(&message(b'p', b"secret\0")).await;
    assert_eq!(client.until_closed().await, ["error FATAL 08P01 unexpected frontend message"]);
}
