// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchHeader, BundlePath, Certificate} from "../types/Certificate.sol";
import {FreezeReason, Transition, VerifierProposal} from "../types/Settlement.sol";
import {IBatchSequence} from "./IBatchSequence.sol";
import {IValidityVerifier} from "./IValidityVerifier.sol";

/// @title Where a rollup's batches become final: certificate and validity proof in one transaction
/// @notice Each rollup has one contract. The old state root and the batch number come from storage,
/// never from the caller, who may be anyone. A settled batch is final. If the rollup is no longer
/// served, anyone can freeze it permanently, and users then leave with their balances in its last
/// state. Times are Unix seconds; delays are in seconds.
interface ISettlement is IBatchSequence {
    /// @notice A rollup started in this state.
    event Started(bytes32 stateRoot);
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

    /// @notice The data of all former batches must be kept for freezeDelay and exitWindow from now.
    /// Members have to renew coverage first.
    error CoverageTooShort(uint64 coverageUntil, uint64 needed);
    /// @notice The number of consumed inputs must not decrease.
    error InputsGoBack(uint64 got, uint64 consumed);
    /// @notice There are fewer L1 inputs.
    error InputsNotThere(uint64 got, uint64 limit);
    /// @notice The rollup is frozen permanently.
    error IsFrozen(FreezeReason reason);

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

    /// @notice Settles the next batch if the log has a bundle that contains it. Of a batch in a
    /// bundle the log knows the digest alone, so the header's own rules are checked here.
    function settleBundled(
        BatchHeader calldata header,
        BundlePath calldata place,
        Transition calldata transition,
        bytes calldata proof
    ) external;

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

    function verifier() external view returns (IValidityVerifier);
    /// @notice The second verifier, or zero.
    function standby() external view returns (IValidityVerifier);
    function verifierProposal() external view returns (VerifierProposal memory);

    /// @notice The state with which users can leave.
    function stateRoot() external view returns (bytes32);
    /// @notice Number of consumed L1 inputs.
    function inputsConsumed() external view returns (uint64);
    /// @notice Commitment to the first `count` L1 inputs. Reverts if there are fewer.
    function inputsCommitment(uint64 count) external view returns (bytes32);
    /// @notice Commitment to what a batch pays out on L1; zero if it pays nothing.
    function outputs(uint64 batchNumber) external view returns (bytes32);
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
