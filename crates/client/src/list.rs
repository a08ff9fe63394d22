//! Reads lists of batches page by page: those that an aggregator knows, and those that a member
//! stores. A list is unverified; each batch in it can be verified by its digest.

use dac_proto::v1;
use dac_proto::wire::{self, WireError};
use dac_types::limits::PAGE_MAX_ENTRIES;
use dac_types::{Address, BatchDigest, Seat};

use crate::batch::{AggregatorClient, AggregatorError};
use crate::fault::MemberFault;
use crate::member::MemberClient;
use crate::status::BatchStatus;

/// The most bytes of the token that leads to the next page.
const TOKEN_MAX_BYTES: usize = 256;

/// Which batches are listed, and which page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// If given, only this rollup's batches are listed.
    pub rollup: Option<Address>,
    /// The most entries of one page; 0 leaves it to the server.
    pub page_size: u32,
    /// Where the page begins: empty for the first page, otherwise `next` of the page before.
    pub page_token: String,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries in the server's order.
    pub entries: Vec<T>,
    /// The token of the next page; none if this is the last one.
    pub next: Option<String>,
}

/// A batch that a member stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The batch's rollup.
    pub rollup: Address,
    /// The batch's number.
    pub batch_number: u64,
    /// The epoch that signed it.
    pub epoch: u64,
    /// The seat whose shard the member has.
    pub seat: Seat,
    /// The last Unix second until which the member serves the batch.
    pub expires_at: u64,
    /// The payload's length in bytes.
    pub payload_length: u64,
}

impl<T> Page<T> {
    fn read<W>(
        wire: Vec<W>,
        next: String,
        read: impl FnMut(W) -> Result<T, WireError>,
    ) -> Result<Self, WireError> {
        if wire.len() > PAGE_MAX_ENTRIES as usize {
            return Err(WireError::Text { field: "batches", problem: "has more entries than a page holds" });
        }
        if next.len() > TOKEN_MAX_BYTES {
            return Err(WireError::Text { field: "next_page_token", problem: "is too long" });
        }
        let entries = wire.into_iter().map(read).collect::<Result<Vec<T>, WireError>>()?;
        // A page without entries is the last one, even if it names a next one.
        let next = (!next.is_empty() && !entries.is_empty()).then_some(next);
        Ok(Self { entries, next })
    }
}

impl TryFrom<v1::StoredBatch> for StoredBatch {
    type Error = WireError;

    fn try_from(wire: v1::StoredBatch) -> Result<Self, WireError> {
        Ok(Self {
            digest: wire::digest("batches.digest", &wire.digest)?,
            rollup: wire::address("batches.rollup", &wire.rollup)?,
            batch_number: wire.batch_number,
            epoch: wire.epoch,
            seat: wire::seat("batches.seat", wire.seat)?,
            expires_at: wire.expires_at,
            payload_length: wire.payload_length,
        })
    }
}

fn rollup_bytes(rollup: Option<Address>) -> bytes::Bytes {
    rollup.map(|rollup| bytes::Bytes::copy_from_slice(rollup.as_slice())).unwrap_or_default()
}

impl AggregatorClient {
    /// Lists one page of the batches that the aggregator knows, the newest first, without the
    /// members' outcomes.
    pub async fn list(&self, query: &ListQuery) -> Result<Page<BatchStatus>, AggregatorError> {
        let answer = self
            .within("ListBatches", async {
                let request = v1::ListBatchesRequest {
                    rollup: rollup_bytes(query.rollup),
                    page_size: query.page_size,
                    page_token: query.page_token.clone(),
                };
                let answer = self.connect().await?.list_batches(request).await;
                answer.map_err(|status| AggregatorError::from_status(&status))
            })
            .await?
            .into_inner();
        let read = |batch| BatchStatus::from_wire(Some(batch));
        Ok(Page::read(answer.batches, answer.next_page_token, read)?)
    }
}

impl MemberClient {
    /// Lists one page of the batches that the member stores, in the order in which it stored them.
    pub async fn list(&mut self, query: &ListQuery) -> Result<Page<StoredBatch>, MemberFault> {
        let request = v1::ListStoredBatchesRequest {
            rollup: rollup_bytes(query.rollup),
            page_size: query.page_size,
            page_token: query.page_token.clone(),
        };
        let answer = self.list_page(request).await?;
        Ok(Page::read(answer.batches, answer.next_page_token, StoredBatch::try_from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(number: u64) -> v1::StoredBatch {
        v1::StoredBatch {
            digest: vec![1; 32].into(),
            rollup: vec![2; 20].into(),
            batch_number: number,
            ..v1::StoredBatch::default()
        }
    }

    #[test]
    fn pages_are_bounded_and_end() {
        let read = |batches: Vec<v1::StoredBatch>, next: &str| {
            Page::read(batches, next.to_owned(), StoredBatch::try_from)
        };
        let page = read(vec![stored(1), stored(2)], "more").unwrap();
        assert_eq!(page.entries.iter().map(|batch| batch.batch_number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(page.next.as_deref(), Some("more"));
        assert_eq!(read(vec![stored(1)], "").unwrap().next, None);
        assert_eq!(read(vec![], "more").unwrap().next, None, "nobody is led around in circles");
        assert!(read(vec![stored(1); PAGE_MAX_ENTRIES as usize + 1], "").is_err());
        assert!(read(vec![stored(1)], &"x".repeat(TOKEN_MAX_BYTES + 1)).is_err());
        assert!(read(vec![v1::StoredBatch::default()], "").is_err());
    }
}
