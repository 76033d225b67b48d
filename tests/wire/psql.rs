//! psql: output, its `\d` commands, errors with detail and hint, exit codes, `\copy`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::peers::{self, Ended, ended};
use crate::process::Server;
use crate::start;

fn program() -> Option<String> {
    peers::find("HIGHWATER_TEST_PSQL", "psql", &["--version"], "Install psql (apt install postgresql-client)")
}

fn command(psql: &str, server: &Server) -> Command {
    let mut command = Command::new(psql);
    // Nothing of the user's: start-up files, PG* variables that change the output, the locale.
    command.args(["-X", "-w", "-h", "127.0.0.1", "-p", &server.socket_address().port().to_string()]);
    command.args(["-U", "ann", "-d", "highwater"]).env("LC_ALL", "C").env("PGCLIENTENCODING", "UTF8");
    command.env_remove("PGOPTIONS").env_remove("PGSERVICE").env_remove("PAGER");
    command
}

fn run(psql: &str, server: &Server, arguments: &[&str]) -> Ended {
    ended(command(psql, server).args(arguments).stdin(Stdio::null()).output().expect("psql runs"))
}

/// What a command prints; it must end well and say nothing else.
fn prints(psql: &str, server: &Server, sql: &str) -> String {
    let ended = run(psql, server, &["-c", sql]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{sql}");
    ended.out
}

const SETUP: &str = "
CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL DEFAULT 'x', amount numeric(10,2), at timestamptz);
INSERT INTO orders VALUES (1, 'ann', 2.50, '2026-01-02 03:04:05+00'), (2, 'bob', NULL, NULL);
CREATE SCHEMA s1;
CREATE VIEW names AS SELECT id, customer FROM orders;
CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) AS n FROM orders GROUP BY customer;
CREATE SOURCE ticks (n bigint) WITH (connector = 'datagen');
";

#[tokio::test]
async fn queries_and_tags() {
    let Some(psql) = program() else { return };
    let (place, server) = start("psql");
    let ended = run(&psql, &server, &["-q", "-v", "ON_ERROR_STOP=1", "-c", SETUP]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let expected = " id | customer | amount |           at           
----+----------+--------+------------------------
  1 | ann      |   2.50 | 2026-01-02 03:04:05+00
  2 | bob      |        | 
(2 rows)";
    assert_eq!(prints(&psql, &server, "SELECT * FROM orders ORDER BY id"), expected.trim_end());
    assert_eq!(prints(&psql, &server, "INSERT INTO orders VALUES (3, 'cid', 1, now())"), "INSERT 0 1");
    assert_eq!(prints(&psql, &server, "DELETE FROM orders WHERE id = 3"), "DELETE 1");
    let unaligned = run(&psql, &server, &["-A", "-t", "-c", "SELECT 1, NULL, 'x'", "-c", "SHOW search_path"]);
    assert_eq!(unaligned.out, "1||x\n\"$user\", public");
    // Parameters through the extended protocol, and a cursor behind the scenes.
    let script = "\\bind 2 \\g\n\\echo done\n";
    let ended = with_input(&psql, &server, &["-A", "-t"], &format!("SELECT $1::int + 1 {script}"));
    // psql 15 does not know \bind; what it can't do it says itself.
    assert!(ended.out.contains("done"), "{ended:?}");
    let script = "\\set FETCH_COUNT 2\nSELECT * FROM (VALUES (1), (2), (3), (4), (5)) AS v ORDER BY 1;\n";
    assert_eq!(with_input(&psql, &server, &["-A", "-t"], script).out, "1\n2\n3\n4\n5");
    let describe = "SELECT 1::int2 AS a, 'x' AS b, now() AS c \\gdesc\n";
    let types = "a|smallint\nb|text\nc|timestamp with time zone";
    assert_eq!(with_input(&psql, &server, &["-A", "-t"], describe).out, types);
    drop(server);
    place.check_log();
}

fn with_input(psql: &str, server: &Server, arguments: &[&str], input: &str) -> Ended {
    let mut command = command(psql, server);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("psql runs");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("psql reads");
    ended(child.wait_with_output().expect("psql ends"))
}

#[tokio::test]
async fn the_describe_commands() {
    let Some(psql) = program() else { return };
    let (place, server) = start("describe");
    assert_eq!(run(&psql, &server, &["-q", "-v", "ON_ERROR_STOP=1", "-c", SETUP]).code, Some(0));
    let rows = |command: &str| {
        let ended = run(&psql, &server, &["-A", "-t", "-c", command]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{command}");
        ended.out
    };
    let all = "public|names|view|highwater\npublic|orders|table|highwater\n\
               public|per_customer|materialized view|highwater\npublic|ticks|foreign table|highwater";
    assert_eq!(rows("\\d"), all);
    assert_eq!(rows("\\dt"), "public|orders|table|highwater");
    assert_eq!(rows("\\dv"), "public|names|view|highwater");
    assert_eq!(rows("\\dm"), "public|per_customer|materialized view|highwater");
    assert_eq!(rows("\\dn"), "hw_catalog|highwater\npublic|highwater\ns1|highwater");
    assert!(rows("\\l").starts_with("highwater|highwater|UTF8|C|C|"), "{}", rows("\\l"));
    assert_eq!(rows("\\df"), "");
    assert_eq!(rows("\\du").lines().next(), Some("ann|Superuser, Create role, Create DB, Bypass RLS|{}"));
    let ended = run(&psql, &server, &["-c", "\\dt nosuch"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), "Did not find any relation named \"nosuch\"."));
    let table = "                        Table \"public.orders\"
  Column  |           Type           | Collation | Nullable | Default 
----------+--------------------------+-----------+----------+---------
 id       | integer                  |           | not null | 
 customer | text                     |           | not null | 'x'
 amount   | numeric(10,2)            |           |          | 
 at       | timestamp with time zone |           |          | 
Indexes:
    \"orders_pkey\" PRIMARY KEY, btree (id)";
    assert_eq!(prints(&psql, &server, "\\d orders"), table);
    assert!(prints(&psql, &server, "\\d per_customer").contains(" n        | bigint |"));
    assert!(prints(&psql, &server, "\\d names").contains("View \"public.names\""));
    for more in ["\\dt+", "\\dm+", "\\l+", "\\dn+"] {
        prints(&psql, &server, more);
    }
    for (more, shown) in [
        ("\\d ticks", "Server: datagen"),
        ("\\d+ orders", "\"orders_pkey\" PRIMARY KEY, btree (id)"),
        ("\\d+ names", "View definition:"),
        ("\\d+ per_customer", "Materialized view \"public.per_customer\""),
    ] {
        let printed = prints(&psql, &server, more);
        assert!(printed.contains(shown), "{more}: {printed}");
    }
    assert!(prints(&psql, &server, "\\sv names").contains("SELECT id, customer FROM orders"));
    let ended = run(&psql, &server, &["-c", "\\d nosuch"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), "Did not find any relation named \"nosuch\"."));
    drop(server);
    place.check_log();
}

