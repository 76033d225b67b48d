//! Money moved in transaction blocks, by several tellers between the same few accounts: they wait for each other, run into
//! deadlocks and time-outs, are cancelled, and close their sockets in the middle of a statement. A transfer that was
//! acknowledged is there once and wholly, one that failed isn't there at all, the sum of all balances never changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio_postgres::{Client, NoTls};

use crate::compare::only_disconnected;
use crate::process::{Address, describe, disconnected, rows, sorted, value};
use crate::views::View;

pub const ACCOUNTS: i64 = 8;
const START: i64 = 1_000;
const IDS_PER_TELLER: i64 = 1_000_000_000;
/// Transfers of this amount make one view fail.
const UNLUCKY: i64 = 13;

pub const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, balance bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS transfer (id bigint PRIMARY KEY, source int, target int, amount bigint)",
];

/// Accounts whose balance is not what their transfers say.
const BROKEN: &str = "SELECT a.id AS id, a.balance AS balance FROM account a \
    LEFT JOIN (SELECT target, sum(amount) AS came FROM transfer GROUP BY target) t ON t.target = a.id \
    LEFT JOIN (SELECT source, sum(amount) AS went FROM transfer GROUP BY source) s ON s.source = a.id \
    WHERE a.balance <> 1000 + coalesce(came, 0) - coalesce(went, 0)";

/// Views over the accounts. The last two are slow: they compute everything anew, or join much with much.
pub fn views() -> Vec<View> {
    vec![
        View::new("t_money", "SELECT sum(balance) AS total, count(*) AS n FROM account"),
        View::new("t_broken", BROKEN),
        View::new(
            "t_flows",
            "SELECT source, target, count(*) AS n, sum(amount) AS total FROM transfer GROUP BY source, target",
        ),
        View::new("t_steps", "SELECT id, amount - lag(amount) OVER (ORDER BY id) AS step FROM transfer"),
        View::new(
            "t_chains",
            "SELECT a.id AS id, count(*) AS n FROM transfer a JOIN transfer b ON a.target = b.source \
             AND a.amount < b.amount WHERE a.id % 4 = 0 AND b.id % 4 = 1 GROUP BY a.id",
        ),
    ]
}

/// A view that cannot be computed while there is a transfer of the unlucky amount.
pub const UNLUCKY_VIEW: (&str, &str) = ("t_unlucky", "SELECT id, 100 / (amount - 13) AS part FROM transfer");

/// Fills the accounts.
pub fn opening() -> String {
    let values: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {START})")).collect();
    format!("INSERT INTO account VALUES {}", values.join(", "))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transfer {
    source: i64,
    target: i64,
    amount: i64,
}

/// What became of a transfer.
enum Fate {
    Done,
    /// The server said that it didn't happen, or was never asked to commit it.
    Failed,
    /// Nobody said.
    Doubtful,
    /// The server is gone; whether it was asked to commit.
    Gone {
        asked: bool,
    },
}

/// What one teller knows.
#[derive(Debug)]
pub struct Teller {
    teller: i64,
    next: i64,
    known: BTreeMap<i64, Transfer>,
    /// Unanswered when the server or the socket went.
    doubtful: BTreeMap<i64, Transfer>,
    pub acknowledged: u64,
    /// Ended by a time-out, a cancel or a deadlock.
    pub failed: u64,
    /// Ended by closing the socket.
    pub abandoned: u64,
}

impl Teller {
    pub fn new(teller: i64) -> Teller {
        Teller {
            teller,
            next: teller * IDS_PER_TELLER,
            known: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            acknowledged: 0,
            failed: 0,
            abandoned: 0,
        }
    }

    /// Moves money until the server is gone, and says so when some was moved.
    pub async fn write(mut self, client: Client, mut rng: StdRng, address: Address, progress: Arc<Notify>) -> Teller {
        loop {
            let (id, transfer) = self.draw(&mut rng);
            let fate = match rng.random_range(0..100) {
                0..55 => in_block(&client, &mut rng, id, transfer).await,
                55..70 => at_once(&client, &mut rng, id, transfer).await,
                70..84 => in_a_hurry(&client, &mut rng, id, transfer).await,
                84..93 => cancelled(&client, &mut rng, id, transfer, address).await,
                _ => {
                    self.abandoned += 1;
                    abandoned(&mut rng, id, transfer, address).await
                }
            };
            match fate {
                Fate::Done => {
                    self.known.insert(id, transfer);
                    self.acknowledged += 1;
                    progress.notify_one();
                }
                Fate::Failed => self.failed += 1,
                Fate::Doubtful => drop(self.doubtful.insert(id, transfer)),
                Fate::Gone { asked } => {
                    if asked {
                        self.doubtful.insert(id, transfer);
                    }
                    return self;
                }
            }
        }
    }

