// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Withdrawal} from "../reference/Withdrawals.sol";

/// @notice An account in the last state, for leaving with its balance once the rollup is frozen.
/// @param balance gwei
/// @param recipient the L1 address that the account names
/// @param siblings from the leaf upwards, each three in ascending position without the own one
/// @param inboxHead head of the inbox as consumed by that state
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
/// @notice Amounts are in gwei. Whoever sends a claim, exit or refund, it pays the one whose money it is.
interface IPaymentsRollup {
    event WithdrawalClaimed(
        uint64 indexed batchNumber, uint256 indexed which, address indexed recipient, uint64 amount
    );
    event Exited(uint32 indexed accountIndex, address indexed recipient, uint64 amount);
    event DepositRefunded(uint64 indexed number, address indexed depositor, uint64 amount);

    /// @notice A deposit must be 1 to 2^64 − 1 whole gwei.
    error DepositAmount(uint256 amount);
    /// @notice An identity is not zero and below the field's order.
    error AccountIdentity(bytes32 id);
    /// @notice A value is not below the field's order.
    error NotInField(uint256 value);
    /// @notice Accounts have indices from 1 to `limit`.
    error AccountIndex(uint32 got, uint256 limit);
    /// @notice These are not the withdrawals that the batch granted.
    error WithdrawalsMismatch(bytes32 got, bytes32 granted);
    error NoSuchWithdrawal(uint256 which, uint256 count);
    error AlreadyClaimed(uint64 batchNumber, uint256 which);
    /// @notice The account is not in the last state with these values.
    error StateMismatch(bytes32 got, bytes32 stateRoot);
    error AlreadyExited(uint32 accountIndex);
    /// @notice The deposit is in the state: its account's exit pays it.
    error DepositConsumed(uint64 number, uint64 consumed);
    /// @notice There is no such deposit, or it was refunded.
    error NothingToRefund(uint64 number);
    /// @notice The recipient did not take the payment.
    error PaymentFailed(address recipient);

    /// @notice Deposit the value, whole gwei, for the account with this identity; one is opened where there is none.
    function deposit(bytes32 id) external payable;

    /// @notice Ask for an account's whole balance, without the operator's help. The account is the sender's if it names the
    /// sender as recipient. A request with a wrong index is consumed without effect.
    function requestExit(uint256 keyX, uint256 keyY, uint32 accountIndex) external;

    /// @notice Pay out a withdrawal that a settled batch granted, frozen or not.
    /// @param all the batch's withdrawals, in order
    /// @param which place in `all`
    function claimWithdrawal(uint64 batchNumber, Withdrawal[] calldata all, uint256 which) external;

    /// @notice Pay out an account's balance in the last state. Once frozen.
    function exit(ExitProof calldata proof) external;

    /// @notice Pay a deposit that no batch consumed back to its depositor. Once frozen.
    function refundDeposit(uint64 number) external;

    function claimed(uint64 batchNumber, uint256 which) external view returns (bool);
    function exited(uint32 accountIndex) external view returns (bool);
}
