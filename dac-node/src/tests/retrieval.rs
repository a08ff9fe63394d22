//! Retrieval: what is served is right, what is damaged is not served, and no client gets more than
//! its share.

use dac_coding::ChunkProof;
use dac_proto::wire;
use dac_runtime::grpc::tonic_health;
use dac_types::Geometry;
use dac_types::limits::{CHUNKS_PER_CALL_MAX, STORED_ROW_BYTES};

use super::*;
use crate::node::Addresses;
use crate::retain::Times;
use crate::store::BadSeat;
use crate::testing::Wish;

#[tokio::test]
async fn records_come_back_whole() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    member.put(&batch).await.unwrap();
    let request = v1::GetBatchRecordRequest { digest: digest(&batch) };
    let response = member.retrieval().await.get_batch_record(request).await.unwrap().into_inner();
    assert_eq!(response.seat, u32::from(SEAT.0));
    let record = wire::record(response.record.unwrap(), member.world.geometry()).unwrap();
    assert_eq!(record, batch.record(SEAT));
}

#[tokio::test]
async fn chunks_come_with_proofs() {
    let member = Member::start().await;
    for (seed, length) in [(1, 1), (2, LARGE)] {
        let batch = member.world.batch(seed, length);
        member.put(&batch).await.unwrap();
        let count = Geometry::chunk_count(batch.shard(SEAT).len());
        let last = u32::try_from(count - 1).unwrap();
        // The chunks come in the order in which they were asked for.
        let mut indices = vec![last, 0, last / 2];
        indices.dedup();
        indices.truncate(count);
        let request = v1::GetChunksRequest { digest: digest(&batch), indices: indices.clone() };
        let response = member.retrieval().await.get_chunks(request).await.unwrap().into_inner();
        assert_eq!(response.seat, u32::from(SEAT.0));
        assert_eq!(response.chunks.iter().map(|chunk| chunk.index).collect::<Vec<_>>(), indices);
        for chunk in response.chunks {
            let proof = ChunkProof {
                chunk_path: wire::hashes("chunk_path", &chunk.chunk_path, ChunkProof::MAX_NODES).unwrap(),
                shard_path: wire::hashes("shard_path", &chunk.shard_path, ChunkProof::MAX_NODES).unwrap(),
            };
            let index = usize::try_from(chunk.index).unwrap();
            proof.check(&batch.header, member.world.geometry(), SEAT, index, &chunk.data).unwrap();
        }
        // A request cannot ask for the same chunk twice.
        let request = v1::GetChunksRequest { digest: digest(&batch), indices: vec![0, last, 0] };
        assert_reason(member.retrieval().await.get_chunks(request).await, Reason::MalformedRequest);
    }
}

#[tokio::test]
async fn the_largest_answer_fits_a_message() {
    let member = Member::start().await;
    let batch = member.world.batch(1, 40_000_000);
    member.put(&batch).await.unwrap();
    let indices = (0..u32::try_from(CHUNKS_PER_CALL_MAX).unwrap()).collect();
    let request = v1::GetChunksRequest { digest: digest(&batch), indices };
    let response = member.retrieval().await.get_chunks(request).await.unwrap().into_inner();
    assert_eq!(response.chunks.len(), CHUNKS_PER_CALL_MAX);
}

