//! The TLS of accepted connections. The handshake runs in its connection's task, at the first read
//! or write, so a slow client does not hold up others. Failures are counted and logged by kind.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{AlertDescription, Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

/// The least time between two log lines about one kind of failure.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Why a client's handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    NoClientCertificate,
    ClientCertificateRefused,
    RefusedByClient,
    NotTls,
    Incompatible,
    TimedOut,
    HungUp,
}

impl Failure {
    const ALL: [Self; 7] = [
        Self::NoClientCertificate,
        Self::ClientCertificateRefused,
        Self::RefusedByClient,
        Self::NotTls,
        Self::Incompatible,
        Self::TimedOut,
        Self::HungUp,
    ];

    fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::NoCertificatesPresented) => Self::NoClientCertificate,
            Some(Error::InvalidCertificate(_)) => Self::ClientCertificateRefused,
            Some(Error::AlertReceived(alert)) if Self::is_about_our_certificate(*alert) => {
                Self::RefusedByClient
            }
            Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => Self::NotTls,
            Some(_) => Self::Incompatible,
            None if error.kind() == io::ErrorKind::TimedOut => Self::TimedOut,
            None => Self::HungUp,
        }
    }

    const fn is_about_our_certificate(alert: AlertDescription) -> bool {
        matches!(
            alert,
            AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                // The client knows an authority of this name, but with another key.
                | AlertDescription::DecryptError
        )
    }

    /// The kind's name in the metric.
    const fn name(self) -> &'static str {
        match self {
            Self::NoClientCertificate => "no_client_certificate",
            Self::ClientCertificateRefused => "client_certificate_refused",
            Self::RefusedByClient => "refused_by_client",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::TimedOut => "timed_out",
            Self::HungUp => "hung_up",
        }
    }

    /// What is missing, for the operators of both sides.
    const fn advice(self) -> &'static str {
        match self {
            Self::NoClientCertificate => {
                "a client certificate is required here and none came: the client configures one that client_ca \
                 vouches for, or client_ca is left out"
            }
            Self::ClientCertificateRefused => {
                "the client's certificate was refused: it is not of client_ca, or not valid now"
            }
            Self::RefusedByClient => {
                "the client refused this listener's certificate: it does not trust its authority, the certificate \
                 has expired, or it is for another name"
            }
            Self::NotTls => {
                "what came is not TLS: the client is configured for http:// where https:// is served"
            }
            Self::Incompatible => "client and listener have no version or cipher of TLS in common",
            Self::TimedOut => "the client did not finish within handshake_timeout",
            Self::HungUp => "the client hung up",
        }
    }
}

/// The failures of one listener: counted, and logged at most once a minute for each kind.
#[derive(Debug)]
pub(super) struct Failures {
    listener: &'static str,
    told: Mutex<[Told; Failure::ALL.len()]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    at: Option<Instant>,
    untold: u64,
}

impl Failures {
    pub(super) fn new(listener: &'static str) -> Self {
        for failure in Failure::ALL {
            count(listener, failure, 0);
        }
        Self { listener, told: Mutex::default() }
    }

    fn add(&self, error: &io::Error) {
        let failure = Failure::of(error);
        count(self.listener, failure, 1);
        let told = {
            let mut told = self.told.lock();
            let told = &mut told[failure as usize];
            told.untold += 1;
            let due = told.at.is_none_or(|at| at.elapsed() >= TELL_INTERVAL);
            due.then(|| {
                told.at = Some(Instant::now());
                std::mem::take(&mut told.untold)
            })
        };
        let Some(failures) = told else { return };
        let (listener, kind) = (self.listener, failure.name());
        // Load balancers that only check whether the port is open hang up each time.
        if failure == Failure::HungUp {
            debug!(listener, kind, failures, %error, "TLS handshakes failed: {}", failure.advice());
        } else {
            warn!(listener, kind, failures, %error, "TLS handshakes failed: {}", failure.advice());
        }
    }
}

