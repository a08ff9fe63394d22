// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchHeader, Certificate, RenewalCertificate} from "../types/Certificate.sol";
import {FreezeReason, Transition, VerifierProposal} from "../types/Settlement.sol";
import {ICertificateLog} from "./ICertificateLog.sol";
import {ICommitteeRegistry} from "./ICommitteeRegistry.sol";
import {IValidityVerifier} from "./IValidityVerifier.sol";

/// @title Where a rollup's batches become final: certificate and validity proof in one transaction
/// @notice Each rollup has one contract. The old state root and the batch number come from storage,
/// never from the caller, who may be anyone. A settled batch is final. If the rollup is no longer
/// served, anyone can freeze it permanently, and users then leave with their balances in its last
/// state. Times are Unix seconds; delays are in seconds.
interface ISettlement {
    /// @notice A rollup started in this state.
    event Started(bytes32 stateRoot);
    /// @param inputsConsumed total of L1 inputs consumed, including this batch
    /// @param outputs commitment to what the batch pays out on L1; zero if it pays nothing
    event BatchSettled(
        bytes32 indexed digest,
        uint64 indexed batchNumber,
        uint64 epoch,
        uint64 expiresAt,
        bytes32 newStateRoot,
        uint64 inputsConsumed,
        bytes32 outputs
    );
    /// @param coverageUntil time until which all settled batches together are now covered
    event CoverageRenewed(
        bytes32 indexed digest, uint64 indexed lastBatch, uint64 epoch, uint64 expiresAt, uint64 coverageUntil
    );
    event Frozen(FreezeReason indexed reason, uint64 batchCount, bytes32 stateRoot, uint64 inputsConsumed);
    event VerifierProposed(address indexed verifier, address indexed standby, uint64 acceptableFrom);
    event VerifierProposalCancelled(address indexed verifier);
    event VerifierChanged(address indexed former, address indexed current, address indexed standby);

    // Deployment

    /// @notice freezeDelay and exitWindow must not be zero.
    error ZeroDelay();
    /// @notice A change of committee or verifier must take longer than users need to request,
    /// freeze and exit.
    error DelayTooShort(uint64 got, uint64 mustExceed);
    error DelayTooLong(uint64 got, uint64 limit);

    // Settling

    error WrongRollup(address got, address expected);
    /// @notice A batch with this number is final already.
    error BatchAlreadySettled(uint64 got, uint64 batchCount);
    error BatchNumberSkipped(uint64 got, uint64 expected);
    /// @notice The digest is not in the certificate log.
    error NotRecorded(bytes32 digest);
    /// @notice The batch's data must be kept for at least freezeDelay and exitWindow from now.
    error LifetimeTooShort(uint64 expiresAt, uint64 needed);
    /// @notice The data of all former batches must be kept for as long. Members have to renew
    /// coverage first.
    error CoverageTooShort(uint64 coverageUntil, uint64 needed);
    /// @notice The number of consumed inputs must not decrease.
    error InputsGoBack(uint64 got, uint64 consumed);
    /// @notice There are fewer L1 inputs.
    error InputsNotThere(uint64 got, uint64 limit);
    /// @notice The rollup is frozen permanently.
    error IsFrozen(FreezeReason reason);

    // Renewing

    /// @notice The renewal covers batches that have not settled.
    error RenewalAhead(uint64 lastBatch, uint64 batchCount);
    /// @notice The renewal leaves out batches up to `mark`, whose times are no longer kept apart.
    error RenewalTooOld(uint64 lastBatch, uint64 mark);
    /// @notice All batches of the renewal are already covered for as long.
    error NothingRenewed(uint64 coverageUntil);

    // Freezing

    error NoReasonToFreeze();
    error NotFrozen();

    // Verifier

    error NoProposal();
    error ProposalNotDue(uint64 acceptableFrom, uint256 timestamp);
    /// @notice The proposal was not accepted in time. Who came since saw none announced.
    error ProposalLapsed(uint64 acceptableUntil, uint256 timestamp);
    /// @notice The code at the address is not what was proposed.
    error VerifierCodeChanged(address verifier);

