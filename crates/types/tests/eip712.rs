//! Checks the hashing of signed structures against alloy's independent EIP-712 implementation.
#![allow(missing_docs, reason = "a test")]

use alloy::sol_types::{SolStruct, eip712_domain};
use dac_types::{
    Address, B256, BatchBundle, BatchDigest, BatchHeader, BatchSubmission, CoverageRenewal, Domain,
    EcdsaSignature, EcdsaSignatureError, HashKind, Transition, ValidityProof,
};
use proptest::prelude::*;

mod abi {
    alloy::sol! {
        struct BatchHeader {
            address rollup; uint64 batchNumber; uint64 epoch; uint64 expiresAt; uint64 payloadLength;
            uint8 hashKind; bytes32 batchHash; bytes32 shardRoot; bytes32 fingerprintsHash; bytes payloadFingerprint;
        }
        struct BatchSubmission {
            address rollup; uint64 batchNumber; uint64 payloadLength; uint64 expiresAt; uint8 hashKind;
            bytes32 batchHash; bytes32 replaces; address disperser; uint64 submitBefore;
        }
        struct BatchBundle { uint64 epoch; uint32 count; bytes32 root; }
        struct CoverageRenewal { address rollup; uint64 lastBatch; uint64 expiresAt; uint64 epoch; }
        struct ValidityProof {
            bytes32 digest; bytes32 newStateRoot; uint64 inputsConsumed; bytes32 outputs; bytes32 proofHash;
        }
    }
}

fn reference_domain(domain: &Domain) -> alloy::sol_types::Eip712Domain {
    eip712_domain! {
        name: "Validium DAC",
        version: "1",
        chain_id: domain.chain_id,
        verifying_contract: domain.registry,
    }
}

fn any_address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}

fn any_hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

fn any_hash_kind() -> impl Strategy<Value = HashKind> {
    prop_oneof![Just(HashKind::Opaque), Just(HashKind::Keccak256), Just(HashKind::Sha256)]
}

fn any_domain() -> impl Strategy<Value = Domain> {
    (any::<u64>(), any_address()).prop_map(|(chain_id, registry)| Domain { chain_id, registry })
}

