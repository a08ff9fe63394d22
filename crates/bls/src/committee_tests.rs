//! Tests of sums, wrong signatures and forged certificates.

use dac_types::{Address, B256, BundleDigests, HashKind, Member, SignatureBytes};
use proptest::prelude::*;

use super::*;
use crate::SecretKey;

const DOMAIN: Domain = Domain { chain_id: 31337, registry: Address::repeat_byte(0x11) };
const DIGEST: BatchDigest = BatchDigest(B256::repeat_byte(5));

fn secret(seat: Seat) -> SecretKey {
    let mut material = [7; 32];
    material[0] = seat.0;
    SecretKey::derive(&material)
}

fn committee(n: u16, k: u16, q: u16) -> CommitteeKeys {
    let members = Seat::all(n)
        .map(|seat| Member {
            operator: Address::with_last_byte(seat.0),
            public_key: secret(seat).public_key().to_compressed(),
            dispersal_url: String::new(),
            retrieval_url: String::new(),
        })
        .collect();
    let committee = Committee::new(3, Quorum::new(n, k, q).unwrap(), members, 100, 200, 250).unwrap();
    CommitteeKeys::new(&committee).unwrap()
}

fn header() -> BatchHeader {
    BatchHeader {
        rollup: Address::repeat_byte(1),
        batch_number: 1,
        epoch: 3,
        expires_at: 1000,
        payload_length: 100,
        hash_kind: HashKind::Keccak256,
        batch_hash: B256::repeat_byte(2),
        shard_root: B256::repeat_byte(3),
        fingerprints_hash: B256::repeat_byte(4),
        payload_fingerprint: vec![6; 32],
    }
}

fn sign(digest: &impl SignedDigest, seats: impl IntoIterator<Item = u8>) -> Vec<(Seat, Signature)> {
    seats.into_iter().map(|seat| (Seat(seat), secret(Seat(seat)).sign_digest(digest))).collect()
}

fn certificate(keys: &CommitteeKeys, seats: impl IntoIterator<Item = u8>) -> Certificate {
    let digest = header().digest(&DOMAIN);
    Certificate { header: header(), aggregate: keys.aggregate(&digest, &sign(&digest, seats)).unwrap() }
}

#[test]
fn a_quorum_signs_a_bundle_of_one_epoch() {
    let keys = committee(4, 2, 3);
    let digests = BundleDigests::from_unordered(vec![DIGEST, BatchDigest(B256::repeat_byte(4))]).unwrap();
    let digest = digests.bundle(3).digest(&DOMAIN);
    let aggregate = keys.aggregate(&digest, &sign(&digest, [0, 1, 3])).unwrap();
    let certificate = BundleCertificate { epoch: 3, digests, aggregate };
    let checked = keys.verify_bundle(&certificate, &DOMAIN).unwrap();
    assert_eq!((checked.digest(), checked.certificate()), (digest, &certificate));

    let another = BundleCertificate { epoch: 4, ..certificate.clone() };
    assert_eq!(keys.verify_bundle(&another, &DOMAIN), Err(CertificateError::Epoch { expected: 3, got: 4 }));
    let fewer = BundleDigests::from_unordered(vec![DIGEST]).unwrap();
    let fewer = BundleCertificate { digests: fewer, ..certificate.clone() };
    assert_eq!(keys.verify_bundle(&fewer, &DOMAIN), Err(CertificateError::Forged));
    let elsewhere = Domain { chain_id: 1, ..DOMAIN };
    assert_eq!(keys.verify_bundle(&certificate, &elsewhere), Err(CertificateError::Forged));
}

#[test]
fn every_quorum_makes_a_certificate() {
    let keys = committee(7, 3, 5);
    for seats in [vec![0, 1, 2, 3, 4, 5, 6], vec![0, 1, 2, 3, 4], vec![6, 4, 2, 0, 1]] {
        let certificate = certificate(&keys, seats);
        let checked = keys.verify_certificate(&certificate, &DOMAIN).unwrap();
        assert_eq!(checked.digest(), header().digest(&DOMAIN));
        assert_eq!(checked.certificate(), &certificate);
    }
}

