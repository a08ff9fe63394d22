//! A small but real payments validium: what a rollup on top of the committee looks like from end to
//! end.
//!
//! | room | what |
//! |---|---|
//! | [`shape`] | how many slots a batch has, how deep the tree is: what the circuit is made for |
//! | [`field`], [`poseidon`] | field elements as bytes, and their hash |
//! | [`account`], [`tree`], [`state`] | accounts, the tree over them, and the rules by which they change |
//! | [`keys`], [`transaction`], [`inbox`] | what users sign here, and what comes from L1 |
//! | [`batch`] | the sequencer: takes and includes, and keeps what the proof needs |
//! | [`circuit`] | the statement, as constraints |
//! | [`sequencer`] | the operator: batches on top of each other, and what is claimed of them |
//! | [`prover`] | keys and proofs |
//! | [`payload`] | what a batch publishes |
//! | [`rebuild`], [`exit`] | the state again from payloads and L1's history, and the proof to leave with |
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
