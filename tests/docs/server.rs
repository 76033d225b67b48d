//! One server in memory on a free port, in a folder of its own that holds the fixtures.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct Server {
    child: Child,
    port: u16,
    /// Removed with the server.
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Result<Server, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docs/data");
        for entry in std::fs::read_dir(data).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().expect("entries have names");
            std::fs::copy(&path, folder.path().join(name)).map_err(|error| error.to_string())?;
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["serve", "--in-memory", "--listen", "127.0.0.1:0", "--http", "off", "--workers", "2"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let banner = BufReader::new(child.stdout.take().expect("stdout is piped"));
        // `connect  psql -h 127.0.0.1 -p PORT -U …`
        let port = banner.lines().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once(" -p ")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        match port {
            Some(port) => Ok(Server { child, port, _folder: folder }),
            None => {
                // It has closed its output, so it is ending or has ended.
                let _ = child.kill();
                Err("the server did not say where it listens".to_string())
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is on disk: there is nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
