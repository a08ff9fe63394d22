//! The settlement contract's ABI as far as it is read here: every rollup's contract has it, whatever else it does.

use alloy::sol_types::SolInterface;

use self::abi::ISettlement::ISettlementErrors;
use self::abi::IValidityVerifier::IValidityVerifierErrors;
use crate::revert::Revert;

/// `contracts/src/interfaces/ISettlement.sol` and `IValidityVerifier.sol`, without what nobody calls from here.
mod abi {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol! {
        #[derive(Debug)]
        interface ISettlement {
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
            error RenewalAhead(uint64 lastBatch, uint64 batchCount);
            error RenewalTooOld(uint64 lastBatch, uint64 mark);
            error NothingRenewed(uint64 coverageUntil);

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
            E::RenewalAhead(e) => Revert::RenewalAhead { last_batch: e.lastBatch, batch_count: e.batchCount },
            E::RenewalTooOld(e) => Revert::RenewalTooOld { last_batch: e.lastBatch, mark: e.mark },
            E::NothingRenewed(e) => Revert::NothingRenewed { coverage_until: e.coverageUntil },
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
