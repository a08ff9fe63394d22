//! Collects what a member needs to restore its own shard of a batch: the shard itself, if another
//! holder of the seat serves it, or else any k others, from which the shard is encoded. See section
//! 9 of `docs/protocol.md`.
//!
//! Memory: the record and at most k + spares shards, as in any retrieval; one shard instead of k if
//! another holder of the seat serves it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dac_coding::{CheckedRecord, CheckedShard, RebuildError, rebuild_shard};
use dac_types::{Address, BatchDigest, Certificate, Seat};

use super::{Evidence, FoundRecord, Hint, RecordSource, RetrievalReport, RetrieveError, Retriever, shards};
use crate::pace::{Pace, WatchedPace};

/// A member's request for the shards that restore its own.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The seat whose shard is wanted, in the batch's epoch.
    pub seat: Seat,
    /// What L1 says of the batch. If it proves that a quorum signed, no certificate is needed.
    pub hint: Hint,
    /// The operator that restores its shard, and is therefore not asked.
    pub by: Option<Address>,
    /// The batch's record, if the caller has it. It is then fetched only if it is needed to find a
    /// certificate.
    pub record: Option<Arc<CheckedRecord>>,
    /// The rate at which shards are received. [`super::RetrieveOptions::deadline`] applies all the
    /// same.
    pub pace: Option<Arc<dyn Pace>>,
}

impl Wanted {
    /// Asks all members for what restores the shard of one seat, without a limit to the rate.
    pub fn new(digest: BatchDigest, seat: Seat) -> Self {
        Self { digest, seat, hint: Hint::default(), by: None, record: None, pace: None }
    }
}

/// The data that the other members served.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The batch's record, with its certificate if that is known.
    pub record: Arc<CheckedRecord>,
    /// The evidence that a quorum signed.
    pub evidence: Evidence,
    /// The shards that restore the wanted one.
    pub shards: CollectedShards,
    /// What each member did.
    pub report: RetrievalReport,
    /// The duration of the whole.
    pub elapsed: Duration,
    seat: Seat,
}

/// Shards that passed the member's check.
#[derive(Clone, Debug)]
pub enum CollectedShards {
    /// The wanted shard itself, from another holder of the seat.
    Wanted(CheckedShard),
    /// k other shards.
    Others(Vec<CheckedShard>),
}

impl Collected {
    /// Returns the wanted shard. This may take as long as encoding one row: do not call it on an
    /// async thread.
    ///
    /// [`RebuildError::BadSeat`] means that this shard cannot be rebuilt from the others.
    pub fn into_shard(self) -> Result<CheckedShard, RebuildError> {
        match self.shards {
            CollectedShards::Wanted(shard) => Ok(shard),
            CollectedShards::Others(shards) => rebuild_shard(&self.record, &shards, self.seat),
        }
    }
}

impl Retriever {
    /// Collects what a member needs to restore its shard. Ends within the deadline; dropping the
    /// future ends all that it started.
    pub async fn collect(&self, wanted: Wanted) -> Result<Collected, RetrieveError> {
        let (digest, limit) = (wanted.digest, self.options.deadline);
        let work = Box::pin(self.collect_unbounded(wanted));
        tokio::time::timeout(limit, work).await.unwrap_or(Err(RetrieveError::Deadline { digest, limit }))
    }

    async fn collect_unbounded(&self, wanted: Wanted) -> Result<Collected, RetrieveError> {
        let start = Instant::now();
        let FoundRecord { record, evidence, sources, faults } = self.record_for(&wanted).await?;
        let Wanted { digest, seat, by, pace, .. } = wanted;
        let race = shards::Race {
            directory: &self.directory,
            dialer: &self.dialer,
            options: &self.options,
            record: &record,
            digest,
            without: by,
            spared: Some(seat),
            pace: pace.map(|pace| Arc::new(WatchedPace::new(pace))),
        };
        let (own, mut members) = race.ask_seat(seat).await;
        let shards = match own {
            Some(shard) => CollectedShards::Wanted(shard),
            None => {
                let (shards, others) = race.run(&sources, &mut |_| {}).await;
                members.extend(others);
                CollectedShards::Others(shards)
            }
        };
        let report = RetrievalReport { members, record_faults: faults };
        let needed = usize::from(record.geometry().k());
        match &shards {
            CollectedShards::Others(shards) if shards.len() < needed => Err(RetrieveError::NotEnoughShards {
                digest,
                needed,
                got: shards.len(),
                n: record.geometry().n(),
                report: Box::new(report),
            }),
            _ => Ok(Collected { record, evidence, shards, report, elapsed: start.elapsed(), seat }),
        }
    }

    /// Returns the record that the caller has, or else one from the other members.
    async fn record_for(&self, wanted: &Wanted) -> Result<FoundRecord, RetrieveError> {
        let Wanted { digest, hint, by, .. } = wanted;
        let held = wanted.record.clone().and_then(|record| {
            let certificate = record.record().certificate.clone().map(|aggregate| {
                Evidence::Certificate(Box::new(Certificate { header: record.header().clone(), aggregate }))
            });
            let evidence = certificate.or_else(|| hint.evidence())?;
            Some(FoundRecord { record, evidence, sources: Vec::<RecordSource>::new(), faults: Vec::new() })
        });
        let Some(found) = held else { return self.search(*digest, hint, false, *by).await };
        if let Some(settled) = hint.settled {
            settled.check(*digest, found.record.header())?;
        }
        Ok(found)
    }
}
