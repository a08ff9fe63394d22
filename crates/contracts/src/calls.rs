//! Encodes the calls that carry a certificate. The certificate log and settlement contracts take
//! the same structures, which are written once here.

use alloy::primitives::{Bytes, U256};
use alloy::sol_types::SolCall;
use dac_bls::{CheckedBundle, CheckedRenewal, PointError, Signature};
use dac_types::{BatchBundle, BatchDigest, BatchHeader, BundleDigests, Certificate, Domain, Transition};

use super::{BatchLedger, CertificateLog, Settlement};

/// Encodes certificates in one contract's types, because the compiler's ABI gives each contract its
/// own.
macro_rules! certificates {
    ($abi:ident) => {
        /// The signature's point is written uncompressed, in EIP-2537 encoding.
        pub(crate) fn certificate(certificate: &Certificate) -> Result<$abi::Certificate, PointError> {
            let signature = Signature::from_compressed(&certificate.aggregate.signature)?;
            Ok($abi::Certificate {
                header: header(&certificate.header),
                absent: certificate.aggregate.absent.as_bytes().to_vec().into(),
                signature: signature.to_eip2537().to_vec().into(),
            })
        }

        pub(crate) fn header(header: &BatchHeader) -> $abi::BatchHeader {
            $abi::BatchHeader {
                rollup: header.rollup,
                batchNumber: header.batch_number,
                epoch: header.epoch,
                expiresAt: header.expires_at,
                payloadLength: header.payload_length,
                hashKind: header.hash_kind as u8,
                batchHash: header.batch_hash,
                shardRoot: header.shard_root,
                fingerprintsHash: header.fingerprints_hash,
                payloadFingerprint: header.payload_fingerprint.clone().into(),
            }
        }
    };
}

/// The types of the certificate log.
pub(super) mod for_log {
    use super::*;
    certificates!(CertificateLog);
}

/// The types of ledgers.
mod for_ledger {
    use super::*;
    certificates!(BatchLedger);
}

/// The types of settlement contracts.
mod for_settlement {
    use super::*;
    certificates!(Settlement);
}

fn transition(transition: &Transition) -> Settlement::Transition {
    Settlement::Transition {
        newStateRoot: transition.new_state_root,
        inputsConsumed: transition.inputs_consumed,
        outputs: transition.outputs,
    }
}

/// The calldata of `CertificateLog.record(certificate)`.
pub fn record_calldata(recorded: &Certificate) -> Result<Bytes, PointError> {
    Ok(CertificateLog::recordCall { certificate: for_log::certificate(recorded)? }.abi_encode().into())
}

/// The calldata of `CertificateLog.recordBundle(epoch, digests, absent, signature)`.
pub fn record_bundle_calldata(checked: &CheckedBundle) -> Bytes {
    let recorded = checked.certificate();
    let call = CertificateLog::recordBundleCall {
        epoch: recorded.epoch,
        digests: recorded.digests.as_slice().iter().map(|digest| digest.0).collect(),
        absent: recorded.aggregate.absent.as_bytes().to_vec().into(),
        signature: checked.signature().to_eip2537().to_vec().into(),
    };
    call.abi_encode().into()
}

/// The calldata of `CertificateLog.check(certificate)`.
pub fn check_calldata(checked: &Certificate) -> Result<Bytes, PointError> {
    Ok(CertificateLog::checkCall { certificate: for_log::certificate(checked)? }.abi_encode().into())
}

/// The calldata of `settle(certificate, transition, proof)`.
pub fn settle(settled: &Certificate, change: &Transition, proof: &[u8]) -> Result<Bytes, PointError> {
    let call = Settlement::settleCall {
        certificate: for_settlement::certificate(settled)?,
        transition: transition(change),
        proof: proof.to_vec().into(),
    };
    Ok(call.abi_encode().into())
}

/// The calldata of `settleRecorded(header, transition, proof)`.
pub fn settle_recorded(batch: &BatchHeader, change: &Transition, proof: &[u8]) -> Bytes {
    let (header, transition) = (for_settlement::header(batch), transition(change));
    Settlement::settleRecordedCall { header, transition, proof: proof.to_vec().into() }.abi_encode().into()
}

/// The calldata of `settleBundled(header, place, transition, proof)`: the batch at `index` of these
/// digests, which a bundle of the header's epoch has. `None` if there is no such index.
pub fn settle_bundled(
    batch: &BatchHeader,
    digests: &BundleDigests,
    index: usize,
    change: &Transition,
    proof: &[u8],
) -> Option<Bytes> {
    let BatchBundle { epoch, count, root } = digests.bundle(batch.epoch);
    let place = Settlement::BundlePath {
        bundle: Settlement::BatchBundle { epoch, count, root },
        index: U256::from(index),
        path: digests.path(index)?,
    };
    let (header, transition) = (for_settlement::header(batch), transition(change));
    let proof = proof.to_vec().into();
    Some(Settlement::settleBundledCall { header, place, transition, proof }.abi_encode().into())
}

/// The calldata of a ledger's `accept(certificate)`.
pub fn accept(accepted: &Certificate) -> Result<Bytes, PointError> {
    let certificate = for_ledger::certificate(accepted)?;
    Ok(BatchLedger::acceptCall { certificate }.abi_encode().into())
}

