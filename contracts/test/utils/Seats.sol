// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CertificateLog} from "../../src/CertificateLog.sol";
import {CommitteeRegistry} from "../../src/CommitteeRegistry.sol";
import {SignatureDomain} from "../../src/libraries/SignatureDomain.sol";
import {BatchHeader, Certificate} from "../../src/types/Certificate.sol";
import {Signer} from "./Signer.sol";
import {vm} from "./Vm.sol";

/// @dev Gives memory headers the calldata that SignatureDomain asks for.
contract DigestHarness {
    function digest(BatchHeader calldata header, address registry) external view returns (bytes32) {
        return SignatureDomain.digest(header, registry);
    }
}

/// @title Operators whose number gives address and key, the committees they form and what these
/// sign
abstract contract Seats {
    uint64 internal constant START = 1_800_000_000;
    uint64 internal constant DELAY = 7 days;
    uint64 internal constant GRACE = 2 days;
    uint64 internal constant RETENTION = 30 days;

    address internal constant OWNER = address(0xA11CE);
    address internal constant ROLLUP = 0x9201109EC378afBcecCb638Ec681ae82383348A4;
    string internal constant DISPERSAL = "https://member.example:7001";
    string internal constant RETRIEVAL = "https://member.example:7002";

    CommitteeRegistry internal registry;
    CertificateLog internal log;
    DigestHarness internal digests;

    // Operators

    function operatorOf(uint256 number) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("operator", number)))));
    }

    function operatorsOf(uint256 first, uint256 n) internal pure returns (address[] memory operators) {
        operators = new address[](n);
        for (uint256 i = 0; i < n; ++i) {
            operators[i] = operatorOf(first + i);
        }
    }

    function possession(address operator, uint256 scalar) internal view returns (bytes memory key, bytes memory proof) {
        key = Signer.publicKey(scalar);
        proof = Signer.sign(scalar, registry.possessionMessage(operator, key), SignatureDomain.POSSESSION_DST);
    }

    function registerWith(address operator, uint256 scalar) internal {
        (bytes memory key, bytes memory proof) = possession(operator, scalar);
        vm.prank(operator);
        registry.register(key, proof, DISPERSAL, RETRIEVAL);
    }

    function register(uint256 first, uint256 n) internal {
        for (uint256 i = first; i < first + n; ++i) {
            registerWith(operatorOf(i), Signer.secret(i));
        }
    }

    // Epochs

    function open(address[] memory seats, uint16 k, uint16 q) internal returns (uint64) {
        vm.prank(OWNER);
        return registry.openEpoch(seats, k, q);
    }

    /// @dev Registers operators 0 .. n − 1 and seats them: n = 3f + 1, k = f + 1, q = 2f + 1.
    function openUsual(uint256 n) internal returns (uint64) {
        uint16 f = uint16((n - 1) / 3);
        register(0, n);
        return open(operatorsOf(0, n), f + 1, 2 * f + 1);
    }

    // Certificates

    function headerFor(uint64 epoch, uint256 n) internal view returns (BatchHeader memory) {
        bytes memory fingerprint = new bytes(16 * ((128 + n + 105) / 106));
        for (uint256 i = 0; i < fingerprint.length; ++i) {
            fingerprint[i] = bytes1(uint8(0x11 + i));
        }
        return BatchHeader({
            rollup: ROLLUP,
            batchNumber: 41_234,
            epoch: epoch,
            expiresAt: uint64(block.timestamp) + RETENTION,
            payloadLength: 22 << 20,
            hashKind: 0,
            batchHash: keccak256("batch"),
            shardRoot: keccak256("shards"),
            fingerprintsHash: keccak256("fingerprints"),
            payloadFingerprint: fingerprint
        });
    }

    /// @dev Every third seat of the first 3·count, from seat 0: spread over the data contracts.
    function everyThird(uint256 count) internal pure returns (bytes memory absent) {
        absent = new bytes(count);
        for (uint256 i = 0; i < count; ++i) {
            absent[i] = bytes1(uint8(3 * i));
        }
    }

    /// @dev Sum of the secrets of seats 0 .. n − 1 but the absent ones: what their sum of
    /// signatures is made with.
    function signersSecret(uint256 n, bytes memory absent) internal pure returns (uint256 sum) {
        uint256 next = 0;
        for (uint256 seat = 0; seat < n; ++seat) {
            if (next < absent.length && uint8(absent[next]) == seat) ++next;
            else sum = addmod(sum, Signer.secret(seat), Signer.ORDER);
        }
    }

    function certify(BatchHeader memory header, uint256 n, bytes memory absent)
        internal
        view
        returns (Certificate memory)
    {
        bytes32 digest = digests.digest(header, address(registry));
        bytes memory signature = Signer.sign(signersSecret(n, absent), digest, SignatureDomain.SIGNATURE_DST);
        return Certificate({header: header, absent: absent, signature: signature});
    }
}
