//! The fixed shape of a batch, for which the circuit is made. A Groth16 key belongs to one shape.

/// The children of a node of the accounts tree; two bits of an index choose one.
pub const TREE_ARITY: usize = 4;
/// The levels between the accounts and their root.
pub const TREE_DEPTH: usize = 8;
/// The number of places for accounts; place 0 is never used.
pub const ACCOUNTS_MAX: u32 = 1 << (2 * TREE_DEPTH);

/// The most deposits and exit requests that a batch takes from L1.
pub const INBOX_SLOTS: usize = 2;
/// The most signed transactions of a batch.
pub const TRANSACTION_SLOTS: usize = 18;

/// The blocks of an inbox slot: one for the account's state after it, and two for its id.
pub const INBOX_SLOT_BLOCKS: usize = 3;
/// The blocks of a transaction: the states of sender and receiver after it.
pub const TRANSACTION_SLOT_BLOCKS: usize = 2;
/// The blocks of every payload.
pub const PAYLOAD_BLOCKS: usize =
    INBOX_SLOTS * INBOX_SLOT_BLOCKS + TRANSACTION_SLOTS * TRANSACTION_SLOT_BLOCKS;
/// The bytes of every payload.
pub const PAYLOAD_BYTES: usize = PAYLOAD_BLOCKS * dac_types::limits::BLOCK_BYTES;

/// The points at which the circuit evaluates fingerprints: enough for committees of at most 84
/// seats.
pub const POINTS: usize = 2;

/// The blocks that one step of the batch hash takes.
pub const HASH_STEP_BLOCKS: usize = 7;
