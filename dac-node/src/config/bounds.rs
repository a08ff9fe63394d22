//! The tables of the configuration with bounds and periods: what a member may use up, and when it
//! works.

use std::num::NonZeroU64;
use std::time::Duration;

use dac_client::EndpointPolicy;
use dac_runtime::config::{ByteSize, Period, within};
use dac_runtime::tls::{ClientTls, Renewals, TlsError};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use serde::Deserialize;

use crate::limits::{ClientRates, UploadLimits};
use crate::repair::RepairSettings;
use crate::retain::Retention;
use crate::scrub::ScrubSettings;

/// The longest TLS handshake with a peer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The `[limits]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The number of bytes of shards that may be stored. `None` means as many as fit.
    pub capacity: Option<ByteSize>,
    /// The number of bytes that the files of a PostgreSQL database may have. Above it no new batch
    /// is taken. This process cannot look at the disk of that database.
    pub database_size: Option<ByteSize>,
    /// The number of bytes that stay free on the file system of a SQLite store. Below it no new
    /// batch is taken.
    pub disk_reserve: ByteSize,
    /// The number of bytes of shards and payloads being received. One rollup may hold a quarter of
    /// them and one disperser half of them, each at least one payload.
    pub uploads: ByteSize,
    /// The number of uploads of one rollup at a time. At most half of them may be from clients that
    /// have not delivered for it lately.
    pub uploads_per_rollup: u32,
    /// The longest pause between two messages of an upload.
    pub piece_timeout: Period,
    /// The longest duration of an upload. Its bytes must come at the rate at which it ends in time,
    /// after `piece_timeout` at the latest.
    pub upload_timeout: Period,
    /// The longest duration of any other call, its request included. If the answer is a stream, the
    /// time until it begins.
    pub call_timeout: Period,
    /// The number of retrieval requests of one client in a second, in the long run.
    pub client_requests_per_second: f64,
    /// The number of retrieval requests of one client at once.
    pub client_request_burst: f64,
    /// The number of bytes served to one client in a second, in the long run.
    pub client_bytes_per_second: ByteSize,
    /// The number of bytes served to one client at once.
    pub client_byte_burst: ByteSize,
    /// The number of shards that one client may read at a time. An answer with chunks counts as one
    /// while it is made.
    pub client_streams: u32,
    /// The number of clients that are told apart.
    pub clients: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            capacity: None,
            database_size: None,
            disk_reserve: ByteSize(1 << 30),
            uploads: ByteSize(512 << 20),
            uploads_per_rollup: 32,
            piece_timeout: Period::from_secs(10),
            upload_timeout: Period::from_secs(120),
            call_timeout: Period::from_secs(30),
            client_requests_per_second: 50.0,
            client_request_burst: 500.0,
            client_bytes_per_second: ByteSize(32 << 20),
            client_byte_burst: ByteSize(512 << 20),
            client_streams: 32,
            clients: 10_000,
        }
    }
}

impl LimitsConfig {
    /// Returns the bounds of uploads.
    pub const fn uploads(&self) -> UploadLimits {
        UploadLimits { bytes: self.uploads.bytes(), per_rollup: self.uploads_per_rollup }
    }

