//! The rules of the certificate log contract.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::sol_types::SolCall;
use dac_bls::{CertificateError, Signature};
use dac_chain::contracts::CertificateLog as Abi;
use dac_chain::{Refusal, U256};
use dac_types::{
    AbsentSeats, AggregateAttestation, B256, BatchDigest, BatchHeader, Certificate, HashKind, keccak256,
};

use crate::cast::{Cast, DOMAIN};

/// The ABI of the production contract.
mod abi {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol!(CertificateLog, "../contracts/abi/CertificateLog.json");
}

/// A certificate that the log recorded.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) digest: BatchDigest,
    pub(crate) certificate: Certificate,
}

/// Checks calls to the log. It caches the result of the signature check, which is expensive.
pub(super) struct CertificateLog {
    cast: Arc<Cast>,
    /// The results of all checks that do not depend on the time, by the hash of the call data.
    checked: HashMap<B256, Result<Recorded, Refusal>>,
}

impl CertificateLog {
    pub(super) fn new(cast: Arc<Cast>) -> Self {
        Self { cast, checked: HashMap::new() }
    }

    /// Returns the digest of the batch that a call is about.
    pub(super) fn digest(&self, calldata: &[u8]) -> Option<BatchDigest> {
        decode(calldata).ok().map(|certificate| certificate.header.digest(&DOMAIN))
    }

    /// Returns the record that the call would make at `timestamp`, or the contract's refusal. It
    /// does not check whether the record exists already.
    pub(super) fn check(&mut self, calldata: &[u8], timestamp: u64) -> Result<Recorded, Refusal> {
        let cast = &self.cast;
        let checked = self.checked.entry(keccak256(calldata)).or_insert_with(|| {
            let certificate = decode(calldata)?;
            let digest = certificate.header.digest(&DOMAIN);
            match cast.keys.verify_certificate(&certificate, &DOMAIN) {
                Ok(_) => Ok(Recorded { digest, certificate }),
                Err(CertificateError::Absent(_)) => Err(Refusal::of(&Abi::TooFewSigners {
                    got: U256::ZERO,
                    quorum: U256::from(cast.quorum.q()),
                })),
                Err(_) => Err(Refusal::of(&Abi::SignatureMismatch { digest: digest.0 })),
            }
        });
        let recorded = checked.clone()?;
        let expires_at = recorded.certificate.header.expires_at;
        if expires_at <= timestamp {
            return Err(Refusal::of(&Abi::Expired {
                expiresAt: expires_at,
                timestamp: U256::from(timestamp),
            }));
        }
        Ok(recorded)
    }
}

fn decode(calldata: &[u8]) -> Result<Certificate, Refusal> {
    let unexplained = || Refusal::Unexplained { data: calldata.get(..4).unwrap_or_default().to_vec().into() };
    let call = abi::CertificateLog::recordCall::abi_decode(calldata).map_err(|_| unexplained())?;
    let (header, signature) = (call.certificate.header, call.certificate.signature);
    let point: [u8; 128] =
        signature.as_ref().try_into().map_err(|_| Refusal::of(&Abi::InvalidSignaturePoint {}))?;
    let signature =
        Signature::from_eip2537(&point).map_err(|_| Refusal::of(&Abi::InvalidSignaturePoint {}))?;
    let absent = AbsentSeats::try_from(call.certificate.absent.as_ref()).map_err(|_| unexplained())?;
    Ok(Certificate {
        header: BatchHeader {
            rollup: header.rollup,
            batch_number: header.batchNumber,
            epoch: header.epoch,
            expires_at: header.expiresAt,
            payload_length: header.payloadLength,
            hash_kind: HashKind::try_from(u64::from(header.hashKind)).map_err(|_| unexplained())?,
            batch_hash: header.batchHash,
            shard_root: header.shardRoot,
            fingerprints_hash: header.fingerprintsHash,
            payload_fingerprint: header.payloadFingerprint.to_vec(),
        },
        aggregate: AggregateAttestation { absent, signature: signature.to_compressed() },
    })
}
