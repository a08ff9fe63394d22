//! Chooses the batches to audit: those that the user named, the newest ones, those of a range of
//! blocks, those that a rollup settled, or a sample of all that is owed.

use clap::Args;
use dac_chain::{
    CertificateLogReader, ChainError, RecordedCertificate, RegistryView, SettledBatch, SettlementReader,
};
use dac_cli::{Output, unix_now};
use dac_client::{AuditTarget, Hint, Settled, is_owed, sample_owed};
use dac_types::{Address, BatchDigest};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::context::{Chain, address};
use crate::exit::CliError;
use crate::log_search::{Found, Search};
use crate::retrieve_rollup::settled_batches;

/// The number of batches to audit if the options choose none.
const SAMPLE_DEFAULT: u32 = 20;

/// The batches to audit, and the set that they were chosen from.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) targets: Vec<AuditTarget>,
    /// The number of recorded batches that are owed, of which these were chosen; none if batches
    /// were named.
    pub(super) owed: Option<usize>,
    /// The number of batches that were left out because they are no longer owed.
    pub(super) expired: usize,
    /// The oldest block that was searched; none if batches were named.
    pub(super) searched_from: Option<u64>,
    /// The seed of the random choice; none if nothing was random.
    pub(super) seed: Option<u64>,
}

/// The options that choose the batches to audit.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Audit these batches; may be repeated.
    #[arg(long = "batch", value_name = "DIGEST", conflicts_with_all = ["sample", "last", "from_block", "to_block"])]
    batches: Vec<BatchDigest>,
    /// Audit what this rollup's contract has settled. Batches that settle with their certificate
    /// are not in the log. The contract alone says that members owe them.
    #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with_all = ["batches", "last", "to_block"])]
    rollup: Option<Address>,
    /// Audit this many of the batches that are owed, old and new ones; 20 if nothing else is
    /// chosen.
    #[arg(long, value_name = "COUNT", conflicts_with = "last", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample: Option<u32>,
    /// Choose the sample by this number, so that a run can be repeated; every run prints its own.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Audit this many of the newest recorded batches instead.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: Option<u32>,
    /// Audit all that was recorded from this block on; with --sample, that many of these.
    #[arg(long, value_name = "BLOCK", conflicts_with = "last")]
    from_block: Option<u64>,
    /// Audit up to this block, included; up to the newest one if not given.
    #[arg(long, value_name = "BLOCK", requires = "from_block")]
    to_block: Option<u64>,
}

impl Choice {
    pub(super) async fn choose(
        &self,
        chain: &Chain,
        view: &RegistryView,
        output: &Output,
    ) -> Result<Chosen, CliError> {
        if !self.batches.is_empty() {
            return self.named(chain).await;
        }
        if let Some(rollup) = self.rollup {
            return self.settled(chain, rollup, output).await;
        }
        let log = chain.required_log().await?;
        let head = log.head().await?.number;
        if chain.deployed_at_block > head {
            output.warn(format!(
                "the committee is said to be deployed at block {}, but the chain's newest block is {head}: check the \
                 deployment file",
                chain.deployed_at_block
            ));
        }
        let searching = output.spinner("reading the certificate log");
        let found = match self.from_block {
            Some(from) => {
                let to = self.to_block.unwrap_or(head);
                Found { events: log.recorded_events(from, to).await?, from_block: from, is_all: true }
            }
            None => {
                let search = Search {
                    log: &log,
                    head,
                    oldest: chain.deployed_at_block,
                    enough: self.last.map(|last| last as usize),
                    // No batch is owed for longer after its recording than its rollup's retention.
                    since: view
                        .rollups
                        .values()
                        .map(|rollup| rollup.retention_max_seconds)
                        .max()
                        .map(|longest| unix_now().saturating_sub(longest)),
                };
                search
                    .run(|block| searching.set_message(format!("reading the log back from block {block}")))
                    .await?
            }
        };
        searching.finish_and_clear();
        if !found.is_all {
            output.warn(format!(
                "only what was recorded from block {} on was searched; --from-block and --to-block reach further back",
                found.from_block
            ));
        }
        let recorded = found.events.len();
        let owed: Vec<RecordedCertificate> =
            found.events.into_iter().filter(|event| is_owed(event.expires_at)).collect();
        let (owed_count, expired) = (owed.len(), recorded - owed.len());
        let (events, seed) = self.narrow(owed);
        let mut targets = Vec::new();
        for event in events {
            targets.push(target(&log, &event).await?);
        }
        let searched_from = Some(found.from_block);
        Ok(Chosen { targets, owed: Some(owed_count), expired, searched_from, seed })
    }

