// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SignatureDomain} from "../src/libraries/SignatureDomain.sol";
import {BatchBundle} from "../src/types/Certificate.sol";
import {BundleTreeHarness} from "./BundleTree.t.sol";
import {VectorReader} from "./utils/VectorReader.sol";
import {vm} from "./utils/Vm.sol";

/// @title The vectors of bundles, made by tools/bundle-vectors.mjs, replayed
contract BundleVectorsTest {
    BundleTreeHarness private harness;
    VectorReader private reader;

    function setUp() public {
        harness = new BundleTreeHarness();
        reader = new VectorReader("../vectors/bundle-v1.json");
    }

    function testVectors() public {
        uint256 count = 0;
        for (string memory place = key("vectors", 0); reader.exists(place); place = key("vectors", ++count)) {
            bytes32[] memory digests = reader.words(string.concat(place, ".digests"));
            bytes32 root = reader.word(string.concat(place, ".root"));
            vm.assertEq(harness.root(digests), root, place);
            checkDigest(place, uint32(digests.length), root);
            checkPaths(place, digests, root);
            checkProofs(place, digests, root);
            bytes memory absent = reader.blob(string.concat(place, ".absent"));
            bytes memory absentHash = reader.blob(string.concat(place, ".absent_hash"));
            vm.assertEq(absentHash, bytes.concat(bytes24(keccak256(absent))), place);
        }
        vm.assertEq(count, 6);
    }

    function testRefused() public view {
        for (uint256 i = 0; i < 3; ++i) {
            bytes32[] memory digests = reader.words(string.concat(key("refused", i), ".digests"));
            try harness.root(digests) {
                vm.assertTrue(false, key("refused", i));
            } catch {}
        }
    }

    function checkDigest(string memory place, uint32 count, bytes32 root) private {
        vm.chainId(reader.number(string.concat(place, ".chain_id")));
        BatchBundle memory bundle =
            BatchBundle({epoch: uint64(reader.number(string.concat(place, ".epoch"))), count: count, root: root});
        address registry = reader.account(string.concat(place, ".registry"));
        vm.assertEq(SignatureDomain.digest(bundle, registry), reader.word(string.concat(place, ".digest")), place);
    }

    function checkPaths(string memory place, bytes32[] memory digests, bytes32 root) private view {
        for (uint256 i = 0;; ++i) {
            string memory one = string.concat(place, key("paths", i));
            if (!reader.exists(one)) break;
            uint256 index = reader.number(string.concat(one, ".index"));
            bytes32[] memory path = reader.words(string.concat(one, ".path"));
            vm.assertEq(harness.root(digests[index], index, digests.length, path), root, one);
        }
    }

    function checkProofs(string memory place, bytes32[] memory digests, bytes32 root) private view {
        for (uint256 i = 0;; ++i) {
            string memory one = string.concat(place, key("proofs", i));
            if (!reader.exists(one)) break;
            uint256[] memory indices = reader.numbers(string.concat(one, ".indices"));
            bytes32[] memory chosen = new bytes32[](indices.length);
            for (uint256 j = 0; j < indices.length; ++j) {
                chosen[j] = digests[indices[j]];
            }
            bytes32[] memory proof = reader.words(string.concat(one, ".proof"));
            vm.assertEq(harness.root(chosen, indices, digests.length, proof), root, one);
        }
    }

    function key(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(index), "]");
    }
}