    /// @notice Settles the next batch with its certificate and its validity proof. Anyone may call
    /// it.
    function settle(Certificate calldata certificate, Transition calldata transition, bytes calldata proof) external;

    /// @notice Settles the next batch if the log has its certificate. The log checked the
    /// certificate, so it is not checked again.
    function settleRecorded(BatchHeader calldata header, Transition calldata transition, bytes calldata proof) external;

    /// @notice Extends the time for which members keep the settled batches. Anyone may call it,
    /// even when the rollup is frozen.
    function renewCoverage(RenewalCertificate calldata certificate) external;

    /// @notice Stops settlement permanently if there is a reason. Anyone may call it, even while
    /// paused. Coverage is short if it lasts less than exitWindow and half of freezeDelay from now;
    /// settling needs exitWindow and all of freezeDelay.
    function freeze() external;

    /// @notice The reason for which `freeze` would freeze now. If there are several, it is the one
    /// that leaves users the least time or says the most. Settlement stops half of freezeDelay
    /// before coverage is short, so short coverage implies that nothing settled either.
    function freezeReason() external view returns (FreezeReason);

    /// @notice Proposes the next verifier and the next standby, and replaces any other proposal.
    /// Owner only. Each must be a contract whose code at its address never changes what verifies.
    /// @param nextStandby a second verifier, or zero for none. A batch settles if either accepts
    /// its proof, so that one that is stopped by others ends no rollup; each must be trusted alone.
    function proposeVerifier(IValidityVerifier next, IValidityVerifier nextStandby) external;
    /// @notice Withdraws the proposal. Owner only.
    function cancelVerifier() external;
    /// @notice Makes the proposed verifiers the verifiers, at the earliest verifierDelay after
    /// their proposal, and at the latest 14 days after that. Owner only.
    function acceptVerifier() external;

    /// @notice While paused, nothing settles and no deposit is accepted. Requests, renewals,
    /// freezing, exits, claims and refunds continue. Because nothing settles, a long pause leads to
    /// a freeze. Owner or pauser; only the owner ends it.
    function pause() external;
    function unpause() external;

    function registry() external view returns (ICommitteeRegistry);
    function log() external view returns (ICertificateLog);
    function verifier() external view returns (IValidityVerifier);
    /// @notice The second verifier, or zero.
    function standby() external view returns (IValidityVerifier);
    function verifierProposal() external view returns (VerifierProposal memory);

    /// @notice The state with which users can leave.
    function stateRoot() external view returns (bytes32);
    /// @notice Number of settled batches. The next batch has the number after it.
    function batchCount() external view returns (uint64);
    /// @notice Number of consumed L1 inputs.
    function inputsConsumed() external view returns (uint64);
    /// @notice Commitment to the first `count` L1 inputs. Reverts if there are fewer.
    function inputsCommitment(uint64 count) external view returns (bytes32);
    /// @notice Commitment to what a batch pays out on L1; zero if it pays nothing.
    function outputs(uint64 batchNumber) external view returns (bytes32);
    /// @notice Time of the last settlement, or of deployment before the first one.
    function lastSettledAt() external view returns (uint64);
    /// @notice Time until which all settled batches are kept; 2^40 − 1 if there is none.
    function coverageUntil() external view returns (uint64);
    /// @notice The smallest lastBatch with which a renewal has an effect.
    function coverageMark() external view returns (uint64);

    function frozen() external view returns (bool);
    /// @notice The reason for the freeze; None if the rollup is not frozen.
    function frozenFor() external view returns (FreezeReason);

    /// @notice How long no batch may settle, or an input may wait, before anyone may freeze.
    function freezeDelay() external view returns (uint64);
    /// @notice How long the data must stay available after a freeze.
    function exitWindow() external view returns (uint64);
    /// @notice Time between proposing a verifier and accepting it. It is longer than freezeDelay
    /// and exitWindow together.
    function verifierDelay() external view returns (uint64);
}
