//! What a batch without a certificate waits for, by its aggregator's word.

use dac_proto::v1;

use crate::text::printable;

/// Why a batch does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For machines: the reason that most members give, or what the aggregator itself waits for.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// Since when the reason is this one, in Unix milliseconds; 0: the aggregator does not say.
    pub since_ms: u64,
}

impl From<v1::Waiting> for Waiting {
    fn from(wire: v1::Waiting) -> Self {
        let v1::Waiting { reason, detail, since_ms } = wire;
        Self { reason: printable(&reason), detail: printable(&detail), since_ms }
    }
}
