// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {StorageSlot} from "@openzeppelin/contracts/utils/StorageSlot.sol";

/// @title An owner behind a timelock, and a pauser that can only pause
/// @notice A stop that waits as long as an upgrade is none. The pauser cannot take a pause back, so
/// one that is misused costs what the owner needs to undo it, and never more than a pause.
abstract contract Guarded is Ownable2Step, Pausable {
    event PauserChanged(address indexed former, address indexed current);

    /// @notice Only the owner or the pauser may pause.
    error NotPauser(address account);

    /// @dev A slot of its own, so that what derives from this shares the slot of `paused`.
    bytes32 private constant PAUSER = keccak256("dac.Guarded.pauser");

    /// @notice The account that may pause, or zero.
    function pauser() public view returns (address) {
        return StorageSlot.getAddressSlot(PAUSER).value;
    }

    /// @notice Names the account that may pause; zero for none. Owner only.
    function setPauser(address next) external onlyOwner {
        emit PauserChanged(pauser(), next);
        StorageSlot.getAddressSlot(PAUSER).value = next;
    }

    /// @notice Without an owner, nobody could end a pause.
    function renounceOwnership() public override(Ownable) onlyOwner whenNotPaused {
        super.renounceOwnership();
        // The pauser's power ends with the owner's: its pause would be for ever.
        StorageSlot.getAddressSlot(PAUSER).value = address(0);
    }

    function pauseByOwnerOrPauser() internal {
        if (msg.sender != owner() && msg.sender != pauser()) revert NotPauser(msg.sender);
        _pause();
    }
}
