//! Finds a batch's record and the evidence that a quorum signed it, among members that may be down,
//! slow or lying.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dac_coding::CheckedRecord;
use dac_proto::{v1, wire};
use dac_types::{Address, BatchDigest, Certificate, Seat};
use tokio::task::JoinSet;

use super::error::RetrieveError;
use super::evidence::Evidence;
use super::report::RecordFault;
use crate::connect::Dialer;
use crate::directory::{Directory, EpochCommittee};
use crate::fault::MemberFault;
use crate::member::{MemberClient, Patience};

/// The most members that are asked for the record at the same time.
const ASKED_AT_ONCE_MAX: usize = 16;
/// The time without an answer after which one more member is asked.
const HEDGE_AFTER: Duration = Duration::from_millis(500);
/// The pause before a member that could not be reached is asked again; it is multiplied by the
/// number of attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A member that served the batch's record.
#[derive(Clone, Debug)]
pub struct RecordSource {
    /// The member's operator.
    pub operator: Address,
    /// The URL where it was asked.
    pub url: String,
    /// The seat that it answers for.
    pub seat: Seat,
    /// The time that it took to answer.
    pub latency: Duration,
}

/// A batch's record: its header has the digest asked for, and the rest is bound to the header.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// The record, checked.
    pub record: Arc<CheckedRecord>,
    /// The evidence that a quorum signed.
    pub evidence: Evidence,
    /// The members that served the record.
    pub sources: Vec<RecordSource>,
    /// The members that did not, or that served something else.
    pub faults: Vec<RecordFault>,
}

/// Checks a record as received: it has the digest, all its parts belong together, and its
/// certificate verifies if it has one. The caller checks whether there is a certificate.
pub fn check_record(
    directory: &Directory,
    digest: BatchDigest,
    received: v1::Record,
) -> Result<(CheckedRecord, Option<Certificate>), MemberFault> {
    let epoch = wire::epoch_of(&received)?;
    let entry: &Arc<EpochCommittee> = directory.epoch(epoch).ok_or(MemberFault::UnknownEpoch { epoch })?;
    let geometry = entry.committee.quorum().geometry();
    let record = wire::record(received, geometry)?;
    let domain = directory.domain();
    let got = record.header.digest(domain);
    if got != digest {
        return Err(MemberFault::OtherBatch { expected: digest, got });
    }
    let contradiction = |problem: String| MemberFault::Contradiction { problem };
    record
        .submission
        .submission
        .check_agrees(&record.header)
        .map_err(|error| contradiction(error.to_string()))?;
    let disperser = record.submission.submission.disperser;
    let signer = record
        .disperser_signature
        .recover(digest.0)
        .map_err(|error| contradiction(format!("the disperser's signature: {error}")))?;
    if signer != disperser {
        return Err(contradiction(format!(
            "the submission names disperser {disperser}, {signer} signed the header"
        )));
    }
    let certificate = match &record.certificate {
        None => None,
        Some(aggregate) => {
            let certificate = Certificate { header: record.header.clone(), aggregate: aggregate.clone() };
            entry.keys.verify_certificate(&certificate, domain)?;
            Some(certificate)
        }
    };
    Ok((CheckedRecord::check(record, geometry)?, certificate))
}

/// Fetches the record from one member and checks it.
pub async fn fetch_record(
    dialer: &Dialer,
    patience: Patience,
    directory: &Directory,
    digest: BatchDigest,
    url: &str,
) -> Result<(CheckedRecord, Option<Certificate>, Seat), MemberFault> {
    let mut member = MemberClient::connect(dialer, url, patience).await?;
    let (received, seat) = member.record(digest).await?;
    let (record, certificate) = check_record(directory, digest, received)?;
    if seat.index() >= usize::from(record.geometry().n()) {
        return Err(MemberFault::OtherSeat { expected: Seat(0), got: seat });
    }
    Ok((record, certificate, seat))
}

/// The parameters of a search for a record.
pub(super) struct Search<'a> {
    pub(super) dialer: &'a Dialer,
    pub(super) patience: Patience,
    /// How often one member is asked.
    pub(super) attempts_max: u32,
    pub(super) directory: &'a Arc<Directory>,
    pub(super) digest: BatchDigest,
    /// The epoch whose members are asked; all epochs if there is none.
    pub(super) epoch: Option<u64>,
    /// The evidence that L1 gives.
    pub(super) evidence: Option<Evidence>,
    /// Whether to look for a certificate even if L1 recorded one, because it shows which seats
    /// signed.
    pub(super) wants_certificate: bool,
    /// An operator that is not asked.
    pub(super) without: Option<Address>,
}

