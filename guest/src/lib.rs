//! What the guest of a rollup on this committee looks like, for SP1 and RISC Zero: the function that goes from payload and
//! public claim to yes or no.
//!
//! L1 puts the public claim together by itself (old root and batch number from its storage, the rest from certificate and
//! transition), encodes it canonically and takes a proof only if the guest's output is exactly those bytes. So a guest
//! reads the encoding as an input, decodes it strictly, shows everything that it says, and commits to the same bytes: as
//! the *public values* of SP1, as the *journal* of RISC Zero. Nothing before them, nothing after, and by the call that
//! writes bytes as they are: the ones that serialise a value put a length in front.
//!
//! ```text
//! // SP1                                                    // RISC Zero
//! sp1_zkvm::entrypoint!(main);                              risc0_zkvm::guest::entry!(main);
//!
//! pub fn main() {                                           fn main() {
//!     let claim = sp1_zkvm::io::read_vec();                     let (claim, payload): (Vec<u8>, Vec<u8>) = env::read();
//!     let payload = sp1_zkvm::io::read_vec();
//!     let claim = verify(&payload, &claim).unwrap();            let claim = verify(&payload, &claim).unwrap();
//!     transition(&claim, &payload);                             transition(&claim, &payload);
//!     sp1_zkvm::io::commit_slice(&claim.encode());              env::commit_slice(&claim.encode());
//! }                                                         }
//! ```
//!
//! [`verify`] covers what the claim says of the payload: its length, its hash and its fingerprint. The rest is the
//! rollup's own `transition`, which must fail unless the payload takes `old_state_root` to `new_state_root`, consumes the
//! L1 inputs up to `l1_inputs` and grants `l1_outputs`. Chain, settlement contract and batch number need no check in the
//! guest: L1 compares them, as part of the encoding.
//!
//! Hashing: a claim of kind KECCAK256 or SHA256 is hashed by `keccak256` of alloy-primitives and by `sha2`, both of which
//! either zkVM accelerates through a `[patch.crates-io]` entry of the guest's workspace. A claim of kind OPAQUE has the
//! rollup's own hash: [`own_hash`] is the place. It must be collision-resistant and cover the exact bytes, length included.
#![no_std]

use dac_coding::{BindingError, check_binding};
use dac_types::{B256, ClaimError, HashKind, PublicClaim};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Why a guest says no: it panics with this, and there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Not the encoding of a claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The claim is about another payload.
    #[error(transparent)]
    Payload(#[from] BindingError),
}

/// Whether the encoded claim is about this payload; and if so, the claim, for the rollup's transition to go on with.
pub fn verify(payload: &[u8], claim: &[u8]) -> Result<PublicClaim, Refusal> {
    let claim = PublicClaim::decode(claim)?;
    let opaque_hash = (claim.fields().hash_kind == HashKind::Opaque).then(|| own_hash(payload));
    check_binding(payload, &claim, opaque_hash)?;
    Ok(claim)
}

/// This example's own hash of a payload. SHA-256 pads by length, so zeros at the end change it. As a hash of kind OPAQUE
/// it spares the committee from having every member download the payload, for the fingerprint binds the proof.
pub fn own_hash(payload: &[u8]) -> B256 {
    B256::new(Sha256::digest(payload).into())
}
