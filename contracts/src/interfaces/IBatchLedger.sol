// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchBundle, BatchHeader, Certificate} from "../types/Certificate.sol";
import {IBatchSequence} from "./IBatchSequence.sol";

/// @title A home on L1 for the batches of a rollup that settles elsewhere
/// @notice The `rollup` of its batches' headers is the ledger. It keeps their order and their
/// coverage, so that members can renew them, and finds a batch by its hash. It knows neither states
/// nor proofs, has no owner and is never paused or frozen. Anyone may call it.
interface IBatchLedger is IBatchSequence {
    /// @notice A batch was accepted. A reader without history finds number and digest by the hash.
    event BatchAccepted(bytes32 indexed batchHash, uint64 batchNumber, bytes32 digest);

    /// @notice There is no header.
    error NoBatches();
    /// @notice As many indices, and as many positions, as headers.
    error BundleLengths(uint256 headers, uint256 indices, uint256 positions);
    /// @notice `ascending` must name positions of the list of headers.
    error PositionOutOfRange(uint256 position, uint256 headers);
    /// @notice The ledger was deployed without look-ups.
    error NoLookups();

    /// @notice Accepts the next batch with its certificate.
    function accept(Certificate calldata certificate) external;

    /// @notice Accepts the next batches, in their order, if the log has their certificates.
    function acceptRecorded(BatchHeader[] calldata headers) external;

    /// @notice Accepts the next batches, in their order, if the log has a bundle that contains
    /// them.
    /// @param indices indices of their digests in the bundle, ascending
    /// @param ascending for each index, the position of its header in `headers`
    /// @param proof the hashes that their digests do not give; see BundleTree
    function acceptBundled(
        BatchHeader[] calldata headers,
        BatchBundle calldata bundle,
        uint256[] calldata indices,
        uint256[] calldata ascending,
        bytes32[] calldata proof
    ) external;

    /// @notice Time until which members promised to keep the batch with this hash, or 0 if none was
    /// accepted: its own expiry, or what renewals have made of it. Of two batches with the same
    /// hash, the one that is kept longer. Reverts where the ledger has no look-ups.
    function availableUntil(uint8 hashKind, bytes32 batchHash) external view returns (uint64);

    /// @notice EIP-155 chain id of the rollup, as it was given at deployment.
    function rollupChainId() external view returns (uint64);
    /// @notice Seconds for which a batch must be kept at least when it is accepted.
    function minimumLifetime() external view returns (uint64);
    /// @notice Whether availableUntil answers: a slot of storage for each batch.
    function lookups() external view returns (bool);
}
