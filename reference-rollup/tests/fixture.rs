//! `vectors/groth16-v1.json`: one real proof with its key, for Solidity. Held to the circuit as it
//! stands; after a change of the circuit
//! `REWRITE_VECTORS=1 cargo test -p reference-rollup --test fixture` writes it again.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, Bytes, U256, hex};
use common::{busy_batch, claim, rng};
use dac_types::PublicClaim;
use reference_rollup::prover::{Keys, VerifyingKeyOnL1};
use reference_rollup::shape::POINTS;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize)]
struct Fixture {
    points: usize,
    verifying_key: Value,
    claim: Value,
    proof: Bytes,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/groth16-v1.json")
}

/// Words in full, as every JSON reader takes them.
fn described_key(key: &VerifyingKeyOnL1) -> Value {
    let words =
        |words: &[U256]| -> Value { json!(words.iter().map(|word| B256::from(*word)).collect::<Vec<_>>()) };
    json!({
        "points": POINTS,
        "alpha": words(&key.alpha),
        "beta": words(&key.beta),
        "gamma": words(&key.gamma),
        "delta": words(&key.delta),
        "ic": key.ic.iter().map(|point| words(point)).collect::<Vec<_>>(),
    })
}

fn described(claim: &PublicClaim) -> Value {
    let fields = claim.fields();
    json!({
        "oldStateRoot": fields.old_state_root,
        "newStateRoot": fields.new_state_root,
        "chainId": fields.chain_id,
        "settlement": fields.settlement,
        "batchNumber": fields.batch_number,
        "payloadLength": fields.payload_length,
        "hashKind": fields.hash_kind as u8,
        "batchHash": fields.batch_hash,
        "l1Inputs": fields.l1_inputs,
        "l1Outputs": fields.l1_outputs,
        "points": hex::encode_prefixed(&fields.points),
        "payloadFingerprint": hex::encode_prefixed(&fields.payload_fingerprint),
    })
}

#[test]
fn the_fixture_is_a_proof_of_this_circuit() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let keys = Keys::cached_development(&target.join("reference-rollup")).unwrap();
    let batch = busy_batch();
    let claim = claim(&batch, 5);
    if std::env::var_os("REWRITE_VECTORS").is_some() {
        let proof = keys.prove(&batch, &claim, &mut rng(1)).unwrap();
        let fixture = Fixture {
            points: claim.point_count(),
            verifying_key: described_key(&keys.verifying()),
            claim: described(&claim),
            proof: proof.to_bytes(),
        };
        fs::write(file(), serde_json::to_string_pretty(&fixture).unwrap() + "\n").unwrap();
    }
    let fixture: Fixture = serde_json::from_slice(&fs::read(file()).unwrap()).unwrap();
    assert_eq!(fixture.verifying_key, described_key(&keys.verifying()), "the circuit has changed: see above");
    assert_eq!(fixture.claim, described(&claim));
    assert_eq!(fixture.points, claim.point_count());
    // Made with fixed randomness, so that the same bytes come again; that L1 accepts them is
    // Solidity's test.
    let proof = keys.prove(&batch, &claim, &mut rng(1)).unwrap();
    assert!(keys.verifies(&claim, &proof));
    assert_eq!(fixture.proof, proof.to_bytes());
}
