//! The rules that every history must keep in spite of the faults in it. Each breach is a line of
//! text.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dac_aggregator::batch::{Batch, Phase};
use dac_coding::{CheckedRecord, CheckedShard};
use dac_types::{B256, BatchDigest, Seat};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::cast::{Cast, DOMAIN};
use crate::l1::Recorded;
use crate::store::Held;
use crate::witness::Signature;

/// Number of sets of signers that are left out in turn, for each batch.
const SUBSETS: usize = 3;

/// Everything that is known at the end of a history.
pub(crate) struct History<'a> {
    pub(crate) cast: &'a Cast,
    /// The members that lie. The rules do not apply to them.
    pub(crate) liars: &'a BTreeSet<Seat>,
    /// Content of the members' stores at the end.
    pub(crate) stores: &'a BTreeMap<Seat, Vec<Held>>,
    /// Every use of an honest member's key.
    pub(crate) signatures: &'a [Signature],
    /// Payloads that the aggregator acknowledged, by the digest of their submission.
    pub(crate) accepted: &'a BTreeMap<B256, Bytes>,
    /// Content of the aggregator's store at the end.
    pub(crate) batches: &'a [Batch],
    /// Certificates on L1 in order, without blocks that do not have the required confirmations.
    pub(crate) recorded: &'a [Recorded],
    /// Number of transactions to the log that were included and failed.
    pub(crate) reverted: usize,
}

/// Returns the breaches of all rules in a history.
pub(crate) fn check(history: &History<'_>, chance: &mut impl Rng) -> Vec<String> {
    let mut breaches = Vec::new();
    stored_before_signed(history, &mut breaches);
    one_header_a_submission(history, &mut breaches);
    posted_once(history, &mut breaches);
    all_posted(history, &mut breaches);
    for recorded in history.recorded {
        retrievable(history, recorded, chance, &mut breaches);
    }
    breaches
}

fn held<'a>(history: &'a History<'_>, seat: Seat, digest: BatchDigest) -> Option<&'a Held> {
    history.stores.get(&seat)?.iter().find(|held| held.digest == digest)
}

/// Checks that each signed shard was stored when the member signed, and is stored at the end.
fn stored_before_signed(history: &History<'_>, breaches: &mut Vec<String>) {
    for Signature { seat, digest, is_stored } in history.signatures {
        if !is_stored {
            breaches.push(format!("seat {seat} signed {digest} before it was stored"));
        }
        match held(history, *seat, *digest) {
            None => breaches.push(format!("seat {seat} signed {digest} and does not hold it")),
            Some(held) => {
                if let Err(error) = CheckedShard::check(&held.record, held.seat, held.shard.clone()) {
                    breaches.push(format!("what seat {seat} holds of {digest} is no shard of it: {error}"));
                }
                if held.seat != *seat {
                    breaches.push(format!("seat {seat} holds the shard of seat {} of {digest}", held.seat));
                }
            }
        }
    }
}

/// Checks that an honest member signed only one header for each submission and epoch.
fn one_header_a_submission(history: &History<'_>, breaches: &mut Vec<String>) {
    let mut headers: BTreeMap<(Seat, B256, u64), BatchDigest> = BTreeMap::new();
    for Signature { seat, digest, .. } in history.signatures {
        let Some(held) = held(history, *seat, *digest) else { continue };
        let submission = held.record.record().submission.submission.digest(&DOMAIN);
        let former = headers.insert((*seat, submission, held.record.header().epoch), *digest);
        if former.is_some_and(|former| former != *digest) {
            breaches.push(format!("seat {seat} signed two headers of submission {submission}"));
        }
    }
}

fn posted_once(history: &History<'_>, breaches: &mut Vec<String>) {
    let mut numbers = BTreeSet::new();
    for Recorded { digest, certificate } in history.recorded {
        if !numbers.insert((certificate.header.rollup, certificate.header.batch_number)) {
            breaches.push(format!("batch {} is on L1 twice", certificate.header.batch_number));
        }
        let known = history.batches.iter().any(|batch| batch.digest() == Some(*digest));
        if !known {
            breaches.push(format!("{digest} is on L1 and unknown to the aggregator that posted it"));
        }
    }
    if history.reverted > 0 {
        breaches.push(format!("{} transactions were paid for twice", history.reverted));
    }
}

/// Checks that every batch that the aggregator accepted is on L1 and that the aggregator knows it.
fn all_posted(history: &History<'_>, breaches: &mut Vec<String>) {
    for submission in history.accepted.keys() {
        let batch = history.batches.iter().find(|batch| batch.id.0 == *submission);
        let Some(batch) = batch else {
            breaches.push(format!("submission {submission} was taken and is gone"));
            continue;
        };
        let number = batch.submission.submission.batch_number;
        let on_l1 = history.recorded.iter().any(|recorded| Some(recorded.digest) == batch.digest());
        if batch.phase != Phase::Posted || !on_l1 {
            breaches.push(format!(
                "batch {number} is {} ({:?}) at the end, on L1: {on_l1}; {} signatures",
                batch.phase.name(),
                batch.phase,
                batch.dispersal.as_ref().map_or(0, |dispersal| {
                    dispersal.members.iter().filter(|member| member.attested_at_ms > 0).count()
                }),
            ));
        }
    }
}

