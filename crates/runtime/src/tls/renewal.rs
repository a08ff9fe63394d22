//! Keeps TLS fresh while a process runs. Files that changed are read again, each minute and at
//! SIGHUP, and the operator is warned before a certificate expires.
//!
//! Open connections stay as they are. If new files do not fit together, for instance because a
//! certificate's key has not been written yet, the old ones stay in use; this is logged once, and
//! the files are checked again.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::transport::ClientTlsConfig;
use tracing::{error, info, warn};

use super::files::{FileRole, Loaded, Stamp};
use super::handshake::{Failures, ListenerTls};
use super::{CertificateFile, ClientTls, ServerTls, TlsError};
use crate::clock::Clock;

/// How often the files are checked.
const INTERVAL: Duration = Duration::from_secs(60);
const DAY: u64 = 24 * 60 * 60;
/// How long before a certificate expires its owner is warned, once a day.
const WARNING_SECONDS: u64 = 14 * DAY;

/// The present TLS towards servers.
pub type ClientTlsNow = watch::Receiver<Arc<ClientTlsConfig>>;

/// The Unix second in which the first of the process's own certificates expires; 0 if it has none.
static FIRST_TO_EXPIRE: AtomicU64 = AtomicU64::new(0);

/// The Unix second in which the first of the process's own certificates expires; `None` if it has
/// none.
pub fn first_to_expire() -> Option<u64> {
    Some(FIRST_TO_EXPIRE.load(Ordering::Relaxed)).filter(|at| *at != 0)
}

/// Everything in a process that was loaded from TLS files.
#[derive(Default)]
pub struct Renewals(Vec<Arc<dyn Renew>>);

impl fmt::Debug for Renewals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|subject| subject.name())).finish()
    }
}

/// How close a certificate is to its expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The certificate is valid for more than two weeks.
    Fine,
    /// The certificate expires within two weeks.
    Soon(String),
    /// The certificate is not valid: a peer that checks it does not connect.
    Invalid(String),
}

impl CertificateFile {
    /// Tells how close the certificate is to its expiry at this time.
    pub fn expiry(&self, now: u64) -> Expiry {
        let (path, what) = (self.path.display(), self.role.name());
        if now > self.validity.not_after {
            let days = (now - self.validity.not_after) / DAY;
            Expiry::Invalid(format!("TLS {what} {path} expired {days} days ago: renew it"))
        } else if now < self.validity.not_before {
            let seconds = self.validity.not_before - now;
            Expiry::Invalid(format!(
                "TLS {what} {path} is not valid before another {seconds} s: is this clock right?"
            ))
        } else if self.validity.not_after - now < WARNING_SECONDS {
            let days = (self.validity.not_after - now) / DAY;
            Expiry::Soon(format!("TLS {what} {path} expires in {days} days: renew it"))
        } else {
            Expiry::Fine
        }
    }
}

impl Renewals {
    /// Loads the TLS of a listener, which [`Renewals::run`] keeps fresh.
    ///
    /// # Errors
    /// Fails if the files cannot be used.
    pub fn listener(
        &mut self,
        name: &'static str,
        tls: &ServerTls,
        handshake_timeout: Duration,
    ) -> Result<ListenerTls, TlsError> {
        let tls = tls.clone();
        let paths = tls.paths();
        let config = self.add(name, paths, move || tls.load())?;
        Ok(ListenerTls { config, failures: Arc::new(Failures::new(name)), timeout: handshake_timeout })
    }

    /// Loads the TLS towards servers, which [`Renewals::run`] keeps fresh.
    ///
    /// # Errors
    /// Fails if the files cannot be used.
    pub fn client(
        &mut self,
        name: &'static str,
        tls: &ClientTls,
        handshake_timeout: Duration,
    ) -> Result<ClientTlsNow, TlsError> {
        let tls = tls.clone();
        let paths = tls.paths();
        self.add(name, paths, move || tls.load_with_validity(handshake_timeout))
    }

