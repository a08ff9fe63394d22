// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What stands behind an address now, and whether it is the same later
/// @notice A delay that binds an address binds nothing if the code there can change. This sees a
/// change of the code at the address itself. It cannot see through a proxy, a gateway or a router:
/// who proposes a verifier has to name the direct one.
library CodePin {
    /// @notice There is no contract at this address.
    error NoContract(address got);
    /// @notice The account delegates to code that its owner can change at once (EIP-7702).
    error DelegatedAccount(address got);

    /// @notice Returns the hash of the code at `target`, which must be a contract.
    function pin(address target) internal view returns (bytes32) {
        if (target.code.length == 0) revert NoContract(target);
        uint256 start;
        assembly ("memory-safe") {
            mstore(0x00, 0)
            extcodecopy(target, 0x00, 0, 3)
            start := shr(232, mload(0x00))
        }
        if (start == 0xef0100) revert DelegatedAccount(target);
        return target.codehash;
    }
}
