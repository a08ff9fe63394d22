// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../src/interfaces/IValidityVerifier.sol";
import {VerifyingKey} from "../src/types/Groth16.sol";
import {PublicClaim} from "../src/types/PublicClaim.sol";
import {Groth16Adapter} from "../src/verifiers/Groth16Adapter.sol";
import {VectorReader} from "./utils/VectorReader.sol";
import {vm} from "./utils/Vm.sol";

/// @title A proof that the reference rollup's circuit made
contract Groth16VectorsTest {
    string private constant CLAIM =
        "PublicClaim(bytes32 oldStateRoot,bytes32 newStateRoot,uint64 chainId,address settlement,uint64 batchNumber,uint64 payloadLength,uint8 hashKind,bytes32 batchHash,bytes32 l1Inputs,bytes32 l1Outputs,bytes points,bytes payloadFingerprint)";

    function testARealProof() public {
        VectorReader reader = new VectorReader("../vectors/groth16-v1.json");
        VerifyingKey[] memory keys = new VerifyingKey[](1);
        keys[0] = keyOf(reader);
        Groth16Adapter adapter = new Groth16Adapter(keys, 1);
        PublicClaim memory claim = abi.decode(reader.typed(".claim", CLAIM), (PublicClaim));
        bytes memory proof = reader.blob(".proof");
        adapter.verify(claim, proof);
        for (uint256 field = 0; field < 11; ++field) {
            PublicClaim memory other = abi.decode(abi.encode(claim), (PublicClaim));
            if (field == 0) other.oldStateRoot ^= bytes32(uint256(1));
            else if (field == 1) other.newStateRoot ^= bytes32(uint256(1));
            else if (field == 2) other.chainId ^= 1;
            else if (field == 3) other.settlement = address(uint160(other.settlement) ^ 1);
            else if (field == 4) other.batchNumber ^= 1;
            else if (field == 5) other.payloadLength ^= 1;
            else if (field == 6) other.batchHash ^= bytes32(uint256(1));
            else if (field == 7) other.l1Inputs ^= bytes32(uint256(1));
            else if (field == 8) other.l1Outputs ^= bytes32(uint256(1));
            else if (field == 9) other.points[31] ^= 0x01;
            else other.payloadFingerprint[0] ^= 0x01;
            vm.expectRevert(IValidityVerifier.InvalidProof.selector);
            adapter.verify{gas: 3_000_000}(other, proof);
        }
    }

    function keyOf(VectorReader reader) private view returns (VerifyingKey memory key) {
        string memory path = ".verifying_key";
        key.points = reader.number(".points");
        uint256[] memory alpha = reader.numbers(string.concat(path, ".alpha"));
        key.alpha = [alpha[0], alpha[1]];
        key.beta = four(reader.numbers(string.concat(path, ".beta")));
        key.gamma = four(reader.numbers(string.concat(path, ".gamma")));
        key.delta = four(reader.numbers(string.concat(path, ".delta")));
        uint256 count = 0;
        while (reader.exists(item(path, count))) {
            ++count;
        }
        key.ic = new uint256[2][](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256[] memory point = reader.numbers(item(path, i));
            key.ic[i] = [point[0], point[1]];
        }
    }

    function item(string memory path, uint256 index) private pure returns (string memory) {
        return string.concat(path, ".ic[", vm.toString(index), "]");
    }

    function four(uint256[] memory words) private pure returns (uint256[4] memory) {
        return [words[0], words[1], words[2], words[3]];
    }
}
