//! Getting a batch's payload back from any k members. No aggregator is needed, and no single member is trusted.
//!
//! Digest → record (from whichever member answers first; it is bound to the digest) → proof that a quorum signed it →
//! shards from the fastest k members, each passing the member's check → decode → the retriever's check. A member that
//! lies, stalls or is down is named in the report and costs nothing but a little time, as long as k others serve.

mod collect;
mod record;
mod shards;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dac_chain::SettledBatch;
use dac_coding::{CheckedRecord, DecodeError, Malformed};
use dac_types::{AbsentSeats, Address, B256, BatchDigest, BatchHeader, Certificate, Seat};
use thiserror::Error;

pub use collect::{Collected, CollectedShards, Wanted};
pub use record::{FoundRecord, RecordFault, RecordSource, check_record, fetch_record};

use crate::connect::Dialer;
use crate::directory::Directory;
use crate::fault::MemberFault;
use crate::member::Patience;
use crate::text::printable;
use crate::work::work;

/// How it is known that a quorum signed the batch.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A certificate that verifies against the epoch's committee.
    Certificate(Box<Certificate>),
    /// The certificate log on L1, which checked one.
    RecordedOnL1 {
        /// Timestamp of the block that recorded it.
        at: u64,
    },
    /// The rollup's settlement contract on L1, which takes no batch without one.
    SettledOnL1 {
        /// The block that settled it.
        block: u64,
        /// The transaction that did.
        transaction: B256,
    },
}

/// How much effort, and how much patience.
#[derive(Clone, Copy, Debug)]
pub struct RetrieveOptions {
    /// With one member.
    pub patience: Patience,
    /// Pause without a finished shard after which one more member is asked.
    pub hedge_after: Duration,
    /// Members asked beyond the k needed, at most; each may cost the memory of a shard.
    pub spares_max: usize,
    /// How often one member is asked again after it could not be reached.
    pub attempts_max: u32,
    /// For the whole.
    pub deadline: Duration,
}

impl Default for RetrieveOptions {
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            hedge_after: Duration::from_millis(1500),
            spares_max: 4,
            attempts_max: 3,
            deadline: Duration::from_secs(15 * 60),
        }
    }
}

/// Why there is no payload.
#[derive(Debug, Error)]
pub enum RetrieveError {
    /// No member has a record with this digest.
    #[error(
        "none of {asked} members served the record of batch {digest}; is the digest right, and has the batch not expired?{}",
        list(faults)
    )]
    NoRecord {
        /// The batch.
        digest: BatchDigest,
        /// Members asked.
        asked: usize,
        /// What each answered.
        faults: Vec<RecordFault>,
    },
    /// Members have the record, but nobody has a certificate.
    #[error(
        "members hold batch {digest}, but none of {asked} has its certificate and none is recorded on L1: it may still be in the making; try again later"
    )]
    NotCertified {
        /// The batch.
        digest: BatchDigest,
        /// Members asked.
        asked: usize,
    },
    /// The record is another rollup's, or has another number, than L1 says: the endpoint, or the address, is not what it should be.
    #[error(
        "L1 says that batch {digest} is number {batch_number} of rollup {rollup}, its record that it is number {got_number} of {got}"
    )]
    OtherRollup {
        /// The batch.
        digest: BatchDigest,
        /// Whose it should be.
        rollup: Address,
        /// Which it should be.
        batch_number: u64,
        /// Whose it is.
        got: Address,
        /// Which it is.
        got_number: u64,
    },
    /// Fewer than k members served a shard that passes its check.
    #[error("{needed} checked shards rebuild batch {digest}, only {got} of {n} members served one{}", report.list())]
    NotEnoughShards {
        /// The batch.
        digest: BatchDigest,
        /// k.
        needed: usize,
        /// Checked shards received.
        got: usize,
        /// Seats.
        n: u16,
        /// What each member did.
        report: Box<RetrievalReport>,
    },
    /// The disperser committed to something that is no payload; whoever decodes it comes to the same verdict.
    #[error(
        "MALFORMED: batch {digest} is certified and retrievable, but what its disperser committed to is no payload: {verdict}"
    )]
    Malformed {
        /// The batch.
        digest: BatchDigest,
        /// What is wrong with it.
        verdict: Malformed,
    },
    /// Decoding failed on this machine.
    #[error("decoding batch {digest}: {source}")]
    Decode {
        /// The batch.
        digest: BatchDigest,
        /// Why.
        source: DecodeError,
    },
    /// The whole took too long.
    #[error("batch {digest} was not retrieved within {limit:?}")]
    Deadline {
        /// The batch.
        digest: BatchDigest,
        /// The deadline.
        limit: Duration,
    },
    /// The decoding task ended without an answer.
    #[error("the decoding task failed")]
    Stopped,
}

impl RetrieveError {
    /// What members did wrong, and who, as far as it is known.
    pub fn faults(&self) -> Vec<(Address, &MemberFault)> {
        match self {
            Self::NoRecord { faults, .. } => {
                faults.iter().map(|fault| (fault.operator, &fault.fault)).collect()
            }
            Self::NotEnoughShards { report, .. } => report.faults().collect(),
            _ => Vec::new(),
        }
    }
}

