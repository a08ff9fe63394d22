//! Reads the certificate log: what was recorded, when, and whether a certificate would be.

use alloy::primitives::{Address, B256};
use alloy::sol_types::{SolCall, SolEvent};
use dac_types::{BatchDigest, BatchHeader, Certificate};

use crate::contracts::CertificateLog;
use crate::contracts::CertificateLog::CertificateRecorded;
use crate::contracts::calls;
use crate::error::ChainError;
use crate::events::{self, BLOCKS_PER_PAGE, Filter, Found};
use crate::rpc::{At, BlockRef, Call, Endpoint, Endpoints};
use crate::view::view;

/// The name of the contract in errors.
const NAME: &str = "certificate log";
/// The most certificates that [`CertificateLogReader::recorded_events`] collects.
const EVENTS_MAX: usize = 100_000;
/// The number of pages, back from the head, that are searched for the recording of one digest.
const SEARCH_PAGES: u64 = 20;

/// A certificate that the log recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordedCertificate {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The settlement contract of its rollup.
    pub rollup: Address,
    /// The number that its rollup gave it.
    pub batch_number: u64,
    /// The epoch that signed it.
    pub epoch: u64,
    /// The Unix second until which members serve it.
    pub expires_at: u64,
    /// The payload's length in bytes.
    pub payload_length: u64,
    /// The Merkle root over the shard hashes.
    pub shard_root: B256,
    /// The block that recorded it.
    pub block: u64,
    /// The transaction that recorded it.
    pub tx: B256,
}

impl RecordedCertificate {
    /// The entry that the log has for a certificate with this header, recorded in this block and
    /// transaction.
    pub fn of(digest: BatchDigest, header: &BatchHeader, block: u64, tx: B256) -> Self {
        Self {
            digest,
            rollup: header.rollup,
            batch_number: header.batch_number,
            epoch: header.epoch,
            expires_at: header.expires_at,
            payload_length: header.payload_length,
            shard_root: header.shard_root,
            block,
            tx,
        }
    }
}

impl From<Found<CertificateRecorded>> for RecordedCertificate {
    fn from(Found { event, block, tx }: Found<CertificateRecorded>) -> Self {
        Self {
            digest: BatchDigest(event.digest),
            rollup: event.rollup,
            batch_number: event.batchNumber,
            epoch: event.epoch,
            expires_at: event.expiresAt,
            payload_length: event.payloadLength,
            shard_root: event.shardRoot,
            block,
            tx,
        }
    }
}

/// Certificates of a range of blocks, and where the next range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPage {
    /// The certificates, in the order in which they were recorded.
    pub certificates: Vec<RecordedCertificate>,
    /// The first block not looked at; one past the end if all blocks were.
    pub next_block: u64,
}

/// Reads one certificate log.
#[derive(Clone, Debug)]
pub struct CertificateLogReader {
    endpoints: Endpoints,
    log: Address,
}

impl CertificateLogReader {
    /// A reader of the log at `log`.
    pub fn new(endpoints: Endpoints, log: Address) -> Self {
        Self { endpoints, log }
    }

    /// The log's address.
    pub fn address(&self) -> Address {
        self.log
    }

    /// The registry whose committees the log accepts.
    pub async fn registry(&self) -> Result<Address, ChainError> {
        self.view(CertificateLog::registryCall {}, At::Latest).await
    }

    /// Fails unless the log belongs to `expected`.
    pub async fn check_registry(&self, expected: Address) -> Result<(), ChainError> {
        let got = self.registry().await?;
        if got == expected { Ok(()) } else { Err(ChainError::WrongRegistry { log: self.log, got, expected }) }
    }

    /// The newest block.
    pub async fn head(&self) -> Result<BlockRef, ChainError> {
        Ok(self.endpoints.head().await?.block)
    }

    /// The Unix second in which the batch was recorded; `None` if it was not.
    pub async fn recorded_at(&self, digest: BatchDigest) -> Result<Option<u64>, ChainError> {
        let timestamp = self.view(CertificateLog::recordedAtCall { digest: digest.0 }, At::Latest).await?;
        Ok((timestamp != 0).then_some(timestamp))
    }

