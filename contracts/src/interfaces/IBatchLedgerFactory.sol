// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchLedger} from "./IBatchLedger.sol";
import {ICertificateLog} from "./ICertificateLog.sol";

/// @title Ledgers for anyone, at addresses that are known before they are deployed
/// @notice A ledger's address follows from the factory (and so from the registry), the rollup's
/// chain id, a salt and the ledger's terms. Who deploys it makes no difference, and nobody can
/// occupy it with other terms. That it serves a rollup is for the registry's owner to say, who
/// admits it.
interface IBatchLedgerFactory {
    event LedgerDeployed(
        address indexed ledger, uint64 indexed rollupChainId, bytes32 indexed salt, uint64 minimumLifetime, bool lookups
    );

    /// @notice A minimum lifetime must be 3 seconds at least and a year at most.
    error LifetimeOutOfRange(uint64 got, uint64 least, uint64 most);

    /// @notice Deploys a ledger, or reverts if it is there.
    /// @param salt distinguishes ledgers of the same rollup
    function deploy(uint64 rollupChainId, bytes32 salt, uint64 minimumLifetime, bool lookups)
        external
        returns (IBatchLedger);

    /// @notice The address of a ledger, deployed or not.
    function ledgerOf(uint64 rollupChainId, bytes32 salt, uint64 minimumLifetime, bool lookups)
        external
        view
        returns (address);

    function log() external view returns (ICertificateLog);
    /// @notice The code of all ledgers of this factory.
    function implementation() external view returns (address);
}