fn list(faults: &[RecordFault]) -> String {
    faults
        .iter()
        .map(|fault| format!("\n  {} ({}): {}", fault.operator, printable(&fault.url), fault.fault))
        .collect()
}

/// How often a member was asked, where that was more than once.
fn tries(attempts: u32) -> String {
    if attempts > 1 { format!(", asked {attempts} times") } else { String::new() }
}

/// What one member did in a retrieval.
#[derive(Clone, Debug)]
pub struct MemberReport {
    /// Its seat in the batch's epoch.
    pub seat: Seat,
    /// Its operator.
    pub operator: Address,
    /// Where it was asked.
    pub url: String,
    /// What came of the last attempt.
    pub outcome: ShardOutcome,
    /// How often it was asked.
    pub attempts: u32,
    /// How long the last attempt took.
    pub latency: Duration,
}

/// What came of asking one member for its shard.
#[derive(Clone, Debug)]
pub enum ShardOutcome {
    /// It served a shard that passed the member's check.
    Served {
        /// Bytes of it.
        bytes: usize,
    },
    /// It did not.
    Failed(MemberFault),
    /// Others were faster; given up without a verdict.
    Overtaken,
}

/// What every member that was asked did.
#[derive(Clone, Debug, Default)]
pub struct RetrievalReport {
    /// Each member once, in the order in which their last attempts came to an end.
    pub members: Vec<MemberReport>,
    /// Members that did not serve the record.
    pub record_faults: Vec<RecordFault>,
}

impl RetrievalReport {
    /// What members did wrong, and who.
    pub fn faults(&self) -> impl Iterator<Item = (Address, &MemberFault)> {
        let of_shards = self.members.iter().filter_map(|member| match &member.outcome {
            ShardOutcome::Failed(fault) => Some((member.operator, fault)),
            ShardOutcome::Served { .. } | ShardOutcome::Overtaken => None,
        });
        self.record_faults.iter().map(|fault| (fault.operator, &fault.fault)).chain(of_shards)
    }

    /// Members that failed, in words.
    fn list(&self) -> String {
        self.members
            .iter()
            .filter_map(|member| match &member.outcome {
                ShardOutcome::Failed(fault) => Some(format!(
                    "\n  seat {} {} ({}): {fault}{}",
                    member.seat,
                    member.operator,
                    printable(&member.url),
                    tries(member.attempts)
                )),
                _ => None,
            })
            .collect()
    }

    /// Seats whose committed shard is not of the code: the disperser's doing.
    pub fn bad_seats(&self) -> Vec<Seat> {
        let mut seats: Vec<Seat> = self
            .members
            .iter()
            .filter(
                |member| matches!(&member.outcome, ShardOutcome::Failed(fault) if fault.accuses_disperser()),
            )
            .map(|member| member.seat)
            .collect();
        seats.sort_unstable();
        seats.dedup();
        seats
    }
}

/// A payload that passed the retriever's check.
#[derive(Clone, Debug)]
pub struct Retrieved {
    /// The rollup's bytes.
    pub payload: Bytes,
    /// The batch's record.
    pub record: Arc<CheckedRecord>,
    /// How it is known that a quorum signed.
    pub evidence: Evidence,
    /// Who did what.
    pub report: RetrievalReport,
    /// How long it took in all.
    pub elapsed: Duration,
}

impl Retrieved {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        self.record.header()
    }
}

/// What a retrieval tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The record is there.
    Record {
        /// Shards needed.
        shards: u16,
        /// Bytes of each.
        shard_bytes: usize,
    },
    /// Bytes received of shards that are still worth something, and checked shards so far.
    Shards {
        /// Bytes.
        bytes: u64,
        /// Checked shards.
        checked: u16,
    },
    /// All shards are there.
    Decoding,
}

/// Retrieves batches.
///
/// # Example
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use dac_chain::{Endpoints, RegistryReader as _, RpcRegistryReader};
/// use dac_client::{Dialer, Directory, EndpointPolicy, Hint, RetrieveOptions, Retriever};
/// use dac_types::{Address, BatchDigest};
///
/// # async fn example(registry: Address, digest: BatchDigest) -> Result<(), Box<dyn std::error::Error>> {
/// let l1 = Endpoints::discover(&["https://l1.example.org"], Duration::from_secs(20)).await?;
/// let view = RpcRegistryReader::new(l1, registry).read(0).await?;
/// let directory = Arc::new(Directory::from_view(&view)?);
/// let dialer = Dialer::new(EndpointPolicy::PublicOnly);
/// let retriever = Retriever::new(directory, dialer, RetrieveOptions::default());
///
/// let retrieved = retriever.retrieve(digest, &Hint::default(), |_| ()).await?;
/// println!("{} bytes, {:?}", retrieved.payload.len(), retrieved.evidence);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Retriever {
    directory: Arc<Directory>,
    dialer: Dialer,
    options: RetrieveOptions,
}

