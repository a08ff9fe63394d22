//! The keys of a committee, and what they verify: single attestations, sums of attestations, and
//! certificates.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use blst::min_sig::AggregatePublicKey;
use dac_types::{
    AbsentSeats, AbsentSeatsError, AggregateAttestation, Attestation, BatchDigest, BatchHeader,
    BundleCertificate, BundleDigest, Certificate, Committee, Domain, HeaderError, Quorum, RenewalCertificate,
    RenewalDigest, Seat, SignedDigest,
};
use thiserror::Error;

use crate::error::{BadSignature, PointError};
use crate::public_key::{PublicKey, aggregate_keys, all_verify};
use crate::signature::{Signature, aggregate_signatures};

/// The reasons why the keys that are registered for a committee cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeatKeyError {
    /// The key of one seat is not a valid point.
    #[error("epoch {epoch}: the key of seat {seat}: {error}")]
    Key {
        /// The epoch whose committee has the keys.
        epoch: u64,
        /// The seat that has the bad key.
        seat: Seat,
        /// The reason why the key is not valid.
        error: PointError,
    },
    /// Each key is valid, but their sum is the point at infinity.
    #[error("epoch {epoch}: the keys sum to infinity")]
    SumIsInfinity {
        /// The epoch whose committee has the keys.
        epoch: u64,
    },
}

/// The reasons why signatures do not make an aggregate attestation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AggregateError {
    /// A signature names a seat that the committee does not have.
    #[error("seat {seat} does not exist in a committee of {n}")]
    UnknownSeat {
        /// The seat that was named.
        seat: Seat,
        /// The number of seats of the committee.
        n: u16,
    },
    /// Two signatures name the same seat.
    #[error("seat {seat} occurs twice")]
    DuplicateSeat {
        /// The seat that was named twice.
        seat: Seat,
    },
    /// Fewer seats signed than the quorum demands.
    #[error(transparent)]
    Quorum(#[from] AbsentSeatsError),
    /// The signatures of these seats do not verify over this digest.
    #[error("seats {seats:?} gave signatures that are not theirs over this digest")]
    Liars {
        /// The seats, in ascending order.
        seats: Vec<Seat>,
    },
    /// The sum is not a valid point. Correct signatures cannot cause this; members who collude can.
    #[error("the sum: {0}")]
    Sum(PointError),
}

/// The reasons why a certificate is refused. Its times are checked separately; see [`TimeError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The certificate was made by the committee of another epoch.
    #[error("the certificate is of epoch {got}, this committee of epoch {expected}")]
    Epoch {
        /// The epoch of this committee.
        expected: u64,
        /// The epoch in the certificate.
        got: u64,
    },
    /// The lengths in the header do not fit this committee.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// An absent seat does not exist, or too many seats are absent.
    #[error(transparent)]
    Absent(#[from] AbsentSeatsError),
    /// The signature is not a valid point.
    #[error("the signature: {0}")]
    Signature(PointError),
    /// The sum of the signers' keys is not a valid point, because the keys cancel out.
    #[error("the sum of the signers' keys: {0}")]
    KeySum(PointError),
    /// The signature is not the sum of these members' signatures over this message.
    #[error("the signature is not the sum of the signers' over this header")]
    Forged,
}

/// The reasons why a valid certificate cannot be posted at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// The batch has expired, so that members no longer serve it.
    #[error("the batch expired at {expires_at}, it is {now}")]
    Expired {
        /// The expiry time in the header, in Unix seconds.
        expires_at: u64,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
    /// The epoch is not active yet, or its grace period is over.
    #[error("epoch {epoch} may post from {from} until {until}, it is {now}")]
    EpochNotPostable {
        /// The epoch of this committee.
        epoch: u64,
        /// The first Unix second in which the epoch may post.
        from: u64,
        /// The last Unix second in which the epoch may post: the end of its grace period.
        until: u64,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
}

/// A certificate with a verified signature: a quorum of this committee signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCertificate {
    certificate: Certificate,
    digest: BatchDigest,
    signature: Signature,
}

impl CheckedCertificate {
    /// Returns the certificate in the form in which it travels.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the certificate in the form in which it travels.
    pub fn into_certificate(self) -> Certificate {
        self.certificate
    }

    /// Returns the header of the batch.
    pub const fn header(&self) -> &BatchHeader {
        &self.certificate.header
    }

    /// Returns the digest of the batch.
    pub const fn digest(&self) -> BatchDigest {
        self.digest
    }

    /// Returns the sum of the signatures as a valid point.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// A renewal of coverage with a verified signature: a quorum of this committee signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRenewal {
    certificate: RenewalCertificate,
    digest: RenewalDigest,
    signature: Signature,
}

impl CheckedRenewal {
    /// Returns the certificate in the form in which it travels.
    pub const fn certificate(&self) -> &RenewalCertificate {
        &self.certificate
    }

