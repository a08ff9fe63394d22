//! Follows L1. The registry's epochs say which seats' shards are owed, and the contracts say of
//! which batches. Everything learned is in the store, cursor and facts in one transaction, so this
//! task may stop anywhere and begin again.

mod progress;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::feed::{Cursor, Fact, FeedConfig, L1Events, Origin, SecondReading, Step};
use dac_chain::{RegistryView, RegistryWatch};
use dac_runtime::clock::Clock;
use dac_types::{Address, PublicKeyBytes, Seat};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use progress::Progress;

use crate::duties::owed_seats;
use crate::store::{Duties, DutyCounts, StoreError};

/// The number of steps of one contract in one round, so that a long history does not keep the
/// others waiting.
const STEPS_PER_ROUND: u32 = 32;
/// The longest pause before a contract that could not be read is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause after a second reading of blocks failed.
const SECOND_READING_PAUSE: Duration = Duration::from_secs(60);
/// The longest time for which a count of the stored shards is used if no change is known.
const COUNT_AGE_MAX: Duration = Duration::from_secs(15);

/// The time that stands for the longest retention of a rollup that is no longer admitted and whose
/// terms are therefore unknown.
const RETENTION_OF_FORMER_SECONDS: u64 = 366 * 24 * 60 * 60;

/// Which contracts are followed, and how.
#[derive(Clone, Copy, Debug)]
pub struct SyncSettings {
    /// The address of the certificate log.
    pub log: Address,
    /// How the chain is read.
    pub feed: FeedConfig,
    /// The pause between two rounds.
    pub interval: Duration,
}

/// The task that reads L1.
pub struct L1Sync {
    /// The books of what is owed.
    pub duties: Arc<dyn Duties>,
    /// The events of L1.
    pub events: Arc<dyn L1Events>,
    /// The committees.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The member's public key.
    pub public_key: PublicKeyBytes,
    /// Which contracts are followed, and how.
    pub settings: SyncSettings,
    /// The progress, for others to read.
    pub progress: Arc<Progress>,
    /// Notified when a shard is missing.
    pub repair_wanted: Arc<Notify>,
    /// Wakes this task when the stored shards have changed.
    pub recount: Arc<Notify>,
}

/// What is remembered between rounds. All of it can be read again.
#[derive(Default)]
struct Memory {
    assigned: Option<Vec<(u64, Seat)>>,
    cursors: HashMap<Origin, Cursor>,
    failures: HashMap<Origin, (u32, Instant)>,
    /// The time until which a contract is not read a second time, because that failed.
    second_failures: HashMap<Origin, Instant>,
    /// The longest retention that was seen of each admitted rollup.
    retentions: HashMap<Address, u64>,
    /// Whether something was learned since the stored shards were counted.
    changed: bool,
    counted: Option<(DutyCounts, Instant)>,
}

