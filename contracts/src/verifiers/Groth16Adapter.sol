// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {BN254} from "../libraries/BN254.sol";
import {ClaimEncoding} from "../libraries/ClaimEncoding.sol";
import {DataContract} from "../libraries/DataContract.sol";
import {VerifyingKey} from "../types/Groth16.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {AllowedKinds} from "./AllowedKinds.sol";

/// @title Verification of Groth16 proofs over BN254
/// @notice A circuit is made for one number of points t, so there is a verifying key for each
/// supported t, in a data contract of its own. Public inputs are ClaimEncoding.fields. A proof is
/// A ‖ B ‖ C, 256 bytes, encoded as in EIP-197.
/// @dev Checks e(A, B) · e(−α, β) · e(−Σ, γ) · e(C, −δ) = 1 in the form e(A, B) · e(−α, β) · e(Σ,
/// −γ) · e(C, −δ), where Σ is the combination of the ic points by the inputs. All negations are
/// done once, at deployment.
contract Groth16Adapter is AllowedKinds {
    /// @notice A key's t must be 2, 3 or 4, and each t may have only one key.
    error KeyPoints(uint256 t);
    error NoKeys();
    /// @notice A key for t points must have `expected` ic points.
    error KeyLength(uint256 t, uint256 got, uint256 expected);
    /// @notice A point of a key is not a canonical point of its group, or it is infinity, which
    /// binds nothing.
    error KeyPoint(uint256 t);
    /// @notice γ or δ of a key is a point with which anyone can prove anything: ± each other, which
    /// is what a key has whose second phase never happened, or ± the generator.
    error KeyProvesEverything(uint256 t);
    /// @notice A circuit is for one kind of batch hash.
    error SeveralKinds(uint8 kinds);

    uint256 private constant PROOF_LENGTH = 2 * BN254.G1_LENGTH + BN254.G2_LENGTH;
    /// @dev Length of a pair: a point of G1 and one of G2.
    uint256 private constant PAIR = BN254.G1_LENGTH + BN254.G2_LENGTH;
    /// @dev Offsets in a data contract, which contains −α, β, −γ, −δ, ic.
    uint256 private constant GAMMA_AT = PAIR;
    uint256 private constant DELTA_AT = GAMMA_AT + BN254.G2_LENGTH;
    uint256 private constant IC_AT = DELTA_AT + BN254.G2_LENGTH;

    address private immutable keyFor2;
    address private immutable keyFor3;
    address private immutable keyFor4;

    /// @param kinds_ allowed kinds of batch hash, bit i for kind i. Use 1, only OPAQUE, for a
    /// circuit whose batchHash is its own hash. The circuit does not see the kind, so there is one:
    /// 1, 2 (keccak256) or 4 (SHA-256). A checked hash takes two public inputs.
    constructor(VerifyingKey[] memory keys, uint8 kinds_) AllowedKinds(kinds_) {
        if (keys.length == 0) revert NoKeys();
        if (kinds_ & (kinds_ - 1) != 0) revert SeveralKinds(kinds_);
        address[3] memory written;
        for (uint256 i = 0; i < keys.length; ++i) {
            uint256 t = keys[i].points;
            if (t < 2 || t > 4 || written[t - 2] != address(0)) revert KeyPoints(t);
            written[t - 2] = DataContract.write(packed(keys[i], kinds_ != 1));
        }
        keyFor2 = written[0];
        keyFor3 = written[1];
        keyFor4 = written[2];
    }

    /// @inheritdoc IValidityVerifier
    function supportsPoints(uint256 t) external view returns (bool) {
        return keyFor(t) != address(0);
    }

    /// @inheritdoc IValidityVerifier
    function verify(PublicClaim calldata claim, bytes calldata proof) external view {
        checkKind(claim.hashKind);
        uint256 t = ClaimEncoding.pointCount(claim);
        address key = keyFor(t);
        if (key == address(0)) revert PointsNotSupported(t);
        if (proof.length != PROOF_LENGTH) revert ProofLength(proof.length, PROOF_LENGTH);
        uint256[] memory inputs = ClaimEncoding.fields(claim, t);
        for (uint256 i = 0; i < inputs.length; ++i) {
            if (inputs[i] >= BN254.R) revert InputNotInField(i, inputs[i]);
        }
        if (!check(key, inputs, proof)) revert InvalidProof();
    }

    function check(address key, uint256[] memory inputs, bytes calldata proof) private view returns (bool) {
        uint256 icLength = (inputs.length + 1) * BN254.G1_LENGTH;
        // Room for four pairs, the ic points, and one more word that `combine` uses.
        bytes memory room = new bytes(4 * PAIR + icLength + 32);
        uint256 start;
        uint256 pair = PAIR;
        assembly ("memory-safe") {
            start := add(room, 0x20)
            // A and B are the first pair; C is the G1 point of the last pair.
            calldatacopy(start, proof.offset, pair)
            calldatacopy(add(start, mul(3, pair)), add(proof.offset, pair), 0x40)
        }
        DataContract.readTo(room, PAIR, key, 0, PAIR);
        DataContract.readTo(room, 2 * PAIR + BN254.G1_LENGTH, key, GAMMA_AT, BN254.G2_LENGTH);
        DataContract.readTo(room, 3 * PAIR + BN254.G1_LENGTH, key, DELTA_AT, BN254.G2_LENGTH);
        DataContract.readTo(room, 4 * PAIR, key, IC_AT, icLength);
        return BN254.combine(start + 2 * PAIR, start + 4 * PAIR, inputs) && BN254.pairing(start, 4);
    }

    /// @dev Whether the points have the same x.
    function isPlusMinus(uint256[4] memory a, uint256[4] memory b) private pure returns (bool) {
        return a[0] == b[0] && a[1] == b[1];
    }

    function keyFor(uint256 t) private view returns (address) {
        if (t == 2) return keyFor2;
        if (t == 3) return keyFor3;
        return t == 4 ? keyFor4 : address(0);
    }

    function packed(VerifyingKey memory key, bool checkedHash) private view returns (bytes memory) {
        uint256 t = key.points;
        uint256 expected = ClaimEncoding.fieldCount(t, checkedHash) + 1;
        if (key.ic.length != expected) revert KeyLength(t, key.ic.length, expected);
        bool good = BN254.isG1(key.alpha) && BN254.isG2(key.beta) && BN254.isG2(key.gamma) && BN254.isG2(key.delta);
        bytes memory ic;
        for (uint256 i = 0; i < expected; ++i) {
            good = good && BN254.isG1(key.ic[i]);
            ic = bytes.concat(ic, abi.encode(key.ic[i]));
        }
        if (!good) revert KeyPoint(t);
        uint256[4] memory generator = BN254.g2Generator();
        if (isPlusMinus(key.gamma, key.delta) || isPlusMinus(key.gamma, generator) || isPlusMinus(key.delta, generator))
        {
            revert KeyProvesEverything(t);
        }
        return bytes.concat(
            abi.encode(BN254.negated(key.alpha), key.beta, BN254.negated(key.gamma), BN254.negated(key.delta)), ic
        );
    }
}
