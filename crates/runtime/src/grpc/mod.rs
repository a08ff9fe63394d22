//! gRPC servers with limits on what their clients can use: connections, streams, handshakes,
//! headers, memory, time.
//!
//! A [`Port`] is the state that its connections and calls share. [`server`] puts the layer of
//! `calls` around all of its services, and [`Incoming`] accepts its connections. There is
//! deliberately no limit on the calls of a connection beside the limit on its streams: together,
//! the two can lock up a connection for good (hyper issue 3559).

mod accept;
mod arrivals;
mod body;
mod calls;
mod incoming;
mod limits;
mod methods;
mod network;
mod places;
mod port;
mod reflection;
#[cfg(test)]
pub(crate) mod testing;

use std::future::Future;
use std::time::Duration;

use thiserror::Error;
use tokio_stream::StreamExt;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};
use tracing::warn;

pub use accept::{Accept, Acceptor, Connection};
pub use calls::CallsLayer;
pub use incoming::{Incoming, LimitedStream};
pub use limits::ListenerLimits;
pub use methods::SMALL_REQUEST_MAX_BYTES;
pub use port::{CallTimes, Port};
pub use reflection::{reflection, reflection_alpha};
pub use tonic_health;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::tls::{ListenerTls, Secured};

/// The most bytes of a request's headers.
const HEADERS_MAX_BYTES: u32 = 16 << 10;
/// The most bytes of one stream that may be in flight.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The most bytes of one connection that may be in flight.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// The same for a connection to a port without uploads.
const SMALL_WINDOW_BYTES: u32 = 64 << 10;

/// Why a server does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The transport or TLS failed.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A tonic server whose calls stay within a port's limits, before services are added.
pub type BoundedServer = Server<Stack<CallsLayer, Identity>>;
/// The same server with services.
pub type BoundedRouter = Router<Stack<CallsLayer, Identity>>;

/// Creates a tonic server within a port's limits, to which services are added.
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

/// A health service that accepts small requests only. The generated server would accept megabytes
/// from any client.
pub fn health(reporter: &HealthReporter) -> HealthServer<HealthService> {
    HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}

/// Serves a port, with TLS if it is given, until the port is to stop. Then calls that are under way
/// get at most `grace` to finish.
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
