//! The name of a batch within the aggregator.

use std::fmt;

use dac_types::B256;

/// The EIP-712 digest of a batch's submission, which identifies the batch before it has a header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionDigest(pub B256);

impl fmt::Display for SubmissionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SubmissionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubmissionDigest({:#x})", self.0)
    }
}
