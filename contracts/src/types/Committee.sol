// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The immutable terms of one committee epoch. Times are Unix seconds and inclusive: "until T" includes T.
/// @dev 240 bits: one storage slot.
/// @param n seats, 2 <= n <= 256
/// @param k shards that rebuild a batch, 1 <= k < n
/// @param q signatures that make a certificate, k <= q <= n
/// @param activeFrom first second at which the epoch signs
/// @param activeUntil last second at which it signs; type(uint64).max while no later epoch was opened
/// @param postableUntil last second at which its certificates are accepted on L1; type(uint64).max likewise
struct EpochRecord {
    uint16 n;
    uint16 k;
    uint16 q;
    uint64 activeFrom;
    uint64 activeUntil;
    uint64 postableUntil;
}

/// @notice One seat of an epoch: the key it signs with, and where its operator answers today.
/// @param key the G2 public key, 256 bytes in EIP-2537 encoding, fixed for the epoch
/// @param dispersalUrl where aggregators deliver shards
/// @param retrievalUrl where anyone fetches them
struct Member {
    address operator;
    bytes key;
    string dispersalUrl;
    string retrievalUrl;
}

/// @notice What an operator has registered. `key` is empty for an address that never did.
struct OperatorRecord {
    bytes key;
    string dispersalUrl;
    string retrievalUrl;
}

/// @notice A rollup that members serve. All fields are zero for one that is not admitted.
/// @param rollup its settlement contract
/// @param poster the key that authorises its batches
/// @param maxRetention the longest time, in seconds, that members promise to keep a batch
/// @param dailyBytes payload bytes accepted per UTC day
struct RollupRecord {
    address rollup;
    address poster;
    uint64 maxRetention;
    uint64 dailyBytes;
}
