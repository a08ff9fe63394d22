//! Waiting for a batch that makes no progress: the command prints each reason once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dac_proto::v1;
use dac_types::{Address, B256, BatchSubmission, HashKind};
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::Status;

use crate::batch_service::{Calls, serve};
use crate::{dac, expect};

const DIGEST: B256 = B256::repeat_byte(9);
const SPENT: &str =
    "4 of 4 members say: the rollup has spent 186 of 209 bytes of this day; 0 of 3 signatures are there";
const QUOTA: &str = "seats 0 to 3: QUOTA_EXCEEDED: the rollup has spent 186 of 209 bytes of this day";

/// This aggregator has one batch, which its members refuse for the rest of the day.
struct HeldUp {
    /// Whether it reports why the batch waits; older versions do not.
    tells: bool,
}

/// After the first attempts the aggregator itself waits.
fn waiting(attempts: u32) -> v1::Waiting {
    let (reason, detail) = match attempts {
        ..5 => ("BUSY", format!("its turn to be encoded: {attempts} MiB go first")),
        5..10 => ("QUOTA_EXCEEDED", SPENT.to_owned()),
        _ => ("L1_STALE", String::new()),
    };
    v1::Waiting { reason: reason.to_owned(), detail, since_ms: 1_700_000_000_000 }
}

/// A batch in this state, with the members' outcomes and nothing else.
fn batch(state: v1::BatchState, members: Vec<v1::MemberOutcome>) -> v1::Batch {
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
    v1::Batch {
        submission_digest: Bytes::copy_from_slice(B256::repeat_byte(8).as_slice()),
        digest: Bytes::copy_from_slice(DIGEST.as_slice()),
        submission: Some((&submission).into()),
        state: state.into(),
        members,
        ..v1::Batch::default()
    }
}

impl HeldUp {
    fn after(&self, attempts: u32) -> v1::Batch {
        let member = |seat| v1::MemberOutcome {
            seat,
            state: v1::DeliveryState::Retrying.into(),
            attempts,
            reason: "QUOTA_EXCEEDED".to_owned(),
            detail: "the rollup has spent 186 of 209 bytes of this day".to_owned(),
            ..v1::MemberOutcome::default()
        };
        let waiting = self.tells.then(|| waiting(attempts));
        v1::Batch { waiting, ..batch(v1::BatchState::Dispersing, (0..4).map(member).collect()) }
    }
}

impl Calls for HeldUp {
    fn batch(&self) -> Result<v1::Batch, Status> {
        Ok(self.after(5))
    }

    fn watch(&self) -> Result<BoxStream<'static, v1::Batch>, Status> {
        // The batch goes through attempts, then waits for the next day.
        let attempts: Vec<_> = (1..20).map(|attempts| self.after(attempts)).collect();
        Ok(stream::iter(attempts).chain(stream::pending()).boxed())
    }
}

/// This aggregator has one batch, which does not change.
struct Still(v1::Batch);

impl Calls for Still {
    fn batch(&self) -> Result<v1::Batch, Status> {
        Ok(self.0.clone())
    }
}

/// The line about a certificate counts the signatures in it, so that it stays true when other
/// members sign later.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_progress_stays_true() {
    let (signed, pending) = (v1::DeliveryState::Attested, v1::DeliveryState::Pending);
    let state = async |state, members: [(v1::DeliveryState, bool); 4]| {
        let member = |(seat, (state, in_certificate)): (u32, (v1::DeliveryState, bool))| v1::MemberOutcome {
            seat,
            state: state.into(),
            attempts: 1,
            in_certificate,
            ..v1::MemberOutcome::default()
        };
        let batch = batch(state, (0..).zip(members).map(member).collect());
        let (folder, url) = (tempfile::tempdir().unwrap(), serve(Still(batch)).await);
        let shown = dac(folder.path(), &["status", &DIGEST.to_string(), "--aggregator", &url]);
        let text = String::from_utf8(shown.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("state "));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    let members = [(signed, false), (signed, false), (pending, false), (pending, false)];
    assert_eq!(state(v1::BatchState::Dispersing, members).await, "DISPERSING, 2 of 4 members signed");
    let certificate = "POSTED, certificate of 3 of 4 members";
    for fourth in [pending, signed] {
        let members = [(signed, true), (signed, true), (signed, true), (fourth, false)];
        assert_eq!(state(v1::BatchState::Posted, members).await, certificate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_a_batch_up_is_told_once_and_again_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let url = serve(HeldUp { tells: false }).await;
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

/// The aggregator's own reason is printed before the members' answers. Each reason is printed once,
/// even if its numbers change.
#[tokio::test(flavor = "multi_thread")]
async fn the_aggregators_own_reason_is_told_when_it_appears_and_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let url = serve(HeldUp { tells: true }).await;
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
