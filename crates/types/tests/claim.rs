//! Checks the public claim's encoding and its Groth16 inputs against vectors that an independent
//! implementation made.
#![allow(missing_docs, reason = "a test")]

use dac_types::{Address, B256, ClaimFields, HashKind, PublicClaim};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    claim: Claim,
    domain: String,
    encoded: String,
    /// Inputs as big-endian integers, as L1 has them.
    groth16_inputs: Vec<B256>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Claim {
    old_state_root: B256,
    new_state_root: B256,
    chain_id: u64,
    settlement: Address,
    batch_number: u64,
    payload_length: u64,
    hash_kind: u64,
    batch_hash: B256,
    l1_inputs: B256,
    l1_outputs: B256,
    points: String,
    payload_fingerprint: String,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.strip_prefix("0x").expect("0x")).expect("hexadecimal")
}

impl Claim {
    fn claim(&self) -> PublicClaim {
        PublicClaim::new(ClaimFields {
            old_state_root: self.old_state_root,
            new_state_root: self.new_state_root,
            chain_id: self.chain_id,
            settlement: self.settlement,
            batch_number: self.batch_number,
            payload_length: self.payload_length,
            hash_kind: HashKind::try_from(self.hash_kind).unwrap(),
            batch_hash: self.batch_hash,
            l1_inputs: self.l1_inputs,
            l1_outputs: self.l1_outputs,
            points: bytes(&self.points),
            payload_fingerprint: bytes(&self.payload_fingerprint),
        })
        .unwrap()
    }
}

#[test]
fn every_value_of_the_vectors_is_reproduced() {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/claim-v1.json")).unwrap();
    let file: File = serde_json::from_slice(&file).unwrap();
    assert!(!file.vectors.is_empty());
    for vector in file.vectors {
        let claim = vector.claim.claim();
        assert_eq!(claim.domain()[..], bytes(&vector.domain));
        let encoded = bytes(&vector.encoded);
        assert_eq!(claim.encode(), encoded);
        assert_eq!(PublicClaim::decode(&encoded), Ok(claim.clone()));

        let inputs = claim.groth16_inputs().unwrap();
        let big_endian = inputs.iter().map(|input| {
            let mut word = B256::new(*input);
            word.reverse();
            word
        });
        assert_eq!(big_endian.collect::<Vec<_>>(), vector.groth16_inputs);
        let whole = if claim.fields().hash_kind.is_checked() { 6 } else { 5 };
        assert_eq!(inputs[whole..], claim.groth16_context());
    }
}
