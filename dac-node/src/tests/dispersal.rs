//! StoreShard when all goes well, and when the same delivery comes twice.

use dac_coding::testing::all;
use dac_types::HashKind;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::store::CommitFault;
use crate::testing::Wish;

#[tokio::test]
async fn both_modes_store_and_sign() {
    let member = Member::start().await;
    let kinds = [HashKind::Opaque, HashKind::Keccak256, HashKind::Sha256];
    for (seed, (kind, length)) in (1..).zip(kinds.into_iter().flat_map(|kind| [(kind, 1), (kind, LARGE)])) {
        let wish = Wish { batch_number: seed, hash_kind: kind, ..Wish::default() };
        let batch = member.world.batch_with(seed, length, &wish);
        let attestation = member.put(&batch).await.unwrap();
        member.assert_signed(&attestation, &batch);
        assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT), "{kind:?}, {length}");
    }
    assert_eq!(member.node.context().uploads.bytes(), 0);
}

#[tokio::test]
async fn a_repeated_delivery_is_answered_after_open() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let first = member.put(&batch).await.unwrap();
    assert_eq!(member.put(&batch).await.unwrap(), first);
    // The first message is answered without a single piece, on a stream that stays open.
    let (sender, receiver) = mpsc::channel(1);
    sender.send(opening(batch.open(&member.world, SEAT))).await.unwrap();
    assert_eq!(member.send(ReceiverStream::new(receiver)).await.unwrap(), first);
    drop(sender);
    // It does not matter either that the order has run out, that the epoch is over, or that the
    // registry is paused.
    member.clock.advance(700);
    let mut view = member.world.view();
    view.paused = true;
    view.rollups.clear();
    view.committees.insert(2, Arc::new(member.world.committee(2, NOW - 1000, NOW - 1)));
    member.registry.publish(view);
    assert_eq!(member.put(&batch).await.unwrap(), first);
    let member = member.restart().await;
    assert_eq!(member.put(&batch).await.unwrap(), first);
}

