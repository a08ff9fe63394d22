//! Tests of the conversion between wire and domain: valid messages pass unchanged, and each
//! malformed one is refused with its own error.
#![allow(missing_docs, reason = "a test")]

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::{v1, wire};
use dac_types::{
    AbsentSeats, Address, AggregateAttestation, Attestation, B256, BatchDigest, BatchHeader, BatchSubmission,
    Certificate, EcdsaSignature, Geometry, HashKind, Record, RowFingerprints, Seat, SignatureBytes,
    SignedSubmission,
};
use proptest::prelude::*;
use prost::Message;

fn geometry() -> Geometry {
    Geometry::new(7, 3).unwrap()
}

fn ecdsa(byte: u8) -> EcdsaSignature {
    let mut bytes = [byte.clamp(1, 0x7e); 65];
    bytes[64] = 27;
    EcdsaSignature::try_from(&bytes[..]).unwrap()
}

prop_compose! {
    fn any_record()(
        byte in any::<u8>(), numbers in any::<[u64; 5]>(), length in 1..=dac_types::limits::PAYLOAD_MAX_BYTES, kind in 0_u64..3,
        absent in proptest::option::of(proptest::collection::btree_set(any::<u8>(), 0..7)),
    ) -> Record {
        let hash = B256::repeat_byte(byte);
        let hash_kind = HashKind::try_from(kind).unwrap();
        let rollup = Address::repeat_byte(byte);
        let header = BatchHeader {
            rollup, batch_number: numbers[0], epoch: numbers[1], expires_at: numbers[2], payload_length: length, hash_kind,
            batch_hash: hash, shard_root: hash, fingerprints_hash: hash, payload_fingerprint: vec![byte; 32],
        };
        let submission = BatchSubmission {
            rollup, batch_number: numbers[0], payload_length: length, expires_at: numbers[2], hash_kind, batch_hash: hash,
            replaces: B256::ZERO, disperser: rollup, submit_before: numbers[3],
        };
        Record {
            header,
            shard_hashes: vec![hash; 7],
            row_fingerprints: RowFingerprints::new(geometry(), vec![byte; 96]).unwrap(),
            submission: SignedSubmission { submission, signature: ecdsa(byte) },
            disperser_signature: ecdsa(byte.wrapping_add(1)),
            certificate: absent.map(|seats| AggregateAttestation {
                absent: AbsentSeats::try_from(&seats.into_iter().collect::<Vec<_>>()[..]).unwrap(),
                signature: SignatureBytes([byte; 48]),
            }),
        }
    }
}

fn example() -> v1::Record {
    use proptest::strategy::ValueTree;
    let record =
        any_record().new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap().current();
    (&record).into()
}

proptest! {
    #[test]
    fn records_survive_the_wire(record in any_record()) {
        let bytes = v1::Record::from(&record).encode_to_vec();
        prop_assert!(bytes.len() < dac_types::limits::MESSAGE_MAX_BYTES);
        let back = v1::Record::decode(&bytes[..]).unwrap();
        prop_assert_eq!(wire::epoch_of(&back).unwrap(), record.header.epoch);
        prop_assert_eq!(wire::record(back, geometry()).unwrap(), record.clone());
        if let Some(aggregate) = record.certificate {
            let certificate = Certificate { header: record.header, aggregate };
            prop_assert_eq!(Certificate::try_from(v1::Certificate::from(&certificate)).unwrap(), certificate);
        }
    }

    #[test]
    fn attestations_survive_the_wire(digest in any::<[u8; 32]>(), seat in any::<u8>(), byte in any::<u8>()) {
        let attestation = Attestation {
            digest: BatchDigest(digest.into()), seat: Seat(seat), signature: SignatureBytes([byte; 48]),
        };
        prop_assert_eq!(Attestation::try_from(v1::Attestation::from(&attestation)).unwrap(), attestation);
    }

    /// Any bytes, and a valid message with any one byte changed, give a value or an error but never
    /// a panic.
    #[test]
    fn hostile_bytes_never_panic(junk in proptest::collection::vec(any::<u8>(), 0..512), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut mutated = example().encode_to_vec();
        let at = at.index(mutated.len());
        mutated[at] ^= 1_u8 << bit;
        for bytes in [&junk, &mutated] {
            if let Ok(message) = v1::Record::decode(&bytes[..]) {
                let _ = wire::epoch_of(&message);
                let _ = wire::record(message, geometry());
            }
            if let Ok(message) = v1::Certificate::decode(&bytes[..]) {
                let _ = Certificate::try_from(message);
            }
            if let Ok(message) = v1::SignedSubmission::decode(&bytes[..]) {
                let _ = SignedSubmission::try_from(message);
            }
            if let Ok(message) = v1::SubmitValidityProofRequest::decode(&bytes[..]) {
                let _ = dac_proto::proof::ReceivedProof::try_from(message);
            }
            if let Ok(message) = v1::Attestation::decode(&bytes[..]) {
                let _ = Attestation::try_from(message);
            }
        }
    }
}

