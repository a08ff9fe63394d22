//! The `[limits]` table: how much may be in flight, and how much one client may ask for.

use dac_runtime::clients::ClientRates;
use dac_runtime::config::{ByteSize, Period};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use serde::Deserialize;

/// The largest number of bytes that can be configured, which is more than any machine has.
const BYTES_MAX: u64 = 1 << 44;
/// The largest number of simultaneous uploads or watchers that can be configured.
const PLACES_MAX: usize = 1 << 20;
/// The largest number of simultaneous encodings that can be configured.
const ENCODERS_MAX: usize = 1024;
/// The largest rate of requests a second that can be configured.
const RATE_MAX: f64 = 1e6;
/// The longest pause or upload that can be configured.
const PERIOD_MAX: Period = Period::from_secs(24 * 60 * 60);
/// A client may use the bytes and requests of this many seconds in one burst.
const BURST_SECONDS: f64 = 4.0;
/// The number of clients whose use is remembered. Further clients share the allowance of one
/// client.
const CLIENTS: usize = 10_000;

/// The `[limits]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The number of payload bytes that may be arriving or on their way to members. One rollup has
    /// at most half of them. Submissions beyond this limit are answered with BUSY.
    pub in_flight: ByteSize,
    /// The number of payload bytes that may be parked on disk, of batches that too few members
    /// would take for now. One rollup has at most half of them. Batches beyond this limit stay in
    /// flight.
    pub parked: ByteSize,
    /// The number of bytes of encoded payloads in memory, of batches that have no certificate yet.
    /// One rollup has at most three quarters of them. Batches beyond this limit wait.
    pub encoded: ByteSize,
    /// The number of payload bytes that may be loaded again for slow members of certified batches.
    /// One rollup has at most three quarters of them.
    pub straggler: ByteSize,
    /// The number of encodings at once; 0 means the number of processors.
    pub encoders: usize,
    /// The number of uploads at once. One rollup has at most half of them.
    pub uploads: usize,
    /// The number of clients' watches at once. One client has at most a quarter of them.
    pub watchers: usize,
    /// The longest pause between two messages of an upload.
    pub piece_timeout: Period,
    /// The lowest average rate, in bytes a second, at which a payload must arrive. It may lag
    /// behind that by `piece_timeout`.
    pub upload_rate: ByteSize,
    /// The longest time that an upload may take.
    pub upload_timeout: Period,
    /// The number of requests to read batches that one client may make a second, on average.
    pub client_requests_per_second: f64,
    /// The number of bytes a second that the answers to one client's reads may have, on average.
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
    /// Returns the rates at which one client may read.
    #[expect(clippy::cast_precision_loss, reason = "rates")]
    pub const fn reads(&self) -> ClientRates {
        let bytes_per_second = self.client_bytes_per_second.bytes() as f64;
        ClientRates {
            requests_per_second: self.client_requests_per_second,
            request_burst: self.client_requests_per_second * BURST_SECONDS,
            bytes_per_second,
            byte_burst: bytes_per_second * BURST_SECONDS,
            // Watches are limited by `watchers` instead.
            streams: u32::MAX,
            clients: CLIENTS,
        }
    }

    /// Refuses values that limit nothing or let nothing through.
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
        // A client with an allowance of less than one request could make none.
        if !(1.0..=RATE_MAX).contains(&rate) {
            return Err(format!("limits.client_requests_per_second = {rate}: 1 to {RATE_MAX}"));
        }
        Ok(())
    }
}
