//! The `[limits]` table: what may be in flight, and what one client may ask for.

use dac_runtime::clients::ClientRates;
use dac_runtime::config::{ByteSize, Period};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use serde::Deserialize;

/// The largest number of bytes that can be configured: more than any machine has.
const BYTES_MAX: u64 = 1 << 44;
/// The largest number of places that can be configured.
const PLACES_MAX: usize = 1 << 20;
/// The largest number of encodings at once that can be configured.
const ENCODERS_MAX: usize = 1024;
/// The largest rate of requests a second that can be configured.
const RATE_MAX: f64 = 1e6;
/// The longest pause or upload that can be configured.
const PERIOD_MAX: Period = Period::from_secs(24 * 60 * 60);
/// Bytes and requests that a client may have at once are those of so many seconds.
const BURST_SECONDS: f64 = 4.0;
/// Clients that are remembered; beyond that, newcomers share what one may have.
const CLIENTS: usize = 10_000;

/// The `[limits]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Payload bytes arriving or on their way to members, of which one rollup has half at most;
    /// beyond that submissions are answered BUSY.
    pub in_flight: ByteSize,
    /// Payload bytes on the disk of batches that no quorum takes for now, of which one rollup has
    /// half at most. Those beyond it stay in flight.
    pub parked: ByteSize,
    /// Bytes of encoded payloads of batches that are on their way, of which one rollup has three
    /// quarters at most; beyond that they wait.
    pub encoded: ByteSize,
    /// Bytes of payloads loaded again for slow members, shared in the same way.
    pub straggler: ByteSize,
    /// Encodings at once; 0 takes the number of processors.
    pub encoders: usize,
    /// Uploads at once, of which one rollup has half at most.
    pub uploads: usize,
    /// Watchers at once, of which one client has a quarter at most.
    pub watchers: usize,
    /// Longest pause between two messages of an upload.
    pub piece_timeout: Period,
    /// Bytes a second at which a payload must come in the long run; it may be behind by
    /// `piece_timeout`.
    pub upload_rate: ByteSize,
    /// Longest upload.
    pub upload_timeout: Period,
    /// Requests a second that one client may make to read batches, in the long run.
    pub client_requests_per_second: f64,
    /// Bytes a second of the answers to them.
    pub client_bytes_per_second: ByteSize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            in_flight: ByteSize(512 << 20),
            parked: ByteSize(4 << 30),
            encoded: ByteSize(128 << 20),
            straggler: ByteSize(256 << 20),
            encoders: 0,
            uploads: 128,
            watchers: 4096,
            piece_timeout: Period::from_secs(10),
            upload_rate: ByteSize(64 << 10),
            upload_timeout: Period::from_secs(120),
            client_requests_per_second: 500.0,
            client_bytes_per_second: ByteSize(4 << 20),
        }
    }
}

impl LimitsConfig {
    /// What one client may read.
    #[expect(clippy::cast_precision_loss, reason = "rates")]
    pub const fn reads(&self) -> ClientRates {
        let bytes_per_second = self.client_bytes_per_second.bytes() as f64;
        ClientRates {
            requests_per_second: self.client_requests_per_second,
            request_burst: self.client_requests_per_second * BURST_SECONDS,
            bytes_per_second,
            byte_burst: bytes_per_second * BURST_SECONDS,
            // Watchers have a budget of their own.
            streams: u32::MAX,
            clients: CLIENTS,
        }
    }

    /// Refuses what would be no limit, or would let nothing through.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, size, least) in [
            ("in_flight", self.in_flight, PAYLOAD_MAX_BYTES),
            ("parked", self.parked, PAYLOAD_MAX_BYTES),
            ("encoded", self.encoded, PAYLOAD_MAX_BYTES),
            ("straggler", self.straggler, PAYLOAD_MAX_BYTES),
        ] {
            if size.bytes() < least {
                return Err(format!("limits.{name} = \"{size}\": at least one payload, {}", ByteSize(least)));
            }
        }
        for (name, size) in [
            ("in_flight", self.in_flight),
            ("parked", self.parked),
            ("encoded", self.encoded),
            ("straggler", self.straggler),
            ("upload_rate", self.upload_rate),
            ("client_bytes_per_second", self.client_bytes_per_second),
        ] {
            if size.bytes() == 0 || size.bytes() > BYTES_MAX {
                return Err(format!(
                    "limits.{name} = \"{size}\": above zero, and at most {}",
                    ByteSize(BYTES_MAX)
                ));
            }
        }
        for (name, count, least, most) in [
            ("uploads", self.uploads, 1, PLACES_MAX),
            ("watchers", self.watchers, 1, PLACES_MAX),
            ("encoders", self.encoders, 0, ENCODERS_MAX),
        ] {
            if count < least || count > most {
                return Err(format!("limits.{name} = {count}: {least} to {most}"));
            }
        }
        for (name, period) in [("piece_timeout", self.piece_timeout), ("upload_timeout", self.upload_timeout)]
        {
            if period.is_zero() || *period > *PERIOD_MAX {
                return Err(format!(
                    "limits.{name} = \"{period}\": above zero, and at most \"{PERIOD_MAX}\""
                ));
            }
        }
        let rate = self.client_requests_per_second;
        // A client that could not make one request at once could make none.
        if !(1.0..=RATE_MAX).contains(&rate) {
            return Err(format!("limits.client_requests_per_second = {rate}: 1 to {RATE_MAX}"));
        }
        Ok(())
    }
}
