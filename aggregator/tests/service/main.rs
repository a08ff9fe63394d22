//! Tests of the whole aggregator in one process, with real sockets, a real database, fake members
//! and a fake L1.

#![allow(missing_docs, clippy::cast_possible_truncation)]

mod accusing;
mod dispersal;
mod evm;
mod fairness;
mod posting;
mod proofs;
mod queries;
mod renewing;
mod restart;
mod resting;
mod settling;
mod sharing;
mod submit;
mod support;
