//! Calls that carry a certificate: what log and settlement contract take alike stands here once.

use alloy::primitives::Bytes;
use alloy::sol_types::SolCall;
use dac_bls::{CheckedRenewal, Signature};
use dac_types::{BatchHeader, Certificate, Transition};

use self::abi::ICalls;
use crate::error::ChainError;

/// `contracts/src/types/Certificate.sol` and `Settlement.sol`, and the functions of `ICertificateLog.sol` and `ISettlement.sol` that take
/// them.
mod abi {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol! {
        struct BatchHeader {
            address rollup; uint64 batchNumber; uint64 epoch; uint64 expiresAt; uint64 payloadLength;
            uint8 hashKind; bytes32 batchHash; bytes32 shardRoot; bytes32 fingerprintsHash; bytes payloadFingerprint;
        }
        struct Certificate { BatchHeader header; bytes absent; bytes signature; }
        struct CoverageRenewal { address rollup; uint64 lastBatch; uint64 expiresAt; uint64 epoch; }
        struct RenewalCertificate { CoverageRenewal renewal; bytes absent; bytes signature; }
        struct Transition { bytes32 newStateRoot; uint64 inputsConsumed; bytes32 outputs; }

        interface ICalls {
            function record(Certificate calldata certificate) external returns (bytes32);
            function check(Certificate calldata certificate) external view returns (bytes32);
            function settle(Certificate calldata certificate, Transition calldata transition, bytes calldata proof) external;
            function settleRecorded(BatchHeader calldata header, Transition calldata transition, bytes calldata proof) external;
            function renewCoverage(RenewalCertificate calldata certificate) external;
        }
    }
}

/// Points go uncompressed, in EIP-2537 encoding.
fn certificate(certificate: &Certificate) -> Result<abi::Certificate, ChainError> {
    let signature = Signature::from_compressed(&certificate.aggregate.signature)
        .map_err(ChainError::CertificateSignature)?;
    Ok(abi::Certificate {
        header: header(&certificate.header),
        absent: certificate.aggregate.absent.as_bytes().to_vec().into(),
        signature: signature.to_eip2537().to_vec().into(),
    })
}

fn header(header: &BatchHeader) -> abi::BatchHeader {
    abi::BatchHeader {
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

fn transition(transition: &Transition) -> abi::Transition {
    abi::Transition {
        newStateRoot: transition.new_state_root,
        inputsConsumed: transition.inputs_consumed,
        outputs: transition.outputs,
    }
}

/// The calldata of `CertificateLog.record(certificate)`.
pub fn record_calldata(recorded: &Certificate) -> Result<Bytes, ChainError> {
    Ok(ICalls::recordCall { certificate: certificate(recorded)? }.abi_encode().into())
}

/// The calldata of `CertificateLog.check(certificate)`.
pub(crate) fn check_calldata(checked: &Certificate) -> Result<Bytes, ChainError> {
    Ok(ICalls::checkCall { certificate: certificate(checked)? }.abi_encode().into())
}

/// The calldata of `settle(certificate, transition, proof)`.
pub(crate) fn settle(settled: &Certificate, change: &Transition, proof: &[u8]) -> Result<Bytes, ChainError> {
    let call = ICalls::settleCall {
        certificate: certificate(settled)?,
        transition: transition(change),
        proof: proof.to_vec().into(),
    };
    Ok(call.abi_encode().into())
}

/// The calldata of `settleRecorded(header, transition, proof)`.
pub(crate) fn settle_recorded(batch: &BatchHeader, change: &Transition, proof: &[u8]) -> Bytes {
    let (header, transition) = (header(batch), transition(change));
    ICalls::settleRecordedCall { header, transition, proof: proof.to_vec().into() }.abi_encode().into()
}

/// The calldata of `renewCoverage(certificate)`.
pub(crate) fn renew_coverage(checked: &CheckedRenewal) -> Bytes {
    let renewed = checked.certificate();
    let certificate = abi::RenewalCertificate {
        renewal: abi::CoverageRenewal {
            rollup: renewed.renewal.rollup,
            lastBatch: renewed.renewal.last_batch,
            expiresAt: renewed.renewal.expires_at,
            epoch: renewed.renewal.epoch,
        },
        absent: renewed.aggregate.absent.as_bytes().to_vec().into(),
        signature: checked.signature().to_eip2537().to_vec().into(),
    };
    ICalls::renewCoverageCall { certificate }.abi_encode().into()
}

/// Calls read back, for an L1 that is made up.
#[cfg(feature = "testing")]
mod decoded {
    use dac_types::{CoverageRenewal, HashKind};

    use super::*;
    use crate::testing::SettleCall;

    fn batch(header: &abi::BatchHeader) -> Option<BatchHeader> {
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

    fn change(change: &abi::Transition) -> Transition {
        Transition {
            new_state_root: change.newStateRoot,
            inputs_consumed: change.inputsConsumed,
            outputs: change.outputs,
        }
    }

    /// A settlement as it is asked for.
    pub(crate) fn settle_call(calldata: &[u8]) -> Option<SettleCall> {
        if let Ok(call) = ICalls::settleCall::abi_decode_validate(calldata) {
            let header = batch(&call.certificate.header)?;
            let transition = change(&call.transition);
            return Some(SettleCall { header, transition, proof: call.proof, recorded: false });
        }
        let call = ICalls::settleRecordedCall::abi_decode_validate(calldata).ok()?;
        let (header, transition) = (batch(&call.header)?, change(&call.transition));
        Some(SettleCall { header, transition, proof: call.proof, recorded: true })
    }

    /// A renewal as it is asked for.
    pub(crate) fn renew_call(calldata: &[u8]) -> Option<CoverageRenewal> {
        let call = ICalls::renewCoverageCall::abi_decode_validate(calldata).ok()?;
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
pub(crate) use self::decoded::{renew_call, settle_call};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::CertificateLog;

    /// What is written down here is what the contracts were compiled to.
    #[test]
    fn calls_are_the_contracts_own() {
        assert_eq!(ICalls::recordCall::SELECTOR, CertificateLog::recordCall::SELECTOR);
        assert_eq!(ICalls::checkCall::SELECTOR, CertificateLog::checkCall::SELECTOR);
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/abi/PaymentsRollup.json");
        let document: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let functions = document["abi"].as_array().unwrap();
        for (name, signature) in [
            ("settle", ICalls::settleCall::SIGNATURE),
            ("settleRecorded", ICalls::settleRecordedCall::SIGNATURE),
            ("renewCoverage", ICalls::renewCoverageCall::SIGNATURE),
        ] {
            let function = functions.iter().find(|entry| entry["name"] == name).unwrap();
            assert_eq!(format!("{name}{}", tuple(&function["inputs"])), signature);
        }
    }

    /// Types as a signature has them.
    fn tuple(components: &serde_json::Value) -> String {
        let types = components.as_array().unwrap().iter().map(|component| {
            match component["type"].as_str().unwrap() {
                "tuple" => tuple(&component["components"]),
                name => name.to_owned(),
            }
        });
        format!("({})", types.collect::<Vec<_>>().join(","))
    }
}
