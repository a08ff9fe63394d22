// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon} from "./Poseidon.sol";

/// @notice A payment on L1 that a batch grants.
/// @param amount gwei
struct Withdrawal {
    address recipient;
    uint64 amount;
}

/// @title A batch's commitment to its withdrawals
abstract contract Withdrawals is Poseidon {
    /// @notice w_0 = 0, w_{i+1} = Poseidon(w_i, recipient, amount). The last value commits to all,
    /// in order.
    function withdrawalsCommitment(Withdrawal[] calldata all) internal view returns (bytes32) {
        uint256 chain = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            chain = hash(chain, uint256(uint160(all[i].recipient)), all[i].amount);
        }
        return bytes32(chain);
    }
}
