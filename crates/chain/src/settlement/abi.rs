//! The settlement contract's ABI as far as it is called and read here: every rollup's contract has it, whatever else it does.

use alloy::primitives::Bytes;
use alloy::sol_types::{SolCall, SolInterface};
use dac_bls::Signature;
use dac_types::{BatchHeader, Certificate, Transition};

use self::abi::ISettlement;
use self::abi::ISettlement::ISettlementErrors;
use self::abi::IValidityVerifier::IValidityVerifierErrors;
use crate::error::ChainError;
use crate::revert::Revert;

/// `contracts/src/interfaces/ISettlement.sol` and `IValidityVerifier.sol`, without what nobody calls from here.
mod abi {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol! {
        #[derive(Debug)]
        interface ISettlement {
            struct BatchHeader {
                address rollup; uint64 batchNumber; uint64 epoch; uint64 expiresAt; uint64 payloadLength;
                uint8 hashKind; bytes32 batchHash; bytes32 shardRoot; bytes32 fingerprintsHash; bytes payloadFingerprint;
            }
            struct Certificate { BatchHeader header; bytes absent; bytes signature; }
            struct Transition { bytes32 newStateRoot; uint64 inputsConsumed; bytes32 outputs; }

            event BatchSettled(
                bytes32 indexed digest, uint64 indexed batchNumber, uint64 epoch, uint64 expiresAt,
                bytes32 newStateRoot, uint64 inputsConsumed, bytes32 outputs
            );
            event CoverageRenewed(
                bytes32 indexed digest, uint64 indexed lastBatch, uint64 epoch, uint64 expiresAt, uint64 coverageUntil
            );

            error WrongRollup(address got, address expected);
            error BatchAlreadySettled(uint64 got, uint64 batchCount);
            error BatchNumberSkipped(uint64 got, uint64 expected);
            error NotRecorded(bytes32 digest);
            error LifetimeTooShort(uint64 expiresAt, uint64 needed);
            error CoverageTooShort(uint64 coverageUntil, uint64 needed);
            error InputsGoBack(uint64 got, uint64 consumed);
            error InputsNotThere(uint64 got, uint64 limit);
            error IsFrozen(uint8 reason);

            function settle(Certificate calldata certificate, Transition calldata transition, bytes calldata proof) external;
            function settleRecorded(BatchHeader calldata header, Transition calldata transition, bytes calldata proof) external;

            function registry() external view returns (address);
            function log() external view returns (address);
            function verifier() external view returns (address);
            function stateRoot() external view returns (bytes32);
            function batchCount() external view returns (uint64);
            function inputsConsumed() external view returns (uint64);
            function lastSettledAt() external view returns (uint64);
            function coverageUntil() external view returns (uint64);
            function coverageMark() external view returns (uint64);
            function freezeReason() external view returns (uint8);
            function frozenFor() external view returns (uint8);
            function frozen() external view returns (bool);
            function freezeDelay() external view returns (uint64);
            function exitWindow() external view returns (uint64);
        }

        #[derive(Debug)]
        interface IValidityVerifier {
            error HashKindNotAllowed(uint8 got);
            error PointsNotSupported(uint256 t);
            error ClaimLengths(uint256 points, uint256 fingerprint);
            error PayloadLengthNotPacked(uint64 got);
            error ProofLength(uint256 got, uint256 expected);
            error InputNotInField(uint256 index, uint256 value);
            error InvalidProof();
        }
    }
}

pub(crate) use self::abi::ISettlement as Settlement;

