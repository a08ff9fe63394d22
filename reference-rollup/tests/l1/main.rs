//! The rollup on a real chain with a real committee's certificates and real proofs: in, through two
//! batches, and out again with nothing but payloads and L1; in the library, and on the command
//! line.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod cli;
mod settling;
mod story;
mod unfunded;
mod world;