#[tokio::test]
async fn bad_requests_get_their_reasons() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    member.put(&batch).await.unwrap();
    let count = u32::try_from(Geometry::chunk_count(batch.shard(SEAT).len())).unwrap();
    let mut client = member.retrieval().await;
    let unknown = Bytes::from_static(&[7; 32]);
    for (digest, reason) in
        [(unknown, Reason::UnknownBatch), (Bytes::from_static(&[7; 31]), Reason::MalformedRequest)]
    {
        let request = v1::GetBatchRecordRequest { digest: digest.clone() };
        assert_reason(client.get_batch_record(request).await, reason);
        let request = v1::GetShardRequest { digest: digest.clone() };
        assert_reason(client.get_shard(request).await.map(|_| ()), reason);
        let request = v1::GetChunksRequest { digest, indices: vec![0] };
        assert_reason(client.get_chunks(request).await, reason);
    }
    for (indices, reason) in [
        (vec![], Reason::MalformedRequest),
        (vec![0; CHUNKS_PER_CALL_MAX + 1], Reason::TooManyChunks),
        (vec![0, count], Reason::NoSuchChunk),
        (vec![u32::MAX], Reason::NoSuchChunk),
    ] {
        let request = v1::GetChunksRequest { digest: digest(&batch), indices };
        assert_reason(client.get_chunks(request).await, reason);
    }
    for (rollup, token) in [(vec![1; 19], ""), (vec![], "junk"), (vec![], "ffffffffffffffff")] {
        let request = v1::ListStoredBatchesRequest {
            rollup: rollup.into(),
            page_size: 1,
            page_token: token.to_owned(),
        };
        assert_reason(client.list_batches(request).await, Reason::MalformedRequest);
    }
}

#[tokio::test]
async fn requests_are_small() {
    let member = Member::start().await;
    let large = Bytes::from(vec![7; 64 << 10]);
    let request = v1::GetBatchRecordRequest { digest: large.clone() };
    let status = member.retrieval().await.get_batch_record(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange, "{status:?}");
    let Addresses { dispersal, retrieval, .. } = member.node.addresses();
    let dispersal = dispersal.unwrap();
    for address in [dispersal, retrieval] {
        let mut health = tonic_health::pb::health_client::HealthClient::new(member.channel(address).await);
        let service = "x".repeat(64 << 10);
        let request = tonic_health::pb::HealthCheckRequest { service };
        let status = health.check(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::OutOfRange, "{status:?}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up() {
    const SHORT: Duration = Duration::from_millis(200);
    let mut config = Config::default();
    (config.settings.call_timeout, config.settings.upload_timeout) = (SHORT, SHORT);
    let member = Member::start_with(config).await;
    let Addresses { dispersal, retrieval, .. } = member.node.addresses();
    let dispersal = dispersal.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::GetMemberRequest, v1::GetMemberResponse>::default;
    for (address, path) in [
        (retrieval, "/dac.v1.RetrievalService/GetBatchRecord"),
        (retrieval, "/dac.v1.RetrievalService/GetShard"),
        (retrieval, "/dac.v1.MemberService/GetMember"),
        (dispersal, "/dac.v1.MemberService/GetMember"),
    ] {
        let mut client = tonic::client::Grpc::new(member.channel(address).await);
        client.ready().await.unwrap();
        let request = tonic::Request::new(stream::pending::<v1::GetMemberRequest>());
        let call = client.client_streaming(request, path.parse().unwrap(), codec());
        let answer = tokio::time::timeout(PATIENCE, call).await.expect("an answer");
        let status = answer.map(|_| ()).unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::TimedOut), "{path}: {status:?}");
    }
}

