//! Real clients: tokio-postgres in this process, psql as a process of its own.

use std::pin::pin;
use std::process::{Command, Stdio};

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::{Fake, serve};

#[tokio::test]
async fn tokio_postgres_works() {
    let fake = Fake::default();
    let server = serve(&fake).await;
    let config = format!("host=127.0.0.1 port={} user=ann dbname=db", server.local_addr().port());
    let (mut client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);

    let rows = client.query("rows 5", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let row = client.query_one("echo $1 $2", &[&42i64, &None::<i64>]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, Option<i64>>(1)), (42, None));

    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("rows 5", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 3);
    assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 2);
    transaction.rollback().await.unwrap();

    let messages = client.simple_query("rows 2; one").await.unwrap();
    let rows = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    assert_eq!(rows, 2);
    let error = client.query("fail", &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22012");

    let copied: Vec<_> = client.copy_out("copy 3").await.unwrap().try_collect().await.unwrap();
    assert_eq!(copied[1].as_ref(), b"\\N\t\\N\n");

    let cancel = client.cancel_token();
    let stream = client.query_raw("quiet", Vec::<i64>::new()).await.unwrap();
    let mut stream = pin!(stream);
    assert_eq!(stream.next().await.unwrap().unwrap().get::<_, i32>(0), 7);
    cancel.cancel_query(NoTls).await.unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");

    drop(client);
    connection.await.unwrap().unwrap();
    fake.wait_for_live(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_works_where_it_is_installed() {
    if Command::new("psql").arg("--version").stdout(Stdio::null()).status().is_err() {
        return;
    }
    let server = serve(&Fake::default()).await;
    let url = format!("postgres://ann@127.0.0.1:{}/db", server.local_addr().port());
    let run = |arguments: &[&str]| {
        let output = Command::new("psql").args(["-X", "-A", "-t", &url]).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&["-c", "rows 3"]), ("0\n1\n2".to_owned(), String::new()));
    assert_eq!(run(&["-c", "notice hello"]), ("NOTICE HELLO".to_owned(), "NOTICE:  hello".to_owned()));
    let (out, err) = run(&["-c", "fail"]);
    assert_eq!(out, "");
    assert!(err.starts_with("ERROR:  division by zero\nLINE 1: fail\n"), "{err}");
    assert!(err.contains("DETAIL:  One.\nHINT:  Two."), "{err}");
    assert_eq!(run(&["-c", "copy 3"]).0, "a\\tb\\\\c\\nd\ta\\tb\\\\c\\nd\n\\N\t\\N\n\t".trim_end());
}