    /// Returns the digest that the members signed.
    pub const fn digest(&self) -> RenewalDigest {
        self.digest
    }

    /// Returns the sum of the signatures as a valid point.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// A bundle of batches with a verified signature: a quorum of this committee signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBundle {
    certificate: BundleCertificate,
    digest: BundleDigest,
    signature: Signature,
}

impl CheckedBundle {
    /// Returns the certificate in the form in which it travels.
    pub const fn certificate(&self) -> &BundleCertificate {
        &self.certificate
    }

    /// Returns the digest that the members signed.
    pub const fn digest(&self) -> BundleDigest {
        self.digest
    }

    /// Returns the sum of the signatures as a valid point.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// The validated public keys of one epoch's committee.
///
/// # Example
///
/// ```
/// use dac_bls::{CommitteeKeys, SecretKey};
/// use dac_types::{
///     Address, B256, BatchHeader, Certificate, Committee, Domain, HashKind, Member, Quorum, Seat,
/// };
///
/// // Four seats, of which two rebuild a batch and three certify it.
/// let quorum = Quorum::new(4, 2, 3)?;
/// let secret: Vec<SecretKey> = (0..4).map(|_| SecretKey::generate(&mut rand::rng())).collect();
/// let members = secret.iter().zip(1..).map(|(key, number)| Member {
///     operator: Address::repeat_byte(number),
///     public_key: key.public_key().to_compressed(),
///     dispersal_url: format!("https://member-{number}.example.org:7001"),
///     retrieval_url: format!("https://member-{number}.example.org:7002"),
/// });
/// let committee = Committee::new(1, quorum, members.collect(), 0, u64::MAX, u64::MAX)?;
/// let keys = CommitteeKeys::new(&committee)?;
///
/// // Seats 0, 1 and 3 sign the digest of a header.
/// let header = BatchHeader {
///     rollup: Address::repeat_byte(9),
///     batch_number: 1,
///     epoch: 1,
///     expires_at: 2_000_000_000,
///     payload_length: 1_000,
///     hash_kind: HashKind::Opaque,
///     batch_hash: B256::repeat_byte(7),
///     shard_root: B256::repeat_byte(8),
///     fingerprints_hash: B256::repeat_byte(9),
///     payload_fingerprint: vec![1; quorum.geometry().fingerprint_bytes()],
/// };
/// let domain = Domain { chain_id: 1, registry: Address::repeat_byte(10) };
/// let digest = header.digest(&domain);
/// let signatures = [0, 1, 3].map(|seat: u8| (Seat(seat), secret[usize::from(seat)].sign_digest(&digest)));
///
/// // An aggregator sums the signatures. Anyone who knows the committee verifies the certificate.
/// let certificate = Certificate { header, aggregate: keys.aggregate(&digest, &signatures)? };
/// let checked = keys.verify_certificate(&certificate, &domain)?;
/// assert_eq!(checked.digest(), digest);
///
/// // Two signatures are no quorum.
/// assert!(keys.aggregate(&digest, &signatures[..2]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CommitteeKeys {
    epoch: u64,
    quorum: Quorum,
    active_from: u64,
    postable_until: u64,
    keys: Vec<PublicKey>,
    sum: PublicKey,
}

