//! What a posting goes by.

use std::fmt;

use alloy::primitives::B256;
use dac_types::{BatchDigest, RenewalDigest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What tells renewals from batches where digests are written down; batches, which were there
/// first, have no mark.
const RENEWAL_MARK: &str = "renewal:";

/// The digest of what is posted: of a batch or of a renewal of coverage. Both are EIP-712 digests
/// of different types, so their 32 bytes are never the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PostingDigest {
    /// Of a batch, that is recorded or settled.
    Batch(BatchDigest),
    /// Of a renewal.
    Renewal(RenewalDigest),
}

impl PostingDigest {
    /// The 32 bytes: unique among all postings.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Batch(digest) => digest.as_bytes(),
            Self::Renewal(digest) => digest.as_bytes(),
        }
    }

    /// Of a batch.
    pub const fn batch(self) -> Option<BatchDigest> {
        match self {
            Self::Batch(digest) => Some(digest),
            Self::Renewal(_) => None,
        }
    }

    /// Of a renewal.
    pub const fn renewal(self) -> Option<RenewalDigest> {
        match self {
            Self::Batch(_) => None,
            Self::Renewal(digest) => Some(digest),
        }
    }
}

impl PartialEq<BatchDigest> for PostingDigest {
    fn eq(&self, other: &BatchDigest) -> bool {
        self.batch().as_ref() == Some(other)
    }
}

impl PartialEq<RenewalDigest> for PostingDigest {
    fn eq(&self, other: &RenewalDigest) -> bool {
        self.renewal().as_ref() == Some(other)
    }
}

impl From<BatchDigest> for PostingDigest {
    fn from(digest: BatchDigest) -> Self {
        Self::Batch(digest)
    }
}

impl From<RenewalDigest> for PostingDigest {
    fn from(digest: RenewalDigest) -> Self {
        Self::Renewal(digest)
    }
}

impl fmt::Display for PostingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(digest) => digest.fmt(f),
            Self::Renewal(digest) => write!(f, "{RENEWAL_MARK}{digest}"),
        }
    }
}

impl Serialize for PostingDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PostingDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = |text: &str| text.parse::<B256>().map_err(serde::de::Error::custom);
        match text.strip_prefix(RENEWAL_MARK) {
            Some(digest) => Ok(Self::Renewal(RenewalDigest(parse(digest)?))),
            None => Ok(Self::Batch(BatchDigest(parse(&text)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NonceSlot, Posting, Task};

    #[test]
    fn rows_from_before_there_were_renewals_are_read() {
        let hash = B256::repeat_byte(7);
        let row = format!(
            r#"{{"digest":"{hash}","sequence":4,"task":{{"Settle":{{"settlement":"0x0101010101010101010101010101010101010101","batch_number":2,"expires_at":9}}}},"calldata":"0x01","reverts":0,"outcome":null}}"#
        );
        let posting: Posting = serde_json::from_str(&row).unwrap();
        assert_eq!(posting.digest, PostingDigest::Batch(BatchDigest(hash)));
        assert_eq!(serde_json::to_string(&posting).unwrap(), row, "nor are they written otherwise");
        let row =
            format!(r#"{{"digest":"{hash}","sequence":4,"calldata":"0x01","reverts":0,"outcome":null}}"#);
        assert_eq!(serde_json::from_str::<Posting>(&row).unwrap().task, Task::Record);
        let row = format!(r#"{{"nonce":3,"digest":"{hash}","variants":[]}}"#);
        let slot: NonceSlot = serde_json::from_str(&row).unwrap();
        assert_eq!(slot.digest, Some(PostingDigest::Batch(BatchDigest(hash))));
        let slot: NonceSlot = serde_json::from_str(r#"{"nonce":3,"digest":null,"variants":[]}"#).unwrap();
        assert_eq!(slot.digest, None);
    }

    #[test]
    fn batches_and_renewals_are_told_apart() {
        let hash = B256::repeat_byte(7);
        let both = [PostingDigest::from(BatchDigest(hash)), PostingDigest::from(RenewalDigest(hash))];
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<[PostingDigest; 2]>(&text).unwrap(), both);
        assert!(serde_json::from_str::<PostingDigest>(r#""renewal:""#).is_err());
    }
}