    fn draw(&mut self, rng: &mut StdRng) -> (i64, Transfer) {
        let id = self.next;
        self.next += 1;
        let source = rng.random_range(1..=ACCOUNTS);
        let target = source % ACCOUNTS + 1;
        let target = if rng.random_bool(0.5) { target } else { target % ACCOUNTS + 1 };
        let amount = if rng.random_bool(0.002) { UNLUCKY } else { rng.random_range(UNLUCKY + 1..UNLUCKY + 90) };
        (id, Transfer { source, target, amount })
    }

    /// Compares with what the server has, and takes that as known from now on.
    pub async fn check(&mut self, client: &Client, when: &str) {
        let first = self.teller * IDS_PER_TELLER;
        let query = format!(
            "SELECT id, source, target, amount FROM transfer WHERE id >= {first} AND id < {}",
            first + IDS_PER_TELLER
        );
        let mut found = BTreeMap::new();
        for row in rows(client, &query).await.unwrap_or_else(|error| panic!("{when}: {}", describe(&error))) {
            let cell = |i: usize| row[i].as_deref().and_then(|text| text.parse::<i64>().ok()).expect("a number");
            let transfer = Transfer { source: cell(1), target: cell(2), amount: cell(3) };
            assert!(found.insert(cell(0), transfer).is_none(), "{when}: transfer {} is there twice", cell(0));
        }
        for (id, transfer) in &self.known {
            assert_eq!(found.get(id), Some(transfer), "{when}: acknowledged transfer {id} is lost");
        }
        for (id, transfer) in &found {
            let expected = self.known.get(id).or(self.doubtful.get(id));
            assert_eq!(expected, Some(transfer), "{when}: transfer {id} failed, or nobody made it");
        }
        self.known = found;
        self.doubtful.clear();
    }
}

/// What holds at every moment, whoever is at work: in one snapshot, money is where the transfers have put it.
pub async fn check_money(client: &Client, when: &str) -> Result<(), tokio_postgres::Error> {
    let total = ACCOUNTS * START;
    let snapshot = format!(
        "SELECT (SELECT sum(balance) FROM account) = {total}, (SELECT total FROM t_money) = {total}, \
         (SELECT count(*) FROM t_broken), (SELECT count(*) FROM ({BROKEN}) AS broken)"
    );
    let found = rows(client, &snapshot).await?;
    let expected = ["t", "t", "0", "0"].map(|cell| Some(cell.to_owned())).to_vec();
    assert_eq!(found, [expected], "{when}: money is not where it belongs");
    Ok(())
}

/// The view that may fail does so exactly when its query does, and names the same reason.
pub async fn check_unlucky(client: &Client, when: &str) {
    let (name, query) = UNLUCKY_VIEW;
    let unlucky = value(client, &format!("SELECT count(*) FROM transfer WHERE amount = {UNLUCKY}")).await;
    let read = rows(client, &format!("SELECT * FROM {name}")).await;
    match (unlucky.as_deref(), read) {
        (Some("0"), Ok(mut found)) => {
            found.sort();
            assert_eq!(found, sorted(client, query).await, "{when}: {name} is not its query");
        }
        (Some("0"), Err(error)) => panic!("{when}: {name} fails without reason: {}", describe(&error)),
        (_, Ok(_)) => panic!("{when}: {name} answers although a row of it failed"),
        (_, Err(error)) => assert!(describe(&error).starts_with("22012"), "{when}: {name}: {}", describe(&error)),
    }
}

fn statements(id: i64, transfer: Transfer) -> [String; 3] {
    let Transfer { source, target, amount } = transfer;
    [
        format!("UPDATE account SET balance = balance - {amount} WHERE id = {source}"),
        format!("UPDATE account SET balance = balance + {amount} WHERE id = {target}"),
        format!("INSERT INTO transfer VALUES ({id}, {source}, {target}, {amount})"),
    ]
}

/// What an error means that isn't the connection's end. Anything else is a fault.
fn failed(error: &tokio_postgres::Error, what: &str) {
    let code = error.code().map_or("", |code| code.code());
    assert!(["57014", "40P01", "55P03"].contains(&code), "{what}: {}", describe(error));
}

