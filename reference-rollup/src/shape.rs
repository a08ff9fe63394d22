//! The fixed shape of a batch: what the circuit is made for. A Groth16 key belongs to one shape.

/// Children of a node of the accounts tree: two bits of an index choose one.
pub const TREE_ARITY: usize = 4;
/// Levels between the accounts and their root.
pub const TREE_DEPTH: usize = 8;
/// Accounts that the tree has room for; number 0 is never used.
pub const ACCOUNTS_MAX: u32 = 1 << (2 * TREE_DEPTH);

/// Deposits and exit requests that a batch takes from L1, at most.
pub const INBOX_SLOTS: usize = 2;
/// Signed transactions of a batch, at most.
pub const TRANSACTION_SLOTS: usize = 18;

/// Blocks that a slot of the inbox writes: the account's state after it, and its id in two.
pub const INBOX_SLOT_BLOCKS: usize = 3;
/// Blocks that a transaction writes: the states of sender and receiver after it.
pub const TRANSACTION_SLOT_BLOCKS: usize = 2;
/// Blocks of every payload.
pub const PAYLOAD_BLOCKS: usize =
    INBOX_SLOTS * INBOX_SLOT_BLOCKS + TRANSACTION_SLOTS * TRANSACTION_SLOT_BLOCKS;
/// Bytes of every payload.
pub const PAYLOAD_BYTES: usize = PAYLOAD_BLOCKS * dac_types::limits::BLOCK_BYTES;

/// Points at which the circuit evaluates fingerprints: committees of at most 84 seats.
pub const POINTS: usize = 2;

/// Blocks that one step of the batch hash takes.
pub const HASH_STEP_BLOCKS: usize = 7;
