//! Opens connections to members and aggregators: the URL's scheme decides on TLS, every step has a
//! deadline, and addresses are checked when they are resolved.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_types::limits::MESSAGE_MAX_BYTES;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};

use crate::cause::causes;
use crate::endpoint::{EndpointError, EndpointPolicy, EndpointUrl};
use crate::fault::MemberFault;
use crate::text::printable;

/// The most bytes of response headers and trailers that are read.
const HEADERS_MAX_BYTES: u32 = 16 << 10;
/// Bytes in flight on one stream: two pieces.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;

/// The pause after which the next address of a name is tried beside those that have not answered;
/// see RFC 8305, section 5.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// The most addresses of one name that are tried. With so many, the last one is tried well before
/// the default deadline.
const ADDRESSES_MAX: usize = 16;

/// A stream of bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// The network that a [`Dialer`] uses: this machine's, or a simulated one.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Resolves a name to all its addresses.
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// Opens a connection.
    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Connection>>;
}

/// Name resolution and TCP of the operating system.
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

/// Opens connections under a policy, with a network, a deadline and a TLS configuration.
#[derive(Clone)]
pub struct Dialer {
    policy: EndpointPolicy,
    connect_timeout: Duration,
    tls: Option<watch::Receiver<Arc<ClientTlsConfig>>>,
    network: Arc<dyn Network>,
}

/// Identifies the TLS configuration that a [`Dialer`] used at some time, to tell whether it has
/// changed.
#[derive(Clone)]
pub struct Generation(Option<Arc<ClientTlsConfig>>);

impl PartialEq for Generation {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Generation").finish_non_exhaustive()
    }
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
    /// Makes a dialer with a policy; for `https` URLs it trusts the usual public roots.
    pub fn new(policy: EndpointPolicy) -> Self {
        Self { policy, connect_timeout: Duration::from_secs(5), tls: None, network: Arc::new(SystemNetwork) }
    }

    /// Uses another network than this machine's.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Sets the deadline for name resolution, TCP and TLS together.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the TLS configuration for `https` URLs, for example with private roots or a client
    /// certificate.
    #[must_use]
    pub fn tls(self, tls: ClientTlsConfig) -> Self {
        self.renewed_tls(watch::channel(Arc::new(tls)).1)
    }

    /// Sets a TLS configuration that changes while the process runs, for example when certificates
    /// are renewed: each new connection takes the newest one.
    #[must_use]
    pub fn renewed_tls(mut self, tls: watch::Receiver<Arc<ClientTlsConfig>>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Returns the TLS configuration's generation. A connection that was made with another
    /// generation should be replaced.
    pub fn generation(&self) -> Generation {
        Generation(self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow())))
    }

    /// The policy that decides which addresses are connected to.
    pub const fn policy(&self) -> EndpointPolicy {
        self.policy
    }

    /// Parses a URL of the registry and connects to it.
    pub async fn connect(&self, url: &str) -> Result<Channel, MemberFault> {
        let url: EndpointUrl = url.parse()?;
        self.connect_url(&url).await
    }

    /// Connects, and returns within the deadline even if the other side hangs.
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
            let tls = match self.generation().0 {
                Some(tls) => (*tls).clone(),
                None => ClientTlsConfig::new().with_enabled_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(|error| MemberFault::unreachable(&error))?;
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
            Ok(Err(error)) => Err(refused_endpoint(&error)
                .map_or_else(|| MemberFault::unreachable(&error), MemberFault::Endpoint)),
            Err(_) => Err(MemberFault::TimedOut { what: "connecting", limit }),
        }
    }
}

/// The largest message that is decoded, in bytes.
pub(crate) const fn message_limit() -> usize {
    MESSAGE_MAX_BYTES
}

/// Resolves a name, and connects to the first of its allowed addresses that answers.
///
/// A name often has an IPv6 address whose route is dead, or two addresses of which one is down. The
/// next address is therefore tried beside one that does not answer soon (RFC 8305).
async fn dial(
    network: &dyn Network,
    host: &str,
    port: u16,
    policy: EndpointPolicy,
) -> io::Result<Box<dyn Connection>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut allowed = Vec::new();
    for address in network.lookup(host, port).await? {
        match policy.check_address(host, address.ip()) {
            Ok(()) => allowed.push(address),
            Err(error) => last = io::Error::new(io::ErrorKind::PermissionDenied, error),
        }
    }
    let mut untried = by_turns(&allowed).into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        match untried.next() {
            Some(address) => attempts.push(network.connect(address)),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let ended = if untried.len() == 0 {
            attempts.next().await
        } else {
            match tokio::time::timeout(NEXT_ADDRESS_AFTER, attempts.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(error)) => last = error,
            None => {}
        }
    }
}

/// The addresses in the order in which they are tried: the resolver's order with IPv4 and IPv6
/// alternating, since a failure mostly affects a whole family.
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let is_of_first = |address: &&SocketAddr| address.is_ipv4() == first.is_ipv4();
    let mut same = addresses.iter().filter(is_of_first);
    let mut other = addresses.iter().filter(|address| !is_of_first(address));
    let mut ordered = Vec::with_capacity(addresses.len().min(ADDRESSES_MAX));
    while ordered.len() < ADDRESSES_MAX {
        let before = ordered.len();
        ordered.extend(same.next());
        ordered.extend(other.next());
        if ordered.len() == before {
            break;
        }
    }
    ordered
}