/// Statement by statement; now and then with a detour that a savepoint takes back, or rolled back as a whole.
async fn in_block(client: &Client, rng: &mut StdRng, id: i64, transfer: Transfer) -> Fate {
    let [debit, credit, note] = statements(id, transfer);
    let detour = format!("UPDATE account SET balance = 0 WHERE id = {}", transfer.target);
    let mut all = vec!["BEGIN".to_owned(), debit];
    if rng.random_bool(0.3) {
        all.extend(["SAVEPOINT s".to_owned(), detour, "ROLLBACK TO s".to_owned()]);
    }
    all.extend([credit, note]);
    let commit = rng.random_bool(0.9);
    for statement in &all {
        if let Err(error) = client.batch_execute(statement).await {
            return undone(client, &error, statement).await;
        }
    }
    let end = if commit { "COMMIT" } else { "ROLLBACK" };
    match client.batch_execute(end).await {
        Ok(()) if commit => Fate::Done,
        Ok(()) => Fate::Failed,
        Err(error) if disconnected(&error) => Fate::Gone { asked: commit },
        Err(error) => undone(client, &error, end).await,
    }
}

/// After an error in a block.
async fn undone(client: &Client, error: &tokio_postgres::Error, statement: &str) -> Fate {
    if disconnected(error) {
        return Fate::Gone { asked: false };
    }
    failed(error, statement);
    match client.batch_execute("ROLLBACK").await {
        Ok(()) => Fate::Failed,
        Err(error) => {
            only_disconnected(&error, "ROLLBACK");
            Fate::Gone { asked: false }
        }
    }
}

/// One message: one implicit transaction, or a block.
async fn at_once(client: &Client, rng: &mut StdRng, id: i64, transfer: Transfer) -> Fate {
    let all = statements(id, transfer).join("; ");
    let block = rng.random_bool(0.5);
    let message = if block { format!("BEGIN; {all}; COMMIT") } else { all };
    match client.batch_execute(&message).await {
        Ok(()) => Fate::Done,
        Err(error) if disconnected(&error) => Fate::Gone { asked: true },
        Err(error) => undone(client, &error, &message).await,
    }
}

/// With a time-out that some statements don't meet.
async fn in_a_hurry(client: &Client, rng: &mut StdRng, id: i64, transfer: Transfer) -> Fate {
    let setting = format!("SET statement_timeout = '{}ms'", rng.random_range(1..12));
    if let Err(error) = client.batch_execute(&setting).await {
        only_disconnected(&error, &setting);
        return Fate::Gone { asked: false };
    }
    let fate = if rng.random_bool(0.5) {
        at_once(client, rng, id, transfer).await
    } else {
        in_block(client, rng, id, transfer).await
    };
    // Fails only if the server is gone, which the next statement will meet too.
    let _ = client.batch_execute("SET statement_timeout = 0").await;
    fate
}

/// Somebody asks to cancel whatever runs.
async fn cancelled(client: &Client, rng: &mut StdRng, id: i64, transfer: Transfer, address: Address) -> Fate {
    let token = client.cancel_token();
    let pause = Duration::from_micros(rng.random_range(0..6_000));
    let cancel = async {
        tokio::time::sleep(pause).await;
        address.try_cancel(&token).await;
    };
    // Both are waited for: a request that is late must not meet the next transfer.
    let (fate, ()) = tokio::join!(at_once(client, rng, id, transfer), cancel);
    fate
}

/// On a connection of its own, which is closed before the answer.
async fn abandoned(rng: &mut StdRng, id: i64, transfer: Transfer, address: Address) -> Fate {
    let configuration = address.configuration();
    let Ok((client, connection)) = tokio_postgres::connect(&configuration, NoTls).await else {
        // The server is gone, or still busy with the sockets that were closed before.
        return Fate::Failed;
    };
    let connection = tokio::spawn(connection);
    let message = statements(id, transfer).join("; ");
    let pause = Duration::from_micros(rng.random_range(0..6_000));
    let answered = tokio::time::timeout(pause, client.batch_execute(&message)).await;
    // Drops the socket in the middle of whatever the server does.
    connection.abort();
    match answered {
        Ok(Ok(())) => Fate::Done,
        Ok(Err(error)) if !disconnected(&error) => {
            failed(&error, &message);
            Fate::Failed
        }
        Ok(Err(_)) | Err(_) => Fate::Doubtful,
    }
}
