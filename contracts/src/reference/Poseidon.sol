// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPoseidonT3, IPoseidonT4, IPoseidonT5} from "../interfaces/IPoseidon.sol";

/// @notice Addresses of the libraries of poseidon-solidity for two, three and four inputs.
struct Hashers {
    IPoseidonT3 t3;
    IPoseidonT4 t4;
    IPoseidonT5 t5;
}

/// @title Poseidon over BN254's scalar field, with circomlib's constants
/// @notice The libraries reduce inputs that are not below the field's order. Callers must refuse
/// such inputs if each value should have only one representation.
abstract contract Poseidon {
    /// @notice The library's hash of zeros is not that of Poseidon.
    error WrongHasher(address hasher);

    IPoseidonT3 public immutable poseidonT3;
    IPoseidonT4 public immutable poseidonT4;
    IPoseidonT5 public immutable poseidonT5;

    /// @dev The hashers are checked here, because a wrong library would later look like a wrong
    /// proof, and would lock all funds.
    constructor(Hashers memory hashers) {
        uint256 of2 = 0x2098f5fb9e239eab3ceac3f27b81e481dc3124d55ffed523a839ee8446b64864;
        uint256 of3 = 0x0bc188d27dcceadc1dcfb6af0a7af08fe2864eecec96c5ae7cee6db31ba599aa;
        uint256 of4 = 0x0532fd436e19c70e51209694d9c215250937921b8b79060488c1206db73e9946;
        poseidonT3 = hashers.t3;
        poseidonT4 = hashers.t4;
        poseidonT5 = hashers.t5;
        if (hash(0, 0) != of2) revert WrongHasher(address(hashers.t3));
        if (hash(0, 0, 0) != of3) revert WrongHasher(address(hashers.t4));
        if (hash([uint256(0), 0, 0, 0]) != of4) revert WrongHasher(address(hashers.t5));
    }

    function hash(uint256 a, uint256 b) internal view returns (uint256) {
        return poseidonT3.hash([a, b]);
    }

    function hash(uint256 a, uint256 b, uint256 c) internal view returns (uint256) {
        return poseidonT4.hash([a, b, c]);
    }

    function hash(uint256[4] memory inputs) internal view returns (uint256) {
        return poseidonT5.hash(inputs);
    }
}
