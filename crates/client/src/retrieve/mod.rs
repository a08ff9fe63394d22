//! Retrieves a batch's payload from any k members. No aggregator is needed, and no single member is
//! trusted.
//!
//! Digest → record (from the member that answers first; it is bound to the digest) → proof that a
//! quorum signed it → shards from the fastest k members, each passing the member's check → decode →
//! the retriever's check. A member that lies, stalls or is down is named in the report and costs
//! nothing but a little time, as long as k others serve.

mod collect;
mod error;
mod evidence;
mod options;
mod record;
mod report;
mod shards;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dac_coding::{CheckedRecord, DecodeError};
use dac_types::{Address, BatchDigest, BatchHeader};

pub use collect::{Collected, CollectedShards, Wanted};
pub use error::RetrieveError;
pub use evidence::{Evidence, Hint, Settled};
pub use options::{Progress, RetrieveOptions};
pub use record::{FoundRecord, RecordSource, check_record, fetch_record};
pub use report::{MemberReport, RecordFault, RetrievalReport, ShardOutcome};

use crate::connect::Dialer;
use crate::directory::Directory;
use crate::work::work;

/// A payload that passed the retriever's check.
#[derive(Clone, Debug)]
pub struct Retrieved {
    /// The rollup's bytes.
    pub payload: Bytes,
    /// The batch's record.
    pub record: Arc<CheckedRecord>,
    /// The evidence that a quorum signed.
    pub evidence: Evidence,
    /// What each member did.
    pub report: RetrievalReport,
    /// The duration of the whole.
    pub elapsed: Duration,
}

impl Retrieved {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        self.record.header()
    }
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

impl Retriever {
    /// Makes a retriever that asks the members that `directory` names.
    pub fn new(directory: Arc<Directory>, dialer: Dialer, options: RetrieveOptions) -> Self {
        Self { directory, dialer, options }
    }

    /// Finds a batch's record and the evidence that a quorum signed it.
    pub async fn find_record(&self, digest: BatchDigest, hint: &Hint) -> Result<FoundRecord, RetrieveError> {
        self.search(digest, hint, false, None).await
    }

    /// Finds the same, and asks members for the certificate even if L1 recorded it, because the
    /// certificate shows which seats signed.
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
