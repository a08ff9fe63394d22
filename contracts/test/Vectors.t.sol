// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CertificateLog} from "../src/CertificateLog.sol";
import {CommitteeRegistry} from "../src/CommitteeRegistry.sol";
import {BLS12381, G1Point, G2Point} from "../src/libraries/BLS12381.sol";
import {CertificateLib} from "../src/libraries/CertificateLib.sol";
import {CommitteeKeys} from "../src/libraries/CommitteeKeys.sol";
import {DataContract} from "../src/libraries/DataContract.sol";
import {FingerprintPoints} from "../src/libraries/FingerprintPoints.sol";
import {ShardTree} from "../src/libraries/ShardTree.sol";
import {SignatureDomain} from "../src/libraries/SignatureDomain.sol";
import {BatchHeader, Certificate, CoverageRenewal} from "../src/types/Certificate.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Signer} from "./utils/Signer.sol";
import {VectorReader} from "./utils/VectorReader.sol";
import {vm} from "./utils/Vm.sol";

/// @dev A registry whose next epoch may have any number.
contract NumberedRegistry is CommitteeRegistry {
    constructor(address owner_) CommitteeRegistry(owner_, 0, 0) {}

    function skipTo(uint64 number) external {
        epochCount = number;
    }
}

contract LibraryHarness {
    function digest(BatchHeader calldata header, address registry) external view returns (bytes32) {
        return SignatureDomain.digest(header, registry);
    }

    function digest(CoverageRenewal calldata renewal, address registry) external view returns (bytes32) {
        return SignatureDomain.digest(renewal, registry);
    }

    function possession(address registry, address operator, bytes calldata key) external view returns (bytes32) {
        return SignatureDomain.possession(registry, operator, key);
    }

    function points(BatchHeader calldata header, uint16 n, uint16 k) external pure returns (bytes memory) {
        return FingerprintPoints.derive(header, n, k);
    }

    function shardRoot(bytes memory data, uint256 index, uint256 count, bytes32[] memory path)
        external
        pure
        returns (bytes32)
    {
        return ShardTree.root(data, index, count, path);
    }

    function verify(bytes memory signature, bytes32 message, bytes memory dst, bytes memory key)
        external
        view
        returns (bool valid)
    {
        (, valid) = BLS12381.verify(abi.decode(signature, (G1Point)), message, dst, abi.decode(key, (G2Point)));
    }

    function sumOfKeys(bytes[] memory keys) external view returns (bytes memory) {
        G2Point memory sum;
        for (uint256 i = 0; i < keys.length; ++i) {
            BLS12381.addTo(sum, abi.decode(keys[i], (G2Point)));
        }
        return abi.encode(sum);
    }
}