    /// Returns the bounds of retrieval.
    #[expect(clippy::cast_precision_loss, reason = "rates")]
    pub const fn clients(&self) -> ClientRates {
        ClientRates {
            requests_per_second: self.client_requests_per_second,
            request_burst: self.client_request_burst,
            bytes_per_second: self.client_bytes_per_second.bytes() as f64,
            byte_burst: self.client_byte_burst.bytes() as f64,
            streams: self.client_streams,
            clients: self.clients,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.uploads.bytes() < PAYLOAD_MAX_BYTES {
            return Err(format!(
                "limits.uploads = \"{}\": at least one payload, {}",
                self.uploads,
                ByteSize(PAYLOAD_MAX_BYTES)
            ));
        }
        let (rate, period) = (ByteSize(1), Period::SHORTEST);
        within("limits.uploads", self.uploads, ByteSize(PAYLOAD_MAX_BYTES), ByteSize::MEMORY)?;
        within("limits.uploads_per_rollup", self.uploads_per_rollup, 1, 65_536)?;
        within("limits.piece_timeout", self.piece_timeout, period, Period::HOUR)?;
        within("limits.upload_timeout", self.upload_timeout, period, Period::DAY)?;
        within("limits.call_timeout", self.call_timeout, period, Period::HOUR)?;
        within("limits.client_requests_per_second", self.client_requests_per_second, 0.001, 1e6)?;
        within("limits.client_request_burst", self.client_request_burst, 0.001, 1e7)?;
        within("limits.client_bytes_per_second", self.client_bytes_per_second, rate, ByteSize::MEMORY)?;
        within("limits.client_byte_burst", self.client_byte_burst, rate, ByteSize::MEMORY)?;
        within("limits.client_streams", self.client_streams, 1, 65_536)?;
        within("limits.clients", self.clients, 1, 1_000_000)?;
        for (name, size) in [("capacity", self.capacity), ("database_size", self.database_size)] {
            if let Some(size) = size {
                within(&format!("limits.{name}"), size, rate, ByteSize::DISK)?;
            }
        }
        Ok(())
    }
}

/// The `[retention]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Whether batches are deleted at all once they have expired.
    pub delete_expired: bool,
    /// How long a batch is kept after its expiry.
    pub slack: Period,
    /// How often expired batches are looked for.
    pub interval: Period,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            delete_expired: true,
            slack: Period::from_secs(24 * 60 * 60),
            interval: Period::from_secs(10 * 60),
        }
    }
}

impl RetentionConfig {
    /// Returns the settings of the task that deletes.
    pub fn retention(&self) -> Retention {
        Retention { delete_expired: self.delete_expired, slack: *self.slack, interval: *self.interval }
    }
}

/// The `[repair]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepairConfig {
    /// The number of bytes of shards received in a second.
    pub bytes_per_second: ByteSize,
    /// The number of batches repaired at a time. Each may take the memory of a payload.
    pub concurrency: usize,
    /// Whether peers on private and loopback addresses are connected to. The operators of the peers
    /// choose the URLs in the registry.
    pub private_endpoints: bool,
    /// For `https` peers: the one authority to trust instead of the system's, and the certificate
    /// that this member shows to peers that ask for one.
    pub tls: Option<ClientTls>,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self { bytes_per_second: ByteSize(16 << 20), concurrency: 1, private_endpoints: false, tls: None }
    }
}

impl RepairConfig {
    /// Returns the settings of the repair task. `renewals` reloads its TLS files.
    ///
    /// # Errors
    /// Fails if the files of `tls` cannot be used.
    pub fn settings(&self, renewals: &mut Renewals) -> Result<RepairSettings, TlsError> {
        let policy = match self.private_endpoints {
            true => EndpointPolicy::AllowPrivate,
            false => EndpointPolicy::PublicOnly,
        };
        let mut settings = RepairSettings::new(at_least_one(self.bytes_per_second), self.concurrency, policy);
        if let Some(tls) = &self.tls {
            settings.dialer =
                settings.dialer.renewed_tls(renewals.client("peers", tls, HANDSHAKE_TIMEOUT)?);
        }
        Ok(settings)
    }
}

/// The `[scrub]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// The time from the beginning of one round to that of the next.
    pub period: Period,
    /// The number of bytes read in a second.
    pub bytes_per_second: ByteSize,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { period: Period::from_secs(7 * 24 * 60 * 60), bytes_per_second: ByteSize(8 << 20) }
    }
}

impl ScrubConfig {
    /// Returns the settings of the re-verification task.
    pub fn settings(&self) -> ScrubSettings {
        ScrubSettings { period: *self.period, bytes_per_second: at_least_one(self.bytes_per_second) }
    }
}

fn at_least_one(size: ByteSize) -> NonZeroU64 {
    NonZeroU64::new(size.bytes()).unwrap_or(NonZeroU64::MIN)
}
