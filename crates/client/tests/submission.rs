//! Submissions to aggregators that are busy, restart, or answer falsely.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use dac_client::{
    AggregatorClient, AggregatorError, BatchSelector, BatchState, Dialer, EndpointPolicy, SignedProof,
    SubmissionBuilder, SubmitOptions, SubmitProgress, check_certified_payload,
};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::batch_service_server::{BatchService, BatchServiceServer};
use dac_types::{
    Address, B256, BatchDigest, BatchHeader, Domain, Geometry, HashKind, PostingMode, SignedSubmission,
    Transition,
};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

const DOMAIN: Domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };

/// The aggregator's answer to the next submission.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// It reads the whole payload, compares it and takes it.
    Take,
    /// It answers once it has read the order, because it has the batch already.
    TakeAtOnce,
    Refuse(Reason),
    /// It closes the connection without an answer.
    Abort,
    /// It answers about another batch.
    OtherBatch,
    /// Its answer has no state.
    Junk,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// The states for WatchBatch: each inner list is one stream, which breaks at its end.
    watches: VecDeque<Vec<v1::BatchState>>,
    state: v1::BatchState,
    payloads: Vec<Vec<u8>>,
    postings: Vec<v1::PostingMode>,
    proofs: Vec<v1::SubmitValidityProofRequest>,
    /// The proof that GetBatch and WatchBatch report.
    proof: Option<v1::Proof>,
    posting: v1::PostingMode,
    polls: usize,
}

#[derive(Clone, Default)]
struct FakeAggregator(Arc<Mutex<Script>>);

fn batch(open: Option<&v1::SubmitBatchOpen>, digest: B256, state: v1::BatchState) -> v1::Batch {
    let submission = open.and_then(|open| open.submission.clone()).and_then(|signed| signed.submission);
    v1::Batch {
        submission_digest: Bytes::copy_from_slice(digest.as_slice()),
        submission: Some(submission.unwrap_or_else(|| (&signed(b"payload").submission).into())),
        state: state as i32,
        failure: if state == v1::BatchState::Failed { "no\x1bquorum".to_owned() } else { String::new() },
        ..v1::Batch::default()
    }
}

#[tonic::async_trait]
impl BatchService for FakeAggregator {
    type WatchBatchStream = BoxStream<'static, Result<v1::WatchBatchResponse, Status>>;

    async fn submit_batch(
        &self,
        request: Request<Streaming<v1::SubmitBatchRequest>>,
    ) -> Result<Response<v1::SubmitBatchResponse>, Status> {
        let mut stream = request.into_inner();
        let answer = self.0.lock().unwrap().answers.pop_front().unwrap_or(Answer::Take);
        let Some(v1::submit_batch_request::Message::Open(open)) = stream.message().await?.unwrap().message
        else {
            panic!("the first message is open");
        };
        self.0.lock().unwrap().postings.push(open.posting());
        let order: SignedSubmission = open.submission.clone().unwrap().try_into().unwrap();
        let digest = order.submission.digest(&DOMAIN);
        let good = batch(Some(&open), digest, v1::BatchState::Received);
        let batch = match answer {
            Answer::Refuse(reason) => return Err(reason.status("because")),
            Answer::Abort => return Err(Status::unavailable("gone")),
            Answer::TakeAtOnce => good,
            Answer::OtherBatch => batch(Some(&open), B256::repeat_byte(9), v1::BatchState::Received),
            Answer::Junk => v1::Batch { state: 99, ..good },
            Answer::Take => {
                let mut payload = Vec::new();
                while let Some(message) = stream.message().await? {
                    let Some(v1::submit_batch_request::Message::Piece(piece)) = message.message else {
                        panic!("all later messages are pieces");
                    };
                    assert!((1..=256 << 10).contains(&piece.len()));
                    payload.extend_from_slice(&piece);
                }
                self.0.lock().unwrap().payloads.push(payload);
                good
            }
        };
        Ok(Response::new(v1::SubmitBatchResponse { batch: Some(batch) }))
    }