/// Asks members, the likeliest first, until one has the record and a member or L1 has evidence that
/// it was certified.
pub(super) async fn find_record(search: Search<'_>) -> Result<FoundRecord, RetrieveError> {
    let Search { dialer, patience, attempts_max, directory, digest, epoch, mut evidence, .. } = search;
    let wants_certificate = search.wants_certificate;
    let mut queue = candidates(directory, epoch);
    queue.retain(|candidate| Some(candidate.operator) != search.without);
    let asked = queue.len();
    let mut found: Option<Arc<CheckedRecord>> = None;
    let mut sources = Vec::new();
    let mut faults: Vec<RecordFault> = Vec::new();
    let mut running = JoinSet::new();
    let mut next_hedge = tokio::time::Instant::now() + HEDGE_AFTER;
    let mut wanted = 3;
    loop {
        while running.len() < wanted.min(ASKED_AT_ONCE_MAX)
            && let Some(candidate) = queue.pop_front()
        {
            let (dialer, directory) = (dialer.clone(), directory.clone());
            running.spawn(async move {
                tokio::time::sleep(RETRY_PAUSE * candidate.attempt).await;
                let start = Instant::now();
                let answer = fetch_record(&dialer, patience, &directory, digest, &candidate.url).await;
                (candidate, start.elapsed(), answer)
            });
        }
        tokio::select! {
            answer = running.join_next() => match answer {
                None => break,
                Some(Err(_)) => {}
                Some(Ok((Candidate { operator, url, .. }, latency, Ok((record, certificate, seat))))) => {
                    if let Some(certificate) = certificate {
                        evidence = Some(Evidence::Certificate(Box::new(certificate)));
                    }
                    found.get_or_insert_with(|| Arc::new(record));
                    sources.push(RecordSource { operator, url, seat, latency });
                    match evidence {
                        Some(Evidence::Certificate(_)) => break,
                        Some(Evidence::RecordedOnL1 { .. } | Evidence::SettledOnL1 { .. })
                            if !wants_certificate =>
                        {
                            break;
                        }
                        _ => {}
                    }
                }
                Some(Ok((candidate, _, Err(fault)))) => {
                    let attempt = candidate.attempt + 1;
                    if fault.is_retryable() && attempt < attempts_max {
                        queue.push_back(Candidate { attempt, ..candidate });
                    } else {
                        let Candidate { operator, url, .. } = candidate;
                        faults.push(RecordFault { operator, url, fault });
                    }
                }
            },
            () = tokio::time::sleep_until(next_hedge) => {
                next_hedge += HEDGE_AFTER;
                wanted += 1;
            }
        }
    }
    match (found, evidence) {
        (Some(record), Some(evidence)) => {
            let record = match &evidence {
                Evidence::Certificate(certificate) => {
                    Arc::new(CheckedRecord::clone(&record).with_certificate(certificate.aggregate.clone()))
                }
                Evidence::RecordedOnL1 { .. } | Evidence::SettledOnL1 { .. } => record,
            };
            Ok(FoundRecord { record, evidence, sources, faults })
        }
        (Some(_), None) => Err(RetrieveError::NotCertified { digest, asked }),
        (None, _) => Err(RetrieveError::NoRecord { digest, asked, faults }),
    }
}

/// A member that is waiting to be asked.
struct Candidate {
    operator: Address,
    url: String,
    attempt: u32,
}

/// Lists every retrieval URL once: those of the epoch named, or else those of all epochs, the
/// newest first. Within an epoch the order is random, so that not all clients ask seat 0 first.
fn candidates(directory: &Directory, epoch: Option<u64>) -> VecDeque<Candidate> {
    use rand::seq::SliceRandom;
    let mut seen = std::collections::HashSet::new();
    let mut queue = VecDeque::new();
    let epochs: Vec<u64> = match epoch {
        Some(epoch) => vec![epoch],
        None => directory.newest_first().map(|entry| entry.committee.epoch()).collect(),
    };
    for epoch in epochs {
        let Some(entry) = directory.epoch(epoch) else { continue };
        let mut holders: Vec<_> =
            entry.committee.seats().flat_map(|(seat, _)| directory.holders(epoch, seat)).collect();
        holders.shuffle(&mut rand::rng());
        for holder in holders {
            if seen.insert(holder.url.clone()) {
                queue.push_back(Candidate { operator: holder.operator, url: holder.url, attempt: 0 });
            }
        }
    }
    queue
}
