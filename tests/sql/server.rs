//! One server process of the real binary: its own port, its own directory, killed with SIGKILL.
//! The directory and the log live until the value is dropped, so a failure can show what the server said.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait until a started server accepts connections.
const READY_MAX: Duration = Duration::from_secs(60);
/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
/// Lines of the log shown with a failure.
const LOG_LINES: usize = 60;

pub struct Server {
    directory: tempfile::TempDir,
    address: SocketAddr,
    workers: usize,
    child: Child,
    /// How often it was started; connections made to an earlier one are dead.
    generation: u64,
}

impl Server {
    /// Starts a server on a new directory and waits until it accepts connections.
    pub fn start(workers: usize) -> Server {
        let directory = tempfile::Builder::new().prefix("highwater-sql-").tempdir().expect("a temporary directory");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = free.local_addr().expect("a bound port has an address");
        drop(free);
        let child = spawn(&directory.path().join("data"), &directory.path().join("log"), address, workers);
        let mut server = Server { directory, address, workers, child, generation: 1 };
        std::fs::create_dir(server.temp()).expect("a new directory can be filled");
        server.wait_ready();
        server
    }

    /// A directory beside the database that goes with the server.
    pub fn temp(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// Kill -9, then a new start on the same directory.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.data(), &self.log_path(), self.address, self.workers);
        self.generation += 1;
        self.wait_ready();
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    /// The last lines that the server wrote.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn kill(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect(self.address).is_err() {
            assert!(self.alive(), "the server ended while starting:\n{}", self.log());
            assert!(Instant::now() < deadline, "the server is not ready after {READY_MAX:?}:\n{}", self.log());
            std::thread::sleep(RETRY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(data: &std::path::Path, log: &std::path::Path, address: SocketAddr, workers: usize) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("the log can be opened");
    Command::new(env!("CARGO_BIN_EXE_highwater"))
        .arg("serve")
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", &address.to_string(), "--http", "off", "--workers", &workers.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be cloned"))
        .stderr(log)
        .spawn()
        .expect("the server binary starts")
}