    async fn submit_validity_proof(
        &self,
        request: Request<v1::SubmitValidityProofRequest>,
    ) -> Result<Response<v1::SubmitValidityProofResponse>, Status> {
        let request = request.into_inner();
        let digest = signed(b"payload").submission.digest(&DOMAIN);
        let mut batch = batch(None, digest, v1::BatchState::Certified);
        let by = request.batch.clone().unwrap().by.unwrap();
        let mut script = self.0.lock().unwrap();
        match (script.answers.pop_front(), by) {
            (Some(Answer::Refuse(reason)), _) => return Err(reason.status("because")),
            (Some(Answer::OtherBatch), _) => batch.digest = vec![9; 32].into(),
            (_, v1::batch_selector::By::Digest(digest)) => batch.digest = digest,
            (_, by) => panic!("a proof is for a batch's own digest, not for {by:?}"),
        }
        script.proofs.push(request);
        Ok(Response::new(v1::SubmitValidityProofResponse { batch: Some(batch) }))
    }

    async fn get_batch(
        &self,
        _: Request<v1::GetBatchRequest>,
    ) -> Result<Response<v1::GetBatchResponse>, Status> {
        let mut script = self.0.lock().unwrap();
        script.polls += 1;
        let digest = signed(b"payload").submission.digest(&DOMAIN);
        let batch = v1::Batch {
            proof: script.proof.clone(),
            posting: script.posting.into(),
            ..batch(None, digest, script.state)
        };
        Ok(Response::new(v1::GetBatchResponse { batch: Some(batch) }))
    }

    async fn watch_batch(
        &self,
        _: Request<v1::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        let states = self.0.lock().unwrap().watches.pop_front();
        let Some(states) = states else { return Err(Status::unimplemented("no streams here")) };
        let digest = signed(b"payload").submission.digest(&DOMAIN);
        let seen = stream::iter(states)
            .map(move |state| Ok(v1::WatchBatchResponse { batch: Some(batch(None, digest, state)) }));
        let broken = stream::iter([Err(Status::unavailable("restarting"))]);
        Ok(Response::new(seen.chain(broken).boxed()))
    }

    async fn list_batches(
        &self,
        _: Request<v1::ListBatchesRequest>,
    ) -> Result<Response<v1::ListBatchesResponse>, Status> {
        Ok(Response::new(v1::ListBatchesResponse::default()))
    }

