//! What a member needs to have its own shard of a batch again: the very shard, where another holder
//! of the seat serves it, or else any k others, from which its row is encoded. Section 9 of
//! `docs/protocol.md`.
//!
//! Memory: the record and at most k + spares shards, as in any retrieval; with one shard instead of
//! k where a seat changed hands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dac_coding::{CheckedRecord, CheckedShard, RebuildError, rebuild_shard};
use dac_types::{Address, BatchDigest, Certificate, Seat};

use super::{Evidence, FoundRecord, Hint, RecordSource, RetrievalReport, RetrieveError, Retriever, shards};
use crate::pace::{Pace, WatchedPace};

/// Which shard is wanted, and by whom.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The batch.
    pub digest: BatchDigest,
    /// Whose shard, in the batch's epoch.
    pub seat: Seat,
    /// What L1 says of the batch. Evidence there makes a certificate needless.
    pub hint: Hint,
    /// Who asks: this operator is not asked itself.
    pub by: Option<Address>,
    /// The batch's record where it is there already; none is asked for then, unless there is no
    /// evidence without one.
    pub record: Option<Arc<CheckedRecord>>,
    /// Shards are taken no faster than this. [`super::RetrieveOptions::deadline`] counts all the
    /// same.
    pub pace: Option<Arc<dyn Pace>>,
}

impl Wanted {
    /// The shard of one seat, from everybody, as fast as they serve.
    pub fn new(digest: BatchDigest, seat: Seat) -> Self {
        Self { digest, seat, hint: Hint::default(), by: None, record: None, pace: None }
    }
}

/// What peers gave.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The batch's record, with its certificate where that is known.
    pub record: Arc<CheckedRecord>,
    /// How it is known that a quorum signed.
    pub evidence: Evidence,
    /// Enough to have the shard.
    pub shards: CollectedShards,
    /// Who did what.
    pub report: RetrievalReport,
    /// How long it took in all.
    pub elapsed: Duration,
    seat: Seat,
}

/// Shards that passed the member's check.
#[derive(Clone, Debug)]
pub enum CollectedShards {
    /// The wanted one itself, from another holder of the seat.
    Wanted(CheckedShard),
    /// k others.
    Others(Vec<CheckedShard>),
}

impl Collected {
    /// The wanted shard. Computes for as long as encoding one row takes: not for a thread that
    /// others wait for.
    ///
    /// [`RebuildError::BadSeat`] is the verdict that nobody can ever have this shard.
    pub fn into_shard(self) -> Result<CheckedShard, RebuildError> {
        match self.shards {
            CollectedShards::Wanted(shard) => Ok(shard),
            CollectedShards::Others(shards) => rebuild_shard(&self.record, &shards, self.seat),
        }
    }
}

impl Retriever {
    /// Collects what a member needs to have its shard again. Ends within the deadline; dropping the
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

    /// The record that the member has, or else one from its peers.
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
