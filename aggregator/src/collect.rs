//! Makes a certificate from members' signatures: sums them, and verifies the sum as L1 will verify
//! it. Single signatures are verified only if the sum is bad.

use std::sync::Arc;

use dac_bls::{AggregateError, CertificateError, CommitteeKeys, SeatKeyError, Signature};
use dac_types::{
    AggregateAttestation, Attestation, BatchDigest, BatchHeader, Certificate, Committee, Domain,
    RenewalDigest, Seat, SignatureBytes,
};
use parking_lot::Mutex;
use thiserror::Error;

/// The number of committees whose keys are kept; the newest ones stay.
const KEYS_KEPT: usize = 4;

/// The result of summing a quorum's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// The sum, which verifies as a certificate.
    Certificate(AggregateAttestation),
    /// The seats whose signatures are not their own over this digest.
    Liars(Vec<Seat>),
}

/// Why the signatures gave neither a certificate nor the seats that spoil it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CollectError {
    /// The sum cannot be made although every single signature is good.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The certificate does not verify although its sum did.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Sums the signatures and verifies the sum. This takes milliseconds of arithmetic, so do not call
/// it on an async thread.
pub fn collect(
    keys: &CommitteeKeys,
    domain: &Domain,
    header: &BatchHeader,
    signatures: &[(Seat, SignatureBytes)],
) -> Result<Collected, CollectError> {
    let digest = header.digest(domain);
    let mut liars = Vec::new();
    let mut points = Vec::with_capacity(signatures.len());
    for (seat, bytes) in signatures {
        match Signature::from_compressed(bytes) {
            Ok(point) => points.push((*seat, point)),
            Err(_) => liars.push(*seat),
        }
    }
    if !liars.is_empty() {
        return Ok(Collected::Liars(liars));
    }
    let aggregate = match keys.sum_unverified(&points) {
        Ok(aggregate) => aggregate,
        // Bad signatures of colluding members can cancel out in a sum, so each one is verified
        // alone.
        Err(AggregateError::Sum(point)) => {
            let liars: Vec<Seat> = signatures
                .iter()
                .filter(|(seat, signature)| !is_good(keys, digest, *seat, *signature))
                .map(|(seat, _)| *seat)
                .collect();
            return if liars.is_empty() {
                Err(AggregateError::Sum(point).into())
            } else {
                Ok(Collected::Liars(liars))
            };
        }
        Err(error) => return Err(error.into()),
    };
    let certificate = Certificate { header: header.clone(), aggregate };
    match keys.verify_certificate(&certificate, domain) {
        Ok(checked) => Ok(Collected::Certificate(checked.into_certificate().aggregate)),
        Err(CertificateError::Forged) => {
            let liars = keys.find_liars(&digest, &points);
            // If the sum does not verify, at least one signature is bad.
            if liars.is_empty() { Err(CertificateError::Forged.into()) } else { Ok(Collected::Liars(liars)) }
        }
        Err(error) => Err(error.into()),
    }
}

/// Verifies one member's signature over a batch's digest.
pub fn is_good(keys: &CommitteeKeys, digest: BatchDigest, seat: Seat, signature: SignatureBytes) -> bool {
    keys.verify_attestation(&Attestation { digest, seat, signature }).is_ok()
}

/// Verifies one member's signature over a renewal.
pub fn is_renewal_good(
    keys: &CommitteeKeys,
    digest: &RenewalDigest,
    seat: Seat,
    signature: SignatureBytes,
) -> Option<Signature> {
    let point = Signature::from_compressed(&signature).ok()?;
    keys.find_liars(digest, &[(seat, point)]).is_empty().then_some(point)
}

/// A cache of the checked keys of the newest few committees, so that each key is checked once.
#[derive(Debug, Default)]
pub struct KeyRing(Mutex<Vec<(Arc<Committee>, Arc<CommitteeKeys>)>>);

impl KeyRing {
    /// Returns a committee's keys, checking them if they are not in the cache.
    pub fn keys(&self, committee: &Arc<Committee>) -> Result<Arc<CommitteeKeys>, SeatKeyError> {
        let known =
            |(known, _): &&(Arc<Committee>, _)| Arc::ptr_eq(known, committee) || **known == **committee;
        if let Some((_, keys)) = self.0.lock().iter().find(known) {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(CommitteeKeys::new(committee)?);
        let mut ring = self.0.lock();
        ring.retain(|(known, _)| known.epoch() != committee.epoch());
        if ring.len() == KEYS_KEPT {
            ring.remove(0);
        }
        ring.push((Arc::clone(committee), Arc::clone(&keys)));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use dac_bls::SecretKey;
    use dac_types::{Address, B256, HashKind, Member, Quorum};

    use super::*;

    const DOMAIN: Domain = Domain { chain_id: 1, registry: Address::repeat_byte(9) };

    fn secret(seat: u8) -> SecretKey {
        SecretKey::derive(&[seat + 1; 32])
    }

    fn committee() -> Arc<Committee> {
        let members = (0..4)
            .map(|seat| Member {
                operator: Address::repeat_byte(seat + 1),
                public_key: secret(seat).public_key().to_compressed(),
                dispersal_url: String::new(),
                retrieval_url: String::new(),
            })
            .collect();
        Arc::new(Committee::new(1, Quorum::new(4, 2, 3).unwrap(), members, 0, u64::MAX, u64::MAX).unwrap())
    }

    fn header() -> BatchHeader {
        BatchHeader {
            rollup: Address::repeat_byte(1),
            batch_number: 1,
            epoch: 1,
            expires_at: 10,
            payload_length: 5,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::ZERO,
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: vec![0; 32],
        }
    }

    fn signature(signer: u8, digest: BatchDigest) -> SignatureBytes {
        secret(signer).sign_digest(&digest).to_compressed()
    }

    #[test]
    fn a_quorum_makes_a_certificate_that_verifies() {
        let keys = KeyRing::default().keys(&committee()).unwrap();
        let digest = header().digest(&DOMAIN);
        let signatures: Vec<_> = [0, 2, 3].map(|seat| (Seat(seat), signature(seat, digest))).to_vec();
        let Collected::Certificate(aggregate) = collect(&keys, &DOMAIN, &header(), &signatures).unwrap()
        else {
            panic!("no certificate")
        };
        assert_eq!(aggregate.absent.as_bytes(), [1]);
    }

    #[test]
    fn liars_are_named_whatever_their_lie() {
        let keys = KeyRing::default().keys(&committee()).unwrap();
        let digest = header().digest(&DOMAIN);
        let other = BatchDigest(B256::repeat_byte(7));
        let lies = [signature(1, other), signature(0, digest), SignatureBytes([0xff; 48])];
        for lie in lies {
            let mut signatures: Vec<_> = (0..4).map(|seat| (Seat(seat), signature(seat, digest))).collect();
            signatures[1].1 = lie;
            assert_eq!(collect(&keys, &DOMAIN, &header(), &signatures), Ok(Collected::Liars(vec![Seat(1)])));
        }
    }

    #[test]
    fn too_few_make_no_certificate() {
        let keys = KeyRing::default().keys(&committee()).unwrap();
        let digest = header().digest(&DOMAIN);
        let signatures: Vec<_> = [0, 2].map(|seat| (Seat(seat), signature(seat, digest))).to_vec();
        assert!(matches!(
            collect(&keys, &DOMAIN, &header(), &signatures),
            Err(CollectError::Aggregate(AggregateError::Quorum(_)))
        ));
    }
}