    async fn get_certificate(
        &self,
        _: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::GetCertificateResponse>, Status> {
        Err(Reason::NotCertified.status("not yet"))
    }
}

async fn start(script: Script) -> (FakeAggregator, AggregatorClient) {
    let aggregator = FakeAggregator(Arc::new(Mutex::new(script)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = BatchServiceServer::new(aggregator.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (aggregator, AggregatorClient::new(url.parse().unwrap(), Dialer::new(EndpointPolicy::AllowPrivate)))
}

fn signed(payload: &[u8]) -> SignedSubmission {
    let mut signature = [1; 65];
    signature[64] = 27;
    SubmissionBuilder::new(DOMAIN, Address::repeat_byte(2), 3, Address::repeat_byte(4), 1_000)
        .sign(payload, |_| Ok::<_, String>(signature))
        .unwrap()
}

async fn submit(
    answers: &[Answer],
    payload: &Bytes,
) -> (Result<BatchState, AggregatorError>, FakeAggregator, usize) {
    let (aggregator, client) =
        start(Script { answers: answers.iter().copied().collect(), ..Script::default() }).await;
    let mut retries = 0;
    let outcome = client
        .submit(&DOMAIN, &signed(payload), payload, SubmitOptions::default(), |progress| {
            retries += usize::from(matches!(progress, SubmitProgress::Retrying { .. }));
        })
        .await;
    (outcome.map(|status| status.state), aggregator, retries)
}

#[tokio::test]
async fn a_payload_arrives_whole_after_passing_failures() {
    let payload = Bytes::from((0..700_001_u32).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<u8>>());
    let answers =
        [Answer::Refuse(Reason::Busy), Answer::Abort, Answer::Refuse(Reason::L1Stale), Answer::Take];
    let (outcome, aggregator, retries) = submit(&answers, &payload).await;
    assert_eq!(outcome.unwrap(), BatchState::Received);
    assert_eq!(retries, 3);
    assert_eq!(aggregator.0.lock().unwrap().payloads, [payload.to_vec()]);
}

#[tokio::test]
async fn an_aggregator_that_has_the_batch_answers_at_once() {
    // The payload is larger than the connection's windows, and the aggregator does not read it.
    let payload = Bytes::from(vec![7; 8 << 20]);
    let (outcome, _, retries) = submit(&[Answer::TakeAtOnce], &payload).await;
    assert_eq!(outcome.unwrap(), BatchState::Received);
    assert_eq!(retries, 0);
}

#[tokio::test]
async fn what_lasts_is_not_repeated() {
    let payload = Bytes::from_static(b"payload");
    for reason in [Reason::ConflictingBatch, Reason::WrongPoster, Reason::WrongDomain, Reason::QuotaExceeded]
    {
        let (outcome, _, retries) = submit(&[Answer::Refuse(reason), Answer::Take], &payload).await;
        assert_eq!(outcome.unwrap_err().reason(), Some(reason));
        assert_eq!(retries, 0, "{reason}");
    }
    let (outcome, _, _) = submit(&[Answer::OtherBatch], &payload).await;
    assert!(matches!(outcome, Err(AggregatorError::OtherBatch { .. })));
    let (outcome, _, _) = submit(&[Answer::Junk], &payload).await;
    assert!(matches!(outcome, Err(AggregatorError::Junk(_))));
}

#[tokio::test]
async fn a_submission_of_another_payload_is_not_sent() {
    let (aggregator, client) = start(Script::default()).await;
    let other = Bytes::from_static(b"another");
    let outcome = client.submit(&DOMAIN, &signed(b"payload"), &other, SubmitOptions::default(), |_| {}).await;
    assert!(matches!(outcome, Err(AggregatorError::Submission(_))));
    assert!(aggregator.0.lock().unwrap().payloads.is_empty());
}

async fn wait(
    script: Script,
    goal: BatchState,
    limit: Duration,
) -> (Result<BatchState, AggregatorError>, Vec<BatchState>, usize) {
    let (aggregator, client) = start(script).await;
    let selector = BatchSelector::Submission(signed(b"payload").submission.digest(&DOMAIN));
    let mut seen = Vec::new();
    let outcome = client.wait(selector, goal, limit, |status| seen.push(status.state)).await;
    let polls = aggregator.0.lock().unwrap().polls;
    (outcome.map(|status| status.state), seen, polls)
}

#[tokio::test]
async fn watching_survives_restarts_and_tells_every_change_once() {
    use v1::BatchState as Wire;
    let script = Script {
        watches: VecDeque::from([
            vec![Wire::Received, Wire::Received, Wire::Dispersing],
            vec![Wire::Dispersing],
            vec![Wire::Dispersing, Wire::Certified, Wire::Posted],
        ]),
        state: Wire::Dispersing,
        ..Script::default()
    };
    let (outcome, seen, _) = wait(script, BatchState::Certified, Duration::from_secs(120)).await;
    assert_eq!(outcome.unwrap(), BatchState::Certified);
    assert_eq!(seen, [BatchState::Received, BatchState::Dispersing, BatchState::Certified]);
}

#[tokio::test]
async fn without_streams_it_is_asked_again_and_again() {
    let script = Script { state: v1::BatchState::Posted, ..Script::default() };
    let (outcome, _, polls) = wait(script, BatchState::Posted, Duration::from_secs(120)).await;
    assert_eq!(outcome.unwrap(), BatchState::Posted);
    assert_eq!(polls, 1);
}

#[tokio::test]
async fn a_proof_waits_for_its_turn_and_lasting_refusals_end_it() {
    let transition =
        Transition { new_state_root: B256::repeat_byte(1), inputs_consumed: 3, outputs: B256::ZERO };
    let digest = BatchDigest(B256::repeat_byte(8));
    let mut signature = [1; 65];
    signature[64] = 27;
    let proof =
        SignedProof::sign(&DOMAIN, digest, transition, vec![7; 256].into(), |_| Ok::<_, String>(signature))
            .unwrap();
    let answers = VecDeque::from([Answer::Refuse(Reason::NotEncoded), Answer::Take]);
    let (aggregator, client) = start(Script { answers, ..Script::default() }).await;
    let status = client.submit_proof(&proof, SubmitOptions::default()).await.unwrap();
    assert_eq!(status.digest, Some(digest));
    assert_eq!(aggregator.0.lock().unwrap().proofs[0].proof, vec![7; 256]);
    for (answer, reason) in [
        (Answer::Refuse(Reason::ConflictingProof), Some(Reason::ConflictingProof)),
        (Answer::Refuse(Reason::BatchEnded), Some(Reason::BatchEnded)),
        (Answer::OtherBatch, None),
    ] {
        let (_, client) =
            start(Script { answers: VecDeque::from([answer, Answer::Take]), ..Script::default() }).await;
        let error = client.submit_proof(&proof, SubmitOptions::default()).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[tokio::test]
async fn what_is_recorded_only_is_not_proved_and_a_rejected_proof_ends_waiting() {
    let second = Duration::from_millis(1200);
    let recorded = || Script { state: v1::BatchState::Posted, ..Script::default() };
    let (outcome, _, _) = wait(recorded(), BatchState::Proved, second).await;
    assert!(matches!(outcome, Err(AggregatorError::Waiting { .. })), "{outcome:?}");
    let settling = Script { posting: v1::PostingMode::Settle, ..recorded() };
    assert_eq!(wait(settling, BatchState::Proved, second).await.0.unwrap(), BatchState::Posted);
    let proof = v1::Proof {
        state: v1::ProofState::Rejected.into(),
        reason: "no\x1bproof".to_owned(),
        proof_hash: vec![1; 32].into(),
        new_state_root: vec![2; 32].into(),
        outputs: vec![3; 32].into(),
        ..v1::Proof::default()
    };
    let rejected = Script { state: v1::BatchState::Certified, proof: Some(proof), ..Script::default() };
    let error = wait(rejected, BatchState::Settled, Duration::from_secs(60)).await.0.unwrap_err();
    assert!(
        matches!(&error, AggregatorError::ProofRejected { reason } if !reason.contains('\x1b')),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_posting_mode_travels_with_the_submission() {
    let payload = Bytes::from_static(b"payload");
    let (aggregator, client) = start(Script::default()).await;
    for posting in [PostingMode::Record, PostingMode::Settle] {
        let options = SubmitOptions { posting, ..SubmitOptions::default() };
        client.submit(&DOMAIN, &signed(&payload), &payload, options, |_| {}).await.unwrap();
    }
    assert_eq!(aggregator.0.lock().unwrap().postings, [v1::PostingMode::Record, v1::PostingMode::Settle]);
}

#[tokio::test]
async fn waiting_ends_with_the_batch_or_with_time() {
    let script = Script { state: v1::BatchState::Failed, ..Script::default() };
    let (outcome, _, _) = wait(script, BatchState::Certified, Duration::from_secs(120)).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, AggregatorError::Ended { state: BatchState::Failed, .. }));
    assert!(!error.to_string().contains('\x1b'), "{error:?}");

    let script = Script { state: v1::BatchState::Dispersing, ..Script::default() };
    let (outcome, _, _) = wait(script, BatchState::Certified, Duration::from_millis(1200)).await;
    assert!(matches!(outcome, Err(AggregatorError::Waiting { .. })));
}

#[test]
fn a_certificate_for_other_bytes_is_found_out() {
    let geometry = Geometry::new(4, 2).unwrap();
    let payload = Bytes::from_static(b"the payload that was submitted");
    let own = B256::repeat_byte(5);
    let order = SubmissionBuilder::new(DOMAIN, Address::repeat_byte(2), 3, Address::repeat_byte(4), 1_000)
        .hash_kind(HashKind::Opaque)
        .batch_hash(own);
    let mut signature = [1; 65];
    signature[64] = 27;
    let order = order.sign(&payload, |_| Ok::<_, String>(signature)).unwrap().submission;
    let header_of = |payload: &Bytes| {
        let dispersal = dac_coding::testing::honest(geometry, payload.clone(), own).unwrap();
        let mut header = BatchHeader {
            rollup: order.rollup,
            batch_number: order.batch_number,
            epoch: 1,
            expires_at: order.expires_at,
            payload_length: 0,
            hash_kind: order.hash_kind,
            batch_hash: own,
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: Vec::new(),
        };
        dispersal.fill(&mut header);
        header
    };
    let good = header_of(&payload);
    assert_eq!(check_certified_payload(&good, geometry, &order, &payload), Ok(()));
    let swapped = header_of(&Bytes::from_static(b"the payload that was swapped in"[..30].as_ref()));
    assert!(check_certified_payload(&swapped, geometry, &order, &payload).is_err());
    let later = BatchHeader { expires_at: good.expires_at + 1, ..good };
    assert!(check_certified_payload(&later, geometry, &order, &payload).is_err());
}
