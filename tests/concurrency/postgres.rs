//! A PostgreSQL server of our own: a fresh data directory and a free port on loopback, gone with its owner.
//!
//! Its settings make blocking an event instead of a guess: with `log_lock_waits` and `client_min_messages = log` a client
//! is told that its statement waits, right after the server has looked for a deadlock (`deadlock_timeout`).

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client;

/// A server that isn't ready by then hangs.
const READY_MAX: Duration = Duration::from_secs(60);
const USER: &str = "postgres";

const SETTINGS: [&str; 14] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "deadlock_timeout=1ms",
    "log_lock_waits=on",
    "client_min_messages=log",
    "log_min_messages=panic",
    "lc_messages=C",
    "shared_buffers=32MB",
    "timezone=UTC",
];

/// Where the programs `initdb` and `postgres` are: `HIGHWATER_TEST_POSTGRES`, or where Debian puts its newest.
/// None if there is no PostgreSQL; with `HIGHWATER_REQUIRE_CLIENTS` that is a failure.
pub fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("HIGHWATER_TEST_POSTGRES").map(PathBuf::from);
    let found = named.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        folders.filter(|folder| folder.join("initdb").exists()).max()
    });
    if found.is_none() {
        let required = std::env::var_os("HIGHWATER_REQUIRE_CLIENTS").is_some();
        assert!(!required, "no PostgreSQL server is installed (Debian: postgresql)");
        println!("no PostgreSQL server is installed: nothing is compared");
    }
    found
}

pub struct Postgres {
    server: Child,
    address: SocketAddr,
    // Dropped last.
    _directory: tempfile::TempDir,
}

impl Postgres {
    pub fn start(programs: &Path) -> Postgres {
        let directory = tempfile::Builder::new().prefix("highwater-postgres-").tempdir().expect("a directory");
        if let Some(owner) = user_to_become() {
            std::os::unix::fs::chown(directory.path(), Some(owner), None).expect("root gives directories away");
        }
        let data = directory.path().join("data");
        let log = File::create(directory.path().join("log")).expect("a log file");
        let mut initdb = as_user(&programs.join("initdb"));
        initdb.args(["--username", USER, "--auth", "trust", "--no-sync", "--locale", "C", "--encoding", "UTF8"]);
        let output = initdb.arg("--pgdata").arg(&data).output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let mut postgres = as_user(&programs.join("postgres"));
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        postgres.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let server = postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("postgres starts");
        let mut started =
            Postgres { server, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), _directory: directory };
        started.wait_until_ready();
        started
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// It is asked again and again because there is no other signal.
    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + READY_MAX;
        while !self.welcomes() {
            let ended = self.server.try_wait().expect("the child can be asked");
            assert!(ended.is_none(), "PostgreSQL refuses to start: {ended:?}");
            assert!(Instant::now() < deadline, "PostgreSQL is not ready after a minute");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Postgres {
    /// Whether it begins a session; while it starts up it refuses them.
    fn welcomes(&self) -> bool {
        let hello = client::startup(0x0003_0000, &[("user", USER)]);
        let asked = TcpStream::connect(self.address).and_then(|mut socket| {
            socket.write_all(&hello)?;
            let mut first = [0];
            socket.read_exact(&mut first)?;
            Ok(first[0] == b'R')
        });
        asked.unwrap_or(false)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its fast shutdown: children and shared memory go too. It may have ended by itself.
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

fn identifier(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("id {arguments:?}: {text}"))
}

/// PostgreSQL refuses to run as root; Debian's package makes a user for it.
fn user_to_become() -> Option<u32> {
    (identifier(&["-u"]) == 0).then(|| identifier(&["-u", USER]))
}

/// The program as a user that PostgreSQL accepts; it ends with the thread that starts it, should that be killed.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if let Some(user) = user_to_become() {
        command.args([&format!("--reuid={user}"), &format!("--regid={USER}"), "--init-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}