impl L1Sync {
    /// Reads in rounds until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        loop {
            let more = match self.round(&mut memory, &stop).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::error!(%error, "what L1 says could not be stored; trying again");
                    // The memory may differ from what is stored.
                    memory = Memory::default();
                    false
                }
            };
            let pause = if more { Duration::ZERO } else { self.settings.interval };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.recount.notified() => memory.changed = true,
            }
        }
    }

    /// Runs one round. Returns whether there is more to read at once.
    async fn round(&self, memory: &mut Memory, stop: &CancellationToken) -> Result<bool, StoreError> {
        let Some(view) = self.registry.latest() else { return Ok(false) };
        self.assign(memory, &view).await?;
        let origins = self.origins(memory, &view).await?;
        self.progress.follow(&origins);
        let mut more = false;
        for origin in origins {
            if stop.is_cancelled() {
                return Ok(false);
            }
            if memory.failures.get(&origin).is_none_or(|(_, until)| *until <= Instant::now()) {
                more |= self.read(memory, origin, &view).await?;
            }
        }
        if memory.changed || memory.counted.is_none_or(|(_, at)| at.elapsed() >= COUNT_AGE_MAX) {
            self.count(memory, &view).await?;
        }
        let (read, unread) = self.progress.blocks();
        metrics::gauge!("dac_node_l1_read_block").set(crate::metrics::to_gauge(read));
        metrics::gauge!("dac_node_l1_unread_blocks").set(crate::metrics::to_gauge(unread));
        let unreadable = self.progress.unreadable_rollups().len() as u64;
        metrics::gauge!("dac_node_l1_unreadable_rollups").set(crate::metrics::to_gauge(unreadable));
        Ok(more)
    }

    async fn count(&self, memory: &mut Memory, view: &RegistryView) -> Result<(), StoreError> {
        // The earlier time counts, so that no batch is over early if a clock runs ahead.
        let now = self.clock.now_unix_seconds().min(view.head.timestamp);
        let counts = self.duties.duty_counts(now).await?;
        self.progress.count(counts);
        let former = memory.counted.replace((counts, Instant::now()));
        memory.changed = false;
        for (what, number) in [
            ("owed", counts.owed),
            ("held", counts.held),
            ("missing", counts.missing),
            ("doubted", counts.doubted),
            ("bad", counts.bad),
            ("corrupt", counts.corrupt),
        ] {
            metrics::gauge!("dac_node_duties", "state" => what).set(crate::metrics::to_gauge(number));
        }
        if !counts.is_whole() && former.is_none_or(|(former, _)| former != counts) {
            self.repair_wanted.notify_one();
        }
        Ok(())
    }

    async fn assign(&self, memory: &mut Memory, view: &RegistryView) -> Result<(), StoreError> {
        let seats = owed_seats(&view.committees, &self.public_key);
        if memory.assigned.as_ref() == Some(&seats) {
            return Ok(());
        }
        tracing::info!(epochs = seats.len(), "seats owed by the registry's epochs");
        self.duties.assign(seats.clone()).await?;
        memory.changed = true;
        memory.assigned = Some(seats);
        Ok(())
    }

    /// Returns the log, the contract of every admitted rollup, and those of rollups admitted
    /// earlier.
    async fn origins(&self, memory: &mut Memory, view: &RegistryView) -> Result<Vec<Origin>, StoreError> {
        if memory.cursors.is_empty() {
            let stored = self.duties.cursors().await?;
            memory.cursors = stored.into_iter().map(|cursor| (cursor.origin(), cursor)).collect();
        }
        let log = Origin::Log(self.settings.log);
        let mut origins: Vec<Origin> =
            view.rollups.keys().map(|rollup| Origin::Settlement(*rollup)).collect();
        origins
            .extend(memory.cursors.keys().filter(|origin| matches!(origin, Origin::Settlement(_))).copied());
        origins.push(log);
        origins.sort_unstable();
        origins.dedup();
        Ok(origins)
    }

    /// Reads a contract up to L1's head, or at most [`STEPS_PER_ROUND`] steps. Returns whether
    /// there is more to read at once.
    async fn read(
        &self,
        memory: &mut Memory,
        origin: Origin,
        view: &RegistryView,
    ) -> Result<bool, StoreError> {
        // Nothing can be recorded or settled before the first committee. If that one is not in
        // view, reading begins at the start.
        let since = view.committee(1).map_or(0, |committee| committee.active_from());
        let mut cursor = memory.cursors.get(&origin).cloned().unwrap_or_else(|| Cursor::new(origin, since));
        for _ in 0..STEPS_PER_ROUND {
            let step = match self.events.step(&cursor, &self.settings.feed).await {
                Ok(step) => step,
                Err(error) => {
                    self.failed(memory, origin, &error);
                    return Ok(false);
                }
            };
            memory.failures.remove(&origin);
            let is_complete = step.is_caught_up();
            match step {
                Step::Rewind { to_block, cursor: back } => {
                    tracing::warn!(contract = %origin.address(), to_block, "L1 was reorganised: what came later is taken back");
                    metrics::counter!("dac_node_l1_reorganisations_total").increment(1);
                    if let Err(error) = self.duties.unlearn(to_block, back.clone()).await {
                        self.failed(memory, origin, &error);
                        return Ok(false);
                    }
                    memory.changed = true;
                    cursor = back;
                }
                Step::Facts { mut facts, cursor: next, head } => {
                    self.cap(memory, &mut facts, view);
                    metrics::counter!("dac_node_l1_facts_total").increment(facts.len() as u64);
                    memory.changed |= !facts.is_empty();
                    // If this cannot be stored, the other contracts go on: facts and cursor of this
                    // one can be read again.
                    match self.duties.learn(facts, next.clone()).await {
                        Ok(0) => {}
                        Ok(left_out) => self.flooded(origin, left_out),
                        Err(error) => {
                            self.failed(memory, origin, &error);
                            return Ok(false);
                        }
                    }
                    cursor = next;
                    self.progress.read(origin, last_read(&cursor), head, is_complete);
                }
                Step::UpToDate { head } => {
                    self.progress.read(origin, last_read(&cursor).max(head.number), head, true);
                }
                Step::Behind { head } => {
                    self.progress.read(origin, last_read(&cursor), head, false);
                    memory.cursors.insert(origin, cursor);
                    return Ok(false);
                }
            }
            memory.cursors.insert(origin, cursor.clone());
            if is_complete {
                return self.read_again(memory, origin, cursor, view).await;
            }
        }
        Ok(true)
    }

    /// Reads blocks a second time if that is due, one page in a round, and learns what the first
    /// reading missed. Returns whether there is more to read at once. If it fails it is tried again
    /// later, and nothing waits for it.
    async fn read_again(
        &self,
        memory: &mut Memory,
        origin: Origin,
        cursor: Cursor,
        view: &RegistryView,
    ) -> Result<bool, StoreError> {
        let head = last_read(&cursor);
        let rests = memory.second_failures.get(&origin).is_some_and(|until| *until > Instant::now());
        if rests || !cursor.is_second_reading_due(head) {
            return Ok(false);
        }
        let SecondReading { mut facts, missed, cursor } = match self
            .events
            .read_again(&cursor, head, &self.settings.feed)
            .await
        {
            Ok(Some(reading)) => reading,
            Ok(None) => return Ok(false),
            Err(error) => {
                tracing::debug!(?origin, %error, "a contract on L1 could not be read a second time; trying again later");
                memory.second_failures.insert(origin, Instant::now() + SECOND_READING_PAUSE);
                return Ok(false);
            }
        };
        if let Some(missed) = missed.filter(|missed| *missed > 0) {
            tracing::warn!(
                ?origin,
                missed,
                "a second reading of L1 found events that the first one did not: an endpoint was behind, or left them out"
            );
            metrics::counter!("dac_node_l1_missed_facts_total").increment(missed);
        }
        self.cap(memory, &mut facts, view);
        memory.changed |= missed != Some(0) && !facts.is_empty();
        if let Err(error) = self.duties.learn(facts, cursor.clone()).await {
            self.failed(memory, origin, &error);
            return Ok(false);
        }
        let more = cursor.is_second_reading_due(head);
        memory.cursors.insert(origin, cursor);
        Ok(more)
    }

    /// Limits the times that a rollup's contract claims, which may be any. No member signs beyond
    /// the longest retention, so nothing is kept for longer than that from now on. For what was
    /// signed earlier this is longer than needed, never shorter.
    fn cap(&self, memory: &mut Memory, facts: &mut [Fact], view: &RegistryView) {
        for (rollup, terms) in &view.rollups {
            // If terms were lowered, what was granted before counts.
            let longest = memory.retentions.entry(*rollup).or_default();
            *longest = terms.retention_max_seconds.max(*longest);
        }
        let now = self.clock.now_unix_seconds().max(view.head.timestamp);
        for fact in facts {
            let (rollup, expires_at) = match fact {
                // The log has seen a quorum's signature.
                Fact::Recorded(_) => continue,
                Fact::Settled { rollup, batch } => (*rollup, &mut batch.expires_at),
                Fact::Renewed(renewed) => (renewed.rollup, &mut renewed.expires_at),
            };
            let longest = memory.retentions.get(&rollup).copied().unwrap_or(RETENTION_OF_FORMER_SECONDS);
            let cap = now.saturating_add(longest);
            if *expires_at > cap {
                metrics::counter!("dac_node_l1_claims_capped_total", "rollup" => rollup.to_string())
                    .increment(1);
                tracing::warn!(%rollup, claimed = *expires_at, cap, "a rollup's contract claims a time beyond its longest retention: capped");
                *expires_at = cap;
            }
        }
    }

    fn flooded(&self, origin: Origin, left_out: u64) {
        let Origin::Settlement(rollup) = origin else { return };
        self.progress.flooded(rollup);
        metrics::counter!("dac_node_l1_claims_left_out_total", "rollup" => rollup.to_string())
            .increment(left_out);
        tracing::error!(
            %rollup, left_out,
            "a rollup's contract claims more batches than are followed: its coverage is not renewed here any more"
        );
    }

    fn failed(&self, memory: &mut Memory, origin: Origin, error: &dyn std::fmt::Display) {
        let (attempts, _) = memory.failures.get(&origin).copied().unwrap_or((0, Instant::now()));
        let pause = (self.settings.interval * 2_u32.saturating_pow(attempts.min(10))).min(PAUSE_MAX);
        memory.failures.insert(origin, (attempts.saturating_add(1), Instant::now() + pause));
        self.progress.failed(origin);
        metrics::counter!("dac_node_l1_read_failures_total").increment(1);
        if attempts == 0 {
            tracing::warn!(contract = %origin.address(), %error, "a contract on L1 could not be read; trying again");
        } else {
            tracing::debug!(contract = %origin.address(), %error, attempts, "a contract on L1 could not be read; trying again");
        }
    }
}

fn last_read(cursor: &Cursor) -> u64 {
    cursor.next_block().saturating_sub(1)
}

/// Reads, for a reader, what the process that follows L1 has stored, until it is stopped.
pub async fn observe(
    duties: Arc<dyn Duties>,
    registry: RegistryWatch,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    interval: Duration,
    stop: CancellationToken,
) {
    loop {
        let looked = async {
            let cursors = duties.cursors().await?;
            // The log's cursor is used: a rollup's contract may be one that cannot be read.
            let read = cursors.iter().find(|cursor| matches!(cursor.origin(), Origin::Log(_))).map(last_read);
            Ok::<_, StoreError>((read, duties.duty_counts(clock.now_unix_seconds()).await?))
        };
        match looked.await {
            Ok((Some(read), counts)) => {
                let head = registry.latest().map(|view| view.head.number).zip(registry.last_success());
                progress.observe(read, head, counts);
            }
            Ok((None, _)) => {}
            Err(error) => {
                tracing::warn!(%error, "the cursors and duty counts could not be read from the store")
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}
