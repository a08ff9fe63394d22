//! Connections to members and aggregators: TLS by URL scheme, deadlines on every step, addresses checked as they resolve.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_types::limits::MESSAGE_MAX_BYTES;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};

use crate::endpoint::{EndpointError, EndpointPolicy, EndpointUrl};
use crate::fault::{MemberFault, chain_text};
use crate::text::printable;

/// Bytes of response headers and trailers that are read, at most.
const HEADERS_MAX_BYTES: u32 = 16 << 10;
/// Bytes in flight on one stream: two pieces.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;

/// Bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// The network below a [`Dialer`]: this machine's, or one that a simulation puts in its place.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// All addresses of a name.
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// Opens a connection.
    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Connection>>;
}

/// Names and TCP as the operating system has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNetwork;

#[async_trait]
impl Network for SystemNetwork {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// How to connect.
#[derive(Clone)]
pub struct Dialer {
    policy: EndpointPolicy,
    connect_timeout: Duration,
    tls: Option<ClientTlsConfig>,
    network: Arc<dyn Network>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dialer")
            .field("policy", &self.policy)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Under a policy; `https` with the usual public roots.
    pub fn new(policy: EndpointPolicy) -> Self {
        Self { policy, connect_timeout: Duration::from_secs(5), tls: None, network: Arc::new(SystemNetwork) }
    }

    /// Over another network than this machine's.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Another time for name resolution, TCP and TLS together.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Another TLS configuration for `https` URLs: own roots, a client certificate.
    #[must_use]
    pub fn tls(mut self, tls: ClientTlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Which addresses are connected to.
    pub const fn policy(&self) -> EndpointPolicy {
        self.policy
    }

    /// Connects to a URL as the registry gives it.
    pub async fn connect(&self, url: &str) -> Result<Channel, MemberFault> {
        let url: EndpointUrl = url.parse()?;
        self.connect_url(&url).await
    }

    /// Connects. Returns within the deadline whatever the other side does.
    pub async fn connect_url(&self, url: &EndpointUrl) -> Result<Channel, MemberFault> {
        url.check_literal(self.policy)?;
        let mut endpoint = Endpoint::from_shared(url.as_str().to_owned())
            .map_err(|_| EndpointError::Malformed { got: printable(url.as_str()), problem: "it is no URL" })?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(2 * STREAM_WINDOW_BYTES)
            .http2_max_header_list_size(HEADERS_MAX_BYTES);
        if url.is_tls() {
            let tls = self.tls.clone().unwrap_or_else(|| ClientTlsConfig::new().with_enabled_roots());
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| MemberFault::Unreachable { problem: printable(&chain_text(&error)) })?;
        }
        let (host, port, policy) = (url.host().to_owned(), url.port(), self.policy);
        let network = Arc::clone(&self.network);
        let connector = tower::service_fn(move |_: Uri| {
            let (host, network) = (host.clone(), Arc::clone(&network));
            async move { dial(&*network, &host, port, policy).await.map(TokioIo::new) }
        });
        let limit = self.connect_timeout;
        match tokio::time::timeout(limit, endpoint.connect_with_connector(connector)).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(refused_endpoint(&error).map_or_else(
                || MemberFault::Unreachable { problem: printable(&chain_text(&error)) },
                MemberFault::Endpoint,
            )),
            Err(_) => Err(MemberFault::TimedOut { what: "connecting", limit }),
        }
    }
}

/// Largest message that is decoded.
pub(crate) const fn message_limit() -> usize {
    MESSAGE_MAX_BYTES
}

/// Resolves, and connects to the first address that policy and network allow.
async fn dial(
    network: &dyn Network,
    host: &str,
    port: u16,
    policy: EndpointPolicy,
) -> io::Result<Box<dyn Connection>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in network.lookup(host, port).await? {
        if let Err(error) = policy.check_address(host, address.ip()) {
            last = io::Error::new(io::ErrorKind::PermissionDenied, error);
            continue;
        }
        match network.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The policy's refusal at the bottom of a transport error, if that is what it is.
fn refused_endpoint(error: &(dyn std::error::Error + 'static)) -> Option<EndpointError> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        let refusal = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(refusal) = refusal.and_then(|refusal| refusal.downcast_ref::<EndpointError>()) {
            return Some(refusal.clone());
        }
        cause = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_resolve_to_this_machine_are_refused() {
        let dialer = Dialer::new(EndpointPolicy::PublicOnly);
        for url in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            let fault = dialer.connect(url).await.unwrap_err();
            assert!(
                matches!(fault, MemberFault::Endpoint(EndpointError::NotPublic { .. })),
                "{url}: {fault:?}"
            );
        }
    }

    /// Every name is one address of a private network, and nobody ever answers.
    struct Elsewhere;

    #[async_trait]
    impl Network for Elsewhere {
        async fn lookup(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))])
        }

        async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Connection>> {
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody at {address}")))
        }
    }

    #[tokio::test]
    async fn another_network_is_asked_and_its_addresses_are_checked_too() {
        let dialer = |policy| Dialer::new(policy).network(Arc::new(Elsewhere));
        let fault = dialer(EndpointPolicy::PublicOnly).connect("http://member.test:7").await.unwrap_err();
        assert!(matches!(fault, MemberFault::Endpoint(EndpointError::NotPublic { .. })), "{fault:?}");
        let fault = dialer(EndpointPolicy::AllowPrivate).connect("http://member.test:7").await.unwrap_err();
        let MemberFault::Unreachable { problem } = fault else { panic!("{fault:?}") };
        assert!(problem.contains("nobody at 10.0.0.1:7"), "{problem}");
    }

    #[tokio::test]
    async fn nobody_listening_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let fault = Dialer::new(EndpointPolicy::AllowPrivate).connect(&url).await.unwrap_err();
        assert!(matches!(fault, MemberFault::Unreachable { .. }), "{fault:?}");
    }
}
