// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The immutable terms of one committee epoch. Times are Unix seconds and inclusive: "until
/// T" includes T.
/// @dev The fields have 240 bits, so that they take one storage slot.
/// @param n seats, 2 <= n <= 256
/// @param k shards that rebuild a batch, 1 <= k < n
/// @param q signatures that make a certificate, k <= q <= n
/// @param activeFrom first second at which the epoch signs
/// @param activeUntil last second at which it signs; type(uint64).max while no later epoch is open
/// @param postableUntil last second at which L1 accepts its certificates; type(uint64).max likewise
struct EpochRecord {
    uint16 n;
    uint16 k;
    uint16 q;
    uint64 activeFrom;
    uint64 activeUntil;
    uint64 postableUntil;
}

/// @notice One seat of an epoch: the key with which it signs, and its operator's current URLs.
/// @param key the G2 public key, 256 bytes in EIP-2537 encoding, fixed for the epoch
/// @param dispersalUrl URL to which aggregators deliver shards
/// @param retrievalUrl URL from which anyone fetches them
struct Member {
    address operator;
    bytes key;
    string dispersalUrl;
    string retrievalUrl;
}

/// @notice The data that an operator has registered. `key` is empty for an address that is not
/// registered.
struct OperatorRecord {
    bytes key;
    string dispersalUrl;
    string retrievalUrl;
}

/// @notice A rollup that members serve. All fields are zero for a rollup that is not admitted.
/// @param rollup its settlement contract
/// @param poster the key that authorises its batches
/// @param maxRetention longest time, in seconds, for which members promise to keep a batch
/// @param dailyBytes number of payload bytes that are accepted per UTC day
struct RollupRecord {
    address rollup;
    address poster;
    uint64 maxRetention;
    uint64 dailyBytes;
}
