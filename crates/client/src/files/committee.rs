//! A committee as a file, so that certificates can be verified and batches retrieved without L1.
//! Users of the file trust its source.
//!
//! ```json
//! {
//!   "format": "dac-committee/v1",
//!   "domain": { "chain_id": 31337, "registry": "0x<20 bytes>" },
//!   "epoch": 1,
//!   "n": 7, "k": 3, "q": 5,
//!   "active_from": 1767225600,
//!   "active_until": null,
//!   "postable_until": null,
//!   "members": [
//!     {
//!       "seat": 0,
//!       "operator": "0x<20 bytes>",
//!       "public_key": "0x<96 bytes: compressed G2>",
//!       "dispersal_url": "https://member.example.org:7001",
//!       "retrieval_url": "https://member.example.org:7002"
//!     }
//!   ]
//! }
//! ```
//!
//! `active_until` is exclusive; it and `postable_until` are null while no later epoch is known.

use std::path::Path;

use dac_types::{Address, Committee, Domain, Member, Quorum};
use serde::{Deserialize, Serialize};

use super::{
    DomainJson, FileError, Problem, PublicKeyHex, check_format, parse, pretty, public_key, read_document,
};
use crate::hexadecimal::Hex;

const FORMAT: &str = "dac-committee/v1";
const WHAT: &str = "committee file";
const FILE_MAX_BYTES: u64 = 1 << 20;

/// One epoch's committee and the domain of its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitteeFile {
    /// The domain in which its signatures are valid.
    pub domain: Domain,
    /// The committee.
    pub committee: Committee,
}

/// The JSON document. It is also part of what `dac committee --json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitteeJson {
    format: String,
    domain: DomainJson,
    epoch: u64,
    n: u16,
    k: u16,
    q: u16,
    active_from: u64,
    active_until: Option<u64>,
    postable_until: Option<u64>,
    members: Vec<CommitteeMember>,
}

/// One seat in the document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitteeMember {
    seat: u16,
    operator: Hex<20>,
    public_key: PublicKeyHex,
    dispersal_url: String,
    retrieval_url: String,
}

impl CommitteeFile {
    /// Writes the document as JSON.
    pub fn to_json(&self) -> String {
        pretty(&self.document())
    }

    /// Returns the document as a value, for use in another document.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self.document()).expect("plain structures serialise")
    }

    fn document(&self) -> CommitteeJson {
        let committee = &self.committee;
        let known = |time: u64| (time != u64::MAX).then_some(time);
        CommitteeJson {
            format: FORMAT.to_owned(),
            domain: self.domain.into(),
            epoch: committee.epoch(),
            n: committee.quorum().geometry().n(),
            k: committee.quorum().geometry().k(),
            q: committee.quorum().q(),
            active_from: committee.active_from(),
            active_until: known(committee.active_until()),
            postable_until: known(committee.postable_until()),
            members: committee
                .seats()
                .map(|(seat, member)| CommitteeMember {
                    seat: seat.0.into(),
                    operator: Hex(member.operator.into_array()),
                    public_key: Hex(member.public_key.0),
                    dispersal_url: member.dispersal_url.clone(),
                    retrieval_url: member.retrieval_url.clone(),
                })
                .collect(),
        }
    }

    /// Parses the JSON document.
    pub fn from_json(text: &[u8]) -> Result<Self, FileError> {
        Self::parse(text).map_err(|problem| problem.of(WHAT))
    }

    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        read_document(path, FILE_MAX_BYTES, Self::from_json)
    }

    fn parse(text: &[u8]) -> Result<Self, Problem> {
        let json: CommitteeJson = parse(text)?;
        check_format(FORMAT, &json.format)?;
        let quorum = Quorum::new(json.n, json.k, json.q)?;
        for (position, member) in json.members.iter().enumerate() {
            if usize::from(member.seat) != position {
                return Err(Problem::SeatOrder { got: member.seat, position });
            }
        }
        let members = json
            .members
            .into_iter()
            .map(|member| Member {
                operator: Address::from(member.operator.0),
                public_key: public_key(member.public_key),
                dispersal_url: member.dispersal_url,
                retrieval_url: member.retrieval_url,
            })
            .collect();
        let committee = Committee::new(
            json.epoch,
            quorum,
            members,
            json.active_from,
            json.active_until.unwrap_or(u64::MAX),
            json.postable_until.unwrap_or(u64::MAX),
        )?;
        Ok(Self { domain: json.domain.into(), committee })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::PublicKeyBytes;
    use proptest::prelude::*;

    fn file(n: u16, active_until: u64) -> CommitteeFile {
        let members = (0..n)
            .map(|seat| {
                let byte = u8::try_from(seat + 1).unwrap();
                Member {
                    operator: Address::repeat_byte(byte),
                    public_key: PublicKeyBytes([byte; 96]),
                    dispersal_url: format!("http://d{seat}"),
                    retrieval_url: format!("http://r{seat}"),
                }
            })
            .collect();
        CommitteeFile {
            domain: Domain { chain_id: 7, registry: Address::repeat_byte(9) },
            committee: Committee::new(
                3,
                Quorum::new(n, 1, n).unwrap(),
                members,
                10,
                active_until,
                active_until,
            )
            .unwrap(),
        }
    }

    proptest! {
        #[test]
        fn files_round_trip(n in 2u16..20, active_until in prop_oneof![Just(u64::MAX), any::<u64>()]) {
            let file = file(n, active_until);
            prop_assert_eq!(CommitteeFile::from_json(file.to_json().as_bytes()).unwrap(), file);
        }

        #[test]
        fn junk_is_refused(junk in any::<Vec<u8>>()) {
            prop_assert!(CommitteeFile::from_json(&junk).is_err());
        }
    }

    #[test]
    fn impossible_committees_are_refused() {
        let good = file(3, u64::MAX).to_value();
        for (path, value, expected) in [
            ("/k", serde_json::json!(3), "1 ≤ k < n"),
            ("/q", serde_json::json!(4), "k ≤ q ≤ n"),
            ("/n", serde_json::json!(4), "4 seats but 3 members"),
            ("/members/1/seat", serde_json::json!(2), "in order"),
            ("/members/1/operator", serde_json::json!(format!("0x{}", "01".repeat(20))), "share"),
            ("/members/1/public_key", serde_json::json!("0x00"), "expected 96 bytes"),
        ] {
            let mut changed = good.clone();
            *changed.pointer_mut(path).unwrap() = value;
            let problem = CommitteeFile::from_json(changed.to_string().as_bytes()).unwrap_err().to_string();
            assert!(problem.contains(expected), "{path}: {problem}");
        }
    }
}
