//! What state costs: bytes per key, bytes per checkpoint, balance over workers, a one-row epoch on a big view, point
//! reads before and after many such epochs, and that windows give their state back. How to read it: benches/README.md.

mod checkpoint;
mod keys;
mod pipeline;
mod publish;
mod windows;

/// The server's, so that both measure the same memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip_while(|a| a != name);
        arguments.nth(1).and_then(|v| v.parse::<u64>().ok())
    };
    let keys = argument("--keys").unwrap_or(10_000_000);
    let epochs = argument("--epochs").unwrap_or(1_000_000);
    println!("| measure | value | bar | goal |");
    println!("|---|---|---|---|");
    keys::report(keys);
    checkpoint::report(keys / 10);
    windows::report();
    publish::report(keys, epochs);
}
