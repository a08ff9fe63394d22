//! RetrievalService: any client reads, within its share. Everything that is sent was checked on the
//! way.

use std::sync::Arc;

use bytes::Bytes;
use dac_coding::{ShardTree, merkle};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::retrieval_service_server::RetrievalService;
use dac_proto::wire::{self, WireError};
use dac_types::limits::{CHUNKS_PER_CALL_MAX, PAGE_MAX_ENTRIES, STORED_ROW_BYTES};
use dac_types::{B256, BatchDigest, Geometry};
use futures::stream::{BoxStream, StreamExt, try_unfold};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{limited, outcome, work_status};
use crate::context::{Context, store_status};
use crate::limits::{ClientKey, StreamPermit};
use crate::store::{Holding, Listed, Piece, StoreError};
use crate::verify::{intact_tree, row_is_intact};

/// The number of entries of a page if the caller does not name one.
const PAGE_DEFAULT_ENTRIES: u32 = 100;

/// Implements the service over the shared context.
#[derive(Clone)]
pub struct Retrieval(Arc<Context>);

impl Retrieval {
    /// Makes the service of `context`.
    pub const fn new(context: Arc<Context>) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl RetrievalService for Retrieval {
    async fn get_batch_record(
        &self,
        request: Request<v1::GetBatchRecordRequest>,
    ) -> Result<Response<v1::GetBatchRecordResponse>, Status> {
        let client = ClientKey::of(&request);
        let result = self.batch_record(client, request.into_inner()).await;
        count("GetBatchRecord", &result);
        result.map(Response::new)
    }

    type GetShardStream = BoxStream<'static, Result<v1::GetShardResponse, Status>>;

    async fn get_shard(
        &self,
        request: Request<v1::GetShardRequest>,
    ) -> Result<Response<Self::GetShardStream>, Status> {
        let client = ClientKey::of(&request);
        let result = self.shard(client, request.into_inner()).await;
        count("GetShard", &result);
        result.map(Response::new)
    }

    async fn get_chunks(
        &self,
        request: Request<v1::GetChunksRequest>,
    ) -> Result<Response<v1::GetChunksResponse>, Status> {
        let client = ClientKey::of(&request);
        let result = self.chunks(client, request.into_inner()).await;
        count("GetChunks", &result);
        result.map(Response::new)
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListStoredBatchesRequest>,
    ) -> Result<Response<v1::ListStoredBatchesResponse>, Status> {
        let client = ClientKey::of(&request);
        let result = self.batches(client, request.into_inner()).await;
        count("ListBatches", &result);
        result.map(Response::new)
    }
}

impl Retrieval {
    async fn batch_record(
        &self,
        client: ClientKey,
        request: v1::GetBatchRecordRequest,
    ) -> Result<v1::GetBatchRecordResponse, Status> {
        self.0.clients.take(client).map_err(limited)?;
        let digest = wire::digest("digest", &request.digest)?;
        let (record, seat) = match self.look_up(digest).await? {
            Some(holding) => (Arc::clone(&holding.record), holding.seat),
            None => match self.0.store.catalog.bad_seat(digest).await {
                Ok(Some(bad)) => (bad.record, bad.seat),
                Ok(None) => return Err(unknown(digest)),
                Err(error) => return Err(self.0.store_failed(&error).await),
            },
        };
        let response =
            v1::GetBatchRecordResponse { record: Some(record.record().into()), seat: seat.0.into() };
        self.charge(client, response.encoded_len());
        Ok(response)
    }

    async fn shard(
        &self,
        client: ClientKey,
        request: v1::GetShardRequest,
    ) -> Result<BoxStream<'static, Result<v1::GetShardResponse, Status>>, Status> {
        let permit = self.0.clients.open_stream(client).map_err(limited)?;
        let holding = self.find(wire::digest("digest", &request.digest)?).await?;
        if holding.is_corrupt {
            let message = "this batch fails its check here and waits for repair";
            return Err(Reason::Corrupt.status(message));
        }
        let tree = self.tree(&holding).await?;
        self.charge(client, holding.record.shard_length());
        let rows = Rows { retrieval: self.clone(), holding, tree: Arc::new(tree), next: 0, _permit: permit };
        Ok(try_unfold(rows, Rows::next).boxed())
    }

