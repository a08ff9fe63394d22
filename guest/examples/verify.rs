//! Runs the guest's function on this machine: it encodes a payload for a committee of 7, makes a
//! claim about it, and verifies the claim.
//!
//! ```text
//! cargo run -p dac-guest --example verify -- [PAYLOAD [BYTES [INPUT]]]
//! ```
//!
//! The first BYTES of the file PAYLOAD are used. INPUT is a path to which the input of
//! `dac-guest-bare` is written (see `bare/src/main.rs`).

use std::error::Error;

use bytes::Bytes;
use dac_guest::{own_hash, verify};

#[path = "../tests/support/claim.rs"]
mod claim;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or("demo-data/linea-6-blobs.bin".into());
    let mut payload = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    if let Some(bytes) = arguments.next() {
        let bytes = bytes.parse().map_err(|error| format!("{bytes}: {error}"))?;
        if bytes > payload.len() {
            return Err(format!("{path} has {} bytes, not {bytes}", payload.len()).into());
        }
        payload.truncate(bytes);
    }
    let payload = Bytes::from(payload);
    let claim = claim::of(&payload, own_hash(&payload))?.encode();

    let verified = verify(&payload, &claim)?;
    println!("yes: {path}, {} bytes, batch hash {}", payload.len(), verified.fields().batch_hash);
    println!("output: 0x{}", hex(&verified.encode()));

    if let Some(path) = arguments.next() {
        let lengths = [u32::try_from(claim.len())?, u32::try_from(payload.len())?].map(u32::to_le_bytes);
        let input = [lengths.as_flattened(), &claim, &payload].concat();
        std::fs::write(&path, input).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
