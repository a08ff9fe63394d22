//! Why a batch without a certificate makes no progress, as its aggregator reports it.

use dac_proto::v1;

use crate::text::printable;

/// Why a batch makes no progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// A word for programs: the reason that most members give, or what the aggregator itself waits
    /// for.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// When this reason began, in Unix milliseconds; 0 if the aggregator does not say.
    pub since_ms: u64,
}

impl From<v1::Waiting> for Waiting {
    fn from(wire: v1::Waiting) -> Self {
        let v1::Waiting { reason, detail, since_ms } = wire;
        Self { reason: printable(&reason), detail: printable(&detail), since_ms }
    }
}
