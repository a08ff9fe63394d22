//! The gRPC interface `dac.v1`: generated messages and services, and the conversion between wire
//! and domain types.
//!
//! Malformed messages are refused here. [`wire`] turns a message into a value of `dac-types` or
//! returns an error that names the wrong field; [`proof`] does this for validity proofs. [`reason`]
//! has the machine-readable reasons that statuses carry.

pub mod proof;
pub mod reason;
pub mod wire;

/// The code that is generated from `dac/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::cast_possible_truncation)]
pub mod v1 {
    tonic::include_proto!("dac.v1");
}

/// The compiled descriptors of all files, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dac.v1.bin"));
