// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {ICertificateLog} from "../interfaces/ICertificateLog.sol";
import {ExitProof, IPaymentsRollup} from "../interfaces/IPaymentsRollup.sol";
import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {BN254} from "../libraries/BN254.sol";
import {Settlement} from "../settlement/Settlement.sol";
import {AccountTree} from "./AccountTree.sol";
import {Inbox, InboxEntry} from "./Inbox.sol";
import {Hashers, Poseidon} from "./Poseidon.sol";
import {Withdrawal, Withdrawals} from "./Withdrawals.sol";

/// @title The L1 side of the reference rollup: ether in, ether out
/// @notice See IPaymentsRollup. The contract always holds at least the balances of the last state,
/// the withdrawals that were granted and not claimed, and the deposits that were not consumed. Each
/// payment is marked as paid before it is made.
contract PaymentsRollup is IPaymentsRollup, AccountTree, Inbox, Withdrawals, Settlement {
    using BitMaps for BitMaps.BitMap;

    BitMaps.BitMap private exits;
    mapping(uint64 batchNumber => BitMaps.BitMap) private claims;

    constructor(
        address owner_,
        ICertificateLog log_,
        IValidityVerifier verifier_,
        uint64 freezeDelay_,
        uint64 exitWindow_,
        uint64 verifierDelay_,
        Hashers memory hashers
    ) Poseidon(hashers) Settlement(owner_, log_, verifier_, freezeDelay_, exitWindow_, verifierDelay_, GENESIS) {}

    // In

    /// @inheritdoc IPaymentsRollup
    function deposit(bytes32 id) external payable whenNotPaused whenNotFrozen {
        if (id == 0 || uint256(id) >= BN254.R) revert AccountIdentity(id);
        uint256 amount = msg.value / 1 gwei;
        if (amount == 0 || amount > type(uint64).max || msg.value % 1 gwei != 0) revert DepositAmount(msg.value);
        append(uint256(id), amount, uint64(amount));
    }

    /// @inheritdoc IPaymentsRollup
    function requestExit(uint256 keyX, uint256 keyY, uint32 accountIndex) external whenNotFrozen {
        uint256 id = checkedId(keyX, keyY, msg.sender, accountIndex);
        append(id, exitWord(accountIndex, msg.sender), 0);
    }

    // Out

    /// @inheritdoc IPaymentsRollup
    function claimWithdrawal(uint64 batchNumber, Withdrawal[] calldata all, uint256 which) external {
        bytes32 got = withdrawalsCommitment(all);
        bytes32 granted = outputs[batchNumber];
        if (got != granted) revert WithdrawalsMismatch(got, granted);
        if (which >= all.length) revert NoSuchWithdrawal(which, all.length);
        BitMaps.BitMap storage paid = claims[batchNumber];
        if (paid.get(which)) revert AlreadyClaimed(batchNumber, which);
        paid.set(which);
        Withdrawal calldata withdrawal = all[which];
        emit WithdrawalClaimed(batchNumber, which, withdrawal.recipient, withdrawal.amount);
        pay(withdrawal.recipient, withdrawal.amount);
    }

    /// @inheritdoc IPaymentsRollup
    function exit(ExitProof calldata proof) external whenFrozen {
        uint32 index = proof.accountIndex;
        uint256 id = checkedId(proof.keyX, proof.keyY, proof.recipient, index);
        if (exits.get(index)) revert AlreadyExited(index);
        uint256 leaf = accountLeaf(id, proof.balance, proof.nonce);
        bytes32 got = rootOf(accountsRoot(leaf, index, proof.siblings), proof.inboxHead);
        if (got != stateRoot) revert StateMismatch(got, stateRoot);
        exits.set(index);
        emit Exited(index, proof.recipient, proof.balance);
        pay(proof.recipient, proof.balance);
    }

    /// @inheritdoc IPaymentsRollup
    function refundDeposit(uint64 number) external whenFrozen {
        uint64 consumed = inputsConsumed();
        if (number <= consumed) revert DepositConsumed(number, consumed);
        InboxEntry storage entry = inboxEntries[number];
        (address depositor, uint64 amount) = (entry.account, entry.amount);
        if (amount == 0) revert NothingToRefund(number);
        entry.amount = 0;
        emit DepositRefunded(number, depositor, amount);
        pay(depositor, amount);
    }

    // Views

    /// @inheritdoc IPaymentsRollup
    function claimed(uint64 batchNumber, uint256 which) external view returns (bool) {
        return claims[batchNumber].get(which);
    }

    /// @inheritdoc IPaymentsRollup
    function exited(uint32 accountIndex) external view returns (bool) {
        return exits.get(accountIndex);
    }

    /// @inheritdoc Settlement
    function inputsCommitment(uint64 count) public view override returns (bytes32 head) {
        head = inboxHeads[count];
        // A head of zero with inputs is a collision with probability of one in the field's order.
        if (head == 0 && count != 0) revert InputsNotThere(count, inboxLength);
    }

    // Internals

    /// @inheritdoc Settlement
    function waitingSince(uint64 consumed) internal view override returns (uint256) {
        return inboxEntries[consumed + 1].time;
    }

    /// @dev Refuses values that could mean a second account: an index beyond the tree, for example,
    /// would lead to the same leaf.
    function checkedId(uint256 keyX, uint256 keyY, address recipient, uint32 index) private view returns (uint256) {
        if (index == 0 || index >= CAPACITY) revert AccountIndex(index, CAPACITY - 1);
        if (keyX >= BN254.R) revert NotInField(keyX);
        if (keyY >= BN254.R) revert NotInField(keyY);
        return accountId(keyX, keyY, recipient);
    }

    /// @dev Pays any recipient with all gas. The payment is marked as made already, so a recipient
    /// that refuses it, or returns megabytes, does not block other payments.
    function pay(address recipient, uint64 amount) private {
        uint256 value = uint256(amount) * 1 gwei;
        bool ok;
        assembly ("memory-safe") {
            ok := call(gas(), recipient, value, 0, 0, 0, 0)
        }
        if (!ok) revert PaymentFailed(recipient);
    }
}