#[tokio::test]
async fn deliveries_of_one_batch_race_and_all_get_the_attestation() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let results = join_all((0..6).map(|_| member.put(&batch))).await;
    for result in results {
        member.assert_signed(&result.unwrap(), &batch);
    }
    assert_eq!(member.store.totals().await.unwrap().batches, 1);
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing_and_can_be_repeated() {
    let _counted = dac_measure::counted!(Cancelled, 1);
    let member = Member::start().await;
    let batch = member.world.batch(1, 9_000_000);
    let (sender, receiver) = mpsc::channel(1);
    let mut client = member.dispersal().await;
    let call = tokio::spawn(async move { client.store_shard(ReceiverStream::new(receiver)).await });
    let all = messages(batch.open(&member.world, SEAT), &batch.body(SEAT));
    let most = all.len() - 1;
    for message in all.into_iter().take(most) {
        sender.send(message).await.unwrap();
    }
    // Some of it is in the database by now, or will be in a moment.
    let staged = async {
        while member.store.staged_uploads().await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, staged).await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let gone = async {
        while member.store.staged_uploads().await > 0 || member.node.context().uploads.bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is cleaned up");
    member.assert_not_stored(&batch).await;
    assert_eq!(member.store.stored_rows().await, 0);
    member.put(&batch).await.unwrap();
}

#[tokio::test]
async fn malicious_dispersers_get_signatures_of_nobody_they_cheat() {
    let member = Member::start().await;
    for (number, dispersal) in (1..).zip(all(member.world.geometry()).unwrap()) {
        let name = dispersal.name;
        let passes = dispersal.seats_that_pass.contains(&SEAT);
        let batch = member.world.sign(dispersal, &Wish { batch_number: number, ..Wish::default() });
        match member.put(&batch).await {
            Ok(attestation) => {
                assert!(passes, "{name} was signed");
                member.assert_signed(&attestation, &batch);
            }
            Err(status) => {
                let reason = Reason::of(&status);
                assert!(!passes, "{name}: {status:?}");
                assert!(matches!(reason, Some(Reason::BadShard | Reason::BadRecord)), "{name}: {status:?}");
                member.assert_not_stored(&batch).await;
            }
        }
    }
    assert_eq!(member.store.totals().await.unwrap().batches, member.store.stored_rows().await);
}

#[tokio::test]
async fn a_certificate_lets_a_straggler_in_and_is_served() {
    let member = Member::start().await;
    // Epoch 1 is over, the order has run out, the rollup is no longer admitted, and the registry is
    // paused, but a quorum signed the batch.
    let wish = Wish { epoch: 1, submit_before: NOW - 500, ..Wish::default() };
    let mut late = member.world.batch_with(1, LARGE, &wish);
    assert_reason(member.put(&late).await, Reason::EpochNotActive);
    late.certificate = Some(member.world.certify(&late));
    let mut view = member.world.view();
    view.rollups.clear();
    view.paused = true;
    member.registry.publish(view);
    member.assert_signed(&member.put(&late).await.unwrap(), &late);

    // A batch that was stored before the certificate existed gets the certificate added.
    member.registry.publish(member.world.view());
    let mut batch = member.world.batch(2, 1000);
    let first = member.put(&batch).await.unwrap();
    let request = || v1::GetBatchRecordRequest { digest: digest(&batch) };
    let response = member.retrieval().await.get_batch_record(request()).await.unwrap().into_inner();
    assert_eq!(response.record.unwrap().certificate, None);
    let certificate = member.world.certify(&batch);
    let request = request();
    batch.certificate = Some(certificate.clone());
    assert_eq!(member.put(&batch).await.unwrap(), first);
    let response = member.retrieval().await.get_batch_record(request).await.unwrap().into_inner();
    assert_eq!(response.record.unwrap().certificate, Some((&certificate).into()));
}

#[tokio::test]
async fn a_certificate_alone_is_taken_without_a_signature() {
    let member = Member::start().await;
    let mut batch = member.world.batch(1, 1000);
    let bring = async |batch: &Batch| {
        let open = v1::StoreShardOpen { certificate_only: true, ..batch.open(&member.world, member.seat) };
        let response =
            member.dispersal().await.store_shard(stream::iter(messages(open, &bytes::Bytes::new()))).await?;
        Ok::<_, tonic::Status>(response.into_inner().attestation)
    };
    assert_reason(bring(&batch).await, Reason::MalformedRequest);
    batch.certificate = Some(member.world.certify(&batch));
    assert_reason(bring(&batch).await, Reason::UnknownBatch);
    member.assert_not_stored(&batch).await;
    let certificate = batch.certificate.take();
    member.put(&batch).await.unwrap();
    // This certificate is one of another batch.
    let other = member.world.batch(2, 1000);
    batch.certificate = Some(member.world.certify(&other));
    assert_reason(bring(&batch).await, Reason::BadCertificate);
    batch.certificate = certificate;
    for _ in 0..2 {
        assert_eq!(bring(&batch).await.unwrap(), None);
    }
    let request = v1::GetBatchRecordRequest { digest: digest(&batch) };
    let response = member.retrieval().await.get_batch_record(request).await.unwrap().into_inner();
    assert_eq!(response.record.unwrap().certificate, batch.certificate.as_ref().map(Into::into));
}

#[tokio::test]
async fn nothing_is_signed_that_was_not_committed() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    member.store.fail_next_commit(CommitFault::NotPersisted);
    assert_reason(member.put(&batch).await, Reason::StorageFailed);
    member.assert_not_stored(&batch).await;
    member.store.fail_next_commit(CommitFault::AnswerLost);
    let attestation = member.put(&batch).await.unwrap();
    member.assert_signed(&attestation, &batch);
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}

#[tokio::test]
async fn what_was_stored_outlives_the_process() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let first = member.put(&batch).await.unwrap();
    let member = member.restart().await;
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
    assert_eq!(member.put(&batch).await.unwrap(), first);
}

/// sqlx issue 4385: a BEGIN whose caller went away leaves its connection in a transaction without
/// anyone's knowledge, and what the next caller writes on it is acknowledged and lost. Calls are
/// cut off at every stage while others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_signed_is_lost_while_other_calls_are_cut_off() {
    const CALLS: u64 = 60;
    let member = Arc::new(Member::start().await);
    let calls = (1..=CALLS).map(|seed| {
        let member = Arc::clone(&member);
        tokio::spawn(async move {
            let batch = member.world.batch(seed, if seed % 3 == 0 { 1_200_000 } else { 2000 });
            let patience = Duration::from_millis(seed % 30 * 4);
            let cut_off = seed % 2 == 0;
            let answer = async {
                let call = member.put(&batch);
                if cut_off { tokio::time::timeout(patience, call).await.ok() } else { Some(call.await) }
            };
            let attestation = answer.await.map(Result::unwrap);
            (batch, attestation)
        })
    });
    let outcomes = join_all(calls).await;
    let member = Arc::into_inner(member).unwrap().restart().await;
    let (mut signed, mut cut_off) = (0, 0);
    for outcome in outcomes {
        let (batch, attestation) = outcome.unwrap();
        match attestation {
            Some(attestation) => {
                member.assert_signed(&attestation, &batch);
                assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
                signed += 1;
            }
            None => cut_off += 1,
        }
    }
    assert!(signed >= CALLS / 2 && cut_off > 0, "{signed} signed, {cut_off} cut off");
}
