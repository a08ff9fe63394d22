// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchHeader, Certificate, RenewalCertificate} from "../types/Certificate.sol";
import {FreezeReason, Transition, VerifierProposal} from "../types/Settlement.sol";
import {ICertificateLog} from "./ICertificateLog.sol";
import {ICommitteeRegistry} from "./ICommitteeRegistry.sol";
import {IValidityVerifier} from "./IValidityVerifier.sol";

/// @title Where a rollup's batches become final: certificate and validity proof in one transaction
/// @notice One contract a rollup. Old state root and batch number come from storage, never from the caller, who may be
/// anybody. A batch that settled is final. When the rollup stops being served, anyone freezes it for good, and users leave
/// with what its last state says. Times are Unix seconds, delays seconds.
interface ISettlement {
    /// @notice A rollup began, in this state.
    event Started(bytes32 stateRoot);
    /// @param inputsConsumed total of L1 inputs ever consumed, after this batch
    /// @param outputs commitment to what the batch grants on L1; zero for nothing
    event BatchSettled(
        bytes32 indexed digest,
        uint64 indexed batchNumber,
        uint64 epoch,
        uint64 expiresAt,
        bytes32 newStateRoot,
        uint64 inputsConsumed,
        bytes32 outputs
    );
    /// @param coverageUntil what all settled batches together are covered until now
    event CoverageRenewed(
        bytes32 indexed digest, uint64 indexed lastBatch, uint64 epoch, uint64 expiresAt, uint64 coverageUntil
    );
    event Frozen(FreezeReason indexed reason, uint64 batchCount, bytes32 stateRoot, uint64 inputsConsumed);
    event VerifierProposed(address indexed verifier, uint64 acceptableFrom);
    event VerifierProposalCancelled(address indexed verifier);
    event VerifierChanged(address indexed former, address indexed current);

    // Deployment

    /// @notice freezeDelay and exitWindow must not be zero.
    error ZeroDelay();
    /// @notice A change of committee or verifier must wait longer than users take to request, freeze and exit.
    error DelayTooShort(uint64 got, uint64 mustExceed);
    error DelayTooLong(uint64 got, uint64 limit);
    /// @notice A verifier must be a contract.
    error NoVerifier(address got);

    // Settling

    error WrongRollup(address got, address expected);
    /// @notice A batch of this number is final already.
    error BatchAlreadySettled(uint64 got, uint64 batchCount);
    error BatchNumberSkipped(uint64 got, uint64 expected);
    /// @notice The digest is not in the certificate log.
    error NotRecorded(bytes32 digest);
    /// @notice The batch's data must be kept for freezeDelay and exitWindow from now.
    error LifetimeTooShort(uint64 expiresAt, uint64 needed);
    /// @notice The same of all former batches: members have to renew first.
    error CoverageTooShort(uint64 coverageUntil, uint64 needed);
    /// @notice Consumed inputs are never given back.
    error InputsGoBack(uint64 got, uint64 consumed);
    /// @notice There are not so many L1 inputs.
    error InputsNotThere(uint64 got, uint64 limit);
    /// @notice The rollup is frozen for good.
    error IsFrozen(FreezeReason reason);

    // Renewing

    /// @notice The renewal speaks of batches that did not settle.
    error RenewalAhead(uint64 lastBatch, uint64 batchCount);
    /// @notice The renewal leaves out batches up to `mark`, which are no longer told apart.
    error RenewalTooOld(uint64 lastBatch, uint64 mark);
    /// @notice Everything that the renewal speaks of is covered for as long already.
    error NothingRenewed(uint64 coverageUntil);

    // Freezing

    error NoReasonToFreeze();
    error NotFrozen();

    // Verifier

    error NoProposal();
    error ProposalNotDue(uint64 acceptableFrom, uint256 timestamp);

    /// @notice Settle the next batch with its certificate and its validity proof. By anyone.
    function settle(Certificate calldata certificate, Transition calldata transition, bytes calldata proof) external;

    /// @notice The same for a batch whose certificate the log has recorded: checked then, and not again.
    function settleRecorded(BatchHeader calldata header, Transition calldata transition, bytes calldata proof) external;

    /// @notice Extend the time for which members keep the settled batches. By anyone, frozen or not.
    function renewCoverage(RenewalCertificate calldata certificate) external;

    /// @notice Stop settling for good, for the reason that holds. By anyone, paused or not. Coverage is short while it is less
    /// than exitWindow and half of freezeDelay from now: settling needs all of freezeDelay.
    function freeze() external;

    /// @notice The reason for which `freeze` would freeze now; where several hold, the one that leaves users least time or
    /// says most. Settling stops half of freezeDelay before coverage is short, so coverage that is short means that nothing
    /// settled either.
    function freezeReason() external view returns (FreezeReason);

    /// @notice Propose the next verifier, in place of any other proposal. Owner only.
    function proposeVerifier(IValidityVerifier next) external;
    /// @notice Owner only.
    function cancelVerifier() external;
    /// @notice Make the proposed verifier the verifier, from verifierDelay after its proposal. Owner only.
    function acceptVerifier() external;

    /// @notice While paused, nothing settles and no deposit is taken. Requests, renewals, freezing, exits, claims and
    /// refunds go on; and since nothing settles, a pause leads to a freeze. Owner only.
    function pause() external;
    function unpause() external;

    function registry() external view returns (ICommitteeRegistry);
    function log() external view returns (ICertificateLog);
    function verifier() external view returns (IValidityVerifier);
    function verifierProposal() external view returns (VerifierProposal memory);

    /// @notice The state that users can leave with.
    function stateRoot() external view returns (bytes32);
    /// @notice Batches settled so far. The next one's number is one more.
    function batchCount() external view returns (uint64);
    /// @notice L1 inputs consumed so far.
    function inputsConsumed() external view returns (uint64);
    /// @notice Commitment to the first `count` L1 inputs. Reverts where there are not so many.
    function inputsCommitment(uint64 count) external view returns (bytes32);
    /// @notice What a batch grants on L1; zero for nothing.
    function outputs(uint64 batchNumber) external view returns (bytes32);
    /// @notice Time of the last settlement, or of deployment before the first.
    function lastSettledAt() external view returns (uint64);
    /// @notice Until when all settled batches are kept; 2^40 − 1 while there is none.
    function coverageUntil() external view returns (uint64);
    /// @notice The least lastBatch with which a renewal is of use.
    function coverageMark() external view returns (uint64);

    function frozen() external view returns (bool);
    /// @notice Why it was frozen; None while it is not.
    function frozenFor() external view returns (FreezeReason);

    /// @notice For how long nothing may settle, or an input stay unserved, before anyone may freeze.
    function freezeDelay() external view returns (uint64);
    /// @notice For how long the data must stay available after a freeze.
    function exitWindow() external view returns (uint64);
    /// @notice Between proposing a verifier and accepting it; longer than freezeDelay and exitWindow together.
    function verifierDelay() external view returns (uint64);
}