    /// Finds the batches that a rollup has settled. Each is owed for as long as the contract's
    /// coverage lasts.
    async fn settled(&self, chain: &Chain, rollup: Address, output: &Output) -> Result<Chosen, CliError> {
        let (_, batches) = settled_batches(chain, rollup, self.from_block, output).await?;
        let coverage = SettlementReader::new(chain.endpoints.clone(), rollup).coverage().await?;
        let owed_until = |batch: &SettledBatch| coverage.until.unwrap_or(0).max(batch.expires_at);
        let settled = batches.len();
        let owed: Vec<SettledBatch> =
            batches.into_iter().filter(|batch| is_owed(owed_until(batch))).collect();
        let (owed_count, expired) = (owed.len(), settled - owed.len());
        let (batches, seed) = self.narrow(owed);
        let targets = batches
            .into_iter()
            .map(|batch| AuditTarget {
                digest: batch.digest,
                hint: Settled { rollup, batch }.hint(),
                owed_until: Some(owed_until(&batch)),
            })
            .collect();
        Ok(Chosen { targets, owed: Some(owed_count), expired, searched_from: self.from_block, seed })
    }

    /// Narrows the owed batches, the oldest first, to the newest ones, to a sample, or not at all.
    /// Returns the seed of the sample, too.
    fn narrow<T: Copy>(&self, mut owed: Vec<T>) -> (Vec<T>, Option<u64>) {
        let all_of_range = self.from_block.is_some() && self.rollup.is_none();
        let count = match (self.last, self.sample) {
            (Some(last), _) => {
                owed.drain(..owed.len().saturating_sub(last as usize));
                return (owed, None);
            }
            (None, Some(sample)) => sample,
            (None, None) if all_of_range => return (owed, None),
            (None, None) => SAMPLE_DEFAULT,
        };
        let seed = self.seed.unwrap_or_else(|| rand::rng().random());
        let places = sample_owed(owed.len(), count as usize, &mut StdRng::seed_from_u64(seed));
        let seed = (places.len() < owed.len()).then_some(seed);
        (places.into_iter().map(|place| owed[place]).collect(), seed)
    }

    /// Finds batches by their digests. Whether a member that lacks one is accused depends on what
    /// L1 says of the batch.
    async fn named(&self, chain: &Chain) -> Result<Chosen, CliError> {
        let log = chain.log().await?;
        let mut chosen = Chosen::default();
        for &digest in &self.batches {
            let event = match &log {
                Some(log) => log.find(digest, log.head().await?.number).await?,
                None => None,
            };
            match (event, &log) {
                (Some(event), _) if !is_owed(event.expires_at) => chosen.expired += 1,
                (Some(event), Some(log)) => chosen.targets.push(target(log, &event).await?),
                (_, log) => chosen.targets.push(unknown_to_l1(log.as_ref(), digest).await?),
            }
        }
        Ok(chosen)
    }
}

async fn target(log: &CertificateLogReader, event: &RecordedCertificate) -> Result<AuditTarget, ChainError> {
    let recorded_at = log.recorded_at(event.digest).await?;
    let hint = Hint { epoch: Some(event.epoch), recorded_at, ..Hint::default() };
    Ok(AuditTarget { digest: event.digest, hint, owed_until: Some(event.expires_at) })
}

/// Reports a batch that L1 does not record, or whose record is too old to be found.
async fn unknown_to_l1(
    log: Option<&CertificateLogReader>,
    digest: BatchDigest,
) -> Result<AuditTarget, ChainError> {
    let recorded_at = match log {
        Some(log) => log.recorded_at(digest).await?,
        None => None,
    };
    Ok(AuditTarget { digest, hint: Hint { recorded_at, ..Hint::default() }, owed_until: None })
}
