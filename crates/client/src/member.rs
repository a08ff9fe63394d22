//! The client of one member's retrieval interface. Every step has a deadline, and every answer is
//! bounded and checked as far as the question alone allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dac_proto::v1::member_service_client::MemberServiceClient;
use dac_proto::v1::retrieval_service_client::RetrievalServiceClient;
use dac_proto::{v1, wire};
use dac_types::limits::{CHUNK_BYTES, CHUNKS_PER_CALL_MAX, STREAM_PIECE_MAX_BYTES};
use dac_types::{BatchDigest, Seat};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;

use crate::connect::{Dialer, message_limit};
use crate::description::MemberDescription;
use crate::fault::MemberFault;
use crate::pace::Pace;

/// How long a member may take to answer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The deadline for an answer of one message, and for each message of a stream.
    pub answer: Duration,
    /// The least bytes a second of a transfer, averaged over its whole time; a slower one is given
    /// up.
    pub bytes_per_second_min: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(10), bytes_per_second_min: 32 << 10 }
    }
}

impl Patience {
    /// The deadline for a stream of `bytes` in all.
    fn transfer(&self, bytes: usize) -> Duration {
        let seconds = bytes as u64 / u64::from(self.bytes_per_second_min.max(1));
        self.answer + Duration::from_secs(seconds)
    }
}

/// A connection to one member.
#[derive(Clone, Debug)]
pub struct MemberClient {
    retrieval: RetrievalServiceClient<Channel>,
    member: MemberServiceClient<Channel>,
    patience: Patience,
    pace: Option<Arc<dyn Pace>>,
}

/// A chunk as the member sent it, unchecked.
#[derive(Clone, Debug)]
pub struct ReceivedChunk {
    /// The chunk's place in the shard.
    pub index: usize,
    /// The chunk's bytes.
    pub bytes: Bytes,
    /// The Merkle proof to the shard root, unchecked.
    pub proof: dac_coding::ChunkProof,
}

impl MemberClient {
    /// Connects to the member at `url`.
    pub async fn connect(dialer: &Dialer, url: &str, patience: Patience) -> Result<Self, MemberFault> {
        let channel = dialer.connect(url).await?;
        Ok(Self {
            retrieval: RetrievalServiceClient::new(channel.clone())
                .max_decoding_message_size(message_limit()),
            member: MemberServiceClient::new(channel).max_decoding_message_size(message_limit()),
            patience,
            pace: None,
        })
    }

    /// Limits the rate at which shards are received to `pace`.
    #[must_use]
    pub fn paced(mut self, pace: Option<Arc<dyn Pace>>) -> Self {
        self.pace = pace;
        self
    }

    /// Fetches the member's description of itself.
    pub async fn describe(&mut self) -> Result<MemberDescription, MemberFault> {
        let call = self.member.get_member(v1::GetMemberRequest {});
        Ok(self.patience.within("its answer to GetMember", call).await?.into_inner().try_into()?)
    }

    /// Fetches one page of the list of batches that the member stores, unparsed.
    pub(crate) async fn list_page(
        &mut self,
        request: v1::ListStoredBatchesRequest,
    ) -> Result<v1::ListStoredBatchesResponse, MemberFault> {
        let call = self.retrieval.list_batches(request);
        Ok(self.patience.within("its answer to ListBatches", call).await?.into_inner())
    }

    /// Fetches the batch's record and the seat that the member answers for.
    pub async fn record(&mut self, digest: BatchDigest) -> Result<(v1::Record, Seat), MemberFault> {
        let request = v1::GetBatchRecordRequest { digest: digest_bytes(digest) };
        let call = self.retrieval.get_batch_record(request);
        let answer = self.patience.within("its answer to GetBatchRecord", call).await?.into_inner();
        let record = wire::required("record", answer.record)?;
        Ok((record, wire::seat("seat", answer.seat)?))
    }

    /// Fetches chunks of the member's shard, in the order asked for. Their proofs are not checked
    /// here.
    pub async fn chunks(
        &mut self,
        digest: BatchDigest,
        seat: Seat,
        indices: &[u32],
    ) -> Result<Vec<ReceivedChunk>, MemberFault> {
        debug_assert!(indices.len() <= CHUNKS_PER_CALL_MAX);
        let request = v1::GetChunksRequest { digest: digest_bytes(digest), indices: indices.to_vec() };
        let call = self.retrieval.get_chunks(request);
        let answer = self.patience.within("its answer to GetChunks", call).await?.into_inner();
        check_seat(seat, answer.seat)?;
        let (expected, got) = (indices.len(), answer.chunks.len());
        if expected != got || !answer.chunks.iter().zip(indices).all(|(chunk, index)| chunk.index == *index) {
            return Err(MemberFault::ChunkList { expected, got });
        }
        answer.chunks.into_iter().map(received_chunk).collect()
    }