#[test]
fn a_certificate_is_of_one_domain_epoch_and_header() {
    let keys = committee(4, 2, 3);
    let good = certificate(&keys, 0..4);
    let elsewhere = Domain { chain_id: 1, ..DOMAIN };
    assert_eq!(keys.verify_certificate(&good, &elsewhere), Err(CertificateError::Forged));
    let mut other_epoch = good.clone();
    other_epoch.header.epoch = 4;
    assert_eq!(
        keys.verify_certificate(&other_epoch, &DOMAIN),
        Err(CertificateError::Epoch { expected: 3, got: 4 })
    );
    let mut other_expiry = good.clone();
    other_expiry.header.expires_at += 1;
    assert_eq!(keys.verify_certificate(&other_expiry, &DOMAIN), Err(CertificateError::Forged));
    let mut short = good.clone();
    short.header.payload_fingerprint.pop();
    assert_eq!(
        keys.verify_certificate(&short, &DOMAIN),
        Err(CertificateError::Header(HeaderError::FingerprintLength { expected: 32, got: 31 }))
    );
    let mut empty = good;
    empty.header.payload_length = 0;
    assert!(matches!(keys.verify_certificate(&empty, &DOMAIN), Err(CertificateError::Header(_))));
}

#[test]
fn absent_seats_must_be_the_ones_that_are_absent() {
    let keys = committee(7, 3, 5);
    let good = certificate(&keys, 0..5);
    for wrong in [&[][..], &[5], &[0, 1], &[4, 6]] {
        let mut certificate = good.clone();
        certificate.aggregate.absent = AbsentSeats::try_from(wrong).unwrap();
        assert_eq!(
            keys.verify_certificate(&certificate, &DOMAIN),
            Err(CertificateError::Forged),
            "{wrong:?}"
        );
    }
    let mut too_few = good.clone();
    too_few.aggregate.absent = AbsentSeats::try_from(&[4, 5, 6][..]).unwrap();
    assert_eq!(
        keys.verify_certificate(&too_few, &DOMAIN),
        Err(CertificateError::Absent(AbsentSeatsError::TooFewSigners { signers: 4, n: 7, q: 5 }))
    );
    let mut out_of_range = good;
    out_of_range.aggregate.absent = AbsentSeats::try_from(&[6, 7][..]).unwrap();
    assert_eq!(
        keys.verify_certificate(&out_of_range, &DOMAIN),
        Err(CertificateError::Absent(AbsentSeatsError::OutOfRange { seat: 7, n: 7 }))
    );
}

#[test]
fn nobody_signing_is_never_enough() {
    let keys = committee(2, 1, 1);
    let nobody = Certificate {
        header: header(),
        aggregate: AggregateAttestation {
            absent: AbsentSeats::from_signers(2, &[]),
            signature: SignatureBytes(std::array::from_fn(|i| if i == 0 { 0xc0 } else { 0 })),
        },
    };
    assert!(matches!(
        keys.verify_certificate(&nobody, &DOMAIN),
        Err(CertificateError::Absent(AbsentSeatsError::TooFewSigners { signers: 0, n: 2, q: 1 }))
    ));
    let mut infinity = nobody;
    infinity.aggregate.absent = AbsentSeats::default();
    assert_eq!(
        keys.verify_certificate(&infinity, &DOMAIN),
        Err(CertificateError::Signature(PointError::Infinity))
    );
    assert!(matches!(keys.aggregate(&DIGEST, &[]), Err(AggregateError::Quorum(_))));
}

#[test]
fn signers_whose_keys_cancel_out_are_refused() {
    let secret = secret(Seat(0));
    let mut negated = secret.public_key().to_compressed();
    negated.0[0] ^= 0x20;
    let member = |seat: u8, public_key| Member {
        operator: Address::with_last_byte(seat),
        public_key,
        dispersal_url: String::new(),
        retrieval_url: String::new(),
    };
    let pair = [member(1, secret.public_key().to_compressed()), member(2, negated)];
    let two = Committee::new(3, Quorum::new(2, 1, 1).unwrap(), pair.to_vec(), 0, 9, 9).unwrap();
    assert_eq!(CommitteeKeys::new(&two).unwrap_err(), SeatKeyError::SumIsInfinity { epoch: 3 });

    let third = member(3, super::tests::secret(Seat(9)).public_key().to_compressed());
    let three =
        Committee::new(3, Quorum::new(3, 1, 2).unwrap(), [&pair[..], &[third]].concat(), 0, 9, 9).unwrap();
    let keys = CommitteeKeys::new(&three).unwrap();
    let certificate = Certificate {
        header: header(),
        aggregate: AggregateAttestation {
            absent: AbsentSeats::try_from(&[2][..]).unwrap(),
            signature: secret.sign_digest(&DIGEST).to_compressed(),
        },
    };
    assert_eq!(
        keys.verify_certificate(&certificate, &DOMAIN),
        Err(CertificateError::KeySum(PointError::Infinity))
    );
}