/// @title The vectors of an independent implementation, replayed
contract VectorsTest is Fixture {
    LibraryHarness private harness;

    string private constant HEADER =
        "BatchHeader(address rollup,uint64 batchNumber,uint64 epoch,uint64 expiresAt,uint64 payloadLength,uint8 hashKind,bytes32 batchHash,bytes32 shardRoot,bytes32 fingerprintsHash,bytes payloadFingerprint)";
    string private constant RENEWAL = "CoverageRenewal(address rollup,uint64 lastBatch,uint64 expiresAt,uint64 epoch)";

    struct Vector {
        VectorReader reader;
        string path;
        uint256 n;
        uint256 k;
        address registry;
        BatchHeader header;
        bytes32 digest;
        uint256[] signers;
        uint256[] secrets;
    }

    function setUp() public override {
        harness = new LibraryHarness();
    }

    function testVectors() public {
        vm.assertTrue(replay("../vectors/protocol-v1.json") > 0, "no vectors");
    }

    /// @dev The original of the project's copy, where it lies beside the project. Where its folder
    /// does not exist, Foundry can't grant access to it, and asking reverts.
    function testSharedVectors() public {
        string memory path = "../../shared/vectors/protocol-v1.json";
        try vm.exists(path) returns (bool there) {
            if (there) vm.assertTrue(replay(path) > 0, "no vectors");
        } catch {}
    }

    function replay(string memory file) private returns (uint256 count) {
        VectorReader reader = new VectorReader(file);
        while (true) {
            string memory path = string.concat(".vectors[", vm.toString(count), "]");
            if (!reader.exists(path)) return count;
            Vector memory v = read(reader, path);
            checkDigests(v);
            checkChunk(v);
            checkPossession(v);
            checkSignature(v);
            checkWholeCertificate(v);
            ++count;
        }
    }

    function read(VectorReader reader, string memory path) private returns (Vector memory v) {
        v.reader = reader;
        v.path = path;
        vm.chainId(reader.number(key(v, "chain_id")));
        v.n = reader.number(key(v, "n"));
        v.k = reader.number(key(v, "k"));
        v.registry = reader.account(key(v, "registry"));
        v.header = abi.decode(reader.typed(key(v, "header"), HEADER), (BatchHeader));
        v.digest = reader.word(key(v, "digest"));
        v.signers = reader.numbers(key(v, "signers"));
        v.secrets = reader.numbers(key(v, "secret_keys"));
    }

    function checkDigests(Vector memory v) private view {
        vm.assertEq(harness.digest(v.header, v.registry), v.digest, string.concat("digest of ", v.path));
        CoverageRenewal memory renewal = abi.decode(v.reader.typed(key(v, "renewal"), RENEWAL), (CoverageRenewal));
        vm.assertEq(
            harness.digest(renewal, v.registry),
            v.reader.word(key(v, "renewal_digest")),
            string.concat("renewal digest of ", v.path)
        );
        vm.assertEq(
            v.header.payloadFingerprint.length,
            CertificateLib.fingerprintLength(v.n),
            string.concat("fingerprint length of ", v.path)
        );
        bytes memory points = harness.points(v.header, uint16(v.n), uint16(v.k));
        vm.assertEq(points, v.reader.joined(key(v, "points")), string.concat("points of ", v.path));
    }

    function checkChunk(Vector memory v) private view {
        uint256 shardLength = v.reader.number(key(v, "shard_length"));
        uint256 chunks = (shardLength + ShardTree.CHUNK_LENGTH - 1) / ShardTree.CHUNK_LENGTH;
        bytes32 shardHash = harness.shardRoot(
            v.reader.blob(key(v, "sample.chunk")),
            v.reader.number(key(v, "sample.chunk_index")),
            chunks,
            v.reader.words(key(v, "sample.chunk_path"))
        );
        uint256 seat = v.reader.number(key(v, "sample.seat"));
        vm.assertEq(
            shardHash,
            v.reader.word(key(v, string.concat("shard_hashes[", vm.toString(seat), "]"))),
            string.concat("shard hash of ", v.path)
        );
        bytes32 root = harness.shardRoot(abi.encode(shardHash), seat, v.n, v.reader.words(key(v, "sample.top_path")));
        vm.assertEq(root, v.header.shardRoot, string.concat("shard root of ", v.path));
        vm.assertEq(root, v.reader.word(key(v, "shard_root")), string.concat("shard root of ", v.path));
    }

    function checkPossession(Vector memory v) private {
        address operator = v.reader.account(key(v, "possession.operator"));
        bytes memory publicKey = v.reader.blob(key(v, "possession.public_key"));
        bytes memory proof = v.reader.blob(key(v, "possession.signature"));
        bytes32 message = v.reader.word(key(v, "possession.message"));
        vm.assertEq(publicKey, Signer.publicKey(v.secrets[0]), string.concat("public key of ", v.path));
        vm.assertEq(
            harness.possession(v.registry, operator, publicKey), message, string.concat("possession of ", v.path)
        );
        vm.assertEq(
            Signer.sign(v.secrets[0], message, SignatureDomain.POSSESSION_DST),
            proof,
            string.concat("proof of possession of ", v.path)
        );
        deployAt(v.registry);
        vm.prank(operator);
        registry.register(publicKey, proof, DISPERSAL, RETRIEVAL);
    }

    function checkSignature(Vector memory v) private view {
        bytes memory signature = v.reader.blob(key(v, "aggregate_signature"));
        bytes memory sum = v.reader.blob(key(v, "aggregate_public_key"));
        bytes[] memory keys = new bytes[](v.secrets.length);
        uint256 secretSum = 0;
        for (uint256 i = 0; i < keys.length; ++i) {
            keys[i] = Signer.publicKey(v.secrets[i]);
            secretSum = addmod(secretSum, v.secrets[i], Signer.ORDER);
        }
        vm.assertEq(harness.sumOfKeys(keys), sum, string.concat("sum of keys of ", v.path));
        vm.assertEq(
            Signer.sign(secretSum, v.digest, SignatureDomain.SIGNATURE_DST),
            signature,
            string.concat("sum of signatures of ", v.path)
        );
        vm.assertTrue(
            harness.verify(signature, v.digest, SignatureDomain.SIGNATURE_DST, sum),
            string.concat("pairing of ", v.path)
        );
        vm.assertFalse(
            harness.verify(signature, v.digest, SignatureDomain.POSSESSION_DST, sum),
            string.concat("pairing under another tag of ", v.path)
        );
    }

    /// @dev Seats a whole committee at the vector's registry and lets the log check and record the
    /// certificate. Only where the signers are a quorum that the geometry allows.
    function checkWholeCertificate(Vector memory v) private {
        bytes memory absent = v.reader.blob(key(v, "absent"));
        vm.assertEq(v.signers.length + absent.length, v.n, string.concat("seats of ", v.path));
        if (v.signers.length < v.k) return;
        vm.warp(START);
        uint256 next = 0;
        for (uint256 seat = 0; seat < v.n; ++seat) {
            bool signs = next < v.signers.length && v.signers[next] == seat;
            registerWith(operatorOf(seat), signs ? v.secrets[next++] : Signer.secret(seat));
        }
        NumberedRegistry(address(registry)).skipTo(v.header.epoch - 1);
        uint64 epoch = open(operatorsOf(0, v.n), uint16(v.k), uint16(v.signers.length));
        vm.assertEq(epoch, v.header.epoch, "epoch");
        log = new CertificateLog(registry);
        Certificate memory certificate =
            Certificate({header: v.header, absent: absent, signature: v.reader.blob(key(v, "aggregate_signature"))});
        vm.assertEq(log.record(certificate), v.digest, string.concat("recorded digest of ", v.path));
        vm.assertEq(log.recordedAt(v.digest), START, string.concat("record of ", v.path));
    }

    /// @dev Runs the constructor at the address, so that code, immutables and storage are what they
    /// would be there.
    function deployAt(address target) private {
        vm.etch(target, abi.encodePacked(type(NumberedRegistry).creationCode, abi.encode(OWNER)));
        (bool ok, bytes memory runtime) = target.call("");
        vm.assertTrue(ok, "constructor");
        vm.etch(target, runtime);
        registry = CommitteeRegistry(target);
    }

    function key(Vector memory v, string memory field) private pure returns (string memory) {
        return string.concat(v.path, ".", field);
    }
}
