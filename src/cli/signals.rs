//! The first SIGINT or SIGTERM asks to stop; a second SIGINT aborts.

/// As a shell reports a process that SIGINT ended.
const ABORTED_CODE: i32 = 130;

/// Resolves at the first SIGINT or SIGTERM. From then on another SIGINT ends the process at once.
pub(crate) async fn stop_requested() -> anyhow::Result<&'static str> {
    let name = first_signal().await?;
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("aborted");
            std::process::exit(ABORTED_CODE);
        }
    });
    Ok(name)
}

#[cfg(unix)]
async fn first_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(not(unix))]
async fn first_signal() -> anyhow::Result<&'static str> {
    tokio::signal::ctrl_c().await?;
    Ok("SIGINT")
}
