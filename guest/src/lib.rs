#![doc = include_str!("../README.md")]
//!
//! ## What a guest reads and writes
//!
//! L1 assembles the public claim itself: the old root and the batch number come from its storage,
//! the rest from the certificate and the transition. It encodes the claim canonically and accepts a
//! proof only if the guest's output is exactly those bytes. Therefore a guest reads the encoding as
//! an input, decodes it strictly, proves everything that it says, and commits to the same bytes: as
//! the *public values* of SP1 or the *journal* of RISC Zero. It must write nothing before or after
//! them, and it must use the call that writes bytes unchanged; calls that serialise a value put a
//! length in front.
//!
//! On SP1:
//!
//! ```text
//! sp1_zkvm::entrypoint!(main);
//!
//! pub fn main() {
//!     let claim = sp1_zkvm::io::read_vec();
//!     let payload = sp1_zkvm::io::read_vec();
//!     let claim = verify(&payload, &claim).unwrap();
//!     transition(&claim, &payload);
//!     sp1_zkvm::io::commit_slice(&claim.encode());
//! }
//! ```
//!
//! On RISC Zero:
//!
//! ```text
//! risc0_zkvm::guest::entry!(main);
//!
//! fn main() {
//!     let (claim, payload): (Vec<u8>, Vec<u8>) = env::read();
//!     let claim = verify(&payload, &claim).unwrap();
//!     transition(&claim, &payload);
//!     env::commit_slice(&claim.encode());
//! }
//! ```
//!
//! [`verify`] checks what the claim says about the payload: its length, its hash and its
//! fingerprint. The rest is the rollup's own `transition`, which must fail unless the payload takes
//! `old_state_root` to `new_state_root`, consumes the L1 inputs up to `l1_inputs` and pays out
//! `l1_outputs`. The guest need not check chain, settlement contract and batch number: L1 compares
//! them as part of the encoding.
//!
//! The payload of a claim of kind KECCAK256 or SHA256 is hashed by `keccak256` of alloy-primitives
//! or by `sha2`. Both zkVMs accelerate these through a `[patch.crates-io]` entry of the guest's
//! workspace. A claim of kind OPAQUE contains the rollup's own hash, which [`own_hash`] computes.
//! It must be collision-resistant and cover the exact bytes, including their number.
#![no_std]

use dac_coding::{BindingError, check_binding};
use dac_types::{B256, ClaimError, HashKind, PublicClaim};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The reasons why a guest refuses. It panics with one of them, so that there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The bytes are not the encoding of a claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The claim is about a different payload.
    #[error(transparent)]
    Payload(#[from] BindingError),
}

/// Checks that the encoded claim is about this payload, and returns the claim for the rollup's
/// transition.
pub fn verify(payload: &[u8], claim: &[u8]) -> Result<PublicClaim, Refusal> {
    let claim = PublicClaim::decode(claim)?;
    let opaque_hash = (claim.fields().hash_kind == HashKind::Opaque).then(|| own_hash(payload));
    check_binding(payload, &claim, opaque_hash)?;
    Ok(claim)
}

/// Returns this example's own hash of a payload: SHA-256. Its padding contains the length, so zeros
/// at the end change the hash. With a hash of kind OPAQUE, members need not download the whole
/// payload, because the fingerprint binds the proof to it.
pub fn own_hash(payload: &[u8]) -> B256 {
    B256::new(Sha256::digest(payload).into())
}
