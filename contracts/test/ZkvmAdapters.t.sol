// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRiscZeroVerifier} from "../src/interfaces/IRiscZeroVerifier.sol";
import {ISP1Verifier} from "../src/interfaces/ISP1Verifier.sol";
import {IValidityVerifier} from "../src/interfaces/IValidityVerifier.sol";
import {CodePin} from "../src/libraries/CodePin.sol";
import {PublicClaim} from "../src/types/PublicClaim.sol";
import {AllowedKinds} from "../src/verifiers/AllowedKinds.sol";
import {RiscZeroAdapter} from "../src/verifiers/RiscZeroAdapter.sol";
import {Sp1Adapter} from "../src/verifiers/Sp1Adapter.sol";
import {ZkvmAdapter} from "../src/verifiers/ZkvmAdapter.sol";
import {SettlementHarness} from "./utils/Batches.sol";
import {VectorReader} from "./utils/VectorReader.sol";
import {vm} from "./utils/Vm.sol";

/// @dev Takes exactly the call that it was told to expect, byte for byte, selector included.
contract StrictVerifier {
    error UnexpectedCall(bytes got);

    bytes private expected;

    /// @dev Both projects' ways to name a version.
    bytes32 public constant VERIFIER_HASH = keccak256("version");
    bytes4 public constant SELECTOR = 0x01020304;

    function expect(bytes calldata call) external {
        expected = call;
    }

    fallback() external {
        if (keccak256(msg.data) != keccak256(expected)) revert UnexpectedCall(msg.data);
    }
}

/// @dev What SP1's mock does with an empty proof, and a wallet with any call.
contract TakesAll {
    bytes32 public constant VERIFIER_HASH = keccak256("version");
    bytes4 public constant SELECTOR = 0x01020304;
    bool private immutable emptyAlone;

    constructor(bool emptyAlone_) {
        emptyAlone = emptyAlone_;
    }

    function verifyProof(bytes32, bytes calldata, bytes calldata proof) external view {
        require(!emptyAlone || proof.length == 0);
    }

    function verify(bytes calldata seal, bytes32, bytes32) external view {
        require(!emptyAlone || seal.length == 0);
    }
}

/// @dev Routes by version, so it has none.
contract Gateway {
    function verifyProof(bytes32, bytes calldata, bytes calldata) external pure {
        revert();
    }

    function verify(bytes calldata, bytes32, bytes32) external pure {
        revert();
    }
}

