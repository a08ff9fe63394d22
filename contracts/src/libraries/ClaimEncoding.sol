// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {PublicClaim} from "../types/PublicClaim.sol";

/// @title A public claim as bytes, for zkVM guests, and as field elements, for circuits
/// @notice Both encodings contain every field of the claim; vectors/claim-v1.json has test vectors.
library ClaimEncoding {
    /// @notice The length does not fit into the packed context.
    error PayloadLengthNotPacked(uint64 got);

    bytes32 internal constant ROLLUP_TAG = keccak256("dac/v1/rollup");

    /// @dev Number of field elements for state roots, batchHash, inputs and outputs, one each.
    uint256 internal constant WHOLE_INPUTS = 5;
    /// @dev Of a checked hash: batchHash takes two.
    uint256 internal constant SPLIT_INPUTS = 6;
    /// @dev Bytes of context in one field element. Any 31 bytes are below the field's order.
    uint256 internal constant PIECE = 31;
    /// @dev Bytes of batch number, payload length and domain at the end of the context.
    uint256 internal constant CONTEXT_TAIL = 8 + 4 + 16;

    /// @notice Number t of points of the claim.
    function pointCount(PublicClaim calldata claim) internal pure returns (uint256) {
        uint256 length = claim.points.length;
        // The encoding has one byte for t, and no committee needs more than four points.
        if (length % 16 != 0 || length > 16 * 255 || claim.payloadFingerprint.length != length) {
            revert IValidityVerifier.ClaimLengths(length, claim.payloadFingerprint.length);
        }
        return length / 16;
    }

    /// @notice The canonical encoding: public values of SP1 and journal of RISC Zero. Integers are
    /// big-endian.
    /// @dev oldStateRoot 32 ‖ newStateRoot 32 ‖ chainId 8 ‖ settlement 20 ‖ batchNumber 8
    /// ‖ payloadLength 8 ‖ hashKind 1 ‖ batchHash 32 ‖ l1Inputs 32 ‖ l1Outputs 32 ‖ t 1
    /// ‖ points 16t ‖ payloadFingerprint 16t (lengths in bytes)
    function encode(PublicClaim calldata claim) internal pure returns (bytes memory) {
        uint256 t = pointCount(claim);
        return bytes.concat(
            abi.encodePacked(
                claim.oldStateRoot,
                claim.newStateRoot,
                claim.chainId,
                claim.settlement,
                claim.batchNumber,
                claim.payloadLength,
                claim.hashKind
            ),
            abi.encodePacked(claim.batchHash, claim.l1Inputs, claim.l1Outputs, uint8(t)),
            claim.points,
            claim.payloadFingerprint
        );
    }

    /// @notice The value that separates rollups inside a circuit. It has 16 bytes, and it is
    /// infeasible to find a second rollup with the same value.
    function domain(uint64 chainId, address settlement) internal pure returns (bytes16) {
        return bytes16(keccak256(abi.encode(ROLLUP_TAG, chainId, settlement)));
    }

    /// @notice Number of a circuit's public inputs for t points.
    /// @param checked whether batchHash is a checked hash, keccak256 or SHA-256
    function fieldCount(uint256 t, bool checked) internal pure returns (uint256) {
        return (checked ? SPLIT_INPUTS : WHOLE_INPUTS) + (32 * t + CONTEXT_TAIL + PIECE - 1) / PIECE;
    }

    /// @notice The claim as a circuit's public inputs: oldStateRoot, newStateRoot, batchHash,
    /// l1Inputs, l1Outputs, then the context in pieces of 31 bytes, each read as a little-endian
    /// integer. The last piece is padded with zeros. A checked hash has 256 bits, more than a field
    /// element, so it takes two inputs: its first 16 bytes and its last 16, as big-endian integers.
    /// @dev context = points ‖ payloadFingerprint ‖ u64 batchNumber ‖ u32 payloadLength ‖ domain.
    /// hashKind is not part of it, because a circuit is for one kind; with two checked kinds, one
    /// adapter for each.
    /// @param t pointCount(claim)
    function fields(PublicClaim calldata claim, uint256 t) internal pure returns (uint256[] memory values) {
        if (claim.payloadLength > type(uint32).max) revert PayloadLengthNotPacked(claim.payloadLength);
        bool checked = claim.hashKind != 0;
        values = new uint256[](fieldCount(t, checked));
        values[0] = uint256(claim.oldStateRoot);
        values[1] = uint256(claim.newStateRoot);
        values[2] = uint256(claim.batchHash);
        uint256 whole = WHOLE_INPUTS;
        if (checked) {
            values[2] >>= 128;
            values[3] = uint128(uint256(claim.batchHash));
            whole = SPLIT_INPUTS;
        }
        values[whole - 2] = uint256(claim.l1Inputs);
        values[whole - 1] = uint256(claim.l1Outputs);
        bytes memory context = bytes.concat(
            claim.points,
            claim.payloadFingerprint,
            abi.encodePacked(
                claim.batchNumber,
                uint32(claim.payloadLength),
                domain(claim.chainId, claim.settlement),
                // The padding covers what the last piece's word reads beyond the context.
                bytes32(0)
            )
        );
        for (uint256 i = whole; i < values.length; ++i) {
            uint256 word;
            assembly ("memory-safe") {
                word := mload(add(add(context, 0x20), mul(PIECE, sub(i, whole))))
            }
            // The 32nd byte is cleared, because it belongs to the next piece.
            values[i] = reversed(word & ~uint256(0xff));
        }
    }

    /// @dev Returns the word's bytes in reverse order.
    function reversed(uint256 word) private pure returns (uint256) {
        uint256 mask = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
        word = ((word >> 8) & mask) | ((word & mask) << 8);
        mask = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
        word = ((word >> 16) & mask) | ((word & mask) << 16);
        mask = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
        word = ((word >> 32) & mask) | ((word & mask) << 32);
        mask = 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;
        word = ((word >> 64) & mask) | ((word & mask) << 64);
        return (word >> 128) | (word << 128);
    }
}