/// Checks that the payload can be decoded without any q − k of the batch's signers. The liars are
/// among those that are left out.
fn retrievable(
    history: &History<'_>,
    recorded: &Recorded,
    chance: &mut impl Rng,
    breaches: &mut Vec<String>,
) {
    let Recorded { digest, certificate } = recorded;
    let (n, k) = (history.cast.quorum.geometry().n(), usize::from(history.cast.quorum.geometry().k()));
    let spare = usize::from(history.cast.quorum.q()) - k;
    let (lying, mut honest): (Vec<Seat>, Vec<Seat>) =
        certificate.aggregate.absent.signers(n).partition(|seat| history.liars.contains(seat));
    for _ in 0..SUBSETS {
        honest.shuffle(chance);
        let removed = spare.saturating_sub(lying.len()).min(honest.len());
        let mut record: Option<&CheckedRecord> = None;
        let mut shards = Vec::new();
        for seat in &honest[removed..] {
            let Some(held) = held(history, *seat, *digest) else {
                breaches.push(format!("seat {seat} is named by the certificate of {digest} and lacks it"));
                continue;
            };
            record = Some(&held.record);
            if shards.len() < k
                && let Ok(shard) = CheckedShard::check(&held.record, held.seat, held.shard.clone())
            {
                shards.push(shard);
            }
        }
        let decoded = record.map(|record| {
            let submission = record.record().submission.submission.digest(&DOMAIN);
            (submission, dac_coding::decode(record, &shards))
        });
        match decoded {
            Some((submission, Ok(payload))) => {
                if history.accepted.get(&submission).is_some_and(|expected| *expected != payload) {
                    breaches.push(format!("{digest} decodes to other bytes than were submitted"));
                }
            }
            Some((_, Err(error))) => breaches.push(format!("{digest} does not decode: {error}")),
            None => breaches.push(format!("nobody has the record of {digest}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use dac_types::{
        AbsentSeats, AggregateAttestation, BatchHeader, Certificate, HashKind, Quorum, SignatureBytes,
    };
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::cast::ROLLUP;

    fn recorded(number: u64, tag: u8) -> Recorded {
        let header = BatchHeader {
            rollup: ROLLUP,
            batch_number: number,
            epoch: 1,
            expires_at: 2_000_000_000,
            payload_length: 100,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::repeat_byte(tag),
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: Vec::new(),
        };
        let signers: Vec<Seat> = Seat::all(7).collect();
        let absent = AbsentSeats::from_signers(7, &signers);
        let aggregate = AggregateAttestation { absent, signature: SignatureBytes([0; 48]) };
        Recorded { digest: header.digest(&DOMAIN), certificate: Certificate { header, aggregate } }
    }

    fn breaches(recorded: &[Recorded], signatures: &[Signature], reverted: usize) -> String {
        let cast = Cast::new(1, Quorum::new(7, 3, 5).unwrap());
        let history = History {
            cast: &cast,
            liars: &BTreeSet::new(),
            stores: &BTreeMap::new(),
            signatures,
            accepted: &BTreeMap::from([(B256::repeat_byte(9), Bytes::from_static(b"payload"))]),
            batches: &[],
            recorded,
            reverted,
        };
        check(&history, &mut StdRng::seed_from_u64(1)).join("\n")
    }

    #[test]
    fn what_was_taken_and_is_gone_is_found() {
        let found = breaches(&[], &[], 0);
        assert!(found.contains("was taken and is gone"), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }

    #[test]
    fn a_number_posted_twice_and_what_nobody_has_are_found() {
        let found = breaches(&[recorded(3, 1), recorded(3, 2)], &[], 0);
        assert!(found.contains("batch 3 is on L1 twice"), "{found}");
        assert!(found.contains("unknown to the aggregator"), "{found}");
        assert!(found.contains("is named by the certificate"), "{found}");
        assert!(found.contains("nobody has the record"), "{found}");
        assert!(!breaches(&[recorded(3, 1), recorded(4, 2)], &[], 0).contains("twice"));
        assert!(breaches(&[], &[], 2).contains("2 transactions were paid for twice"));
    }

    #[test]
    fn a_signature_without_a_row_is_found() {
        let digest = BatchDigest(B256::repeat_byte(7));
        let found = breaches(&[], &[Signature { seat: Seat(2), digest, is_stored: false }], 0);
        assert!(found.contains("before it was stored"), "{found}");
        assert!(found.contains("and does not hold it"), "{found}");
    }
}
