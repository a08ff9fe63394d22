//! The validity proof's circuit.
//!
//! | room | what |
//! |---|---|
//! | [`system`] | wires, bits, constraints |
//! | [`poseidon`], [`tree`], [`curve`], [`signature`] | the outside world's functions, as constraints |
//! | [`fingerprint`] | the binding to the committee: the payload's value at each point, in GF(2^128) |
//! | [`batch`] | the statement |

pub mod batch;
pub mod curve;
pub mod fingerprint;
pub mod poseidon;
pub mod signature;
pub mod system;
pub mod tree;