impl CommitteeKeys {
    /// Validates the key of every seat. This takes a fraction of a millisecond for each.
    pub fn new(committee: &Committee) -> Result<Self, SeatKeyError> {
        let epoch = committee.epoch();
        let keys = committee
            .seats()
            .map(|(seat, member)| {
                PublicKey::from_compressed(&member.public_key).map_err(|error| SeatKeyError::Key {
                    epoch,
                    seat,
                    error,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let sum = aggregate_keys(&keys).map_err(|_| SeatKeyError::SumIsInfinity { epoch })?;
        Ok(Self {
            epoch,
            quorum: committee.quorum(),
            active_from: committee.active_from(),
            postable_until: committee.postable_until(),
            keys,
            sum,
        })
    }

    /// Returns the epoch of the committee.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns n, k and q.
    pub const fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// Returns the key of a seat, or `None` if there is no such seat.
    pub fn key(&self, seat: Seat) -> Option<&PublicKey> {
        self.keys.get(seat.index())
    }

    /// Returns the sum of all keys.
    pub const fn sum(&self) -> &PublicKey {
        &self.sum
    }

    /// Verifies one member's signature over its digest. Returns the signature as a point, which can
    /// be summed later.
    pub fn verify_attestation(&self, attestation: &Attestation) -> Result<Signature, CertificateError> {
        let key = self.key(attestation.seat).ok_or(AbsentSeatsError::OutOfRange {
            seat: attestation.seat.0,
            n: self.quorum.geometry().n(),
        })?;
        let signature =
            Signature::from_compressed(&attestation.signature).map_err(CertificateError::Signature)?;
        key.verify(&attestation.digest, &signature).map_err(|BadSignature| CertificateError::Forged)?;
        Ok(signature)
    }

    /// Verifies a quorum's signatures and returns their sum. If all are correct, this takes one
    /// pairing check.
    pub fn aggregate(
        &self,
        digest: &impl SignedDigest,
        signatures: &[(Seat, Signature)],
    ) -> Result<AggregateAttestation, AggregateError> {
        let absent = self.absent_from(signatures)?;
        let liars = self.find_liars(digest, signatures);
        if !liars.is_empty() {
            return Err(AggregateError::Liars { seats: liars });
        }
        add_up(absent, signatures)
    }

    /// Returns the sum of a quorum's signatures without verifying them. The caller verifies the
    /// certificate that the sum makes.
    pub fn sum_unverified(
        &self,
        signatures: &[(Seat, Signature)],
    ) -> Result<AggregateAttestation, AggregateError> {
        add_up(self.absent_from(signatures)?, signatures)
    }

    fn absent_from(&self, signatures: &[(Seat, Signature)]) -> Result<AbsentSeats, AggregateError> {
        let n = self.quorum.geometry().n();
        let mut seats: Vec<Seat> = signatures.iter().map(|(seat, _)| *seat).collect();
        seats.sort_unstable();
        if let Some(pair) = seats.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(AggregateError::DuplicateSeat { seat: pair[0] });
        }
        if let Some(&seat) = seats.last().filter(|seat| seat.index() >= self.keys.len()) {
            return Err(AggregateError::UnknownSeat { seat, n });
        }
        let absent = AbsentSeats::from_signers(n, &seats);
        absent.check_quorum(self.quorum)?;
        Ok(absent)
    }

    /// Returns the seats whose signatures make the sum invalid, in ascending order. Seats that do
    /// not exist are among them.
    ///
    /// The sum of all signatures is checked first; if it fails, each half is checked, and so on.
    /// This takes 1 check if no signature is bad and about 2·log2(n) if one is. The signatures that
    /// are left after the bad ones are removed verify as a sum. Members who collude can give wrong
    /// single signatures that cancel each other out; their sum verifies, and none of them is found.
    pub fn find_liars(&self, digest: &impl SignedDigest, signatures: &[(Seat, Signature)]) -> Vec<Seat> {
        let mut liars = Vec::new();
        let mut known = Vec::with_capacity(signatures.len());
        for &(seat, signature) in signatures {
            match self.key(seat) {
                Some(key) => known.push((seat, *key, signature)),
                None => liars.push(seat),
            }
        }
        bisect(digest, &known, &mut liars);
        liars.sort_unstable();
        liars.dedup();
        liars
    }

    /// Verifies a certificate: its epoch, its lengths, its quorum and its signature, but not its
    /// times.
    pub fn verify_certificate(
        &self,
        certificate: &Certificate,
        domain: &Domain,
    ) -> Result<CheckedCertificate, CertificateError> {
        let Certificate { header, aggregate } = certificate;
        header.check_shape(self.quorum.geometry())?;
        let digest = header.digest(domain);
        let signature = self.verify_quorum(header.epoch, &digest, aggregate)?;
        Ok(CheckedCertificate { certificate: certificate.clone(), digest, signature })
    }

    /// Verifies several certificates, as [`Self::verify_certificate`] does. Each costs two fifths
    /// of what it costs alone. If any is bad, each is verified alone.
    pub fn verify_certificates(
        &self,
        certificates: &[Certificate],
        domain: &Domain,
    ) -> Vec<Result<CheckedCertificate, CertificateError>> {
        let alone =
            || certificates.iter().map(|certificate| self.verify_certificate(certificate, domain)).collect();
        if certificates.len() < 2 {
            return alone();
        }
        let mut keys: HashMap<&AbsentSeats, PublicKey> = HashMap::new();
        let mut parts = Vec::with_capacity(certificates.len());
        for Certificate { header, aggregate } in certificates {
            let part =
                header.check_shape(self.quorum.geometry()).map_err(CertificateError::from).and_then(|()| {
                    let signature = self.check_quorum(header.epoch, aggregate)?;
                    let key = match keys.entry(&aggregate.absent) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(new) => *new
                            .insert(self.signers_key(&aggregate.absent).map_err(CertificateError::KeySum)?),
                    };
                    Ok((key, header.digest(domain), signature))
                });
            match part {
                Ok(part) => parts.push(part),
                Err(_) => return alone(),
            }
        }
        if !all_verify(parts.iter().map(|(key, digest, signature)| (key, digest, signature))) {
            return alone();
        }
        let checked = certificates.iter().zip(parts).map(|(certificate, (_, digest, signature))| {
            Ok(CheckedCertificate { certificate: certificate.clone(), digest, signature })
        });
        checked.collect()
    }

    /// Verifies a renewal of coverage, as [`Self::verify_certificate`] does a certificate.
    pub fn verify_renewal(
        &self,
        certificate: &RenewalCertificate,
        domain: &Domain,
    ) -> Result<CheckedRenewal, CertificateError> {
        let RenewalCertificate { renewal, aggregate } = certificate;
        let digest = renewal.digest(domain);
        let signature = self.verify_quorum(renewal.epoch, &digest, aggregate)?;
        Ok(CheckedRenewal { certificate: certificate.clone(), digest, signature })
    }

    /// Verifies a bundle of batches, as [`Self::verify_certificate`] does a certificate.
    pub fn verify_bundle(
        &self,
        certificate: &BundleCertificate,
        domain: &Domain,
    ) -> Result<CheckedBundle, CertificateError> {
        let digest = certificate.bundle().digest(domain);
        let signature = self.verify_quorum(certificate.epoch, &digest, &certificate.aggregate)?;
        Ok(CheckedBundle { certificate: certificate.clone(), digest, signature })
    }

    /// Verifies that a quorum of this epoch signed `digest`.
    fn verify_quorum(
        &self,
        epoch: u64,
        digest: &impl SignedDigest,
        aggregate: &AggregateAttestation,
    ) -> Result<Signature, CertificateError> {
        let signature = self.check_quorum(epoch, aggregate)?;
        let key = self.signers_key(&aggregate.absent).map_err(CertificateError::KeySum)?;
        key.verify(digest, &signature).map_err(|BadSignature| CertificateError::Forged)?;
        Ok(signature)
    }

    /// Checks everything but the signature itself. Returns the point that is claimed to be a
    /// quorum's sum.
    fn check_quorum(
        &self,
        epoch: u64,
        aggregate: &AggregateAttestation,
    ) -> Result<Signature, CertificateError> {
        if epoch != self.epoch {
            return Err(CertificateError::Epoch { expected: self.epoch, got: epoch });
        }
        aggregate.absent.check_quorum(self.quorum)?;
        Signature::from_compressed(&aggregate.signature).map_err(CertificateError::Signature)
    }

    /// Checks whether L1 accepts the times of a certificate with this header at `now` (Unix
    /// seconds).
    pub fn check_times(&self, header: &BatchHeader, now: u64) -> Result<(), TimeError> {
        if header.expires_at <= now {
            return Err(TimeError::Expired { expires_at: header.expires_at, now });
        }
        if now < self.active_from || now > self.postable_until {
            return Err(TimeError::EpochNotPostable {
                epoch: self.epoch,
                from: self.active_from,
                until: self.postable_until,
                now,
            });
        }
        Ok(())
    }

    /// Returns the sum of all keys but those of the absent seats, which must exist.
    fn signers_key(&self, absent: &AbsentSeats) -> Result<PublicKey, PointError> {
        if absent.count() == 0 {
            return Ok(self.sum);
        }
        let mut sum = AggregatePublicKey::from_public_key(self.sum.as_blst());
        for seat in absent.iter() {
            sum.sub_aggregate(&AggregatePublicKey::from_public_key(self.keys[seat.index()].as_blst()));
        }
        PublicKey::from_unchecked(sum.to_public_key())
    }
}

fn add_up(
    absent: AbsentSeats,
    signatures: &[(Seat, Signature)],
) -> Result<AggregateAttestation, AggregateError> {
    let points: Vec<Signature> = signatures.iter().map(|(_, signature)| *signature).collect();
    let sum = aggregate_signatures(&points).map_err(AggregateError::Sum)?;
    Ok(AggregateAttestation { absent, signature: sum.to_compressed() })
}

fn bisect(digest: &impl SignedDigest, signatures: &[(Seat, PublicKey, Signature)], liars: &mut Vec<Seat>) {
    match signatures {
        [] => {}
        [(seat, key, signature)] => {
            if key.verify(digest, signature).is_err() {
                liars.push(*seat);
            }
        }
        several => {
            if !sum_verifies(digest, several) {
                let (left, right) = several.split_at(several.len() / 2);
                bisect(digest, left, liars);
                bisect(digest, right, liars);
            }
        }
    }
}

fn sum_verifies(digest: &impl SignedDigest, signatures: &[(Seat, PublicKey, Signature)]) -> bool {
    let keys: Vec<_> = signatures.iter().map(|(_, key, _)| *key).collect();
    let points: Vec<_> = signatures.iter().map(|(_, _, signature)| *signature).collect();
    match (aggregate_keys(&keys), aggregate_signatures(&points)) {
        (Ok(key), Ok(sum)) => key.verify(digest, &sum).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "committee_tests.rs"]
mod tests;
