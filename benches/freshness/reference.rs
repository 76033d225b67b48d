//! What the machine itself needs in the same block: a loopback round trip, and a synced 4 kB append.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

const MESSAGE: usize = 64;
const SYNCS: usize = 200;

/// A 64-byte ping-pong over loopback, every millisecond while the block runs.
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Histogram<u64>>,
}

impl Echo {
    pub fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("the client connects");
            peer.set_nodelay(true).expect("a socket option");
            let mut message = [0u8; MESSAGE];
            while peer.read_exact(&mut message).is_ok() && peer.write_all(&message).is_ok() {}
        });
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("connects");
            client.set_nodelay(true).expect("a socket option");
            let mut histogram = Histogram::new(3).expect("a histogram");
            let mut message = [0u8; MESSAGE];
            while !told.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.write_all(&message).expect("sends");
                client.read_exact(&mut message).expect("receives");
                histogram.record(start.elapsed().as_nanos() as u64).expect("the histogram grows");
                std::thread::sleep(Duration::from_millis(1));
            }
            histogram
        });
        Echo { stop, thread }
    }

    pub fn finish(self) -> Histogram<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the echo ends")
    }
}

/// Times of `SYNCS` appends of 4 kB, each followed by fdatasync.
pub fn sync_times(directory: &Path) -> Histogram<u64> {
    let mut file = std::fs::File::create(directory.join("sync")).expect("a file");
    let block = [7u8; 4096];
    let mut histogram = Histogram::new(3).expect("a histogram");
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&block).expect("writes");
        file.sync_data().expect("syncs");
        histogram.record(start.elapsed().as_nanos() as u64).expect("the histogram grows");
    }
    histogram
}