    /// Whether the batch was recorded as of the block with this hash.
    pub(crate) async fn is_recorded_at(&self, digest: BatchDigest, block: B256) -> Result<bool, ChainError> {
        let call = CertificateLog::recordedAtCall { digest: digest.0 };
        Ok(self.view(call, At::Hash(block)).await? != 0)
    }

    /// Has L1 check a certificate as it would before recording it. If the certificate breaks a
    /// rule, this fails with [`ChainError::Reverted`].
    pub async fn check(&self, certificate: &Certificate) -> Result<BatchDigest, ChainError> {
        let data = calls::check_calldata(certificate)?;
        let call = Call::view(self.log, data.to_vec());
        self.endpoints
            .first(|endpoint| {
                let call = &call;
                async move {
                    let data = endpoint.call(call, At::Latest).await?.map_err(ChainError::Reverted)?;
                    decode::<CertificateLog::checkCall>(&endpoint, self.log, &data).map(BatchDigest)
                }
            })
            .await
    }

    /// Returns what was recorded from `from_block` on. It covers a bounded number of blocks, at
    /// most up to and including `to_block`.
    pub async fn recorded_page(&self, from_block: u64, to_block: u64) -> Result<RecordedPage, ChainError> {
        self.page(from_block, to_block, None).await
    }

    /// Returns all that was recorded from `from_block` to `to_block`, both included.
    pub async fn recorded_events(
        &self,
        from_block: u64,
        to_block: u64,
    ) -> Result<Vec<RecordedCertificate>, ChainError> {
        let mut all = Vec::new();
        let mut next = from_block;
        while next <= to_block {
            let page = self.recorded_page(next, to_block).await?;
            all.extend(page.certificates);
            if all.len() > EVENTS_MAX {
                return Err(ChainError::TooManyEvents { from: from_block, to: to_block, limit: EVENTS_MAX });
            }
            next = page.next_block;
        }
        Ok(all)
    }

    /// Finds the recording of one batch among the last blocks up to `to_block`.
    pub async fn find(
        &self,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        let mut last = to_block;
        for _ in 0..SEARCH_PAGES {
            let first = last.saturating_sub(BLOCKS_PER_PAGE - 1);
            let page = self.page(first, last, Some(digest)).await?;
            if let Some(found) = page.certificates.first() {
                return Ok(Some(*found));
            }
            match first.checked_sub(1) {
                Some(before) => last = before,
                None => break,
            }
        }
        Ok(None)
    }

    async fn page(
        &self,
        from: u64,
        to: u64,
        digest: Option<BatchDigest>,
    ) -> Result<RecordedPage, ChainError> {
        let topics = [Some(CertificateRecorded::SIGNATURE_HASH), digest.map(|d| d.0)];
        let topics = if digest.is_some() { &topics[..] } else { &topics[..1] };
        let filter = Filter { contract: self.log, topics };
        let (found, next_block) =
            events::page::<CertificateRecorded>(&self.endpoints, filter, from, to, BLOCKS_PER_PAGE).await?;
        let certificates = found.into_iter().map(RecordedCertificate::from).collect();
        Ok(RecordedPage { certificates, next_block })
    }

    async fn view<C: SolCall>(&self, call: C, at: At) -> Result<C::Return, ChainError> {
        view(&self.endpoints, NAME, self.log, call, at).await
    }
}

fn decode<C: SolCall>(endpoint: &Endpoint, log: Address, data: &[u8]) -> Result<C::Return, ChainError> {
    if data.is_empty() {
        return Err(ChainError::NoContract { contract: NAME, address: log });
    }
    C::abi_decode_returns_validate(data).map_err(|error| ChainError::Malformed {
        endpoint: endpoint.name().into(),
        method: "eth_call",
        reason: format!("{}: {error}", C::SIGNATURE),
    })
}
