//! Waiting for a batch that does not get on: people are told why, once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dac_proto::v1;
use dac_proto::v1::batch_service_server::{BatchService, BatchServiceServer};
use dac_types::{Address, B256, BatchSubmission, HashKind};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::{dac, expect};

const DIGEST: B256 = B256::repeat_byte(9);
const SPENT: &str =
    "4 of 4 members say: the rollup has spent 186 of 209 bytes of this day; 0 of 3 signatures are there";
const QUOTA: &str = "seats 0 to 3: QUOTA_EXCEEDED: the rollup has spent 186 of 209 bytes of this day";

/// An aggregator with one batch, which its members refuse for today.
struct HeldUp {
    /// Whether it says itself what the batch waits for: those of former versions do not.
    tells: bool,
}

/// After the first attempts of a batch it is the aggregator's turn to wait.
fn waiting(attempts: u32) -> v1::Waiting {
    let (reason, detail) = match attempts {
        ..5 => ("BUSY", format!("its turn to be encoded: {attempts} MiB go first")),
        5..10 => ("QUOTA_EXCEEDED", SPENT.to_owned()),
        _ => ("L1_STALE", String::new()),
    };
    v1::Waiting { reason: reason.to_owned(), detail, since_ms: 1_700_000_000_000 }
}

fn batch(attempts: u32) -> v1::Batch {
    let submission = BatchSubmission {
        rollup: Address::repeat_byte(1),
        batch_number: 2,
        payload_length: 1,
        expires_at: 4,
        hash_kind: HashKind::Opaque,
        batch_hash: B256::repeat_byte(5),
        replaces: B256::ZERO,
        disperser: Address::repeat_byte(6),
        submit_before: 7,
    };
    let member = |seat| v1::MemberOutcome {
        seat,
        state: v1::DeliveryState::Retrying.into(),
        attempts,
        reason: "QUOTA_EXCEEDED".to_owned(),
        detail: "the rollup has spent 186 of 209 bytes of this day".to_owned(),
        ..v1::MemberOutcome::default()
    };
    v1::Batch {
        submission_digest: Bytes::copy_from_slice(B256::repeat_byte(8).as_slice()),
        digest: Bytes::copy_from_slice(DIGEST.as_slice()),
        submission: Some((&submission).into()),
        state: v1::BatchState::Dispersing.into(),
        members: (0..4).map(member).collect(),
        ..v1::Batch::default()
    }
}

impl HeldUp {
    fn batch(&self, attempts: u32) -> v1::Batch {
        v1::Batch { waiting: self.tells.then(|| waiting(attempts)), ..batch(attempts) }
    }

    async fn serve(self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(BatchServiceServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        url
    }
}

#[tonic::async_trait]
impl BatchService for HeldUp {
    type WatchBatchStream = BoxStream<'static, Result<v1::WatchBatchResponse, Status>>;

    async fn submit_batch(
        &self,
        _: Request<tonic::Streaming<v1::SubmitBatchRequest>>,
    ) -> Result<Response<v1::SubmitBatchResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn submit_validity_proof(
        &self,
        _: Request<v1::SubmitValidityProofRequest>,
    ) -> Result<Response<v1::SubmitValidityProofResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_batch(
        &self,
        _: Request<v1::GetBatchRequest>,
    ) -> Result<Response<v1::GetBatchResponse>, Status> {
        Ok(Response::new(v1::GetBatchResponse { batch: Some(self.batch(5)) }))
    }

    async fn watch_batch(
        &self,
        _: Request<v1::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        // Attempt after attempt, and then it waits for the next day.
        let batches: Vec<_> = (1..20).map(|attempts| self.batch(attempts)).collect();
        let attempts = stream::iter(batches).map(|batch| Ok(v1::WatchBatchResponse { batch: Some(batch) }));
        Ok(Response::new(attempts.chain(stream::pending()).boxed()))
    }

    async fn list_batches(
        &self,
        _: Request<v1::ListBatchesRequest>,
    ) -> Result<Response<v1::ListBatchesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_certificate(
        &self,
        _: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::GetCertificateResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_a_batch_up_is_told_once_and_again_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let url = HeldUp { tells: false }.serve().await;
    let digest = DIGEST.to_string();

    let watched = dac(folder.path(), &["watch", &digest, "--aggregator", &url, "--timeout", "3s"]);
    assert_eq!(watched.status.code(), Some(4));
    let told = String::from_utf8(watched.stderr).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], ["DISPERSING, 0 of 4 members signed", &format!("  {QUOTA}")], "{told}");
    assert!(lines[2].starts_with("error: the batch is DISPERSING") && lines[2].ends_with(QUOTA), "{told}");

    let shown = dac(folder.path(), &["status", &digest, "--aggregator", &url]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains(&format!("held up by         {QUOTA}")), "{text}");
    assert!(text.contains("payload            1 byte, "), "{text}");
    let document = expect(folder.path(), 0, &["status", &digest, "--aggregator", &url]);
    assert_eq!(document["held_up_by"][0]["seats"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(document["waiting"], serde_json::Value::Null);
}

/// What the aggregator says itself goes before what members answered. Each reason is told once, and a
/// change of its numbers is none.
#[tokio::test(flavor = "multi_thread")]
async fn the_aggregators_own_reason_is_told_when_it_appears_and_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let url = HeldUp { tells: true }.serve().await;
    let digest = DIGEST.to_string();

    let watched = dac(folder.path(), &["watch", &digest, "--aggregator", &url, "--timeout", "3s"]);
    assert_eq!(watched.status.code(), Some(4));
    let told = String::from_utf8(watched.stderr).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let spent = format!("  QUOTA_EXCEEDED: {SPENT}");
    let expected = [
        "DISPERSING, 0 of 4 members signed",
        "  BUSY: its turn to be encoded: 1 MiB go first",
        &format!("  {QUOTA}"),
        &spent,
        "  L1_STALE",
    ];
    assert_eq!(lines[..5], expected, "{told}");
    assert_eq!(lines.len(), 7, "the error and what to try: {told}");
    assert!(lines[5].ends_with(&format!("L1_STALE; {QUOTA}")), "{told}");

    let shown = dac(folder.path(), &["status", &digest, "--aggregator", &url]);
    let text = String::from_utf8(shown.stdout).unwrap();
    let expected =
        format!("held up by         QUOTA_EXCEEDED: {SPENT}\nwaits since        2023-11-14T22:13:20Z (");
    assert!(text.contains(&expected), "{text}");
    let document = expect(folder.path(), 0, &["status", &digest, "--aggregator", &url]);
    assert_eq!(document["held_up_by"][0]["reason"], "QUOTA_EXCEEDED");
    assert_eq!(document["waiting"]["since_ms"], 1_700_000_000_000_u64);
}

/// An aggregator that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_is_for_everything() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let start = Instant::now();
    let watched =
        expect(folder.path(), 4, &["watch", &DIGEST.to_string(), "--aggregator", &url, "--timeout", "300ms"]);
    let message = watched["error"]["message"].as_str().unwrap();
    assert_eq!(message, "finding the batch was not done 300ms after the beginning");
    assert!(start.elapsed() < Duration::from_secs(15), "one answer alone is waited for for 20 s");
}