    async fn chunks(
        &self,
        client: ClientKey,
        request: v1::GetChunksRequest,
    ) -> Result<v1::GetChunksResponse, Status> {
        // This is held while the answer is made, which may wait for the disk. The listener counts
        // the answer until it is read.
        let _making = self.0.clients.open_stream(client).map_err(limited)?;
        let digest = wire::digest("digest", &request.digest)?;
        let asked = request.indices.len();
        if asked > CHUNKS_PER_CALL_MAX {
            let message = format!("at most {CHUNKS_PER_CALL_MAX} chunks in one call, got {asked}");
            return Err(Reason::TooManyChunks.status(message));
        }
        if asked == 0 {
            return Err(Reason::MalformedRequest.status("no chunk was asked for"));
        }
        let mut sorted = request.indices.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("chunk {} was asked for twice in one call", twice[0]);
            return Err(Reason::MalformedRequest.status(message));
        }
        let holding = self.find(digest).await?;
        let count = Geometry::chunk_count(holding.record.shard_length());
        let mut indices = Vec::with_capacity(asked);
        for index in request.indices {
            match usize::try_from(index) {
                Ok(position) if position < count => indices.push((index, position)),
                _ => {
                    let message = format!("the shard has {count} chunks, there is none at {index}");
                    return Err(Reason::NoSuchChunk.status(message));
                }
            }
        }
        let tree = self.tree(&holding).await?;
        let shard_hashes = holding.record.record().shard_hashes.clone();
        let seat = holding.seat;
        let positions: Vec<usize> = indices.iter().map(|(_, position)| *position).collect();
        let (tree, paths, shard_path) = self
            .0
            .serving
            .run(move || {
                let paths = paths(&tree, &positions);
                let shard_path = merkle::shard_path(&shard_hashes, seat.index());
                (tree, paths, shard_path)
            })
            .await
            .map_err(work_status)?;
        let shard_path = shard_path.map_err(|error| Reason::Internal.status(error.to_string()))?;
        let shard_path = wire::hashes_to_wire(&shard_path);
        let mut chunks = Vec::with_capacity(indices.len());
        for ((index, position), path) in indices.into_iter().zip(paths) {
            let data = self.chunk(&holding, &tree, position).await?;
            let (chunk_path, shard_path) = (wire::hashes_to_wire(&path), shard_path.clone());
            chunks.push(v1::Chunk { index, data, chunk_path, shard_path });
        }
        let response = v1::GetChunksResponse { seat: seat.0.into(), chunks };
        self.charge(client, response.encoded_len());
        Ok(response)
    }

    async fn batches(
        &self,
        client: ClientKey,
        request: v1::ListStoredBatchesRequest,
    ) -> Result<v1::ListStoredBatchesResponse, Status> {
        self.0.clients.take(client).map_err(limited)?;
        let rollup = wire::optional_address("rollup", &request.rollup)?;
        let after = parse_page_token(&request.page_token)?;
        let size = match request.page_size {
            0 => PAGE_DEFAULT_ENTRIES,
            asked => asked.min(PAGE_MAX_ENTRIES),
        };
        let mut listed = self
            .0
            .store
            .catalog
            .list(rollup, after, size.saturating_add(1))
            .await
            .map_err(|error| store_status(&error))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let more = listed.len() > size;
        listed.truncate(size);
        let next_page_token =
            listed.last().filter(|_| more).map(|last| page_token(last.sequence)).unwrap_or_default();
        let batches = listed.iter().map(stored_batch).collect();
        let response = v1::ListStoredBatchesResponse { batches, next_page_token };
        self.charge(client, response.encoded_len());
        Ok(response)
    }

    fn charge(&self, client: ClientKey, bytes: usize) {
        self.0.clients.charge(client, bytes);
        metrics::counter!("dac_node_served_bytes_total").increment(bytes as u64);
    }

    async fn look_up(&self, digest: BatchDigest) -> Result<Option<Holding>, Status> {
        match self.0.store.catalog.find(digest).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.0.store_failed(&error).await),
        }
    }

    /// Returns the batch, or the reason why its shard is not served.
    async fn find(&self, digest: BatchDigest) -> Result<Holding, Status> {
        if let Some(found) = self.look_up(digest).await? {
            return Ok(found);
        }
        match self.0.store.catalog.bad_seat(digest).await {
            Ok(None) => Err(unknown(digest)),
            // This is the answer whether or not the record can still be read.
            Ok(Some(_)) | Err(StoreError::Corrupt { .. }) => Err(Reason::SeatBad.status(format!(
                "the disperser of {digest} committed to bytes for this seat that are not a codeword"
            ))),
            Err(error) => Err(store_status(&error)),
        }
    }

    /// Returns the shard's tree, which was checked against the record.
    async fn tree(&self, holding: &Holding) -> Result<ShardTree, Status> {
        let hashes =
            self.0.store.catalog.leaf_hashes(holding.shard).await.map_err(|error| store_status(&error))?;
        let Some(hashes) = hashes else { return Err(self.missing(holding, "the shard's tree").await) };
        let (record, seat) = (Arc::clone(&holding.record), holding.seat);
        let tree =
            self.0.serving.run(move || intact_tree(&record, seat, hashes)).await.map_err(work_status)?;
        match tree {
            Some(tree) => Ok(tree),
            None => Err(self.corrupt(holding, "the shard's tree").await),
        }
    }

    async fn chunk(&self, holding: &Holding, tree: &ShardTree, index: usize) -> Result<Bytes, Status> {
        let data = self
            .0
            .store
            .shards
            .read(holding.shard, Piece::Chunk(index))
            .await
            .map_err(|error| store_status(&error))?;
        let Some(data) = data else { return Err(self.missing(holding, "a chunk").await) };
        let intact = Geometry::chunk_length(holding.record.shard_length(), index) == Some(data.len())
            && tree.leaf_hashes().get(index) == Some(&merkle::leaf_hash(&data));
        if intact { Ok(data) } else { Err(self.corrupt(holding, "a chunk").await) }
    }

    /// Explains why a part that was there a moment ago is missing: the batch expired and was
    /// deleted, was repaired in between, or the part is lost.
    async fn missing(&self, holding: &Holding, what: &'static str) -> Status {
        let digest = holding.digest;
        match self.0.store.catalog.find(digest).await {
            Ok(None) => unknown(digest),
            Ok(Some(now)) if now.shard != holding.shard => {
                Reason::Busy.status("this batch was repaired a moment ago; try again")
            }
            Ok(Some(_)) => self.corrupt(holding, what).await,
            Err(error) => self.0.store_failed(&error).await,
        }
    }

    async fn corrupt(&self, holding: &Holding, what: &'static str) -> Status {
        self.0.corrupt(holding.digest, Some(holding.shard), what).await
    }
}

