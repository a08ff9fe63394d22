// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Withdrawal} from "../reference/Withdrawals.sol";

/// @notice Proof that an account is in the last state, with which it leaves a frozen rollup.
/// @param balance gwei
/// @param recipient the L1 address that the account names
/// @param siblings from the leaf upwards; at each level three in ascending position, without the
/// own node
/// @param inboxHead head of the inbox up to the last input that the state has consumed
struct ExitProof {
    uint32 accountIndex;
    uint32 nonce;
    uint64 balance;
    uint256 keyX;
    uint256 keyY;
    address recipient;
    uint256[3][8] siblings;
    uint256 inboxHead;
}

/// @title The L1 side of the reference rollup: ether in, ether out
/// @notice Amounts are in gwei. Anyone may send a claim, exit or refund; the owner of the money is
/// paid.
interface IPaymentsRollup {
    event WithdrawalClaimed(
        uint64 indexed batchNumber, uint256 indexed which, address indexed recipient, uint64 amount
    );
    event Exited(uint32 indexed accountIndex, address indexed recipient, uint64 amount);
    event DepositRefunded(uint64 indexed number, address indexed depositor, uint64 amount);

    /// @notice A deposit must be a whole number of gwei, from 1 to 2^64 − 1.
    error DepositAmount(uint256 amount);
    /// @notice An identity must not be zero and must be below the field's order.
    error AccountIdentity(bytes32 id);
    /// @notice A value must be below the field's order.
    error NotInField(uint256 value);
    /// @notice Accounts have indices from 1 to `limit`.
    error AccountIndex(uint32 got, uint256 limit);
    /// @notice The withdrawals are not those that the batch granted.
    error WithdrawalsMismatch(bytes32 got, bytes32 granted);
    error NoSuchWithdrawal(uint256 which, uint256 count);
    error AlreadyClaimed(uint64 batchNumber, uint256 which);
    /// @notice The account is not in the last state with these values.
    error StateMismatch(bytes32 got, bytes32 stateRoot);
    error AlreadyExited(uint32 accountIndex);
    /// @notice The deposit is in the state already. Its account's exit pays it out.
    error DepositConsumed(uint64 number, uint64 consumed);
    /// @notice The deposit does not exist or was refunded already.
    error NothingToRefund(uint64 number);
    /// @notice The recipient refused the payment.
    error PaymentFailed(address recipient);

    /// @notice Deposits the value, in whole gwei, for the account with this identity. The account
    /// is opened if it does not exist.
    function deposit(bytes32 id) external payable;

    /// @notice Requests an account's whole balance without the operator's help. The account is the
    /// sender's if it names the sender as recipient. A request with a wrong index is consumed
    /// without effect.
    function requestExit(uint256 keyX, uint256 keyY, uint32 accountIndex) external;

    /// @notice Pays out a withdrawal that a settled batch granted, whether the rollup is frozen or
    /// not.
    /// @param all the batch's withdrawals, in order
    /// @param which index of the withdrawal in `all`
    function claimWithdrawal(uint64 batchNumber, Withdrawal[] calldata all, uint256 which) external;

    /// @notice Pays out an account's balance in the last state. Only after a freeze.
    function exit(ExitProof calldata proof) external;

    /// @notice Returns a deposit that no batch has consumed to its depositor. Only after a freeze.
    function refundDeposit(uint64 number) external;

    function claimed(uint64 batchNumber, uint256 which) external view returns (bool);
    function exited(uint32 accountIndex) external view returns (bool);
}
