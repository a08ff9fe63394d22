//! gRPC servers that bound what their clients can take: connections, streams, handshakes, headers, idle time.
//!
//! Sizes of messages are bounded where services are made (`max_decoding_message_size`); the bound is in
//! `dac_types::limits`. A limit on calls a connection, beside that on its streams, is left out on purpose: the two
//! together can lock a connection up for good (hyper issue 3559).

mod accept;
mod incoming;
#[cfg(test)]
pub(crate) mod testing;

use std::future::Future;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;
use tonic::transport::{Server, ServerTlsConfig};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tracing::warn;

pub use accept::{Accept, Acceptor, Connection};
pub use incoming::{Incoming, LimitedStream};
pub use tonic_health;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::config::Period;

/// Bytes of a request's headers, at most.
const HEADERS_MAX_BYTES: u32 = 16 << 10;
/// Bytes that one stream may have in flight: what a slow reader costs.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that one connection may have in flight.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A request that only names what is asked for; for `max_decoding_message_size` of services without uploads.
pub const SMALL_REQUEST_MAX_BYTES: usize = 8 << 10;

/// Bounds of a listener: the `[….limits]` tables of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Connections at a time; later ones wait to be accepted.
    pub connections: u32,
    /// Connections at a time of one address (of one /64 for IPv6); later ones are closed.
    pub connections_per_client: u32,
    /// Calls at a time of one connection.
    pub streams_per_connection: u32,
    /// How long a connection may take to speak HTTP/2, TLS handshake included.
    pub handshake_timeout: Period,
    /// How long a connection may be silent before it is asked whether it is still there.
    pub keepalive_interval: Period,
    /// How long it may take to answer that.
    pub keepalive_timeout: Period,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_client: 64,
            streams_per_connection: 128,
            handshake_timeout: Period::from_secs(10),
            keepalive_interval: Period::from_secs(30),
            keepalive_timeout: Period::from_secs(20),
        }
    }
}

impl ListenerLimits {
    /// Nothing may be zero.
    pub fn check(&self) -> Result<(), String> {
        let Self { connections, connections_per_client, streams_per_connection, .. } = *self;
        for (name, value) in [
            ("connections", connections),
            ("connections_per_client", connections_per_client),
            ("streams_per_connection", streams_per_connection),
        ] {
            if value == 0 {
                return Err(format!("{name} = 0: at least 1"));
            }
        }
        for (name, period) in [
            ("handshake_timeout", self.handshake_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
        ] {
            if period.is_zero() {
                return Err(format!("{name} = \"{period}\": must be longer"));
            }
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

/// A tonic server within the limits, to add services to.
pub fn server(limits: &ListenerLimits, tls: Option<ServerTlsConfig>) -> Result<Server, ServeError> {
    let server = Server::builder()
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_keepalive_interval(Some(limits.keepalive_interval.into()))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout.into()))
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(match tls {
        Some(tls) => server.tls_config(tls.timeout(limits.handshake_timeout.into()))?,
        None => server,
    })
}

/// Answers health checks, of small requests only: the generated server would take megabytes from anyone.
pub fn health(reporter: &HealthReporter) -> HealthServer<HealthService> {
    HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}

/// Describes the services to clients that ask, from their encoded descriptor sets.
///
/// # Panics
/// Where a descriptor set does not decode: they are constants of the program.
pub fn reflection(descriptor_sets: &[&'static [u8]]) -> ServerReflectionServer<impl ServerReflection> {
    descriptor_sets
        .iter()
        .fold(tonic_reflection::server::Builder::configure(), |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        })
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("descriptor sets made at build time decode")
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}

/// Serves until `stop` is cancelled, then lets calls under way finish for `grace` at most.
pub fn serve(
    router: Router,
    incoming: Incoming,
    stop: CancellationToken,
    grace: Duration,
) -> impl Future<Output = Result<(), ServeError>> + Send {
    let stopped = stop.clone();
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