#[tokio::test]
async fn errors_exit_codes_and_copy() {
    let Some(psql) = program() else { return };
    let (_place, server) = start("codes");
    assert_eq!(run(&psql, &server, &["-q", "-v", "ON_ERROR_STOP=1", "-c", SETUP]).code, Some(0));
    let failed = run(&psql, &server, &["-c", "INSERT INTO orders VALUES (1, 'x', 1, now())"]);
    let expected = "ERROR:  duplicate key value violates unique constraint \"orders_pkey\"\n\
                    DETAIL:  Key (id)=(1) already exists.";
    assert_eq!((failed.code, failed.err.as_str()), (Some(1), expected));
    let failed = run(&psql, &server, &["-c", "SELECT * FROM orders; SELEC 1"]);
    let expected = "ERROR:  syntax error at or near \"SELEC\"\nLINE 1: SELECT * FROM orders; SELEC 1\n";
    assert_eq!(failed.code, Some(1));
    assert!(failed.err.starts_with(expected), "{}", failed.err);
    let failed = run(&psql, &server, &["-c", "DROP TABLE orders"]);
    let expected = "ERROR:  cannot drop table orders because other objects depend on it\n\
                    DETAIL:  view names depends on table orders\n\
                    materialized view per_customer depends on table orders\n\
                    HINT:  Use DROP ... CASCADE to drop the dependent objects too.";
    assert_eq!((failed.code, failed.err.as_str()), (Some(1), expected));
    let verbose = run(&psql, &server, &["-v", "VERBOSITY=sqlstate", "-c", "SELECT 1/0"]);
    assert_eq!(verbose.err, "ERROR:  22012");

    // A file goes on after an error, or stops with 3.
    let script = "SELECT 1/0;\nSELECT 5;\n";
    assert_eq!(with_input(&psql, &server, &["-A", "-t"], script).code, Some(0));
    let stopped = with_input(&psql, &server, &["-A", "-t", "-v", "ON_ERROR_STOP=1"], script);
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(3), ""));
    // No such server.
    let mut nobody = Command::new(&psql);
    nobody.args(["-X", "-h", "127.0.0.1", "-p", "1", "-U", "ann", "-d", "highwater", "-c", "SELECT 1"]);
    assert_eq!(nobody.output().unwrap().status.code(), Some(2));

    let copied = run(&psql, &server, &["-c", "\\copy (select id, customer, amount from orders order by id) to stdout"]);
    assert_eq!((copied.code, copied.out.as_str()), (Some(0), "1\tann\t2.50\n2\tbob\t\\N"));
    let notice = run(&psql, &server, &["-c", "DROP TABLE IF EXISTS nosuch"]);
    assert_eq!(
        (notice.out.as_str(), notice.err.as_str()),
        ("DROP TABLE", "NOTICE:  table \"nosuch\" does not exist, skipping")
    );
}

#[tokio::test]
async fn a_subscription_prints_each_change_as_it_comes() {
    let Some(psql) = program() else { return };
    // Into a pipe psql writes in blocks, unlike to a terminal.
    let install = "It is part of GNU coreutils";
    let Some(stdbuf) = peers::find("HIGHWATER_TEST_STDBUF", "stdbuf", &["--version"], install) else { return };
    let (_place, server) = start("follow");
    let writer = server.connect().await;
    writer.batch_execute("CREATE TABLE t (k int, note text)").await.unwrap();
    let by_line = command(&psql, &server);
    let mut child = Command::new(stdbuf)
        .args(["-oL", psql.as_str()])
        .args(by_line.get_args())
        .args(["-c", "COPY (SUBSCRIBE t) TO STDOUT"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for k in 1..=3 {
        writer.batch_execute(&format!("INSERT INTO t VALUES ({k}, 'n')")).await.unwrap();
        let line = lines.next().expect("psql prints").expect("text");
        assert!(line.ends_with(&format!("\t1\t{k}\tn")), "{line}");
    }
    // The table's end is the statement's.
    writer.batch_execute("DROP TABLE t").await.unwrap();
    assert!(lines.next().is_none());
    assert_eq!(child.wait().expect("psql ends").code(), Some(1));
}