#[test]
fn a_bad_key_names_its_seat() {
    let mut members: Vec<Member> = Seat::all(3)
        .map(|seat| Member {
            operator: Address::with_last_byte(seat.0),
            public_key: secret(seat).public_key().to_compressed(),
            dispersal_url: String::new(),
            retrieval_url: String::new(),
        })
        .collect();
    members[1].public_key.0 = [0; 96];
    members[1].public_key.0[0] = 0xc0;
    let committee = Committee::new(3, Quorum::new(3, 1, 2).unwrap(), members, 0, 9, 9).unwrap();
    assert_eq!(
        CommitteeKeys::new(&committee).unwrap_err(),
        SeatKeyError::Key { epoch: 3, seat: Seat(1), error: PointError::Infinity }
    );
}

#[test]
fn attestations_are_verified_against_their_seat() {
    let keys = committee(4, 2, 3);
    let signature = secret(Seat(1)).sign_digest(&DIGEST);
    let good = Attestation { digest: DIGEST, seat: Seat(1), signature: signature.to_compressed() };
    assert_eq!(keys.verify_attestation(&good), Ok(signature));
    assert_eq!(
        keys.verify_attestation(&Attestation { seat: Seat(2), ..good }),
        Err(CertificateError::Forged)
    );
    assert_eq!(
        keys.verify_attestation(&Attestation { seat: Seat(4), ..good }),
        Err(CertificateError::Absent(AbsentSeatsError::OutOfRange { seat: 4, n: 4 }))
    );
    assert_eq!(
        keys.verify_attestation(&Attestation { signature: SignatureBytes([0xff; 48]), ..good }),
        Err(CertificateError::Signature(PointError::Encoding))
    );
}

#[test]
fn liars_are_named() {
    let keys = committee(16, 6, 11);
    let mut signatures = sign(&DIGEST, 0..16);
    assert!(keys.find_liars(&DIGEST, &signatures).is_empty());
    assert!(keys.find_liars(&DIGEST, &[]).is_empty());
    let other = BatchDigest(B256::repeat_byte(6));
    signatures[3].1 = secret(Seat(3)).sign_digest(&other);
    signatures[15].1 = secret(Seat(14)).sign_digest(&DIGEST);
    assert_eq!(keys.find_liars(&DIGEST, &signatures), [Seat(3), Seat(15)]);
    assert_eq!(
        keys.aggregate(&DIGEST, &signatures),
        Err(AggregateError::Liars { seats: vec![Seat(3), Seat(15)] })
    );
    signatures.retain(|(seat, _)| ![Seat(3), Seat(15)].contains(seat));
    assert_eq!(keys.aggregate(&DIGEST, &signatures).unwrap().absent.as_bytes(), [3, 15]);
}

#[test]
fn seats_are_counted_once_and_must_exist() {
    let keys = committee(4, 2, 3);
    let mut signatures = sign(&DIGEST, [0, 1, 1]);
    assert_eq!(keys.aggregate(&DIGEST, &signatures), Err(AggregateError::DuplicateSeat { seat: Seat(1) }));
    signatures[2].0 = Seat(4);
    assert_eq!(
        keys.aggregate(&DIGEST, &signatures),
        Err(AggregateError::UnknownSeat { seat: Seat(4), n: 4 })
    );
    assert_eq!(keys.find_liars(&DIGEST, &signatures), [Seat(4)]);
    assert_eq!(
        keys.aggregate(&DIGEST, &signatures[..2]),
        Err(AggregateError::Quorum(AbsentSeatsError::TooFewSigners { signers: 2, n: 4, q: 3 }))
    );
}