/// What is known of a batch before its record is.
#[derive(Clone, Debug, Default)]
pub struct Hint {
    /// Its epoch: only that one's seats are asked.
    pub epoch: Option<u64>,
    /// When L1 recorded its certificate.
    pub recorded_at: Option<u64>,
    /// Which rollup settled it, and as what.
    pub settled: Option<Settled>,
    /// Who did not sign it, by L1: an audit excuses them.
    pub absent: Option<AbsentSeats>,
}

impl Hint {
    /// That a quorum signed, as far as L1 says it.
    fn evidence(&self) -> Option<Evidence> {
        let settled = self
            .settled
            .map(|Settled { batch, .. }| Evidence::SettledOnL1 { block: batch.block, transaction: batch.tx });
        settled.or(self.recorded_at.map(|at| Evidence::RecordedOnL1 { at }))
    }
}

/// A batch that a rollup's contract settled, by the contract's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The contract.
    pub rollup: Address,
    /// What it says.
    pub batch: SettledBatch,
}

impl Settled {
    /// What is known of the batch before its record is.
    pub fn hint(self) -> Hint {
        Hint { epoch: Some(self.batch.epoch), settled: Some(self), ..Hint::default() }
    }

    fn check(self, digest: BatchDigest, header: &BatchHeader) -> Result<(), RetrieveError> {
        let (rollup, batch_number) = (self.rollup, self.batch.batch_number);
        let (got, got_number) = (header.rollup, header.batch_number);
        if (got, got_number) == (rollup, batch_number) {
            return Ok(());
        }
        Err(RetrieveError::OtherRollup { digest, rollup, batch_number, got, got_number })
    }
}

impl Retriever {
    /// From the members that `directory` names.
    pub fn new(directory: Arc<Directory>, dialer: Dialer, options: RetrieveOptions) -> Self {
        Self { directory, dialer, options }
    }

    /// Finds a batch's record and proof that it was certified.
    pub async fn find_record(&self, digest: BatchDigest, hint: &Hint) -> Result<FoundRecord, RetrieveError> {
        self.search(digest, hint, false, None).await
    }

    /// The same, but where L1 recorded a certificate, members are still asked for it: it tells who signed.
    pub async fn find_certificate(
        &self,
        digest: BatchDigest,
        hint: &Hint,
    ) -> Result<FoundRecord, RetrieveError> {
        self.search(digest, hint, true, None).await
    }

    async fn search(
        &self,
        digest: BatchDigest,
        hint: &Hint,
        wants_certificate: bool,
        without: Option<Address>,
    ) -> Result<FoundRecord, RetrieveError> {
        let search = record::find_record(record::Search {
            dialer: &self.dialer,
            patience: self.options.patience,
            attempts_max: self.options.attempts_max,
            directory: &self.directory,
            digest,
            epoch: hint.epoch,
            evidence: hint.evidence(),
            wants_certificate,
            without,
        });
        let limit = self.options.deadline;
        let found = tokio::time::timeout(limit, search)
            .await
            .unwrap_or(Err(RetrieveError::Deadline { digest, limit }))?;
        if let Some(settled) = hint.settled {
            settled.check(digest, found.record.header())?;
        }
        Ok(found)
    }

    /// Retrieves a batch. Ends within the deadline; dropping the future ends all that it started.
    pub async fn retrieve(
        &self,
        digest: BatchDigest,
        hint: &Hint,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Retrieved, RetrieveError> {
        let limit = self.options.deadline;
        let work = Box::pin(self.retrieve_unbounded(digest, hint, progress));
        tokio::time::timeout(limit, work).await.unwrap_or(Err(RetrieveError::Deadline { digest, limit }))
    }

    async fn retrieve_unbounded(
        &self,
        digest: BatchDigest,
        hint: &Hint,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Retrieved, RetrieveError> {
        let start = Instant::now();
        let found = self.find_record(digest, hint).await?;
        let FoundRecord { record, evidence, sources, faults } = found;
        let k = record.geometry().k();
        progress(Progress::Record { shards: k, shard_bytes: record.shard_length() });
        let race = shards::Race {
            directory: &self.directory,
            dialer: &self.dialer,
            options: &self.options,
            record: &record,
            digest,
            without: None,
            spared: None,
            pace: None,
        };
        let (shards, members) = race.run(&sources, &mut progress).await;
        let report = RetrievalReport { members, record_faults: faults };
        if shards.len() < usize::from(k) {
            return Err(RetrieveError::NotEnoughShards {
                digest,
                needed: usize::from(k),
                got: shards.len(),
                n: record.geometry().n(),
                report: Box::new(report),
            });
        }
        progress(Progress::Decoding);
        let of_record = record.clone();
        let payload = work(move || dac_coding::decode(&of_record, &shards))
            .await
            .ok_or(RetrieveError::Stopped)?
            .map_err(|error| match error {
                DecodeError::Malformed(verdict) => RetrieveError::Malformed { digest, verdict },
                source => RetrieveError::Decode { digest, source },
            })?;
        Ok(Retrieved { payload, record, evidence, report, elapsed: start.elapsed() })
    }
}
