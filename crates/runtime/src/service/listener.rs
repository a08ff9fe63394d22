//! A bound gRPC listener with its bounds and its TLS.

use tokio::net::TcpListener;

use super::program::Failure;
use crate::config::ListenerConfig;
use crate::grpc::{Acceptor, ListenerLimits};
use crate::tls::{self, ListenerTls, Renewals};

/// A bound gRPC listener.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: Acceptor,
    /// The bounds of its connections.
    pub limits: ListenerLimits,
    /// Its TLS, if it has any.
    pub tls: Option<ListenerTls>,
}

impl Listener {
    /// Binds a configured listener. `renewals` keep its certificate fresh.
    ///
    /// # Errors
    /// It fails if the address cannot be bound or the TLS files cannot be used.
    pub async fn bind(
        name: &'static str,
        config: &ListenerConfig,
        renewals: &mut Renewals,
    ) -> Result<Self, Failure> {
        let socket = TcpListener::bind(config.listen)
            .await
            .map_err(|error| format!("{name} {}: {error}", config.listen))?;
        tls::warn_if_exposed(name, socket.local_addr()?, config.tls.is_some());
        let tls = config.load_tls(name, renewals)?;
        Ok(Self { socket: socket.into(), limits: config.limits, tls })
    }
}
