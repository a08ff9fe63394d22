//! The demo's results as JSON, and the conditions that they must meet.

use dac_tests::{Failure, Result};
use serde::Serialize;

use crate::committee::{K, N, Q};

/// The most milliseconds for the proof of a full batch, on two cores.
const PROVE_MS_MAX: u64 = 30_000;
/// The most gas of a settlement with the Groth16 adapter, the whole transaction included.
const SETTLE_GAS_MAX: u64 = 480_000;

/// The results of the demo.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) payload_bytes: u64,
    pub(crate) n: u16,
    pub(crate) k: u16,
    pub(crate) q: u16,
    pub(crate) signers: u64,
    pub(crate) absent: u64,
    pub(crate) certificate_ms: u64,
    pub(crate) record_tx: String,
    pub(crate) record_gas: u64,
    pub(crate) members_killed: u64,
    pub(crate) retrieved_equal: bool,
    pub(crate) audit_chunks_ok: u64,
    pub(crate) audit_chunks_failed: u64,
    /// The number of constraints of the validity proof's circuit.
    pub(crate) constraints: u64,
    /// The share of constraints that bind the proof to the committee's data, in percent.
    pub(crate) fingerprint_percent: u64,
    /// The milliseconds for witness and proof of the second batch.
    pub(crate) prove_ms: u64,
    /// The transaction that settled the second batch with certificate and proof.
    pub(crate) settle_tx: String,
    pub(crate) settle_gas: u64,
    /// The last state root.
    pub(crate) state_root: String,
    /// Whether the state that a user rebuilt from the remaining members has this root, too.
    pub(crate) rebuilt_equal: bool,
    pub(crate) exit_tx: String,
    /// The gwei that the user was paid on L1.
    pub(crate) exit_paid: u64,
}

impl Summary {
    /// Fails with the first condition that is not met.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { signers, absent, .. } = *self;
        let rules = [
            (signers >= u64::from(Q), "a quorum signed"),
            (signers + absent == u64::from(N), "everybody signed or is named as absent"),
            (absent == u64::from(N - Q), "the certificate formed without the members that were killed"),
            (self.record_gas > 0 && self.record_tx.len() == 66, "the certificate is on L1"),
            (self.members_killed == u64::from(N - K), "all members but k were killed"),
            (self.retrieved_equal, "the payload came back as it went in"),
            (self.audit_chunks_ok >= u64::from(K), "the members left prove their chunks"),
            (self.audit_chunks_failed == 0, "no chunk failed"),
            (self.settle_gas > 0 && self.settle_tx.len() == 66, "certificate and proof settled together"),
            (self.settle_gas <= SETTLE_GAS_MAX, "settling costs no more gas than it may"),
            (self.prove_ms <= PROVE_MS_MAX, "the proof is there in time"),
            (self.rebuilt_equal, "the state was rebuilt from the members left"),
            (self.exit_tx.len() == 66 && self.exit_paid > 0, "the user was paid on L1"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(Failure::new(format!("this does not hold: {rule}"))),
        }
    }
}
