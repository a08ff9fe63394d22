//! Stopping a process: a signal cancels a token, running work ends, and a deadline cuts off the
//! rest.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
pub use tokio_util::sync::CancellationToken;
pub use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long a process that must end at once waits for the reader of its log.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Returns a token that SIGTERM or SIGINT cancels. A second signal ends the process at once. SIGHUP
/// no longer ends the process.
pub fn on_signal() -> io::Result<CancellationToken> {
    // A signal that is waited for once no longer ends the process. `tls::Renewals` acts on it.
    drop(signal(SignalKind::hangup())?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stopping = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 143),
                _ = interrupt.recv() => ("SIGINT", 130),
            }
        };
        let (name, _) = next().await;
        info!(signal = name, "stopping; a second signal ends the process at once");
        stopping.cancel();
        let (name, code) = next().await;
        warn!(signal = name, "ending at once");
        crate::telemetry::flush(LAST_WORDS);
        #[expect(
            clippy::disallowed_methods,
            reason = "who signals twice wants no orderly end; the log was flushed"
        )]
        std::process::exit(code);
    });
    Ok(token)
}

/// The message with which a lost task panicked.
pub fn panic_message(lost: JoinError) -> String {
    match lost.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "no message".to_owned(),
        },
        Err(lost) => lost.to_string(),
    }
}

/// Waits until all tracked tasks have ended, at most `limit`. Returns how many are left; they end
/// with the async runtime.
pub async fn drain(tasks: &TaskTracker, limit: Duration) -> usize {
    tasks.close();
    if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
        warn!(tasks = tasks.len(), limit = ?limit, "not everything stopped in time");
    }
    tasks.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_waits_for_tasks_and_gives_up_at_the_deadline() {
        let tasks = TaskTracker::new();
        let token = CancellationToken::new();
        let stop = token.clone();
        tasks.spawn(async move { stop.cancelled().await });
        token.cancel();
        assert_eq!(drain(&tasks, Duration::from_secs(5)).await, 0);

        let tasks = TaskTracker::new();
        tasks.spawn(std::future::pending::<()>());
        assert_eq!(drain(&tasks, Duration::from_secs(5)).await, 1);
    }
}
