//! A small but real payments validium, which shows a whole rollup on top of the committee.
//!
//! | module | meaning |
//! |---|---|
//! | [`shape`] | the number of slots of a batch and the depth of the tree, which fix the circuit |
//! | [`field`], [`poseidon`] | field elements as bytes, and their hash |
//! | [`account`], [`tree`], [`state`] | accounts, the tree over them, and the rules by which they change |
//! | [`keys`], [`transaction`], [`inbox`] | what users sign here, and what comes from L1 |
//! | [`batch`] | building a batch from inbox entries and transactions, with what its proof needs |
//! | [`circuit`] | the statement as constraints |
//! | [`sequencer`] | the operator: batches on top of each other, and the claims about them |
//! | [`prover`] | keys and proofs |
//! | [`payload`] | the payload that a batch publishes |
//! | [`rebuild`], [`exit`] | rebuilding the state from payloads and L1's history; exit proofs |
//! | [`l1`] | the contract: history, deposits, exits, deployment |
//! | [`files`] | the files that commands pass around |

pub mod account;
pub mod batch;
pub mod circuit;
pub mod exit;
pub mod field;
pub mod files;
pub mod inbox;
pub mod keys;
pub mod l1;
pub mod payload;
pub mod poseidon;
pub mod prover;
pub mod rebuild;
pub mod sequencer;
pub mod shape;
pub mod state;
pub mod transaction;
pub mod tree;
