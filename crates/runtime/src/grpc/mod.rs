//! gRPC servers that bound what their clients can take: connections, streams, handshakes, headers, memory, time.
//!
//! A [`Port`] is what its connections and calls share. [`server`] puts the layer of `calls` around all of its services, and
//! [`Incoming`] accepts its connections. A limit on calls a connection, beside that on its streams, is left out on
//! purpose: the two together can lock a connection up for good (hyper issue 3559).

mod accept;
mod arrivals;
mod body;
mod calls;
mod incoming;
mod methods;
mod network;
mod places;
mod port;
mod reflection;
#[cfg(test)]
pub(crate) mod testing;

use std::future::Future;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio_stream::StreamExt;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};
use tracing::warn;

pub use accept::{Accept, Acceptor, Connection};
pub use calls::CallsLayer;
pub use incoming::{Incoming, LimitedStream};
pub use methods::SMALL_REQUEST_MAX_BYTES;
pub use port::{CallTimes, Port};
pub use reflection::{reflection, reflection_alpha};
pub use tonic_health;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::config::{ByteSize, Period, within};
use crate::tls::{ListenerTls, Secured};

/// Bytes of a request's headers, at most.
const HEADERS_MAX_BYTES: u32 = 16 << 10;
/// Bytes that one stream may have in flight.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that one connection may have in flight.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes that one connection may have in flight at a port to which nothing is uploaded.
const SMALL_WINDOW_BYTES: u32 = 64 << 10;

/// Most of the memory that a listener's calls may have.
const MEMORY_MAX: ByteSize = ByteSize::MEMORY;
/// Least of the memory that a client's calls may have: one call of any method.
const MEMORY_PER_CLIENT_MIN: ByteSize = ByteSize(1 << 20);
/// Most connections: what the search for an idle one is fast enough for.
const CONNECTIONS_MAX: u32 = 100_000;

/// Bounds of a listener: the `[….limits]` tables of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Connections at a time. When all places are taken, a new client gets that of a connection which is idle.
    pub connections: u32,
    /// Connections at a time of one address (of one /64 for IPv6). A /56 may have twice as many, a /48 and an IPv4 /24
    /// four times as many.
    pub connections_per_client: u32,
    /// Connections that one client may open a second in the long run, and four times as many at once. The networks
    /// around it may open as many times that as they may hold.
    pub connections_per_second: u32,
    /// Calls at a time of one connection.
    pub streams_per_connection: u32,
    /// How long a connection may take to speak HTTP/2, TLS handshake included.
    pub handshake_timeout: Period,
    /// How long a connection may be silent before it is asked whether it is still there.
    pub keepalive_interval: Period,
    /// How long it may take to answer that.
    pub keepalive_timeout: Period,
    /// How long a request may take to arrive; of an upload, its first message.
    pub request_timeout: Period,
    /// How long a client may take nothing of an answer that is there for it; then its connection is closed.
    pub write_timeout: Period,
    /// Bytes of requests that have come, and of answers that are reserved for or not read, in all.
    pub memory: ByteSize,
    /// The same of one client; the networks around it may hold as many times that as with connections.
    pub memory_per_client: ByteSize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_client: 64,
            connections_per_second: 64,
            streams_per_connection: 128,
            handshake_timeout: Period::from_secs(10),
            keepalive_interval: Period::from_secs(30),
            keepalive_timeout: Period::from_secs(20),
            request_timeout: Period::from_secs(20),
            write_timeout: Period::from_secs(30),
            memory: ByteSize(256 << 20),
            memory_per_client: ByteSize(32 << 20),
        }
    }
}

impl ListenerLimits {
    /// Nothing may be zero, and one client's memory must be enough for a call.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            connections, connections_per_client, connections_per_second, streams_per_connection, ..
        } = *self;
        for (name, value) in [
            ("connections", connections),
            ("connections_per_client", connections_per_client),
            ("connections_per_second", connections_per_second),
            ("streams_per_connection", streams_per_connection),
        ] {
            within(name, value, 1, CONNECTIONS_MAX)?;
        }
        for (name, period) in [
            ("handshake_timeout", self.handshake_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("request_timeout", self.request_timeout),
            ("write_timeout", self.write_timeout),
        ] {
            within(name, period, Period::SHORTEST, Period::DAY)?;
        }
        if self.memory_per_client < MEMORY_PER_CLIENT_MIN {
            return Err(format!(
                "memory_per_client = \"{}\": at least {MEMORY_PER_CLIENT_MIN}",
                self.memory_per_client
            ));
        }
        if self.memory < self.memory_per_client || self.memory > MEMORY_MAX {
            return Err(format!(
                "memory = \"{}\": at least memory_per_client, and at most {MEMORY_MAX}",
                self.memory
            ));
        }
        Ok(())
    }
}

/// Why a server does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// TLS or transport.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A tonic server whose calls are within a port's bounds, to add services to.
pub type BoundedServer = Server<Stack<CallsLayer, Identity>>;
/// The same with services.
pub type BoundedRouter = Router<Stack<CallsLayer, Identity>>;

/// A tonic server within a port's bounds, to add services to.
pub fn server(port: &Port) -> BoundedServer {
    let limits = port.limits();
    let (stream_window, connection_window) = match port.has_uploads() {
        true => (STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES),
        false => (SMALL_WINDOW_BYTES, SMALL_WINDOW_BYTES),
    };
    Server::builder()
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_keepalive_interval(Some(limits.keepalive_interval.into()))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout.into()))
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .layer(CallsLayer(port.clone()))
}

/// Answers health checks, of small requests only: the generated server would take megabytes from anyone.
pub fn health(reporter: &HealthReporter) -> HealthServer<HealthService> {
    HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}

/// Serves a port, under TLS where it is given, until it is to stop, then lets calls under way finish for `grace` at most.
pub fn serve(
    router: BoundedRouter,
    incoming: Incoming,
    tls: Option<ListenerTls>,
    grace: Duration,
) -> impl Future<Output = Result<(), ServeError>> + Send {
    let stop = incoming.port().stop().clone();
    let stopped = stop.clone();
    let incoming = incoming.map(move |stream| stream.map(|stream| Secured::new(stream, tls.as_ref())));
    let server = router.serve_with_incoming_shutdown(incoming, async move { stopped.cancelled().await });
    async move {
        tokio::select! {
            result = server => Ok(result?),
            () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => {
                warn!(?grace, "calls still under way are cut off");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