/// Returns the policy's refusal if that is what a transport error was caused by.
fn refused_endpoint(error: &(dyn std::error::Error + 'static)) -> Option<EndpointError> {
    causes(error).find_map(|cause| cause.downcast_ref::<EndpointError>().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Instant;

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

    /// Every name resolves to one address of a private network, and no address ever answers.
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
        let MemberFault::Unreachable { problem, .. } = fault else { panic!("{fault:?}") };
        assert!(problem.contains("nobody at 10.0.0.1:7"), "{problem}");
    }

    /// A name with several addresses, some of which never answer.
    struct Several {
        addresses: Vec<SocketAddr>,
        silent: Vec<SocketAddr>,
        tried: Mutex<Vec<SocketAddr>>,
    }

    impl Several {
        fn new(addresses: &[SocketAddr], silent: &[SocketAddr]) -> Self {
            Self { addresses: addresses.to_vec(), silent: silent.to_vec(), tried: Mutex::default() }
        }

        fn tried(&self) -> Vec<SocketAddr> {
            self.tried.lock().unwrap().clone()
        }
    }

    #[async_trait]
    impl Network for Several {
        async fn lookup(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(self.addresses.clone())
        }

        async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Connection>> {
            self.tried.lock().unwrap().push(address);
            if self.silent.contains(&address) {
                std::future::pending::<()>().await;
            }
            SystemNetwork.connect(address).await
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A port that takes connections, and one that refuses them.
    fn ports() -> (std::net::TcpListener, SocketAddr, SocketAddr) {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (open, closed) = (bind(), bind().local_addr().unwrap());
        let at = open.local_addr().unwrap();
        (open, at, closed)
    }

    #[tokio::test]
    async fn an_address_that_never_answers_does_not_use_up_the_deadline() {
        let (_listener, open, closed) = ports();
        let dead = address("[2001:db8::1]:7");
        let network = Arc::new(Several::new(&[dead, closed, open], &[dead]));
        let dialer = Dialer::new(EndpointPolicy::AllowPrivate)
            .network(Arc::clone(&network) as Arc<dyn Network>)
            .connect_timeout(Duration::from_secs(60));
        let start = Instant::now();
        dialer.connect("http://member.test:7").await.unwrap();
        // Far below the deadline, and at least the pause: the dead address had time to answer.
        assert!((NEXT_ADDRESS_AFTER..Duration::from_secs(30)).contains(&start.elapsed()));
        assert_eq!(network.tried(), [dead, closed, open]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next_at_once_and_no_answer_starts_no_other() {
        let (_listener, open, closed) = ports();
        let network = Several::new(&[closed, open, closed], &[]);
        dial(&network, "member.test", 7, EndpointPolicy::AllowPrivate).await.unwrap();
        assert_eq!(network.tried(), [closed, open]);
    }

    #[tokio::test]
    async fn forbidden_addresses_are_passed_over_and_named_where_no_other_is_left() {
        let (_listener, open, closed) = ports();
        let network = Several::new(&[open, closed], &[]);
        let refused = dial(&network, "member.test", 7, EndpointPolicy::PublicOnly).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(network.tried().is_empty());
        let none = dial(&Several::new(&[], &[]), "member.test", 7, EndpointPolicy::AllowPrivate).await;
        assert_eq!(none.err().unwrap().kind(), io::ErrorKind::NotFound);
        let all_closed = Several::new(&[closed, closed], &[]);
        let error = dial(&all_closed, "member.test", 7, EndpointPolicy::AllowPrivate).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn families_take_turns_and_their_number_is_bounded() {
        let six = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 1));
        let four = |n: u8| SocketAddr::from(([192, 0, 2, n], 1));
        assert_eq!(by_turns(&[six(1), six(2), six(3), four(1)]), [six(1), four(1), six(2), six(3)]);
        assert_eq!(by_turns(&[four(1), six(1), four(2)]), [four(1), six(1), four(2)]);
        assert_eq!(by_turns(&[]), []);
        let many: Vec<SocketAddr> = (0..200).map(four).collect();
        assert_eq!(by_turns(&many), many[..ADDRESSES_MAX]);
    }

    #[test]
    fn a_new_tls_configuration_is_another_generation() {
        let config = || Arc::new(ClientTlsConfig::new());
        let (sender, receiver) = watch::channel(config());
        let dialer = Dialer::new(EndpointPolicy::PublicOnly).renewed_tls(receiver);
        let former = dialer.generation();
        assert_eq!(former, dialer.clone().generation());
        sender.send_replace(config());
        assert_ne!(former, dialer.generation());
        let without = Dialer::new(EndpointPolicy::PublicOnly);
        assert!(without.generation() == without.generation() && without.generation() != former);
    }

    #[tokio::test]
    async fn nobody_listening_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let fault = Dialer::new(EndpointPolicy::AllowPrivate).connect(&url).await.unwrap_err();
        assert_eq!(fault.cause(), Some(crate::ConnectionCause::Refused), "{fault:?}");
    }
}
