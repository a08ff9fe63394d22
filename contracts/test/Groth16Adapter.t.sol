// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../src/interfaces/IValidityVerifier.sol";
import {ClaimEncoding} from "../src/libraries/ClaimEncoding.sol";
import {VerifyingKey} from "../src/types/Groth16.sol";
import {PublicClaim} from "../src/types/PublicClaim.sol";
import {AllowedKinds} from "../src/verifiers/AllowedKinds.sol";
import {Groth16Adapter} from "../src/verifiers/Groth16Adapter.sol";
import {ForgeableKey} from "./utils/ForgeableKey.sol";
import {SettlementHarness} from "./utils/Batches.sol";
import {vm} from "./utils/Vm.sol";

/// @title Groth16 proofs, by a key whose trapdoor is known, and by a real one where its vectors are
/// there
contract Groth16AdapterTest {
    uint256 private constant GAS = 3_000_000;
    bytes private constant INVALID = abi.encodeWithSelector(IValidityVerifier.InvalidProof.selector);

    SettlementHarness private harness;
    Groth16Adapter private adapter;

    function setUp() public {
        harness = new SettlementHarness();
        VerifyingKey[] memory keys = new VerifyingKey[](2);
        keys[0] = ForgeableKey.key(2);
        keys[1] = ForgeableKey.key(4);
        adapter = new Groth16Adapter(keys, 1);
    }

    // Proofs

    function testAcceptsProofsForEachSupportedNumberOfPoints() public view {
        adapter.verify(claimFor(2), proofFor(2));
        adapter.verify(claimFor(4), proofFor(4));
    }

    function testFuzzAcceptsForgedProofsOfAnyClaim(PublicClaim memory claim, bytes32 more) public view {
        claim.oldStateRoot = bytes32(uint256(claim.oldStateRoot) % ForgeableKey.R);
        claim.newStateRoot = bytes32(uint256(claim.newStateRoot) % ForgeableKey.R);
        claim.batchHash = bytes32(uint256(claim.batchHash) % ForgeableKey.R);
        claim.l1Inputs = bytes32(uint256(claim.l1Inputs) % ForgeableKey.R);
        claim.l1Outputs = bytes32(uint256(claim.l1Outputs) % ForgeableKey.R);
        claim.payloadLength %= 1 << 32;
        claim.hashKind = 0;
        claim.points = bytes.concat(more);
        claim.payloadFingerprint = bytes.concat(keccak256(abi.encode(more)));
        adapter.verify(claim, ForgeableKey.prove(2, harness.fields(claim)));
    }

    function testRefusesAProofOfEachOtherClaim() public {
        bytes memory proof = proofFor(2);
        for (uint256 field = 0; field < 11; ++field) {
            PublicClaim memory claim = claimFor(2);
            if (field == 0) claim.oldStateRoot ^= bytes32(uint256(1));
            else if (field == 1) claim.newStateRoot ^= bytes32(uint256(1));
            else if (field == 2) claim.chainId ^= 1;
            else if (field == 3) claim.settlement = address(uint160(claim.settlement) ^ 1);
            else if (field == 4) claim.batchNumber ^= 1;
            else if (field == 5) claim.payloadLength ^= 1;
            else if (field == 6) claim.batchHash ^= bytes32(uint256(1));
            else if (field == 7) claim.l1Inputs ^= bytes32(uint256(1));
            else if (field == 8) claim.l1Outputs ^= bytes32(uint256(1));
            else if (field == 9) claim.points[0] ^= 0x80;
            else claim.payloadFingerprint[31] ^= 0x80;
            refuse(claim, proof, INVALID);
        }
    }

    /// @dev Every input counts: a proof of inputs of which one is greater by one does not pass.
    function testRefusesEachInputChanged() public {
        PublicClaim memory claim = claimFor(2);
        uint256[] memory inputs = harness.fields(claim);
        for (uint256 i = 0; i < inputs.length; ++i) {
            inputs[i] += 1;
            refuse(claim, ForgeableKey.prove(2, inputs), INVALID);
            inputs[i] -= 1;
        }
        adapter.verify(claim, ForgeableKey.prove(2, inputs));
    }

    /// @dev Every byte of points and fingerprint counts.
    function testRefusesEachByteOfTheFingerprintChanged() public {
        bytes memory proof = proofFor(2);
        PublicClaim memory claim = claimFor(2);
        for (uint256 i = 0; i < 32; ++i) {
            claim.points[i] ^= 0x01;
            refuse(claim, proof, INVALID);
            claim.points[i] ^= 0x01;
            claim.payloadFingerprint[i] ^= 0x80;
            refuse(claim, proof, INVALID);
            claim.payloadFingerprint[i] ^= 0x80;
        }
        adapter.verify(claim, proof);
    }

    /// @dev The same element by another number: what would let one batch hash, or root, stand for
    /// another.
    function testRefusesInputsBeyondTheField() public {
        for (uint256 i = 0; i < 5; ++i) {
            PublicClaim memory claim = claimFor(2);
            bytes memory proof = proofFor(2);
            uint256[3] memory values = [harness.fields(claim)[i] + ForgeableKey.R, ForgeableKey.R, type(uint256).max];
            for (uint256 j = 0; j < values.length; ++j) {
                setInput(claim, i, values[j]);
                refuse(claim, proof, abi.encodeWithSelector(IValidityVerifier.InputNotInField.selector, i, values[j]));
            }
            setInput(claim, i, ForgeableKey.R - 1);
            adapter.verify(claim, ForgeableKey.prove(2, harness.fields(claim)));
        }
    }

    function testContextIsAlwaysInTheField() public view {
        PublicClaim memory claim = claimFor(2);
        for (uint256 i = 0; i < 32; ++i) {
            claim.points[i] = 0xff;
            claim.payloadFingerprint[i] = 0xff;
        }
        claim.batchNumber = type(uint64).max;
        claim.payloadLength = type(uint32).max;
        adapter.verify(claim, ForgeableKey.prove(2, harness.fields(claim)));
    }

    function testRefusesProofsOfAnotherLength() public {
        bytes memory good = proofFor(2);
        bytes[5] memory bad =
            [bytes(""), new bytes(255), bytes.concat(good, hex"00"), bytes.concat(good, good), new bytes(128)];
        for (uint256 i = 0; i < bad.length; ++i) {
            refuse(
                claimFor(2), bad[i], abi.encodeWithSelector(IValidityVerifier.ProofLength.selector, bad[i].length, 256)
            );
        }
    }

    /// @dev Off the curve, outside the subgroup, not canonical, at infinity: all the same.
    function testRefusesBadPoints() public {
        PublicClaim memory claim = claimFor(2);
        bytes memory good = proofFor(2);
        for (uint256 i = 0; i < 8; ++i) {
            bytes memory off = bytes.concat(good);
            off[32 * i + 31] ^= 0x01;
            refuse(claim, off, INVALID);
            bytes memory zero = bytes.concat(good);
            store(zero, i, 0);
            refuse(claim, zero, INVALID);
            bytes memory beyond = bytes.concat(good);
            unchecked {
                store(beyond, i, load(good, i) + ForgeableKey.P);
            }
            refuse(claim, beyond, INVALID);
        }
        uint256[4] memory outside = ForgeableKey.outsideG2();
        bytes memory twisted = bytes.concat(good);
        for (uint256 i = 0; i < 4; ++i) {
            store(twisted, 2 + i, outside[i]);
        }
        refuse(claim, twisted, INVALID);
        refuse(claim, new bytes(256), INVALID);
        // −A in place of A.
        bytes memory negated = bytes.concat(good);
        store(negated, 1, ForgeableKey.P - load(good, 1));
        refuse(claim, negated, INVALID);
    }

    function testRefusesUnsupportedPoints() public {
        vm.assertTrue(adapter.supportsPoints(2));
        vm.assertTrue(adapter.supportsPoints(4));
        uint256[4] memory counts = [uint256(0), 1, 3, 5];
        for (uint256 i = 0; i < counts.length; ++i) {
            uint256 t = counts[i];
            vm.assertFalse(adapter.supportsPoints(t));
            PublicClaim memory claim = claimFor(2);
            claim.points = new bytes(16 * t);
            claim.payloadFingerprint = new bytes(16 * t);
            refuse(claim, proofFor(2), abi.encodeWithSelector(IValidityVerifier.PointsNotSupported.selector, t));
        }
        // A proof for two points is none for four.
        refuse(claimFor(4), proofFor(2), INVALID);
    }

    function testRefusesClaimsOfWrongLengths() public {
        uint256[2][4] memory lengths = [[uint256(31), 31], [uint256(32), 48], [uint256(48), 32], [uint256(4096), 4096]];
        for (uint256 i = 0; i < lengths.length; ++i) {
            PublicClaim memory claim = claimFor(2);
            claim.points = new bytes(lengths[i][0]);
            claim.payloadFingerprint = new bytes(lengths[i][1]);
            refuse(
                claim,
                proofFor(2),
                abi.encodeWithSelector(IValidityVerifier.ClaimLengths.selector, lengths[i][0], lengths[i][1])
            );
        }
        PublicClaim memory long = claimFor(2);
        long.payloadLength += 1 << 32;
        refuse(
            long, proofFor(2), abi.encodeWithSelector(ClaimEncoding.PayloadLengthNotPacked.selector, long.payloadLength)
        );
    }

    function testKindsAreAConstantOfTheAdapter() public {
        VerifyingKey[] memory keys = ForgeableKey.keys(2);
        for (uint8 kind = 0; kind < 4; ++kind) {
            vm.assertTrue(adapter.allowsHashKind(kind) == (kind == 0));
            PublicClaim memory claim = claimFor(2);
            claim.hashKind = kind;
            if (kind != 0) {
                refuse(claim, proofFor(2), abi.encodeWithSelector(IValidityVerifier.HashKindNotAllowed.selector, kind));
            }
        }
        vm.assertFalse(adapter.allowsHashKind(255));
        vm.expectRevert(abi.encodeWithSelector(AllowedKinds.KindSet.selector, 0));
        new Groth16Adapter(keys, 0);
        vm.expectRevert(abi.encodeWithSelector(AllowedKinds.KindSet.selector, 8));
        new Groth16Adapter(keys, 8);
        uint8[4] memory several = [3, 5, 6, 7];
        for (uint256 i = 0; i < several.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Groth16Adapter.SeveralKinds.selector, several[i]));
            new Groth16Adapter(keys, several[i]);
        }
    }

    /// @dev A checked hash has 256 bits, four of five of which no field element has.
    function testFuzzAcceptsEveryCheckedHash(bytes32 batchHash, bool keccak) public {
        Groth16Adapter checked = new Groth16Adapter(ForgeableKey.checkedKeys(2), keccak ? 2 : 4);
        PublicClaim memory claim = claimFor(2);
        claim.hashKind = keccak ? 1 : 2;
        claim.batchHash = batchHash;
        uint256[] memory inputs = harness.fields(claim);
        vm.assertEq(inputs.length, 9);
        bytes memory proof = ForgeableKey.prove(2, inputs);
        checked.verify(claim, proof);
        // Either half counts.
        claim.batchHash = batchHash ^ bytes32(uint256(1));
        vm.expectRevert(INVALID);
        checked.verify{gas: GAS}(claim, proof);
        claim.batchHash = batchHash ^ bytes32(uint256(1) << 255);
        vm.expectRevert(INVALID);
        checked.verify{gas: GAS}(claim, proof);
    }

    // Keys

    function testRefusesKeysThatDoNotFit() public {
        VerifyingKey[] memory keys = new VerifyingKey[](0);
        vm.expectRevert(Groth16Adapter.NoKeys.selector);
        new Groth16Adapter(keys, 1);

        uint256[3] memory counts = [uint256(0), 1, 5];
        for (uint256 i = 0; i < counts.length; ++i) {
            keys = ForgeableKey.keys(2);
            keys[0].points = counts[i];
            vm.expectRevert(abi.encodeWithSelector(Groth16Adapter.KeyPoints.selector, counts[i]));
            new Groth16Adapter(keys, 1);
        }
        keys = new VerifyingKey[](2);
        (keys[0], keys[1]) = (ForgeableKey.key(3), ForgeableKey.key(3));
        vm.expectRevert(abi.encodeWithSelector(Groth16Adapter.KeyPoints.selector, 3));
        new Groth16Adapter(keys, 1);

        keys = ForgeableKey.keys(2);
        keys[0].points = 3;
        vm.expectRevert(abi.encodeWithSelector(Groth16Adapter.KeyLength.selector, 3, 9, 10));
        new Groth16Adapter(keys, 1);
    }

    function testRefusesKeysWithBadPoints() public {
        for (uint256 which = 0; which < 9; ++which) {
            VerifyingKey[] memory keys = ForgeableKey.keys(2);
            VerifyingKey memory key = keys[0];
            if (which == 0) key.alpha[1] ^= 1;
            else if (which == 1) key.alpha = [uint256(0), 0];
            else if (which == 2) key.beta[3] ^= 1;
            else if (which == 3) key.gamma = [uint256(0), 0, 0, 0];
            else if (which == 4) key.delta = ForgeableKey.outsideG2();
            else if (which == 5) key.gamma[0] += ForgeableKey.P;
            else if (which == 6) key.ic[8][0] ^= 1;
            else if (which == 7) key.ic[3] = [uint256(0), 0];
            else key.alpha[0] += ForgeableKey.P;
            vm.expectRevert(abi.encodeWithSelector(Groth16Adapter.KeyPoint.selector, 2));
            new Groth16Adapter(keys, 1);
        }
    }

    /// @dev γ = δ is what a key has whose second phase never happened: A = α, B = β, C = −Σ then
    /// proves any claim. γ or δ that is the generator is as bad.
    function testRefusesKeysThatProveEverything() public {
        uint256[4] memory generator = ForgeableKey.g2Generator();
        for (uint256 which = 0; which < 6; ++which) {
            VerifyingKey[] memory keys = ForgeableKey.keys(2);
            VerifyingKey memory key = keys[0];
            if (which == 0) key.gamma = key.delta;
            else if (which == 1) key.gamma = ForgeableKey.opposite(key.delta);
            else if (which == 2) key.gamma = generator;
            else if (which == 3) key.delta = generator;
            else if (which == 4) key.gamma = ForgeableKey.opposite(generator);
            else key.delta = ForgeableKey.opposite(generator);
            vm.expectRevert(abi.encodeWithSelector(Groth16Adapter.KeyProvesEverything.selector, 2));
            new Groth16Adapter(keys, 1);
        }
    }

    // Helpers

    function claimFor(uint256 t) private pure returns (PublicClaim memory claim) {
        claim.oldStateRoot = bytes32(uint256(0x01));
        claim.newStateRoot = bytes32(uint256(0x02));
        claim.chainId = 31_337;
        claim.settlement = address(0x5E771E);
        claim.batchNumber = 7;
        claim.payloadLength = 672;
        claim.batchHash = bytes32(uint256(0x03));
        claim.l1Inputs = bytes32(uint256(0x04));
        claim.l1Outputs = bytes32(uint256(0x05));
        claim.points = new bytes(16 * t);
        claim.payloadFingerprint = new bytes(16 * t);
        for (uint256 i = 0; i < 16 * t; ++i) {
            claim.points[i] = bytes1(uint8(1 + i));
            claim.payloadFingerprint[i] = bytes1(uint8(129 + i));
        }
    }

    function proofFor(uint256 t) private view returns (bytes memory) {
        return ForgeableKey.prove(t, harness.fields(claimFor(t)));
    }

    function setInput(PublicClaim memory claim, uint256 i, uint256 value) private pure {
        if (i == 0) claim.oldStateRoot = bytes32(value);
        else if (i == 1) claim.newStateRoot = bytes32(value);
        else if (i == 2) claim.batchHash = bytes32(value);
        else if (i == 3) claim.l1Inputs = bytes32(value);
        else claim.l1Outputs = bytes32(value);
    }

    /// @dev With little gas, since a precompile burns all that it gets where it refuses a point.
    function refuse(PublicClaim memory claim, bytes memory proof, bytes memory reason) private {
        vm.expectRevert(reason);
        adapter.verify{gas: GAS}(claim, proof);
    }

    function load(bytes memory data, uint256 word) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(add(data, 0x20), mul(word, 0x20)))
        }
    }

    function store(bytes memory data, uint256 word, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(add(add(data, 0x20), mul(word, 0x20)), value)
        }
    }
}