#[test]
fn times_are_those_of_l1() {
    let keys = committee(4, 2, 3);
    let mut header = header();
    assert_eq!(keys.check_times(&header, 100), Ok(()));
    assert_eq!(keys.check_times(&header, 250), Ok(()), "the grace includes its last second");
    for now in [99, 251] {
        assert!(matches!(keys.check_times(&header, now), Err(TimeError::EpochNotPostable { .. })));
    }
    header.expires_at = 150;
    assert_eq!(keys.check_times(&header, 149), Ok(()));
    assert_eq!(keys.check_times(&header, 150), Err(TimeError::Expired { expires_at: 150, now: 150 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exactly_the_liars_are_named(n in 2_u16..12, lies in any::<u16>()) {
        let keys = committee(n, 1, 1);
        let other = BatchDigest(B256::repeat_byte(6));
        let lying = |seat: Seat| lies >> seat.0 & 1 == 1;
        let signatures: Vec<_> = Seat::all(n)
            .map(|seat| (seat, secret(seat).sign_digest(if lying(seat) { &other } else { &DIGEST })))
            .collect();
        let expected: Vec<_> = Seat::all(n).filter(|seat| lying(*seat)).collect();
        prop_assert_eq!(keys.find_liars(&DIGEST, &signatures), expected);
    }
}

/// Makes one certificate for each list of signers, with batch numbers from 1.
fn several(keys: &CommitteeKeys, signers: &[&[u8]]) -> Vec<Certificate> {
    let numbered = (1..).zip(signers).map(|(batch_number, seats)| {
        let header = BatchHeader { batch_number, ..header() };
        let digest = header.digest(&DOMAIN);
        let aggregate = keys.aggregate(&digest, &sign(&digest, seats.iter().copied())).unwrap();
        Certificate { header, aggregate }
    });
    numbered.collect()
}

#[test]
fn several_certificates_are_verified_as_each_is_alone() {
    let keys = committee(4, 2, 3);
    let good = several(&keys, &[&[0, 1, 2, 3], &[0, 1, 2], &[1, 2, 3], &[0, 1, 2]]);
    let alone = |certificates: &[Certificate]| -> Vec<_> {
        certificates.iter().map(|certificate| keys.verify_certificate(certificate, &DOMAIN)).collect()
    };
    for count in 0..=good.len() {
        let checked = keys.verify_certificates(&good[..count], &DOMAIN);
        assert!(checked.iter().all(Result::is_ok));
        assert_eq!(checked, alone(&good[..count]));
    }
    let spoil: [fn(&mut Certificate); 4] = [
        |certificate| certificate.header.expires_at += 1,
        |certificate| certificate.header.epoch += 1,
        |certificate| certificate.header.payload_fingerprint.clear(),
        |certificate| certificate.aggregate.signature = SignatureBytes([0; 48]),
    ];
    for spoil in spoil {
        for place in 0..good.len() {
            let mut bad = good.clone();
            spoil(&mut bad[place]);
            let checked = keys.verify_certificates(&bad, &DOMAIN);
            assert_eq!(checked, alone(&bad));
            for (index, checked) in checked.iter().enumerate() {
                assert_eq!(checked.is_err(), index == place, "{checked:?}");
            }
        }
    }
}

#[test]
fn signatures_that_cancel_out_do_not_pass_together() {
    let keys = committee(4, 2, 3);
    let mut certificates = several(&keys, &[&[0, 1, 2, 3], &[0, 1, 2, 3]]);
    // What one signature lacks the other has in excess, so the sum of both is correct.
    let points: Vec<Signature> = certificates
        .iter()
        .map(|certificate| Signature::from_compressed(&certificate.aggregate.signature).unwrap())
        .collect();
    let twice = aggregate_signatures(&[points[0], points[0]]).unwrap();
    let mut minus = points[0].to_compressed();
    minus.0[0] ^= 0x20;
    let minus = Signature::from_compressed(&minus).unwrap();
    certificates[0].aggregate.signature = twice.to_compressed();
    certificates[1].aggregate.signature = aggregate_signatures(&[points[1], minus]).unwrap().to_compressed();
    let checked = keys.verify_certificates(&certificates, &DOMAIN);
    assert_eq!(checked, [Err(CertificateError::Forged), Err(CertificateError::Forged)]);
}