proptest! {
    #[test]
    fn headers_hash_like_the_reference(
        domain in any_domain(),
        rollup in any_address(),
        numbers in any::<[u64; 4]>(),
        hash_kind in any_hash_kind(),
        hashes in (any_hash(), any_hash(), any_hash()),
        payload_fingerprint in proptest::collection::vec(any::<u8>(), 0..70),
    ) {
        let [batch_number, epoch, expires_at, payload_length] = numbers;
        let header = BatchHeader {
            rollup, batch_number, epoch, expires_at, payload_length, hash_kind,
            batch_hash: hashes.0, shard_root: hashes.1, fingerprints_hash: hashes.2,
            payload_fingerprint: payload_fingerprint.clone(),
        };
        let reference = abi::BatchHeader {
            rollup, batchNumber: batch_number, epoch, expiresAt: expires_at, payloadLength: payload_length,
            hashKind: hash_kind as u8, batchHash: hashes.0, shardRoot: hashes.1, fingerprintsHash: hashes.2,
            payloadFingerprint: payload_fingerprint.into(),
        };
        prop_assert_eq!(header.digest(&domain).0, reference.eip712_signing_hash(&reference_domain(&domain)));
    }

    #[test]
    fn bundles_hash_like_the_reference(
        domain in any_domain(), epoch in any::<u64>(), count in any::<u32>(), root in any_hash(),
    ) {
        let reference = abi::BatchBundle { epoch, count, root };
        let digest = BatchBundle { epoch, count, root }.digest(&domain);
        prop_assert_eq!(digest.0, reference.eip712_signing_hash(&reference_domain(&domain)));
    }

    #[test]
    fn submissions_and_renewals_hash_like_the_reference(
        domain in any_domain(),
        addresses in (any_address(), any_address()),
        numbers in any::<[u64; 4]>(),
        hash_kind in any_hash_kind(),
        hashes in (any_hash(), any_hash()),
    ) {
        let submission = BatchSubmission {
            rollup: addresses.0, batch_number: numbers[0], payload_length: numbers[1], expires_at: numbers[2], hash_kind,
            batch_hash: hashes.0, replaces: hashes.1, disperser: addresses.1, submit_before: numbers[3],
        };
        let reference = abi::BatchSubmission {
            rollup: addresses.0, batchNumber: numbers[0], payloadLength: numbers[1], expiresAt: numbers[2],
            hashKind: hash_kind as u8, batchHash: hashes.0, replaces: hashes.1, disperser: addresses.1,
            submitBefore: numbers[3],
        };
        prop_assert_eq!(submission.digest(&domain), reference.eip712_signing_hash(&reference_domain(&domain)));

        let renewal = CoverageRenewal {
            rollup: addresses.0, last_batch: numbers[0], expires_at: numbers[1], epoch: numbers[2],
        };
        let reference = abi::CoverageRenewal {
            rollup: addresses.0, lastBatch: numbers[0], expiresAt: numbers[1], epoch: numbers[2],
        };
        prop_assert_eq!(renewal.digest(&domain).0, reference.eip712_signing_hash(&reference_domain(&domain)));
    }

    #[test]
    fn proofs_hash_like_the_reference_and_recover_their_poster(
        domain in any_domain(), hashes in (any_hash(), any_hash(), any_hash()), inputs_consumed: u64,
        proof in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        use dac_types::EcdsaKey;
        let transition = Transition { new_state_root: hashes.1, inputs_consumed, outputs: hashes.2 };
        let signed = ValidityProof::new(BatchDigest(hashes.0), transition, &proof);
        let reference = abi::ValidityProof {
            digest: hashes.0, newStateRoot: hashes.1, inputsConsumed: inputs_consumed, outputs: hashes.2,
            proofHash: dac_types::keccak256(&proof),
        };
        prop_assert_eq!(signed.signing_digest(&domain), reference.eip712_signing_hash(&reference_domain(&domain)));
        let poster = EcdsaKey::from_slice(&[7; 32]).unwrap();
        let signature = poster.sign(signed.signing_digest(&domain));
        prop_assert_eq!(signed.signer(&signature, &domain), Ok(poster.address()));
        let other = ValidityProof { proof_hash: hashes.0, ..signed };
        prop_assert_ne!(other.signer(&signature, &domain), Ok(poster.address()));
    }

    #[test]
    fn signatures_recover_their_signer_and_nothing_panics(
        secret in any::<[u8; 32]>(), digest in any_hash(), junk in proptest::collection::vec(any::<u8>(), 60..70),
    ) {
        use dac_types::EcdsaKey;
        if let Ok(signer) = EcdsaKey::from_slice(&secret) {
            let signature = signer.sign(digest);
            prop_assert_eq!(EcdsaSignature::try_from(&signature.as_bytes()[..]), Ok(signature));
            prop_assert_eq!(signature.recover(digest), Ok(signer.address()));
            prop_assert_ne!(signature.recover(B256::from(keccak(digest))), Ok(signer.address()));
        }
        if let Ok(signature) = EcdsaSignature::try_from(&junk[..]) {
            let _ = signature.recover(digest);
        }
    }
}

fn keccak(of: B256) -> [u8; 32] {
    dac_types::keccak256(of).0
}

#[test]
fn malformed_and_malleable_signatures_are_refused() {
    use alloy::primitives::U256;
    use dac_types::EcdsaKey;
    let signer = EcdsaKey::from_slice(&[7; 32]).unwrap();
    let signature = signer.sign(B256::repeat_byte(1));
    let good = *signature.as_bytes();

    assert_eq!(EcdsaSignature::try_from(&good[..64]), Err(EcdsaSignatureError::Length { got: 64 }));
    let mut odd_v = good;
    odd_v[64] = 0;
    assert_eq!(EcdsaSignature::try_from(&odd_v[..]), Err(EcdsaSignatureError::RecoveryId { got: 0 }));

    let order =
        U256::from_be_bytes(alloy::hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));
    let mut malleable = good;
    malleable[32..64].copy_from_slice(&(order - U256::from_be_slice(&good[32..64])).to_be_bytes::<32>());
    malleable[64] = if good[64] == 27 { 28 } else { 27 };
    assert_eq!(EcdsaSignature::try_from(&malleable[..]), Err(EcdsaSignatureError::HighS));

    for zeroed in [0..32, 32..64] {
        let mut zero = good;
        zero[zeroed].fill(0);
        assert_eq!(EcdsaSignature::try_from(&zero[..]), Err(EcdsaSignatureError::Unrecoverable));
    }
    let mut over = good;
    over[..32].fill(0xff);
    let over = EcdsaSignature::try_from(&over[..]).unwrap();
    assert_eq!(over.recover(B256::repeat_byte(1)), Err(EcdsaSignatureError::Unrecoverable));
}