fn count(listener: &'static str, failure: Failure, failures: u64) {
    metrics::counter!("dac_tls_handshake_failures_total", "listener" => listener, "kind" => failure.name())
        .increment(failures);
}

/// The TLS with which a listener accepts connections: the newest certificate, and the authority for
/// clients.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    pub(super) config: watch::Receiver<Arc<ServerConfig>>,
    pub(super) failures: Arc<Failures>,
    pub(super) timeout: Duration,
}

/// An accepted connection, encrypted if its listener uses TLS.
pub(crate) struct Secured<S: Connected> {
    state: State<S>,
    info: S::ConnectInfo,
}

enum State<S> {
    Plain(S),
    Handshake(Box<Handshake<S>>),
    Open(Box<TlsStream<S>>),
    Failed,
}

struct Handshake<S> {
    accept: Accept<S>,
    deadline: Pin<Box<Sleep>>,
    failures: Arc<Failures>,
}

impl<S: AsyncRead + AsyncWrite + Connected + Unpin> Secured<S> {
    pub(crate) fn new(stream: S, tls: Option<&ListenerTls>) -> Self {
        let info = stream.connect_info();
        let state = match tls {
            None => State::Plain(stream),
            Some(tls) => State::Handshake(Box::new(Handshake {
                accept: TlsAcceptor::from(Arc::clone(&tls.config.borrow())).accept(stream),
                deadline: Box::pin(tokio::time::sleep(tls.timeout)),
                failures: Arc::clone(&tls.failures),
            })),
        };
        Self { state, info }
    }

    /// Drives the handshake to its end, if it is not over.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut State<S>>> {
        if let State::Handshake(handshake) = &mut self.state {
            let result = match Pin::new(&mut handshake.accept).poll(context) {
                Poll::Ready(result) => result,
                Poll::Pending => {
                    ready!(handshake.deadline.as_mut().poll(context));
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))
                }
            };
            match result {
                Ok(stream) => self.state = State::Open(Box::new(stream)),
                Err(error) => {
                    handshake.failures.add(&error);
                    self.state = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(&mut self.state))
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the TLS handshake failed")
}

impl<S: Connected> Connected for Secured<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.info.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Connected + Unpin> AsyncRead for Secured<S>
where
    S::ConnectInfo: Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.poll_open(context))? {
            State::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            State::Open(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            State::Handshake(_) | State::Failed => Poll::Ready(Err(closed())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Connected + Unpin> AsyncWrite for Secured<S>
where
    S::ConnectInfo: Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_open(context))? {
            State::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            State::Open(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            State::Handshake(_) | State::Failed => Poll::Ready(Err(closed())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_open(context))? {
            State::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            State::Open(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
            State::Handshake(_) | State::Failed => Poll::Ready(Err(closed())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.state {
            State::Plain(stream) => stream.is_write_vectored(),
            // rustls takes several slices at once, before and after the handshake.
            State::Open(_) | State::Handshake(_) => true,
            State::Failed => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_open(context))? {
            State::Plain(stream) => Pin::new(stream).poll_flush(context),
            State::Open(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            State::Handshake(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            State::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // No data was sent, so dropping the connection closes it.
            State::Handshake(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn each_failure_has_its_place_and_name() {
        for (place, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, place);
            assert!(Failure::ALL.iter().filter(|other| other.name() == failure.name()).count() == 1);
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let tls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        for (error, failure) in [
            (tls(Error::NoCertificatesPresented), Failure::NoClientCertificate),
            (tls(Error::InvalidCertificate(CertificateError::Expired)), Failure::ClientCertificateRefused),
            (tls(Error::AlertReceived(AlertDescription::UnknownCA)), Failure::RefusedByClient),
            (tls(Error::AlertReceived(AlertDescription::ProtocolVersion)), Failure::Incompatible),
            (tls(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), Failure::NotTls),
            (io::ErrorKind::TimedOut.into(), Failure::TimedOut),
            (io::ErrorKind::UnexpectedEof.into(), Failure::HungUp),
        ] {
            assert_eq!(Failure::of(&error), failure, "{error}");
        }
    }
}