fn header(header: &BatchHeader) -> ISettlement::BatchHeader {
    ISettlement::BatchHeader {
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

fn transition(transition: &Transition) -> ISettlement::Transition {
    ISettlement::Transition {
        newStateRoot: transition.new_state_root,
        inputsConsumed: transition.inputs_consumed,
        outputs: transition.outputs,
    }
}

/// The calldata of `settle(certificate, transition, proof)`.
pub(super) fn settle(
    certificate: &Certificate,
    change: &Transition,
    proof: &[u8],
) -> Result<Bytes, ChainError> {
    let signature = Signature::from_compressed(&certificate.aggregate.signature)
        .map_err(ChainError::CertificateSignature)?;
    let call = ISettlement::settleCall {
        certificate: ISettlement::Certificate {
            header: header(&certificate.header),
            absent: certificate.aggregate.absent.as_bytes().to_vec().into(),
            signature: signature.to_eip2537().to_vec().into(),
        },
        transition: transition(change),
        proof: proof.to_vec().into(),
    };
    Ok(call.abi_encode().into())
}

/// The calldata of `settleRecorded(header, transition, proof)`.
pub(super) fn settle_recorded(batch: &BatchHeader, change: &Transition, proof: &[u8]) -> Bytes {
    let (header, transition) = (header(batch), transition(change));
    ISettlement::settleRecordedCall { header, transition, proof: proof.to_vec().into() }.abi_encode().into()
}

/// A settlement as it is asked for, read back from its calldata.
#[cfg(feature = "testing")]
pub(crate) fn decode_call(calldata: &[u8]) -> Option<crate::testing::SettleCall> {
    let transition = |change: &ISettlement::Transition| Transition {
        new_state_root: change.newStateRoot,
        inputs_consumed: change.inputsConsumed,
        outputs: change.outputs,
    };
    let batch = |header: &ISettlement::BatchHeader| {
        Some(BatchHeader {
            rollup: header.rollup,
            batch_number: header.batchNumber,
            epoch: header.epoch,
            expires_at: header.expiresAt,
            payload_length: header.payloadLength,
            hash_kind: dac_types::HashKind::try_from(u64::from(header.hashKind)).ok()?,
            batch_hash: header.batchHash,
            shard_root: header.shardRoot,
            fingerprints_hash: header.fingerprintsHash,
            payload_fingerprint: header.payloadFingerprint.to_vec(),
        })
    };
    if let Ok(call) = ISettlement::settleCall::abi_decode_validate(calldata) {
        let header = batch(&call.certificate.header)?;
        let transition = transition(&call.transition);
        return Some(crate::testing::SettleCall { header, transition, proof: call.proof, recorded: false });
    }
    let call = ISettlement::settleRecordedCall::abi_decode_validate(calldata).ok()?;
    let (header, transition) = (batch(&call.header)?, transition(&call.transition));
    Some(crate::testing::SettleCall { header, transition, proof: call.proof, recorded: true })
}

/// The settlement's or its verifier's own error, if the data of a revert is one.
pub(crate) fn decode_revert(data: &[u8]) -> Option<Revert> {
    if let Ok(error) = ISettlementErrors::abi_decode(data) {
        use ISettlementErrors as E;
        return Some(match error {
            E::WrongRollup(e) => Revert::WrongRollup { got: e.got, expected: e.expected },
            E::BatchAlreadySettled(e) => {
                Revert::BatchAlreadySettled { got: e.got, batch_count: e.batchCount }
            }
            E::BatchNumberSkipped(e) => Revert::BatchNumberSkipped { got: e.got, expected: e.expected },
            E::NotRecorded(e) => Revert::NotRecorded { digest: e.digest },
            E::LifetimeTooShort(e) => Revert::LifetimeTooShort { expires_at: e.expiresAt, needed: e.needed },
            E::CoverageTooShort(e) => {
                Revert::CoverageTooShort { coverage_until: e.coverageUntil, needed: e.needed }
            }
            E::InputsGoBack(e) => Revert::InputsGoBack { got: e.got, consumed: e.consumed },
            E::InputsNotThere(e) => Revert::InputsNotThere { got: e.got, limit: e.limit },
            E::IsFrozen(e) => Revert::IsFrozen { reason: e.reason },
        });
    }
    let error = IValidityVerifierErrors::abi_decode(data).ok()?;
    use IValidityVerifierErrors as E;
    Some(match error {
        E::HashKindNotAllowed(e) => Revert::HashKindNotAllowed { got: e.got },
        E::PointsNotSupported(e) => Revert::PointsNotSupported { t: e.t },
        E::ClaimLengths(e) => Revert::ClaimLengths { points: e.points, fingerprint: e.fingerprint },
        E::PayloadLengthNotPacked(e) => Revert::PayloadLengthNotPacked { got: e.got },
        E::ProofLength(e) => Revert::ProofLength { got: e.got, expected: e.expected },
        E::InputNotInField(e) => Revert::InputNotInField { index: e.index, value: e.value },
        E::InvalidProof(_) => Revert::InvalidProof,
    })
}
