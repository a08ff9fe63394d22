#![doc = include_str!("../README.md")]

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
