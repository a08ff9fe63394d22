// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";

/// @title The kinds of batch hash that an adapter allows, fixed at deployment
abstract contract AllowedKinds is IValidityVerifier {
    /// @notice A set of kinds must not be empty and must contain only 0, 1 and 2.
    error KindSet(uint8 got);

    /// @notice Bit i stands for kind i. The value 1 allows only OPAQUE.
    uint8 public immutable kinds;

    constructor(uint8 kinds_) {
        if (kinds_ == 0 || kinds_ > 7) revert KindSet(kinds_);
        kinds = kinds_;
    }

    /// @inheritdoc IValidityVerifier
    function allowsHashKind(uint8 kind) public view returns (bool) {
        return (uint256(kinds) >> kind) & 1 == 1;
    }

    function checkKind(uint8 kind) internal view {
        if (!allowsHashKind(kind)) revert HashKindNotAllowed(kind);
    }
}