    fn add<C: Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<Loaded<C>, TlsError> + Send + Sync + 'static,
    ) -> Result<watch::Receiver<Arc<C>>, TlsError> {
        let stamp = Stamp::of(&paths);
        let Loaded { config, files } = load()?;
        let (current, receiver) = watch::channel(config);
        let state = Mutex::new(State { adopted: stamp, refused: None, files });
        self.0.push(Arc::new(Subject { name, paths, load, current, state }));
        Ok(receiver)
    }

    /// All certificates in use, each with the name of the part that uses it.
    pub fn files(&self) -> Vec<(&'static str, CertificateFile)> {
        self.0
            .iter()
            .flat_map(|subject| subject.files().into_iter().map(|file| (subject.name(), file)))
            .collect()
    }

    /// The first second in which one of the process's own certificates is no longer valid; `None`
    /// without TLS.
    pub fn first_to_expire(&self) -> Option<u64> {
        let own = |(_, file): &(&str, CertificateFile)| file.role == FileRole::Certificate;
        self.files().into_iter().filter(own).map(|(_, file)| file.validity.not_after).min()
    }

    /// The certificates that expire soon, one line each, for `--check-config`.
    ///
    /// # Errors
    /// Fails if a certificate has expired or is not valid yet.
    pub fn check(&self, now: u64) -> Result<Vec<String>, TlsError> {
        let mut warnings = Vec::new();
        for (part, file) in self.files() {
            match file.expiry(now) {
                Expiry::Fine => {}
                Expiry::Soon(text) => warnings.push(format!("{part}: {text}")),
                Expiry::Invalid(problem) => {
                    return Err(TlsError::Expired { problem: format!("{part}: {problem}") });
                }
            }
        }
        Ok(warnings)
    }

    /// Checks all files, and loads those that changed, if they fit together. If `forced`, it also
    /// loads those that did not change.
    pub fn look(&self, now: u64, forced: bool) {
        for subject in &self.0 {
            subject.look(now, forced);
        }
    }

    /// Checks the files each minute and loads those that changed; at SIGHUP it loads all. It never
    /// ends.
    ///
    /// # Errors
    /// Fails if the system does not let a process wait for SIGHUP.
    pub async fn run(self, clock: Arc<dyn Clock>) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let subjects = Arc::new(self);
        let mut last_told = None;
        loop {
            let forced = tokio::select! {
                _ = ticks.tick() => false,
                _ = hangups.recv() => true,
            };
            if forced {
                info!(signal = "SIGHUP", tls = subjects.0.len(), "reading TLS files again");
            }
            let now = clock.now_unix_seconds();
            let looked = Arc::clone(&subjects);
            // The files may be on a network disk, so reading them may block.
            if let Err(lost) = tokio::task::spawn_blocking(move || looked.look(now, forced)).await {
                error!(error = %lost, "looking at TLS files failed");
            }
            FIRST_TO_EXPIRE.store(subjects.first_to_expire().unwrap_or(0), Ordering::Relaxed);
            if last_told.is_none_or(|day| day != now / DAY) {
                last_told = Some(now / DAY);
                subjects.tell(now);
            }
        }
    }

    fn tell(&self, now: u64) {
        for (part, file) in self.files() {
            match file.expiry(now) {
                Expiry::Fine => {}
                Expiry::Soon(text) => warn!(part, "{text}"),
                Expiry::Invalid(text) => error!(part, "{text}"),
            }
        }
    }
}

/// One TLS configuration that was loaded from files.
trait Renew: Send + Sync {
    fn name(&self) -> &'static str;
    fn files(&self) -> Vec<CertificateFile>;
    fn look(&self, now: u64, forced: bool);
}

struct Subject<C, L> {
    name: &'static str,
    paths: Vec<PathBuf>,
    load: L,
    current: watch::Sender<Arc<C>>,
    state: Mutex<State>,
}

struct State {
    /// The state of the files that are in use.
    adopted: Stamp,
    /// The state of newer files that do not fit together, so that they are logged once.
    refused: Option<Stamp>,
    files: Vec<CertificateFile>,
}

impl<C, L> Renew for Subject<C, L>
where
    C: Send + Sync,
    L: Fn() -> Result<Loaded<C>, TlsError> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn files(&self) -> Vec<CertificateFile> {
        self.state.lock().files.clone()
    }

    fn look(&self, now: u64, forced: bool) {
        let mut state = self.state.lock();
        let stamp = Stamp::of(&self.paths);
        if !self.paths.is_empty() && (forced || stamp != state.adopted) {
            let was_told = state.refused.as_ref() == Some(&stamp);
            match (self.load)().and_then(|loaded| better(&state.files, loaded, now)) {
                Ok(Loaded { config, files }) => {
                    self.current.send_replace(config);
                    let paths = Paths(&self.paths);
                    let not_after = files.iter().map(|file| file.validity.not_after).min();
                    info!(part = self.name, %paths, not_after, "TLS files were read again");
                    *state = State { adopted: stamp, refused: None, files };
                }
                Err(error) => {
                    if forced || !was_told {
                        error!(part = self.name, %error, "the changed TLS files do not fit: the former ones stay in use");
                    }
                    state.refused = Some(stamp);
                }
            }
        }
        for file in &state.files {
            expires(self.name, file);
        }
    }
}

/// Keeps valid files: files that are not valid now do not replace them.
fn better<C>(former: &[CertificateFile], loaded: Loaded<C>, now: u64) -> Result<Loaded<C>, TlsError> {
    let problem = |files: &[CertificateFile]| {
        files.iter().find_map(|file| match file.expiry(now) {
            Expiry::Invalid(problem) => Some(problem),
            _ => None,
        })
    };
    match problem(&loaded.files) {
        Some(problem_now) if problem(former).is_none() => Err(TlsError::Expired { problem: problem_now }),
        _ => Ok(loaded),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn expires(part: &'static str, file: &CertificateFile) {
    metrics::gauge!(
        "dac_tls_certificate_expiry_timestamp_seconds", "part" => part, "file" => file.role.name()
    )
    .set(file.validity.not_after as f64);
}

struct Paths<'a>(&'a [PathBuf]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, path) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { ", " };
            write!(formatter, "{gap}{}", path.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