/// @title What SP1's and RISC Zero's verifiers are handed, and what they never see
contract ZkvmAdaptersTest {
    bytes32 private constant PROGRAM = keccak256("program");
    bytes private constant PROOF = hex"0102030405";

    StrictVerifier private strict;
    SettlementHarness private harness;
    Sp1Adapter private sp1;
    RiscZeroAdapter private riscZero;

    function setUp() public {
        strict = new StrictVerifier();
        harness = new SettlementHarness();
        sp1 = new Sp1Adapter(ISP1Verifier(address(strict)), PROGRAM, 7);
        riscZero = new RiscZeroAdapter(IRiscZeroVerifier(address(strict)), PROGRAM, 7);
    }

    /// @dev The interfaces as their projects publish them.
    function testSelectors() public pure {
        vm.assertEq(
            abi.encodePacked(ISP1Verifier.verifyProof.selector),
            abi.encodePacked(bytes4(keccak256("verifyProof(bytes32,bytes,bytes)")))
        );
        vm.assertEq(
            abi.encodePacked(IRiscZeroVerifier.verify.selector),
            abi.encodePacked(bytes4(keccak256("verify(bytes,bytes32,bytes32)")))
        );
    }

    /// @dev Encoding, fields and domain of vectors made elsewhere, and the exact calls made of
    /// them.
    function testClaimVectors() public {
        VectorReader reader = new VectorReader("../vectors/claim-v1.json");
        uint256 count = 0;
        for (; reader.exists(path(count, "")); ++count) {
            PublicClaim memory claim = claimAt(reader, count);
            bytes memory encoded = reader.blob(path(count, ".encoded"));
            vm.assertEq(harness.encode(claim), encoded, "encoding");
            vm.assertEq(
                abi.encodePacked(harness.domain(claim.chainId, claim.settlement)),
                reader.blob(path(count, ".domain")),
                "domain"
            );
            bytes32[] memory inputs = reader.words(path(count, ".groth16_inputs"));
            vm.assertEq(abi.encode(harness.fields(claim)), abi.encode(inputs), "inputs");

            strict.expect(abi.encodeCall(ISP1Verifier.verifyProof, (PROGRAM, encoded, PROOF)));
            sp1.verify(claim, PROOF);
            strict.expect(abi.encodeCall(IRiscZeroVerifier.verify, (PROOF, PROGRAM, sha256(encoded))));
            riscZero.verify(claim, PROOF);
        }
        vm.assertEq(count, 2, "vectors");
    }

    function testAnyOtherClaimIsAnotherCall() public {
        VectorReader reader = new VectorReader("../vectors/claim-v1.json");
        bytes memory encoded = reader.blob(path(0, ".encoded"));
        for (uint256 field = 0; field < 12; ++field) {
            PublicClaim memory claim = claimAt(reader, 0);
            if (field == 0) claim.oldStateRoot ^= bytes32(uint256(1));
            else if (field == 1) claim.newStateRoot ^= bytes32(uint256(1));
            else if (field == 2) claim.chainId ^= 1;
            else if (field == 3) claim.settlement = address(uint160(claim.settlement) ^ 1);
            else if (field == 4) claim.batchNumber ^= 1;
            else if (field == 5) claim.payloadLength ^= 1;
            else if (field == 6) claim.hashKind ^= 1;
            else if (field == 7) claim.batchHash ^= bytes32(uint256(1));
            else if (field == 8) claim.l1Inputs ^= bytes32(uint256(1));
            else if (field == 9) claim.l1Outputs ^= bytes32(uint256(1));
            else if (field == 10) claim.points[31] ^= 0x01;
            else claim.payloadFingerprint[0] ^= 0x01;
            strict.expect(abi.encodeCall(ISP1Verifier.verifyProof, (PROGRAM, encoded, PROOF)));
            refuse(sp1, claim, StrictVerifier.UnexpectedCall.selector);
            strict.expect(abi.encodeCall(IRiscZeroVerifier.verify, (PROOF, PROGRAM, sha256(encoded))));
            refuse(riscZero, claim, StrictVerifier.UnexpectedCall.selector);
        }
    }

    /// @dev Lengths can't be shifted between points and fingerprint, or past them.
    function testFuzzEncodingIsInjective(PublicClaim memory a, PublicClaim memory b, uint256 t) public view {
        (a.points, a.payloadFingerprint) = filled(a.points, a.payloadFingerprint, 2 + t % 3);
        (b.points, b.payloadFingerprint) = filled(b.points, b.payloadFingerprint, 2 + (t >> 8) % 3);
        bool same = keccak256(abi.encode(a)) == keccak256(abi.encode(b));
        vm.assertTrue(same == (keccak256(harness.encode(a)) == keccak256(harness.encode(b))));
        vm.assertEq(harness.encode(a).length, 206 + 2 * a.points.length);
    }

    function testRefusesKindsAndPoints() public {
        VectorReader reader = new VectorReader("../vectors/claim-v1.json");
        IValidityVerifier[2] memory opaque = [
            IValidityVerifier(new Sp1Adapter(ISP1Verifier(address(strict)), PROGRAM, 1)),
            new RiscZeroAdapter(IRiscZeroVerifier(address(strict)), PROGRAM, 1)
        ];
        for (uint256 i = 0; i < 2; ++i) {
            for (uint8 kind = 1; kind < 4; ++kind) {
                PublicClaim memory claim = claimAt(reader, 0);
                claim.hashKind = kind;
                vm.assertFalse(opaque[i].allowsHashKind(kind));
                vm.expectRevert(abi.encodeWithSelector(IValidityVerifier.HashKindNotAllowed.selector, kind));
                opaque[i].verify(claim, PROOF);
            }
            for (uint256 t = 0; t < 7; ++t) {
                bool supported = t >= 2 && t <= 4;
                vm.assertTrue(opaque[i].supportsPoints(t) == supported);
                if (supported) continue;
                PublicClaim memory claim = claimAt(reader, 0);
                claim.points = new bytes(16 * t);
                claim.payloadFingerprint = new bytes(16 * t);
                vm.expectRevert(abi.encodeWithSelector(IValidityVerifier.PointsNotSupported.selector, t));
                opaque[i].verify(claim, PROOF);
            }
            PublicClaim memory uneven = claimAt(reader, 0);
            uneven.points = new bytes(48);
            vm.expectRevert(abi.encodeWithSelector(IValidityVerifier.ClaimLengths.selector, 48, 32));
            opaque[i].verify(uneven, PROOF);
        }
    }

    function testRefusesToBeDeployedWithoutVerifierOrProgram() public {
        vm.expectRevert(abi.encodeWithSelector(CodePin.NoContract.selector, address(0xDEAD)));
        new Sp1Adapter(ISP1Verifier(address(0xDEAD)), PROGRAM, 1);
        vm.expectRevert(abi.encodeWithSelector(CodePin.NoContract.selector, address(0xDEAD)));
        new RiscZeroAdapter(IRiscZeroVerifier(address(0xDEAD)), PROGRAM, 1);
        vm.expectRevert(ZkvmAdapter.NoProgram.selector);
        new Sp1Adapter(ISP1Verifier(address(strict)), 0, 1);
        vm.expectRevert(ZkvmAdapter.NoProgram.selector);
        new RiscZeroAdapter(IRiscZeroVerifier(address(strict)), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(AllowedKinds.KindSet.selector, 0));
        new Sp1Adapter(ISP1Verifier(address(strict)), PROGRAM, 0);
    }

    /// @dev A gateway's owner changes at once what verifies.
    function testGatewaysAndRoutersAreRefused() public {
        address gateway = address(new Gateway());
        vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.NotVersioned.selector, gateway));
        new Sp1Adapter(ISP1Verifier(gateway), PROGRAM, 1);
        vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.NotVersioned.selector, gateway));
        new RiscZeroAdapter(IRiscZeroVerifier(gateway), PROGRAM, 1);
    }

    function testVerifiersThatRefuseNothingAreRefused() public {
        for (uint256 i = 0; i < 2; ++i) {
            address careless = address(new TakesAll(i == 1));
            vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.RefusesNothing.selector, careless));
            new Sp1Adapter(ISP1Verifier(careless), PROGRAM, 1);
            vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.RefusesNothing.selector, careless));
            new RiscZeroAdapter(IRiscZeroVerifier(careless), PROGRAM, 1);
        }
    }

    function testADelegatedAccountIsNoZkvm() public {
        address account = address(0xB0B);
        vm.etch(account, bytes.concat(hex"ef0100", bytes20(address(strict))));
        vm.expectRevert(abi.encodeWithSelector(CodePin.DelegatedAccount.selector, account));
        new Sp1Adapter(ISP1Verifier(account), PROGRAM, 1);
        vm.expectRevert(abi.encodeWithSelector(CodePin.DelegatedAccount.selector, account));
        new RiscZeroAdapter(IRiscZeroVerifier(account), PROGRAM, 1);
    }

    /// @dev Other code at the address, and the same code that says another version.
    function testWhatVerifiesIsPinned() public {
        PublicClaim memory claim = claimAt(new VectorReader("../vectors/claim-v1.json"), 0);
        bytes memory code = address(strict).code;
        vm.etch(address(strict), bytes.concat(code, hex"00"));
        vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.ZkvmChanged.selector, address(strict)));
        sp1.verify(claim, PROOF);
        vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.ZkvmChanged.selector, address(strict)));
        riscZero.verify(claim, PROOF);
        vm.etch(address(strict), code);
        vm.mockCall(address(strict), abi.encodeCall(ISP1Verifier.VERIFIER_HASH, ()), abi.encode(keccak256("next")));
        vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.ZkvmChanged.selector, address(strict)));
        sp1.verify(claim, PROOF);
        vm.mockCall(address(strict), abi.encodeCall(IRiscZeroVerifier.SELECTOR, ()), abi.encode(bytes4(0x0a0b0c0d)));
        vm.expectRevert(abi.encodeWithSelector(ZkvmAdapter.ZkvmChanged.selector, address(strict)));
        riscZero.verify(claim, PROOF);
    }

    // Helpers

    function refuse(IValidityVerifier adapter, PublicClaim memory claim, bytes4 rule) private {
        vm.expectPartialRevert(rule);
        adapter.verify(claim, PROOF);
    }

    function filled(bytes memory points, bytes memory values, uint256 t)
        private
        pure
        returns (bytes memory, bytes memory)
    {
        bytes memory first = new bytes(16 * t);
        bytes memory second = new bytes(16 * t);
        for (uint256 i = 0; i < 16 * t; ++i) {
            if (i < points.length) first[i] = points[i];
            if (i < values.length) second[i] = values[i];
        }
        return (first, second);
    }

    function claimAt(VectorReader reader, uint256 index) private view returns (PublicClaim memory) {
        return abi.decode(
            reader.typed(
                path(index, ".claim"),
                "PublicClaim(bytes32 oldStateRoot,bytes32 newStateRoot,uint64 chainId,address settlement,uint64 batchNumber,uint64 payloadLength,uint8 hashKind,bytes32 batchHash,bytes32 l1Inputs,bytes32 l1Outputs,bytes points,bytes payloadFingerprint)"
            ),
            (PublicClaim)
        );
    }

    function path(uint256 index, string memory field) private pure returns (string memory) {
        return string.concat(".vectors[", vm.toString(index), "]", field);
    }
}
