// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {IBatchLedger} from "../interfaces/IBatchLedger.sol";
import {IBatchLedgerFactory} from "../interfaces/IBatchLedgerFactory.sol";
import {ICertificateLog} from "../interfaces/ICertificateLog.sol";
import {BatchLedger} from "./BatchLedger.sol";

/// @title Ledgers for anyone, at addresses that are known before they are deployed
/// @notice See IBatchLedgerFactory.
contract BatchLedgerFactory is IBatchLedgerFactory {
    uint64 private constant LEAST_LIFETIME = 3;
    uint64 private constant MOST_LIFETIME = 365 days;

    /// @inheritdoc IBatchLedgerFactory
    ICertificateLog public immutable log;
    /// @inheritdoc IBatchLedgerFactory
    address public immutable implementation;

    constructor(ICertificateLog log_) {
        log = log_;
        implementation = address(new BatchLedger(log_));
    }

    /// @inheritdoc IBatchLedgerFactory
    function deploy(uint64 rollupChainId, bytes32 salt, uint64 minimumLifetime, bool lookups)
        external
        returns (IBatchLedger ledger)
    {
        if (minimumLifetime < LEAST_LIFETIME || minimumLifetime > MOST_LIFETIME) {
            revert LifetimeOutOfRange(minimumLifetime, LEAST_LIFETIME, MOST_LIFETIME);
        }
        bytes memory args = terms(rollupChainId, minimumLifetime, lookups);
        ledger = IBatchLedger(Clones.cloneDeterministicWithImmutableArgs(implementation, args, salt));
        emit LedgerDeployed(address(ledger), rollupChainId, salt, minimumLifetime, lookups);
    }

    /// @inheritdoc IBatchLedgerFactory
    function ledgerOf(uint64 rollupChainId, bytes32 salt, uint64 minimumLifetime, bool lookups)
        external
        view
        returns (address)
    {
        bytes memory args = terms(rollupChainId, minimumLifetime, lookups);
        return Clones.predictDeterministicAddressWithImmutableArgs(implementation, args, salt);
    }

    function terms(uint64 rollupChainId, uint64 minimumLifetime, bool lookups) private pure returns (bytes memory) {
        return abi.encodePacked(rollupChainId, minimumLifetime, lookups);
    }
}
