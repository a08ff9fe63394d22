//! The keys of a committee: single attestations, their sum, and certificates.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use blst::min_sig::AggregatePublicKey;
use dac_types::{
    AbsentSeats, AbsentSeatsError, AggregateAttestation, Attestation, BatchDigest, BatchHeader, Certificate,
    Committee, Domain, HeaderError, Quorum, RenewalCertificate, RenewalDigest, Seat, SignedDigest,
};
use thiserror::Error;

use crate::error::{BadSignature, PointError};
use crate::public_key::{PublicKey, aggregate_keys, all_verify};
use crate::signature::{Signature, aggregate_signatures};

/// A committee whose registered key is no usable point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeatKeyError {
    /// One key.
    #[error("epoch {epoch}: the key of seat {seat}: {error}")]
    Key {
        /// The committee's epoch.
        epoch: u64,
        /// Whose key.
        seat: Seat,
        /// What is wrong with it.
        error: PointError,
    },
    /// All keys are good and cancel out in the sum.
    #[error("epoch {epoch}: the keys sum to infinity")]
    SumIsInfinity {
        /// The committee's epoch.
        epoch: u64,
    },
}

/// Why signatures do not make an aggregate attestation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AggregateError {
    /// No such seat.
    #[error("seat {seat} does not exist in a committee of {n}")]
    UnknownSeat {
        /// The seat named.
        seat: Seat,
        /// Seats of the committee.
        n: u16,
    },
    /// One seat gave two signatures.
    #[error("seat {seat} occurs twice")]
    DuplicateSeat {
        /// The seat named.
        seat: Seat,
    },
    /// Fewer signers than the quorum.
    #[error(transparent)]
    Quorum(#[from] AbsentSeatsError),
    /// These seats did not sign this digest.
    #[error("seats {seats:?} gave signatures that are not theirs over this digest")]
    Liars {
        /// In ascending order.
        seats: Vec<Seat>,
    },
    /// Good signatures cannot do this; colluding bad ones can.
    #[error("the sum: {0}")]
    Sum(PointError),
}

/// Why a certificate is refused. Times are another matter: [`TimeError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Made by the committee of another epoch.
    #[error("the certificate is of epoch {got}, this committee of epoch {expected}")]
    Epoch {
        /// The committee's.
        expected: u64,
        /// The header's.
        got: u64,
    },
    /// The header cannot be one of this committee.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Absent seats out of range, or too many.
    #[error(transparent)]
    Absent(#[from] AbsentSeatsError),
    /// The signature is no usable point.
    #[error("the signature: {0}")]
    Signature(PointError),
    /// The signers' keys cancel out.
    #[error("the sum of the signers' keys: {0}")]
    KeySum(PointError),
    /// Not the sum of these members' signatures over this header.
    #[error("the signature is not the sum of the signers' over this header")]
    Forged,
}

/// Why a good certificate cannot be posted at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// Nobody serves the batch any more.
    #[error("the batch expired at {expires_at}, it is {now}")]
    Expired {
        /// The header's.
        expires_at: u64,
        /// The time of the check.
        now: u64,
    },
    /// The epoch has not begun, or its grace is over.
    #[error("epoch {epoch} may post from {from} until {until}, it is {now}")]
    EpochNotPostable {
        /// The epoch.
        epoch: u64,
        /// Activation.
        from: u64,
        /// End of the grace.
        until: u64,
        /// The time of the check.
        now: u64,
    },
}

/// A certificate that a quorum of this committee signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCertificate {
    certificate: Certificate,
    digest: BatchDigest,
    signature: Signature,
}

impl CheckedCertificate {
    /// As it travels.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// As it travels.
    pub fn into_certificate(self) -> Certificate {
        self.certificate
    }

    /// The batch's header.
    pub const fn header(&self) -> &BatchHeader {
        &self.certificate.header
    }

    /// The batch.
    pub const fn digest(&self) -> BatchDigest {
        self.digest
    }

    /// The sum of the signatures.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// A renewal of coverage that a quorum of this committee signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRenewal {
    certificate: RenewalCertificate,
    digest: RenewalDigest,
    signature: Signature,
}

impl CheckedRenewal {
    /// As it travels.
    pub const fn certificate(&self) -> &RenewalCertificate {
        &self.certificate
    }

    /// What was signed.
    pub const fn digest(&self) -> RenewalDigest {
        self.digest
    }

    /// The sum of the signatures.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// The checked keys of one epoch's committee.
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
    /// Checks every key: a fraction of a millisecond each.
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

    /// The committee's epoch.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// n, k and q.
    pub const fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// The key of a seat.
    pub fn key(&self, seat: Seat) -> Option<&PublicKey> {
        self.keys.get(seat.index())
    }

    /// The sum of all keys.
    pub const fn sum(&self) -> &PublicKey {
        &self.sum
    }

    /// One member's signature over its digest. The point is handed back for a later sum.
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

    /// Adds a quorum's signatures up and verifies the sum: one pairing check where all are honest.
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

    /// Adds a quorum's signatures up, whatever they are worth: for who verifies the certificate that they make.
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

    /// The seats whose signatures spoil the sum, in ascending order; seats that do not exist are among them.
    ///
    /// One check of the whole, then bisection: 1 check for no liar, about 2·log2(n) for one. What is left after removing
    /// the liars verifies as a sum. Members who collude can give single signatures that are wrong and cancel out; such a
    /// sum is a good one all the same.
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

    /// All that makes a certificate good but the time.
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

    /// The same of several, for two fifths of what each of them costs alone; where some are bad, each is looked at alone.
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

    /// The same of a renewal of coverage.
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

    /// A quorum of this epoch signed `digest`.
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

    /// All but the pairings: a point, claimed to be a quorum's sum.
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

    /// Whether L1 would take a certificate with this header at `now`, as far as times go.
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

    /// The sum of all keys but those of the absent seats, which must exist.
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
