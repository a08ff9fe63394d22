// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CommitteeRegistry} from "../../src/CommitteeRegistry.sol";
import {ICertificateLog} from "../../src/interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "../../src/interfaces/ICommitteeRegistry.sol";
import {Certificate} from "../../src/types/Certificate.sol";
import {Bundles} from "./Bundles.sol";
import {DigestHarness} from "./Seats.sol";
import {Signer} from "./Signer.sol";

/// @title Calldata for tools/crosscheck.mjs, which sends it in real transactions
/// @notice Lives on the chain under test, so that keys and signatures are made by its precompiles.
contract AnvilDriver is Bundles {
    constructor(CommitteeRegistry registry_) {
        registry = registry_;
        digests = new DigestHarness();
    }

    function operator(uint256 number) external pure returns (address) {
        return operatorOf(number);
    }

    function registerCall(uint256 number) external view returns (bytes memory) {
        (bytes memory key, bytes memory proof) = possession(operatorOf(number), Signer.secret(number));
        return abi.encodeCall(ICommitteeRegistry.register, (key, proof, DISPERSAL, RETRIEVAL));
    }

    function openCall(uint256 n) external pure returns (bytes memory) {
        uint16 f = uint16((n - 1) / 3);
        return abi.encodeCall(ICommitteeRegistry.openEpoch, (operatorsOf(0, n), f + 1, 2 * f + 1));
    }

    function bundleCall(uint256 epoch, uint256 n, uint256 absent, uint256 count) external view returns (bytes memory) {
        bytes32[] memory list = digestsFor(count);
        bytes memory seats = everyThird(absent);
        bytes memory signature = signBundle(bundleOf(uint64(epoch), list), n, seats);
        return abi.encodeCall(ICertificateLog.recordBundle, (uint64(epoch), list, seats, signature));
    }

    function recordCall(uint256 epoch, uint256 n, uint256 absent) external view returns (bytes memory) {
        Certificate memory certificate = certify(headerFor(uint64(epoch), n), n, everyThird(absent));
        certificate.header.batchNumber += uint64(absent);
        certificate = certify(certificate.header, n, certificate.absent);
        return abi.encodeCall(ICertificateLog.record, (certificate));
    }
}
