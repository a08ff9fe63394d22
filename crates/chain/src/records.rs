//! Converts the registry contract's structures to the types of `dac-types`.
//!
//! All data from L1 is bounded and checked here: an endpoint may lie, and a registry may belong to
//! another committee.

use dac_bls::PublicKey;
use dac_types::limits::ENDPOINT_URL_MAX_BYTES;
use dac_types::{AdmittedRollup, Member, PublicKeyBytes, Quorum};

use crate::contracts::CommitteeRegistry;
use crate::error::RegistryFault;

/// The terms of an epoch, with its end exclusive, as in `dac_types::Committee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochTerms {
    pub(crate) quorum: Quorum,
    pub(crate) active_from: u64,
    pub(crate) active_until: u64,
    pub(crate) postable_until: u64,
}

impl EpochTerms {
    pub(crate) fn from_abi(
        epoch: u64,
        record: &CommitteeRegistry::EpochRecord,
    ) -> Result<Self, RegistryFault> {
        let quorum = Quorum::new(record.n, record.k, record.q)
            .map_err(|source| RegistryFault::Geometry { epoch, source })?;
        // An epoch may be replaced in the same second in which it was opened; its end then lies
        // before its beginning.
        if record.activeUntil < record.activeFrom.saturating_sub(1)
            || record.postableUntil < record.activeUntil
        {
            return Err(RegistryFault::Window {
                epoch,
                from: record.activeFrom,
                until: record.activeUntil,
                postable: record.postableUntil,
            });
        }
        Ok(Self {
            quorum,
            active_from: record.activeFrom,
            active_until: record.activeUntil.saturating_add(1),
            postable_until: record.postableUntil,
        })
    }
}

/// A member's key as the registry encodes it, kept to see whether it has changed.
pub(crate) type RawKey = [u8; 256];

pub(crate) fn raw_key(
    epoch: u64,
    seat: usize,
    member: &CommitteeRegistry::Member,
) -> Result<RawKey, RegistryFault> {
    let got = member.key.len();
    member.key.as_ref().try_into().map_err(|_| RegistryFault::KeyLength { epoch, seat, got })
}

/// Decodes a key and checks it: on the curve, in the subgroup, not infinity. This takes a fraction
/// of a millisecond.
pub(crate) fn public_key(epoch: u64, seat: usize, raw: &RawKey) -> Result<PublicKeyBytes, RegistryFault> {
    let key = PublicKey::from_eip2537(raw).map_err(|source| RegistryFault::Key { epoch, seat, source })?;
    Ok(key.to_compressed())
}

pub(crate) fn member(
    epoch: u64,
    seat: usize,
    member: CommitteeRegistry::Member,
    public_key: PublicKeyBytes,
) -> Result<Member, RegistryFault> {
    for url in [&member.dispersalUrl, &member.retrievalUrl] {
        if url.len() > ENDPOINT_URL_MAX_BYTES {
            return Err(RegistryFault::UrlLength {
                epoch,
                seat,
                got: url.len(),
                limit: ENDPOINT_URL_MAX_BYTES,
            });
        }
    }
    Ok(Member {
        operator: member.operator,
        public_key,
        dispersal_url: member.dispersalUrl,
        retrieval_url: member.retrievalUrl,
    })
}

pub(crate) fn rollup(record: &CommitteeRegistry::RollupRecord) -> AdmittedRollup {
    AdmittedRollup {
        rollup: record.rollup,
        poster: record.poster,
        retention_max_seconds: record.maxRetention,
        daily_payload_bytes: record.dailyBytes,
    }
}
