// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ClaimEncoding} from "../../src/libraries/ClaimEncoding.sol";
import {SignatureDomain} from "../../src/libraries/SignatureDomain.sol";
import {PaymentsRollup} from "../../src/reference/PaymentsRollup.sol";
import {BatchHeader, Certificate, CoverageRenewal} from "../../src/types/Certificate.sol";
import {PublicClaim} from "../../src/types/PublicClaim.sol";
import {Transition} from "../../src/types/Settlement.sol";
import {ForgeableKey} from "./ForgeableKey.sol";
import {Seats} from "./Seats.sol";

/// @dev Gives claims and renewals in memory the calldata that libraries ask for.
contract SettlementHarness {
    function pointCount(PublicClaim calldata claim) external pure returns (uint256) {
        return ClaimEncoding.pointCount(claim);
    }

    function encode(PublicClaim calldata claim) external pure returns (bytes memory) {
        return ClaimEncoding.encode(claim);
    }

    function fields(PublicClaim calldata claim) external pure returns (uint256[] memory) {
        return ClaimEncoding.fields(claim, ClaimEncoding.pointCount(claim));
    }

    function domain(uint64 chainId, address settlement) external pure returns (bytes16) {
        return ClaimEncoding.domain(chainId, settlement);
    }

    function digest(CoverageRenewal calldata renewal, address registry) external view returns (bytes32) {
        return SignatureDomain.digest(renewal, registry);
    }
}

/// @title Batches of a rollup over a committee of seven, certified and proved with a forgeable key
abstract contract Batches is Seats {
    uint256 internal constant N = 7;
    uint16 internal constant K = 3;
    uint16 internal constant Q = 5;
    uint256 internal constant R = ForgeableKey.R;

    PaymentsRollup internal rollup;
    SettlementHarness internal harness;
    uint64 internal epoch;

    /// @dev A header for the rollup's next batch.
    function nextHeader() internal view returns (BatchHeader memory header) {
        header = headerFor(epoch, N);
        header.rollup = address(rollup);
        header.batchNumber = rollup.batchCount() + 1;
        header.batchHash = element("batch", header.batchNumber);
    }

    /// @dev To another state, without inputs or outputs.
    function step(uint64 number) internal view returns (Transition memory) {
        return Transition({
            newStateRoot: element("state", number), inputsConsumed: rollup.inputsConsumed(), outputs: bytes32(0)
        });
    }

    function certified(BatchHeader memory header) internal view returns (Certificate memory) {
        return certify(header, N, hex"0105");
    }

    /// @dev The claim that the contract has to come to, put together apart from it.
    function claimOf(BatchHeader memory header, Transition memory transition)
        internal
        view
        returns (PublicClaim memory)
    {
        return PublicClaim({
            oldStateRoot: rollup.stateRoot(),
            newStateRoot: transition.newStateRoot,
            chainId: uint64(block.chainid),
            settlement: address(rollup),
            batchNumber: rollup.batchCount() + 1,
            payloadLength: header.payloadLength,
            hashKind: header.hashKind,
            batchHash: header.batchHash,
            l1Inputs: rollup.inputsCommitment(transition.inputsConsumed),
            l1Outputs: transition.outputs,
            points: pointsOf(header, N, K),
            payloadFingerprint: bytes.concat(header.payloadFingerprint)
        });
    }

    function pointsOf(BatchHeader memory header, uint256 n, uint256 k) internal pure returns (bytes memory points) {
        bytes32 seed = sha256(
            bytes.concat(
                "dac/v1/points",
                header.shardRoot,
                header.batchHash,
                bytes8(header.payloadLength),
                bytes2(uint16(n)),
                bytes2(uint16(k))
            )
        );
        for (uint256 j = 0; j < header.payloadFingerprint.length / 16; ++j) {
            points = bytes.concat(points, bytes16(sha256(bytes.concat("dac/v1/point", seed, bytes1(uint8(j))))));
        }
    }

    function prove(PublicClaim memory claim) internal view returns (bytes memory) {
        return ForgeableKey.prove(claim.points.length / 16, harness.fields(claim));
    }

    function proofOf(BatchHeader memory header, Transition memory transition) internal view returns (bytes memory) {
        return prove(claimOf(header, transition));
    }

    /// @dev Some element of the field.
    function element(string memory what, uint256 number) internal pure returns (bytes32) {
        return bytes32(uint256(keccak256(abi.encode(what, number))) % R);
    }
}
