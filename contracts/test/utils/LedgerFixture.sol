// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchLedger} from "../../src/settlement/BatchLedger.sol";
import {BatchLedgerFactory} from "../../src/settlement/BatchLedgerFactory.sol";
import {BatchBundle, BatchHeader, CoverageRenewal, RenewalCertificate} from "../../src/types/Certificate.sol";
import {SignatureDomain} from "../../src/libraries/SignatureDomain.sol";
import {SettlementHarness} from "./Batches.sol";
import {Bundles} from "./Bundles.sol";
import {Fixture} from "./Fixture.sol";
import {Signer} from "./Signer.sol";

/// @title A ledger over a committee of seven, with look-ups
abstract contract LedgerFixture is Fixture, Bundles {
    uint256 internal constant N = 7;
    uint16 internal constant K = 3;
    uint16 internal constant Q = 5;
    uint64 internal constant LIFETIME = 6 days;

    /// @dev Headers with what acceptBundled takes to find them.
    struct Bundled {
        BatchHeader[] headers;
        bytes32[] digests;
        BatchBundle bundle;
        uint256[] indices;
        uint256[] ascending;
        bytes32[] proof;
    }

    SettlementHarness internal harness;
    BatchLedgerFactory internal factory;
    BatchLedger internal home;
    uint64 internal epoch;

    function setUp() public virtual override {
        super.setUp();
        harness = new SettlementHarness();
        epoch = openUsual(N);
        factory = new BatchLedgerFactory(log);
        home = BatchLedger(address(factory.deploy(10, "home", LIFETIME, true)));
    }

    function headerOf(uint64 number) internal view returns (BatchHeader memory header) {
        header = headerFor(epoch, N);
        header.rollup = address(home);
        header.batchNumber = number;
        header.batchHash = keccak256(abi.encode("batch", number));
    }

    function headersFrom(uint64 first, uint256 count) internal view returns (BatchHeader[] memory headers) {
        headers = new BatchHeader[](count);
        for (uint256 i = 0; i < count; ++i) {
            headers[i] = headerOf(first + uint64(i));
        }
    }

    function digestOf(BatchHeader memory header) internal view returns (bytes32) {
        return digests.digest(header, address(registry));
    }

    /// @dev A bundle of these and so many others' batches.
    function bundled(BatchHeader[] memory headers, uint256 others) internal view returns (Bundled memory all) {
        uint256 count = headers.length;
        all.headers = headers;
        all.digests = new bytes32[](count + others);
        for (uint256 i = 0; i < count; ++i) {
            all.digests[i] = digestOf(headers[i]);
        }
        for (uint256 i = 0; i < others; ++i) {
            all.digests[count + i] = keccak256(abi.encode("another's batch", count, i));
        }
        bytes32[] memory own = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            own[i] = all.digests[i];
        }
        sort(all.digests);
        all.bundle = bundleOf(epoch, all.digests);
        all.indices = new uint256[](count);
        all.ascending = new uint256[](count);
        uint256 next = 0;
        for (uint256 index = 0; index < all.digests.length; ++index) {
            for (uint256 i = 0; i < count; ++i) {
                if (all.digests[index] == own[i]) (all.indices[next], all.ascending[next++]) = (index, i);
            }
        }
        all.proof = proofOf(all.digests, all.indices);
    }

    function record(Bundled memory all) internal {
        log.recordBundle(epoch, all.digests, "", signBundle(all.bundle, N, ""));
    }

    function submit(Bundled memory all) internal {
        home.acceptBundled(all.headers, all.bundle, all.indices, all.ascending, all.proof);
    }

    function acceptBundle(Bundled memory all) internal {
        record(all);
        submit(all);
    }

    function renewalOf(uint64 lastBatch, uint64 expiresAt, uint64 number)
        internal
        view
        returns (RenewalCertificate memory)
    {
        return renewalOf(lastBatch, expiresAt, number, hex"0002");
    }

    function renewalOf(uint64 lastBatch, uint64 expiresAt, uint64 number, bytes memory absent)
        internal
        view
        returns (RenewalCertificate memory)
    {
        CoverageRenewal memory renewal =
            CoverageRenewal({rollup: address(home), lastBatch: lastBatch, expiresAt: expiresAt, epoch: number});
        bytes32 digest = harness.digest(renewal, address(registry));
        bytes memory signature = Signer.sign(signersSecret(N, absent), digest, SignatureDomain.SIGNATURE_DST);
        return RenewalCertificate({renewal: renewal, absent: absent, signature: signature});
    }

    function sort(bytes32[] memory list) private pure {
        for (uint256 i = 1; i < list.length; ++i) {
            bytes32 value = list[i];
            uint256 place = i;
            for (; place > 0 && list[place - 1] > value; --place) {
                list[place] = list[place - 1];
            }
            list[place] = value;
        }
    }
}