#[tokio::test]
async fn listings_come_in_pages() {
    let member = Member::start().await;
    let mut expected = Vec::new();
    for seed in 1..=5 {
        let batch = member.world.batch(seed, 100);
        member.put(&batch).await.unwrap();
        expected.push(digest(&batch));
    }
    for (page_size, pages) in [(2, 3), (5, 1), (0, 1), (u32::MAX, 1)] {
        let (mut listed, mut token, mut count) = (Vec::new(), String::new(), 0);
        loop {
            let request = v1::ListStoredBatchesRequest { rollup: Bytes::new(), page_size, page_token: token };
            let page = member.retrieval().await.list_batches(request).await.unwrap().into_inner();
            listed.extend(page.batches.into_iter().map(|batch| batch.digest));
            count += 1;
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((listed, count), (expected.clone(), pages));
    }
}

#[tokio::test]
async fn damaged_shards_are_never_served() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    member.put(&batch).await.unwrap();
    let chunks = async |index: u32| {
        let request = v1::GetChunksRequest { digest: digest(&batch), indices: vec![index] };
        member.retrieval().await.get_chunks(request).await.map(|_| ())
    };
    let second_row = u32::try_from(STORED_ROW_BYTES / 4096).unwrap();

    // The second row gets the bytes of the first.
    member.store.damage("UPDATE shard_rows SET data = (SELECT data FROM shard_rows WHERE row_index = 0) WHERE row_index = 1").await;
    let request = v1::GetShardRequest { digest: digest(&batch) };
    let mut shard = member.retrieval().await.get_shard(request).await.unwrap().into_inner();
    let first = shard.message().await.unwrap().unwrap().piece;
    assert_eq!(first, batch.shard(SEAT).slice(..STORED_ROW_BYTES), "the first row is intact");
    assert_reason(shard.message().await, Reason::Corrupt);
    chunks(0).await.unwrap();
    assert_reason(chunks(second_row).await, Reason::Corrupt);

    member.store.damage("DELETE FROM shard_rows WHERE row_index = 1").await;
    assert_reason(member.get_shard(&batch).await, Reason::Corrupt);
    assert_reason(chunks(second_row).await, Reason::Corrupt);

    member.store.damage("UPDATE shard_trees SET leaf_hashes = substr(leaf_hashes, 33)").await;
    let request = v1::GetShardRequest { digest: digest(&batch) };
    assert_reason(member.retrieval().await.get_shard(request).await.map(|_| ()), Reason::Corrupt);
    assert_reason(chunks(0).await, Reason::Corrupt);

    let request = || v1::GetBatchRecordRequest { digest: digest(&batch) };
    member.retrieval().await.get_batch_record(request()).await.unwrap();
    member.store.damage("UPDATE records SET record = substr(record, 1, 500)").await;
    assert_reason(member.retrieval().await.get_batch_record(request()).await, Reason::Corrupt);
    // The member does not sign for it again either.
    assert_reason(member.put(&batch).await, Reason::Corrupt);
}

#[tokio::test]
async fn nobody_gets_more_than_its_share() {
    let mut config = Config::default();
    config.clients.requests_per_second = 0.001;
    config.clients.request_burst = 3.0;
    let member = Member::start_with(config).await;
    let batch = member.world.batch(1, 1000);
    member.put(&batch).await.unwrap();
    let request = || v1::GetBatchRecordRequest { digest: digest(&batch) };
    let mut client = member.retrieval().await;
    for _ in 0..3 {
        client.get_batch_record(request()).await.unwrap();
    }
    assert_reason(client.get_batch_record(request()).await, Reason::RateLimited);
    // A second connection from the same address shares the same bucket; dispersal is not affected.
    assert_reason(member.retrieval().await.get_batch_record(request()).await, Reason::RateLimited);
    assert_reason(member.get_shard(&batch).await, Reason::RateLimited);
    assert_reason(member.members().await.get_member(v1::GetMemberRequest {}).await, Reason::RateLimited);
    member.put(&batch).await.unwrap();

    let mut config = Config::default();
    (config.clients.bytes_per_second, config.clients.byte_burst) = (1.0, 1000.0);
    let member = Member::start_with(config).await;
    let batch = member.world.batch(1, LARGE);
    member.put(&batch).await.unwrap();
    assert_eq!(
        member.get_shard(&batch).await.unwrap(),
        batch.shard(SEAT),
        "even a small share serves a shard"
    );
    assert_reason(member.get_shard(&batch).await, Reason::RateLimited);
}