/// A shard that is being served. One row is in memory.
struct Rows {
    retrieval: Retrieval,
    holding: Holding,
    tree: Arc<ShardTree>,
    next: usize,
    _permit: StreamPermit,
}

impl Rows {
    async fn next(mut self) -> Result<Option<(v1::GetShardResponse, Self)>, Status> {
        let (index, length) = (self.next, self.holding.record.shard_length());
        if index.saturating_mul(STORED_ROW_BYTES) >= length {
            return Ok(None);
        }
        let context = &self.retrieval.0;
        let row = context
            .store
            .shards
            .read(self.holding.shard, Piece::Row(index))
            .await
            .map_err(|error| store_status(&error))?;
        let Some(row) = row else { return Err(self.retrieval.missing(&self.holding, "a row").await) };
        let (tree, checked) = (Arc::clone(&self.tree), row.clone());
        let intact = context
            .serving
            .run(move || row_is_intact(&tree, length, index, &checked))
            .await
            .map_err(work_status)?;
        if !intact {
            return Err(self.retrieval.corrupt(&self.holding, "a row").await);
        }
        self.next += 1;
        Ok(Some((v1::GetShardResponse { piece: row }, self)))
    }
}

/// Returns the paths of several leaves, each from the leaf upwards. Every level of the tree is
/// computed once.
fn paths(tree: &ShardTree, positions: &[usize]) -> Vec<Vec<B256>> {
    let mut paths = vec![Vec::new(); positions.len()];
    let mut level = tree.leaf_hashes().to_vec();
    let mut places = positions.to_vec();
    while level.len() > 1 {
        for (path, place) in paths.iter_mut().zip(&mut places) {
            path.extend(level.get(*place ^ 1));
            *place /= 2;
        }
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => merkle::node_hash(left, right),
                odd => odd[0],
            })
            .collect();
    }
    paths
}

fn stored_batch(listed: &Listed) -> v1::StoredBatch {
    v1::StoredBatch {
        digest: Bytes::copy_from_slice(listed.digest.as_bytes()),
        rollup: Bytes::copy_from_slice(listed.rollup.as_slice()),
        batch_number: listed.batch_number,
        epoch: listed.epoch,
        seat: listed.seat.0.into(),
        expires_at: listed.expires_at,
        payload_length: listed.payload_length,
    }
}

fn page_token(sequence: u64) -> String {
    format!("{sequence:016x}")
}

fn parse_page_token(token: &str) -> Result<u64, WireError> {
    if token.is_empty() {
        return Ok(0);
    }
    let junk = WireError::Text { field: "page_token", problem: "is not one that this service returned" };
    let strict = token.len() == 16 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match u64::from_str_radix(token, 16) {
        Ok(sequence) if strict && i64::try_from(sequence).is_ok() => Ok(sequence),
        _ => Err(junk),
    }
}

fn unknown(digest: BatchDigest) -> Status {
    Reason::UnknownBatch.status(format!("this member has no batch {digest}"))
}

fn count<T>(method: &'static str, result: &Result<T, Status>) {
    metrics::counter!("dac_node_retrieval_total", "method" => method, "outcome" => outcome(result))
        .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_tree() {
        for chunks in 1..=70_usize {
            let tree = ShardTree::of_shard(&vec![7; chunks * dac_types::limits::CHUNK_BYTES - 16]);
            let positions: Vec<usize> = (0..chunks).collect();
            for (position, path) in positions.iter().zip(paths(&tree, &positions)) {
                assert_eq!(path, tree.path(*position).unwrap(), "{position} of {chunks}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_token_panics(token in ".{0,40}", sequence in 0..=u64::MAX / 2) {
            let _ = parse_page_token(&token);
            proptest::prop_assert_eq!(parse_page_token(&page_token(sequence)), Ok(sequence));
        }
    }

    #[test]
    fn page_tokens_are_ours_or_refused() {
        assert_eq!(parse_page_token(""), Ok(0));
        assert_eq!(parse_page_token(&page_token(77)), Ok(77));
        for junk in [
            "1",
            "000000000000004G",
            "+00000000000004d",
            "ffffffffffffffff",
            "000000000000004D",
            "00000000000000000",
        ] {
            assert!(parse_page_token(junk).is_err(), "{junk}");
        }
    }
}
