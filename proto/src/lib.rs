//! The gRPC interface `dac.v1`: generated messages and services, and the door between wire and domain.
//!
//! Junk is refused here: [`wire`] turns a message into a domain value of `dac-types` or says which field is wrong; [`proof`]
//! does so for validity proofs. The
//! machine-readable reasons that statuses carry are in [`reason`].

pub mod proof;
pub mod reason;
pub mod wire;

/// Generated from `dac/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::cast_possible_truncation)]
pub mod v1 {
    tonic::include_proto!("dac.v1");
}

/// The compiled descriptors of all files, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dac.v1.bin"));