#[tokio::test]
async fn batches_are_served_until_they_expire_and_then_deleted() {
    let _counted = dac_measure::counted!(Retention, 5);
    let member = Member::start().await;
    let batch = member.world.batch_with(1, LARGE, &Wish { expires_at: NOW + 100, ..Wish::default() });
    member.put(&batch).await.unwrap();
    let context = member.node.context();
    let retention = Retention { delete_expired: true, slack: Duration::from_secs(60), interval: PATIENCE };
    let stop = tokio_util::sync::CancellationToken::new();
    let times = Times {
        clock: Arc::clone(&context.clock),
        registry: context.registry.clone(),
        progress: Arc::clone(&context.progress),
    };
    let round = async || crate::retain::round(&context.store, &times, &retention, &stop).await.unwrap();
    let l1 = |now| {
        let mut view = member.world.view();
        view.head.timestamp = now;
        member.registry.publish(view);
    };
    // Both clocks must be past the expiry: neither a clock that runs ahead nor an L1 that does
    // deletes anything early.
    for (clock, block) in [(NOW + 160, NOW + 160), (NOW + 1_000_000, NOW + 160), (NOW + 160, NOW + 1_000_000)]
    {
        member.clock.set(clock);
        l1(block);
        assert_eq!(round().await, 0);
        assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
    }
    // L1's contracts were not read up to then, so there may be a renewal.
    member.clock.set(NOW + 161);
    assert_eq!(round().await, 0);
    member.l1.advance(101);
    member.until_read().await;
    assert_eq!(round().await, 1);
    assert_reason(member.get_shard(&batch).await, Reason::UnknownBatch);
    assert_eq!(member.store.stored_rows().await, 0);
}

#[tokio::test]
async fn without_l1_nothing_is_deleted() {
    let _counted = dac_measure::counted!(Retention, 1);
    let member = Member::start().await;
    let batch = member.world.batch_with(1, LARGE, &Wish { expires_at: NOW + 100, ..Wish::default() });
    member.put(&batch).await.unwrap();
    let (_publisher, silent) = dac_chain::RegistryPublisher::new();
    let progress = Arc::clone(&member.node.context().progress);
    let clock = Arc::new(dac_runtime::clock::ManualClock::at(u64::MAX));
    let times = Times { clock, registry: silent, progress };
    let retention = Retention { delete_expired: true, slack: Duration::ZERO, interval: PATIENCE };
    let stop = tokio_util::sync::CancellationToken::new();
    assert_eq!(
        crate::retain::round(&member.node.context().store, &times, &retention, &stop).await.unwrap(),
        0
    );
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}

#[tokio::test]
async fn what_is_damaged_is_marked_and_taken_again() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let first = member.put(&batch).await.unwrap();
    member.store.damage("DELETE FROM shard_rows WHERE row_index = 2").await;
    assert_reason(member.get_shard(&batch).await, Reason::Corrupt);
    assert!(member.store.find(batch.digest).await.unwrap().unwrap().is_corrupt);
    // Now the request is refused at once, before anything is sent.
    let request = v1::GetShardRequest { digest: digest(&batch) };
    assert_reason(member.retrieval().await.get_shard(request).await.map(|_| ()), Reason::Corrupt);
    // An attestation is given only when the batch is whole again.
    assert_eq!(member.put(&batch).await.unwrap(), first);
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
    assert_eq!(member.store.totals().await.unwrap().batches, 1);
}

#[tokio::test]
async fn a_bad_seat_serves_its_record_and_says_so() {
    let member = Member::start().await;
    let batch = member.world.batch(1, 1000);
    let record = batch.checked_record(SEAT);
    let bad = BadSeat { digest: batch.digest, seat: SEAT, found_at: NOW, record };
    member.store.add_bad_seat(bad).await.unwrap();
    let request = v1::GetBatchRecordRequest { digest: digest(&batch) };
    let response = member.retrieval().await.get_batch_record(request).await.unwrap().into_inner();
    let record = wire::record(response.record.unwrap(), member.world.geometry()).unwrap();
    assert_eq!((record, response.seat), (batch.record(SEAT), u32::from(SEAT.0)));
    assert_reason(member.get_shard(&batch).await, Reason::SeatBad);
    let request = v1::GetChunksRequest { digest: digest(&batch), indices: vec![0] };
    assert_reason(member.retrieval().await.get_chunks(request).await, Reason::SeatBad);
}
