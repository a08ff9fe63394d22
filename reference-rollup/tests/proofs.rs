//! Real proofs with real keys (development ones, made once and kept under `target/`).
#![allow(missing_docs)]

mod common;

use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

use common::{busy_batch, claim, claim_fields, rng};
use dac_types::{B256, ClaimFields, PublicClaim};
use reference_rollup::prover::{Keys, PROOF_BYTES, ProverError};

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    Keys::cached_development(&target.join("reference-rollup")).unwrap()
});

#[test]
fn a_proof_holds_for_its_claim_and_for_no_other() {
    let batch = busy_batch();
    let truth = claim(&batch, 5);
    let keys = &*KEYS;
    let started = Instant::now();
    let proof = keys.prove(&batch, &truth, &mut rng(1)).unwrap();
    println!("proved in {} ms", started.elapsed().as_millis());
    assert!(keys.verifies(&truth, &proof));
    assert_eq!(proof.to_bytes().len(), PROOF_BYTES);

    let zero = B256::ZERO;
    type Mutation<'a> = (&'a str, &'a dyn Fn(&mut ClaimFields));
    let mutations: [Mutation<'_>; 12] = [
        ("old root", &|claim| claim.old_state_root = zero),
        ("new root", &|claim| claim.new_state_root = zero),
        ("chain", &|claim| claim.chain_id += 1),
        ("settlement", &|claim| claim.settlement = dac_types::Address::repeat_byte(1)),
        ("number", &|claim| claim.batch_number += 1),
        ("length + 1", &|claim| claim.payload_length += 1),
        ("length − 1", &|claim| claim.payload_length -= 1),
        ("hash", &|claim| claim.batch_hash = zero),
        ("inputs", &|claim| claim.l1_inputs = zero),
        ("outputs", &|claim| claim.l1_outputs = zero),
        ("points", &|claim| claim.points.swap(0, 16)),
        ("fingerprint", &|claim| claim.payload_fingerprint[0] ^= 1),
    ];
    for (name, mutate) in mutations {
        let mut lie = truth.fields().clone();
        mutate(&mut lie);
        assert!(!keys.verifies(&PublicClaim::new(lie).unwrap(), &proof), "{name}");
    }
}

/// The disperser gave the members shards that decode to another payload, and enough of them signed
/// its fingerprint. Nobody can prove the true transition against that header.
#[test]
fn a_fingerprint_of_another_payload_cannot_be_proved() {
    let batch = busy_batch();
    let mut other = batch.payload();
    other[100] ^= 1;
    let mut fields = claim_fields(&batch, 5);
    let points = dac_coding::Points::from_claim(&claim(&batch, 5));
    fields.payload_fingerprint = dac_coding::payload_fingerprint(&points, &other).as_bytes().to_vec();
    let lie = PublicClaim::new(fields).unwrap();
    assert!(matches!(KEYS.prove(&batch, &lie, &mut rng(1)), Err(ProverError::NotTrue { .. })));
}

#[test]
fn claims_that_the_circuit_was_not_made_for_are_refused() {
    let batch = busy_batch();
    let mut three_points = claim_fields(&batch, 5);
    three_points.points.extend([0; 16]);
    three_points.payload_fingerprint.extend([0; 16]);
    let claim = PublicClaim::new(three_points).unwrap();
    assert!(matches!(KEYS.prove(&batch, &claim, &mut rng(1)), Err(ProverError::Points { got: 3 })));

    let mut alias = claim_fields(&batch, 5);
    alias.new_state_root = B256::repeat_byte(0xff);
    let claim = PublicClaim::new(alias).unwrap();
    assert!(matches!(KEYS.prove(&batch, &claim, &mut rng(1)), Err(ProverError::Input(_))));
}
