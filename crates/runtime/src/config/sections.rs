//! Tables that the configuration files of several programs have.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use super::{Period, within};
use crate::grpc::ListenerLimits;
use crate::tls::{ListenerTls, Renewals, ServerTls, TlsError};

/// The settings of a gRPC listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// The address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The listener's TLS. With `client_ca`, only clients with a certificate of that authority can
    /// connect.
    #[serde(default)]
    pub tls: Option<ServerTls>,
    /// The limits on connections.
    #[serde(default)]
    pub limits: ListenerLimits,
}

impl ListenerConfig {
    /// Makes relative paths relative to the configuration file's folder.
    pub fn resolve_paths(&mut self, folder: &Path) {
        if let Some(tls) = &mut self.tls {
            tls.resolve_paths(folder);
        }
    }

    /// Loads the listener's TLS, if it has any; `renewals` keep it fresh.
    ///
    /// # Errors
    /// Fails if the files cannot be used.
    pub fn load_tls(
        &self,
        name: &'static str,
        renewals: &mut Renewals,
    ) -> Result<Option<ListenerTls>, TlsError> {
        let load = |tls| renewals.listener(name, tls, *self.limits.handshake_timeout);
        self.tls.as_ref().map(load).transpose()
    }

    /// How the listener is protected, in a few words.
    pub const fn protection(&self) -> &'static str {
        match &self.tls {
            None => "no TLS",
            Some(ServerTls { client_ca: None, .. }) => "TLS",
            Some(ServerTls { client_ca: Some(_), .. }) => "TLS, client certificates demanded",
        }
    }
}

/// The `[metrics]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address and port.
    pub listen: SocketAddr,
}

/// The `[shutdown]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// How long calls that are under way may take to finish.
    pub grace: Period,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: Period::from_secs(30) }
    }
}

impl ShutdownConfig {
    /// Checks the bounds of the settings.
    pub fn check(&self) -> Result<(), String> {
        within("shutdown.grace", self.grace, Period::from_secs(0), Period::HOUR)
    }
}