    /// Streams the member's shard of exactly `length` bytes into `take`, one piece at a time, and
    /// counts them in `progress`. Fails on a byte too many, an empty or oversized piece, a pause
    /// that is too long, or a transfer that is too slow.
    pub async fn stream_shard(
        &mut self,
        digest: BatchDigest,
        length: usize,
        progress: &AtomicU64,
        mut take: impl FnMut(Bytes) -> Result<(), MemberFault>,
    ) -> Result<(), MemberFault> {
        let limit = self.patience.transfer(length);
        let mut end = Instant::now() + limit;
        let request = v1::GetShardRequest { digest: digest_bytes(digest) };
        let call = self.retrieval.get_shard(request);
        let mut stream = self.patience.within("its answer to GetShard", call).await?.into_inner();
        let mut received = 0;
        loop {
            let message =
                tokio::time::timeout_at(end.min(Instant::now() + self.patience.answer), stream.message())
                    .await;
            let piece = match message {
                Err(_) if Instant::now() >= end => {
                    return Err(MemberFault::TimedOut { what: "its shard", limit });
                }
                Err(_) => {
                    return Err(MemberFault::TimedOut {
                        what: "the next piece",
                        limit: self.patience.answer,
                    });
                }
                Ok(Err(status)) => return Err(MemberFault::from_status(&status)),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(message))) => message.piece,
            };
            if piece.is_empty() || piece.len() > STREAM_PIECE_MAX_BYTES {
                return Err(MemberFault::Piece { got: piece.len(), max: STREAM_PIECE_MAX_BYTES });
            }
            received += piece.len();
            if received > length {
                return Err(dac_coding::ShardError::TooLong { expected: length, got: received }.into());
            }
            progress.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let bytes = piece.len();
            take(piece)?;
            if let Some(pace) = &self.pace {
                // The time for which the pace holds the stream back does not count against the
                // member.
                let held = Instant::now();
                pace.take(bytes).await;
                end += held.elapsed();
            }
        }
        if received < length {
            return Err(dac_coding::ShardError::TooShort { expected: length, got: received }.into());
        }
        Ok(())
    }

    /// Receives the member's shard, unchecked except for its length.
    pub async fn shard(
        &mut self,
        digest: BatchDigest,
        length: usize,
        progress: &AtomicU64,
    ) -> Result<Bytes, MemberFault> {
        let mut shard = BytesMut::new();
        self.stream_shard(digest, length, progress, |piece| {
            // Memory grows with what arrives, so that a member that sends nothing costs none.
            shard.extend_from_slice(&piece);
            Ok(())
        })
        .await?;
        Ok(shard.freeze())
    }
}

impl Patience {
    async fn within<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, MemberFault> {
        match timeout(self.answer, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(MemberFault::from_status(&status)),
            Err(_) => Err(MemberFault::TimedOut { what, limit: self.answer }),
        }
    }
}

/// Refuses an answer for another seat than the registry gives the member.
pub(crate) fn check_seat(expected: Seat, got: u32) -> Result<(), MemberFault> {
    let got = wire::seat("seat", got)?;
    if got == expected { Ok(()) } else { Err(MemberFault::OtherSeat { expected, got }) }
}

fn received_chunk(chunk: v1::Chunk) -> Result<ReceivedChunk, MemberFault> {
    let max = dac_coding::ChunkProof::MAX_NODES;
    if chunk.data.len() > CHUNK_BYTES {
        return Err(MemberFault::Piece { got: chunk.data.len(), max: CHUNK_BYTES });
    }
    Ok(ReceivedChunk {
        index: chunk.index as usize,
        proof: dac_coding::ChunkProof {
            chunk_path: wire::hashes("chunk.chunk_path", &chunk.chunk_path, max)?,
            shard_path: wire::hashes("chunk.shard_path", &chunk.shard_path, max)?,
        },
        bytes: chunk.data,
    })
}

fn digest_bytes(digest: BatchDigest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}
