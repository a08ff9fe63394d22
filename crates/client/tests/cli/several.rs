//! Several payloads in one `dac submit`.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dac_chain::testing::{Anvil, CommitteeSpec, deploy_committee};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_types::{Address, AdmittedRollup, Domain, SignedSubmission};
use serde_json::Value;
use tonic::{Status, Streaming};

use crate::batch_service::{Calls, serve};
use crate::chain::write_deployment;
use crate::dac;

const TAKEN: u64 = 9;

/// A batch number and the payload that was submitted under it.
type Received = (u64, Vec<u8>);

/// This aggregator takes every submission but one, whose batch number another batch has.
#[derive(Clone)]
struct Taking {
    domain: Domain,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Taking {
    fn received(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

#[tonic::async_trait]
impl Calls for Taking {
    async fn submit(&self, mut stream: Streaming<v1::SubmitBatchRequest>) -> Result<v1::Batch, Status> {
        use v1::submit_batch_request::Message;
        let Some(Message::Open(open)) = stream.message().await?.and_then(|request| request.message) else {
            return Err(Status::invalid_argument("no open"));
        };
        let mut payload = Vec::new();
        while let Some(request) = stream.message().await? {
            if let Some(Message::Piece(piece)) = request.message {
                payload.extend_from_slice(&piece);
            }
        }
        let signed = SignedSubmission::try_from(open.submission.unwrap()).unwrap();
        let submission = signed.submission;
        if submission.batch_number == TAKEN {
            return Err(Reason::ConflictingBatch.status("another submission holds this batch number"));
        }
        self.received.lock().unwrap().push((submission.batch_number, payload));
        let digest = submission.digest(&self.domain);
        Ok(v1::Batch {
            submission_digest: Bytes::copy_from_slice(digest.as_slice()),
            submission: Some((&submission).into()),
            state: v1::BatchState::Received.into(),
            ..v1::Batch::default()
        })
    }
}

/// Runs `dac submit`, and reads a document from each line.
fn submit(path: &Path, code: i32, arguments: &[&str]) -> (Vec<Value>, String) {
    let output = dac(path, &[&["submit", "--json", "--wait", "received"], arguments].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    let documents = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{documents}{told}");
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (documents.lines().map(read).collect(), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_payloads_are_numbered_and_the_first_refusal_ends_them() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let rollup = Address::repeat_byte(0x11);
    let terms = AdmittedRollup {
        rollup,
        poster: committee.owner.address(),
        retention_max_seconds: 30 * 86_400,
        daily_payload_bytes: 1_000,
    };
    committee.admin(&anvil).admit_rollup(&terms).await.unwrap();
    write_deployment(path, &anvil, &committee);
    let password = dac_keys::create_password_file(&path.join("password")).unwrap();
    let light = dac_keys::KdfCost::Light;
    dac_keys::create_ecdsa_keystore(&path.join("poster.json"), &committee.owner, &password, light).unwrap();
    for (name, payload) in [("a", "first"), ("b", "second"), ("c", "third"), ("empty", "")] {
        std::fs::write(path.join(name), payload).unwrap();
    }
    std::fs::write(path.join("large"), [0; 1_001]).unwrap();

    let aggregator = Taking { domain: committee.domain, received: Arc::default() };
    let (url, rollup) = (serve(aggregator.clone()).await, rollup.to_string());
    let order = ["--deployment", "deployment.json", "--aggregator", &url, "--rollup", &rollup];
    let disperser = ["--disperser", &rollup, "--poster", "poster.json", "--poster-password-file", "password"];
    let run = |code, more: &[&str]| submit(path, code, &[&order[..], &disperser, more].concat());
    let kept = ["--submission", "order-{}.json"];

    let (documents, _) = run(0, &[&["a", "b", "--batch-number", "3"][..], &kept].concat());
    let told = documents.iter().map(|document| (&document["file"], &document["batch_number"]));
    assert_eq!(told.collect::<Vec<_>>(), [(&"a".into(), &3.into()), (&"b".into(), &4.into())]);
    assert_eq!(aggregator.received(), [(3, b"first".to_vec()), (4, b"second".to_vec())]);
    // The same command again sends the same submissions, and needs no key for them.
    std::fs::rename(path.join("poster.json"), path.join("away.json")).unwrap();
    let (again, _) = run(0, &[&["a", "b", "--batch-number", "3"][..], &kept].concat());
    let digests = |documents: &[Value]| -> Vec<Value> {
        documents.iter().map(|document| document["submission_digest"].clone()).collect()
    };
    assert_eq!(digests(&again), digests(&documents));
    aggregator.received();
    std::fs::rename(path.join("away.json"), path.join("poster.json")).unwrap();

    // The second number is taken: the first batch is submitted, the third is not sent.
    let (documents, told) = run(5, &["a", "b", "c", "--batch-number", "8"]);
    assert_eq!((documents.len(), &documents[0]["batch_number"]), (2, &8.into()), "{documents:?}");
    let error = &documents[1]["error"];
    assert!(error["message"].as_str().unwrap().starts_with("b, batch 9: "), "{error}");
    let go_on = "1 of 3 payloads are done: go on from b with --batch-number 9";
    assert!(error["hint"].as_str().unwrap().ends_with(go_on) && told.contains(go_on), "{error}");
    assert_eq!(aggregator.received(), [(8, b"first".to_vec())]);

    // Mistakes in any of the files are found before the first is sent.
    for (code, files, expected) in [
        (2, ["a", "none"], "none: "),
        (2, ["a", "empty"], "empty, batch 2: a payload has 1 to 67108864 bytes, got 0"),
        (5, ["a", "large"], "large, batch 2: the payload has 1001 bytes"),
        (2, ["a", "-"], "standard input is one payload"),
    ] {
        let (documents, _) = run(code, &[&files[..], &["--batch-number", "1"]].concat());
        let message = documents[0]["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(expected), "{message}");
    }
    let hash = format!("0x{}", "33".repeat(32));
    for one in ["--batch-hash", "--replaces"] {
        let (documents, _) = run(2, &["a", "b", "--batch-number", "1", one, &hash]);
        assert!(documents[0]["error"]["message"].as_str().unwrap().starts_with(one), "{documents:?}");
    }
    assert!(aggregator.received().is_empty());

    // Without --json each batch has one line.
    let text = [&["submit", "a", "b", "--batch-number", "5", "--wait", "received"], &order[..], &disperser];
    let text = String::from_utf8(dac(path, &text.concat()).stdout).unwrap();
    assert_eq!(text, "a: batch 5 RECEIVED, not encoded yet\nb: batch 6 RECEIVED, not encoded yet\n");
}
