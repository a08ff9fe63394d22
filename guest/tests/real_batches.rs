//! Tests the guest's function on real batches: it accepts exactly what the committee encoded.

use bytes::Bytes;
use dac_coding::BindingError;
use dac_guest::{Refusal, own_hash, verify};
use dac_types::{ClaimError, ClaimFields, HashKind, PublicClaim, keccak256};

#[path = "support/claim.rs"]
mod claim;

fn batches() -> impl Iterator<Item = Bytes> {
    ["linea-6-blobs.bin", "base-5-blobs.bin"].into_iter().map(|name| {
        let path = format!("{}/../demo-data/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).expect("a batch of the demo").into()
    })
}

fn changed(claim: &PublicClaim, change: impl FnOnce(&mut ClaimFields)) -> Vec<u8> {
    let mut fields = claim.clone().into_fields();
    change(&mut fields);
    PublicClaim::new(fields).unwrap().encode()
}

#[test]
fn what_the_committee_encoded_is_verified_under_every_kind() {
    for payload in batches() {
        let claim = claim::of(&payload, own_hash(&payload)).unwrap();
        assert_eq!(verify(&payload, &claim.encode()).unwrap(), claim);

        let sha256 = changed(&claim, |fields| fields.hash_kind = HashKind::Sha256);
        assert_eq!(verify(&payload, &sha256).unwrap().encode(), sha256);
        let keccak256 = changed(&claim, |fields| {
            fields.hash_kind = HashKind::Keccak256;
            fields.batch_hash = keccak256(&payload);
        });
        assert_eq!(verify(&payload, &keccak256).unwrap().encode(), keccak256);
    }
}

#[test]
fn another_payload_or_claim_is_refused() {
    let payload = batches().next().unwrap();
    let claim = claim::of(&payload, own_hash(&payload)).unwrap();
    let encoded = claim.encode();

    let longer = [&payload[..], &[0]].concat();
    let lengths = [payload.len() as u64, longer.len() as u64];
    let [expected, got] = lengths;
    assert_eq!(verify(&longer, &encoded), Err(BindingError::Length { expected, got }.into()));
    let shorter = &payload[..payload.len() - 1];
    assert!(payload.ends_with(&[0]), "so that it has the same fingerprint");
    let got = expected - 1;
    assert_eq!(verify(shorter, &encoded), Err(BindingError::Length { expected, got }.into()));
    let one_off = changed(&claim, |fields| fields.payload_length -= 1);
    let refused = verify(shorter, &one_off).unwrap_err();
    assert!(matches!(refused, Refusal::Payload(BindingError::BatchHash { .. })), "{refused}");

    for position in [0, payload.len() / 2, payload.len() - 1] {
        let mut other = payload.to_vec();
        other[position] ^= 1;
        let refused = verify(&other, &encoded).unwrap_err();
        assert!(matches!(refused, Refusal::Payload(BindingError::PayloadFingerprint { .. })), "{refused}");
    }

    // These points belong to another batch.
    let other = claim::of(&batches().nth(1).unwrap(), claim.fields().batch_hash).unwrap();
    let other_points = changed(&claim, |fields| fields.points.clone_from(&other.fields().points));
    let refused = verify(&payload, &other_points).unwrap_err();
    assert!(matches!(refused, Refusal::Payload(BindingError::PayloadFingerprint { .. })), "{refused}");
    let refused = verify(&payload, &other.encode()).unwrap_err();
    assert!(matches!(refused, Refusal::Payload(BindingError::Length { .. })), "{refused}");
}

#[test]
fn what_is_no_claim_is_refused() {
    let payload = batches().next().unwrap();
    let encoded = claim::of(&payload, own_hash(&payload)).unwrap().encode();
    let got = encoded.len() - 1;
    let error = ClaimError::EncodingLength { expected: encoded.len(), got };
    assert_eq!(verify(&payload, &encoded[..got]), Err(error.into()));
    let got = encoded.len() + 1;
    let error = ClaimError::EncodingLength { expected: encoded.len(), got };
    assert_eq!(verify(&payload, &[&encoded[..], &[0]].concat()), Err(error.into()));
}