/// The calldata of a ledger's `acceptRecorded(headers)`. The batch numbers ascend by one.
pub fn accept_recorded(batches: &[BatchHeader]) -> Bytes {
    let headers = batches.iter().map(for_ledger::header).collect();
    BatchLedger::acceptRecordedCall { headers }.abi_encode().into()
}

/// The calldata of a ledger's `acceptBundled(…)`: batches whose numbers ascend by one, of a
/// recorded bundle of their epoch. An error names the digest of a batch that the bundle does not
/// have.
pub fn accept_bundled(
    batches: &[BatchHeader],
    epoch: u64,
    digests: &BundleDigests,
    domain: &Domain,
) -> Result<Bytes, BatchDigest> {
    // Digests ascend in a bundle, so that indices ascend with them.
    let mut places = Vec::with_capacity(batches.len());
    for (position, batch) in batches.iter().enumerate() {
        let digest = batch.digest(domain);
        places.push((digests.index_of(digest).ok_or(digest)?, position));
    }
    places.sort_unstable();
    let indices: Vec<usize> = places.iter().map(|(index, _)| *index).collect();
    let BatchBundle { epoch, count, root } = digests.bundle(epoch);
    let call = BatchLedger::acceptBundledCall {
        headers: batches.iter().map(for_ledger::header).collect(),
        bundle: BatchLedger::BatchBundle { epoch, count, root },
        indices: indices.iter().copied().map(U256::from).collect(),
        ascending: places.iter().map(|(_, position)| U256::from(*position)).collect(),
        proof: digests.proof(&indices),
    };
    Ok(call.abi_encode().into())
}

/// The calldata of `renewCoverage(certificate)`.
pub fn renew_coverage(checked: &CheckedRenewal) -> Bytes {
    let renewed = checked.certificate();
    let certificate = Settlement::RenewalCertificate {
        renewal: Settlement::CoverageRenewal {
            rollup: renewed.renewal.rollup,
            lastBatch: renewed.renewal.last_batch,
            expiresAt: renewed.renewal.expires_at,
            epoch: renewed.renewal.epoch,
        },
        absent: renewed.aggregate.absent.as_bytes().to_vec().into(),
        signature: checked.signature().to_eip2537().to_vec().into(),
    };
    Settlement::renewCoverageCall { certificate }.abi_encode().into()
}

/// Decodes calls, for tests with an L1 in memory.
#[cfg(feature = "testing")]
mod decoded {
    use dac_types::{CoverageRenewal, HashKind};

    use super::*;

    fn batch(header: &Settlement::BatchHeader) -> Option<BatchHeader> {
        Some(BatchHeader {
            rollup: header.rollup,
            batch_number: header.batchNumber,
            epoch: header.epoch,
            expires_at: header.expiresAt,
            payload_length: header.payloadLength,
            hash_kind: HashKind::try_from(u64::from(header.hashKind)).ok()?,
            batch_hash: header.batchHash,
            shard_root: header.shardRoot,
            fingerprints_hash: header.fingerprintsHash,
            payload_fingerprint: header.payloadFingerprint.to_vec(),
        })
    }

    fn change(change: &Settlement::Transition) -> Transition {
        Transition {
            new_state_root: change.newStateRoot,
            inputs_consumed: change.inputsConsumed,
            outputs: change.outputs,
        }
    }

    /// The arguments of a call that settles a batch.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SettleCall {
        /// The batch's header.
        pub header: BatchHeader,
        /// The change that the batch is said to make.
        pub transition: Transition,
        /// The batch's validity proof.
        pub proof: Bytes,
        /// Whether the call is `settleRecorded` rather than `settle`.
        pub recorded: bool,
    }

    impl SettleCall {
        /// Decodes calldata; `None` if it settles nothing.
        pub fn decode(calldata: &[u8]) -> Option<Self> {
            settle_call(calldata)
        }
    }

    fn settle_call(calldata: &[u8]) -> Option<SettleCall> {
        if let Ok(call) = Settlement::settleCall::abi_decode_validate(calldata) {
            let header = batch(&call.certificate.header)?;
            let transition = change(&call.transition);
            return Some(SettleCall { header, transition, proof: call.proof, recorded: false });
        }
        let call = Settlement::settleRecordedCall::abi_decode_validate(calldata).ok()?;
        let (header, transition) = (batch(&call.header)?, change(&call.transition));
        Some(SettleCall { header, transition, proof: call.proof, recorded: true })
    }

    /// Decodes the renewal in calldata; `None` if it renews nothing.
    pub fn decode_renewal(calldata: &[u8]) -> Option<CoverageRenewal> {
        let call = Settlement::renewCoverageCall::abi_decode_validate(calldata).ok()?;
        let renewal = call.certificate.renewal;
        Some(CoverageRenewal {
            rollup: renewal.rollup,
            last_batch: renewal.lastBatch,
            expires_at: renewal.expiresAt,
            epoch: renewal.epoch,
        })
    }
}

#[cfg(feature = "testing")]
pub use self::decoded::{SettleCall, decode_renewal};