/// Checks that an otherwise valid record with one wrong field is refused with the right reason.
#[test]
fn each_wrong_field_is_refused_with_its_reason() {
    type Break = fn(&mut v1::Record);
    fn cut(bytes: &mut Bytes) {
        bytes.truncate(bytes.len() - 1);
    }
    fn submission(record: &mut v1::Record) -> &mut v1::BatchSubmission {
        record.submission.as_mut().unwrap().submission.as_mut().unwrap()
    }
    let cases: &[(&str, Reason, Break)] = &[
        ("no header", Reason::MalformedRequest, |r| r.header = None),
        ("short rollup", Reason::MalformedRequest, |r| cut(&mut r.header.as_mut().unwrap().rollup)),
        ("unspecified kind", Reason::MalformedRequest, |r| r.header.as_mut().unwrap().hash_kind = 0),
        ("unknown kind", Reason::MalformedRequest, |r| r.header.as_mut().unwrap().hash_kind = 4),
        ("short root", Reason::MalformedRequest, |r| cut(&mut r.header.as_mut().unwrap().shard_root)),
        ("empty payload", Reason::BadRecord, |r| r.header.as_mut().unwrap().payload_length = 0),
        ("over 64 MiB", Reason::BadRecord, |r| r.header.as_mut().unwrap().payload_length = (64 << 20) + 1),
        ("fingerprint for other t", Reason::BadRecord, |r| {
            r.header.as_mut().unwrap().payload_fingerprint = vec![0; 48].into();
        }),
        ("endless fingerprint", Reason::MalformedRequest, |r| {
            r.header.as_mut().unwrap().payload_fingerprint = vec![0; 65].into();
        }),
        ("hashes not whole", Reason::MalformedRequest, |r| cut(&mut r.shard_hashes)),
        ("too few hashes", Reason::BadRecord, |r| r.shard_hashes.truncate(32 * 6)),
        ("too many hashes", Reason::MalformedRequest, |r| r.shard_hashes = vec![0; 32 * 257].into()),
        ("short z", Reason::BadRecord, |r| cut(&mut r.row_fingerprints)),
        ("no submission", Reason::MalformedRequest, |r| r.submission = None),
        ("submission empty", Reason::MalformedRequest, |r| r.submission.as_mut().unwrap().submission = None),
        ("short replaces", Reason::MalformedRequest, |r| cut(&mut submission(r).replaces)),
        ("short submission signature", Reason::BadSubmissionSignature, |r| {
            cut(&mut r.submission.as_mut().unwrap().signature);
        }),
        ("short disperser signature", Reason::BadDisperserSignature, |r| cut(&mut r.disperser_signature)),
        ("malleable disperser signature", Reason::BadDisperserSignature, |r| {
            let mut bytes = r.disperser_signature.to_vec();
            bytes[32] = 0xff;
            r.disperser_signature = bytes.into();
        }),
        ("absent seats twice", Reason::BadCertificate, |r| {
            r.certificate =
                Some(v1::AggregateAttestation { absent: vec![1, 1].into(), signature: vec![0; 48].into() });
        }),
        ("trailing bytes in the certificate", Reason::MalformedRequest, |r| {
            r.certificate =
                Some(v1::AggregateAttestation { absent: Bytes::new(), signature: vec![0; 49].into() });
        }),
    ];
    assert!(wire::record(example(), geometry()).is_ok());
    for (name, reason, break_it) in cases {
        let mut message = example();
        break_it(&mut message);
        let error = wire::record(message, geometry()).expect_err(name);
        assert_eq!(error.reason(), *reason, "{name}: {error}");
        assert_eq!(Reason::of(&error.into()), Some(*reason), "{name}");
    }
    assert!(wire::seat("seat", 256).is_err());
}
