//! The feed over JSON-RPC, from the first endpoint that has the blocks, or alike from as many as
//! must agree.

use alloy::primitives::{B256, U64};
use alloy::sol_types::SolEvent;
use async_trait::async_trait;
use dac_types::RenewalDigest;

use super::cursor::Cursor;
use super::events::L1Events;
use super::fact::{Fact, Origin, RenewedCoverage};
use super::pages::{Need, QUERIES_MAX};
use super::second::{SecondReading, read_again, read_again_at};
use super::step::{Step, head, step, step_at};
use super::view::{FeedConfig, L1View};
use crate::contracts::CertificateLog::CertificateRecorded;
use crate::contracts::Settlement::{BatchSettled, CoverageRenewed};
use crate::error::ChainError;
use crate::events::{self, Found};
use crate::rpc::{BlockRef, Endpoint, Endpoints, Log};

/// Reads L1's events over JSON-RPC. All of a step comes from one endpoint. If that endpoint fails,
/// leaves out a settled batch, or is behind what was read before, the next one is asked. Later
/// steps begin with the first endpoint again. If several must agree, each makes the whole step, up
/// to a block that all of them have, and the step counts if enough of them made the same one.
#[derive(Clone, Debug)]
pub struct RpcEvents {
    endpoints: Endpoints,
}

impl RpcEvents {
    /// A reader over these endpoints.
    pub const fn new(endpoints: Endpoints) -> Self {
        Self { endpoints }
    }

    /// The blocks of a step on which several endpoints must agree: what all of them grant in a few
    /// queries.
    fn agreed_width(&self, blocks: u64) -> u64 {
        self.endpoints.narrowest_page(blocks).saturating_mul(QUERIES_MAX).min(blocks)
    }
}

#[async_trait]
impl L1Events for RpcEvents {
    async fn head(&self, confirmations: u64) -> Result<BlockRef, ChainError> {
        if let Some(head) = self.endpoints.pinned(confirmations).await? {
            return Ok(head);
        }
        self.endpoints.put_behind_who_lags().await?;
        self.endpoints.first(|endpoint| async move { head(&View(endpoint), confirmations).await }).await
    }

    async fn step(&self, cursor: &Cursor, config: &FeedConfig) -> Result<Step, ChainError> {
        if let Some(head) = self.endpoints.pinned(config.confirmations).await? {
            let blocks = self.agreed_width(config.page_blocks);
            let work =
                |endpoint| async move { step_at(&View(endpoint), cursor, head, blocks, Need::All).await };
            return self.endpoints.agreed("a contract's events", work).await;
        }
        self.endpoints.put_behind_who_lags().await?;
        let mut behind = None;
        let result = self
            .endpoints
            .first_that(
                |endpoint| async move { step(&View(endpoint), cursor, config).await },
                |step| {
                    let is_behind = matches!(step, Step::Behind { .. });
                    if is_behind && behind.is_none() {
                        behind = Some(step.clone());
                    }
                    !is_behind
                },
            )
            .await;
        match (result, behind) {
            (Ok(Some(step)), _) => Ok(step),
            (_, Some(behind)) => Ok(behind),
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(ChainError::NoEndpoint),
        }
    }

    async fn read_again(
        &self,
        cursor: &Cursor,
        head: u64,
        config: &FeedConfig,
    ) -> Result<Option<SecondReading>, ChainError> {
        if !cursor.is_second_reading_due(head) {
            return Ok(None);
        }
        if self.endpoints.agree() > 1 {
            let blocks = self.agreed_width(config.page_blocks);
            let work = |endpoint| async move {
                read_again_at(&View(endpoint), cursor, head, blocks, Need::All).await
            };
            return self.endpoints.agreed("a contract's events", work).await;
        }
        self.endpoints
            .elsewhere(|endpoint| async move { read_again(&View(endpoint), cursor, head, config).await })
            .await
    }
}

/// The view of L1 that one endpoint gives.
pub(super) struct View(pub(super) Endpoint);

#[async_trait]
impl L1View for View {
    async fn latest(&self) -> Result<BlockRef, ChainError> {
        Ok(self.0.head().await?.block)
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.0.block_at(number).await?.map(|head| head.block))
    }

    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError> {
        let kinds: &[B256] = match origin {
            Origin::Log(_) => &[CertificateRecorded::SIGNATURE_HASH],
            Origin::Settlement(_) => &[BatchSettled::SIGNATURE_HASH, CoverageRenewed::SIGNATURE_HASH],
        };
        let logs = self.0.logs_of_kinds(origin.address(), kinds, from, to).await?;
        let mut logs: Vec<Log> = logs.into_iter().filter(|log| !log.removed).collect();
        // Endpoints may answer in any order and repeat logs. After this each log comes once, in
        // L1's order.
        logs.sort_by_key(place);
        if logs.windows(2).any(|pair| place(&pair[0]) == place(&pair[1])) {
            return Err(self.malformed("the same log twice, or logs without a place"));
        }
        logs.iter().map(|log| self.fact(origin, log, from, to)).collect()
    }

    fn page_width(&self, blocks: u64) -> u64 {
        self.0.page_width(blocks)
    }
}

fn place(log: &Log) -> (Option<U64>, Option<U64>) {
    (log.block, log.index)
}

impl View {
    fn fact(&self, origin: Origin, log: &Log, from: u64, to: u64) -> Result<Fact, ChainError> {
        let contract = origin.address();
        let kind = log.topics.first().copied();
        match origin {
            Origin::Log(_) => Ok(Fact::Recorded(
                events::decode::<CertificateRecorded>(&self.0, contract, log, from, to)?.into(),
            )),
            Origin::Settlement(_) if kind == Some(BatchSettled::SIGNATURE_HASH) => {
                let batch = events::decode::<BatchSettled>(&self.0, contract, log, from, to)?.into();
                Ok(Fact::Settled { rollup: contract, batch })
            }
            Origin::Settlement(_) => {
                let Found { event, block, tx } =
                    events::decode::<CoverageRenewed>(&self.0, contract, log, from, to)?;
                Ok(Fact::Renewed(RenewedCoverage {
                    digest: RenewalDigest(event.digest),
                    rollup: contract,
                    last_batch: event.lastBatch,
                    epoch: event.epoch,
                    expires_at: event.expiresAt,
                    coverage_until: event.coverageUntil,
                    block,
                    tx,
                }))
            }
        }
    }

    fn malformed(&self, reason: &str) -> ChainError {
        ChainError::Malformed { endpoint: self.0.name().into(), method: "eth_getLogs", reason: reason.into() }
    }
}
