//! Tests of the `dac` command line as users and scripts see it: help texts, JSON documents and exit
//! codes, and commands on a real chain.
//!
//! Help texts are compared with `tests/snapshots`; `DAC_UPDATE_SNAPSHOTS=1` writes them anew.

mod authorities;
#[path = "../support/authority.rs"]
mod authority;
mod batch_service;
mod chain;
mod mistakes;
mod several;
#[path = "../support/mod.rs"]
mod support;
mod unfunded;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dac_client::files::{CertificateFile, CommitteeFile};
use dac_proto::v1;
use dac_proto::v1::aggregator_service_server::{AggregatorService, AggregatorServiceServer};
use dac_proto::v1::member_service_server::MemberServiceServer;
use dac_types::Seat;
use serde_json::Value;
use support::{Plan, Scene, Vice, honest};
use tokio_stream::wrappers::TcpListenerStream;

/// Runs `dac` without the variables of this process's environment that it would read.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dac"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DAC_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("COLUMNS", "100").args(arguments);
    command
}

fn dac(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn expect(folder: &Path, code: i32, arguments: &[&str]) -> Value {
    let arguments = [&["--json"], arguments].concat();
    let output = dac(folder, &arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "dac {arguments:?}\n{}{stderr}",
        String::from_utf8_lossy(&output.stdout)
    );
    document(&output)
}

/// The names of a document's fields, with those of nested objects.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => Value::Array(items.first().map(shape).into_iter().collect()),
        _ => Value::Null,
    }
}

/// Compares a text with the snapshot of this name, or writes the snapshot if that is asked for.
fn compare_snapshot(name: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("DAC_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, text, "{} differs; DAC_UPDATE_SNAPSHOTS=1 writes it anew", file.display());
}

fn compare_shape(name: &str, value: &Value) {
    compare_snapshot(name, &(serde_json::to_string_pretty(&shape(value)).unwrap() + "\n"));
}

#[test]
fn help_teaches() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "",
        "keygen",
        "keygen bls",
        "register",
        "committee",
        "member",
        "member status",
        "aggregator",
        "aggregator status",
        "rotate",
        "admin",
        "admin deploy",
        "admin admit-rollup",
        "admin remove-rollup",
        "admin open-epoch",
        "admin pause",
        "admin unpause",
        "submit",
        "submit-proof",
        "status",
        "watch",
        "certificate",
        "retrieve",
        "verify",
        "audit",
        "batches",
        "coverage",
        "load",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = dac(folder.path(), &arguments);
        assert!(output.status.success());
        let name = ["help", command].join(" ").trim().replace(' ', "-") + ".txt";
        compare_snapshot(&name, &String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn keys_are_made_once_and_shown_never() {
    let folder = tempfile::tempdir().unwrap();
    let keygen = |code, kind, out, password, more: &[&str]| {
        let arguments =
            [&["keygen", kind, "--out", out, "--password-file", password, "--kdf", "light"], more].concat();
        expect(folder.path(), code, &arguments)
    };
    let bls = keygen(0, "bls", "bls.json", "bls.password", &["--new-password-file"]);
    assert_eq!(bls["public_key"].as_str().unwrap().len(), 2 + 2 * 96);
    compare_shape("keygen.json", &bls);
    let ethereum = keygen(0, "ethereum", "eth.json", "eth.password", &["--new-password-file"]);
    assert_eq!(ethereum["address"].as_str().unwrap().len(), 2 + 2 * 20);

    let before = std::fs::read(folder.path().join("eth.json")).unwrap();
    let refused = keygen(2, "ethereum", "eth.json", "eth.password", &[]);
    assert_eq!(refused["error"]["code"], "USAGE");
    compare_shape("error.json", &refused);
    assert_eq!(std::fs::read(folder.path().join("eth.json")).unwrap(), before);
    // An existing password file is not replaced either.
    keygen(2, "ethereum", "other.json", "eth.password", &["--new-password-file"]);
    assert!(!folder.path().join("other.json").exists());
    // The same password may open several keystores.
    keygen(0, "ethereum", "other.json", "eth.password", &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_come_back_offline_with_a_committee_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut plan = Plan::new(4, 2, 3);
    plan.signers = Some(vec![Seat(0), Seat(1), Seat(3)]);
    let scene = plan.play(&honest(4, 2), &[Vice::WrongByte]);
    write_files(path, &scene);
    let digest = scene.digest.to_string();
    let (digest, out) = (digest.as_str(), "payload.bin");
    let retrieve = ["retrieve", digest, "--out", out, "--committee", "committee.json"];

    let refused = expect(path, 4, &retrieve);
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--allow-private-endpoints"), "{refused}");
    let allowed = [&retrieve[..], &["--allow-private-endpoints"]].concat();
    let retrieved = expect(path, 0, &allowed);
    compare_shape("retrieve.json", &retrieved);
    assert_eq!(
        Some(std::fs::read(path.join(out)).unwrap()),
        scene.payload.as_ref().map(|payload| payload.to_vec())
    );
    // An existing file is not replaced without --force.
    std::fs::write(path.join(out), "mine").unwrap();
    expect(path, 2, &allowed);
    assert_eq!(std::fs::read(path.join(out)).unwrap(), b"mine");
    expect(path, 0, &[&allowed[..], &["--force"]].concat());

    // The same with standard output, which holds nothing but the payload.
    let streamed =
        [&retrieve[..3], &["-", "--committee", "committee.json", "--allow-private-endpoints"]].concat();
    let streamed = dac(path, &streamed);
    assert!(streamed.status.success(), "{}", String::from_utf8_lossy(&streamed.stderr));
    assert_eq!(Some(&streamed.stdout[..]), scene.payload.as_deref());
    assert!(String::from_utf8_lossy(&streamed.stderr).contains("served"), "the report goes beside it");
    assert!(!path.join("-").exists());
    let certificate = std::fs::File::open(path.join("certificate.json")).unwrap();
    let verified = ["verify", "-", "--committee", "committee.json"];
    let verified = command(path, &verified).stdin(certificate).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));

    let verified = expect(path, 0, &["verify", "certificate.json", "--committee", "committee.json"]);
    compare_shape("verify-offline.json", &verified);
    assert_eq!(verified["absent"], serde_json::json!([2]));
    // The same certificate with another absent seat does not verify.
    let forged =
        std::fs::read_to_string(path.join("certificate.json")).unwrap().replace("    2\n", "    1\n");
    std::fs::write(path.join("forged.json"), forged).unwrap();
    let verdict = expect(path, 1, &["verify", "forged.json", "--committee", "committee.json"]);
    assert_eq!(verdict["error"]["code"], "FAILED");
    std::fs::write(
        path.join("trailing.json"),
        std::fs::read_to_string(path.join("certificate.json")).unwrap() + "x",
    )
    .unwrap();
    expect(path, 2, &["verify", "trailing.json", "--committee", "committee.json"]);

    let member = expect(path, 0, &["member", &scene.urls[1]]);
    compare_shape("member.json", &member);
    assert!(!member["version"].as_str().unwrap().contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_stores_is_listed_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[]);
    let list = |more: &[&str]| expect(path, 0, &[&["batches", "--member", &scene.urls[0]], more].concat());
    let all = list(&[]);
    compare_shape("batches-member.json", &all);
    let numbers = |document: &Value| -> Vec<u64> {
        let batches = document["batches"].as_array().unwrap();
        batches.iter().map(|batch| batch["batch_number"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(&all), &all["next_page_token"]), (vec![1, 2, support::LISTED], &Value::Null));
    let some = list(&["--limit", "2"]);
    assert_eq!((numbers(&some), &some["next_page_token"]), (vec![1, 2], &"3".into()));
    assert_eq!(numbers(&list(&["--page", "3"])), [3]);
    let text = String::from_utf8(dac(path, &["batches", "--member", &scene.urls[0], "--limit", "1"]).stdout);
    assert!(text.unwrap().ends_with("there are more: --page 2\n"));
    expect(path, 4, &["batches", "--member", "http://127.0.0.1:1"]);
    expect(path, 4, &["batches", "--aggregator", "http://127.0.0.1:1"]);
    let unnamed = dac(path, &["batches"]);
    assert_eq!(unnamed.status.code(), Some(2));
}

/// What a node says of its duties decides the exit code and is shown in the document.
#[tokio::test(flavor = "multi_thread")]
async fn a_members_status_tells_scripts_whether_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut answer = member_answer();
    for (state, l1_stale, code) in [
        (v1::MemberState::Starting, true, 3),
        (v1::MemberState::Repairing, false, 3),
        (v1::MemberState::Ready, false, 0),
        // It holds all that it owed, but has not read L1 for too long. Its /healthz says so, too.
        (v1::MemberState::Ready, true, 3),
        // This is the answer of software that is older than the field.
        (v1::MemberState::Unspecified, false, 3),
    ] {
        answer.state = state.into();
        answer.l1_stale = l1_stale;
        let (url, server) = serve_identity(answer.clone());
        let status = expect(path, code, &["member", "status", &url]);
        assert_eq!(status["ready"], code == 0);
        if state == v1::MemberState::Repairing {
            compare_shape("member-status.json", &status);
            assert_eq!(status["duties"]["missing"], 2);
            let text = dac(path, &["member", "status", &url]);
            assert_eq!(text.status.code(), Some(3));
            let text = String::from_utf8(text.stdout).unwrap().replace(&url, "http://member");
            compare_snapshot("member-status.txt", &text);
            // Watching ends at its own limit.
            let watched = expect(
                path,
                3,
                &["member", "status", &url, "--watch", "--interval", "50ms", "--timeout", "300ms"],
            );
            assert_eq!(watched["repair"]["bytes_per_second"], 0.0);
        }
        if (state, l1_stale) == (v1::MemberState::Ready, true) {
            assert_eq!((&status["state"], &status["l1_stale"]), (&"stale".into(), &true.into()));
            let text = String::from_utf8(dac(path, &["member", "status", &url]).stdout).unwrap();
            assert!(text.contains("STALE") && text.contains("more than the 60 s allowed"), "{text}");
        }
        server.abort();
    }
    answer.state = 77;
    let (url, _server) = serve_identity(answer);
    let junk = expect(path, 4, &["member", "status", &url]);
    assert!(junk["error"]["message"].as_str().unwrap().contains("member.state"), "{junk}");
    expect(path, 4, &["member", "status", "http://127.0.0.1:1"]);
}

fn member_answer() -> v1::GetMemberResponse {
    v1::GetMemberResponse {
        chain_id: 1,
        registry: vec![0xAA; 20].into(),
        operator: vec![0xBB; 20].into(),
        public_key: vec![0xCC; 96].into(),
        seats: vec![v1::MemberSeat { epoch: 2, seat: 3, active: true }],
        version: "1.0".to_owned(),
        protocols: vec!["dac.v1".to_owned()],
        stored_batches: 8,
        stored_bytes: 9_000,
        l1_block: 100,
        l1_age_seconds: 1,
        l1_max_age_seconds: 60,
        duties: Some(v1::Duties {
            owed: 10,
            held: 7,
            missing: 2,
            corrupt: 1,
            bad: 1,
            read_up_to_block: 99,
            unread_blocks: 1,
            scrubbed_at: 0,
            scrubbed_shards: 4,
            doubted: 0,
            age_seconds: 9,
        }),
        repair: Some(v1::Repair {
            repaired: 5,
            repaired_bytes: 5_000,
            attempts_failed: 1,
            current: vec![0xDD; 32].into(),
            last_problem: "only 1 of 4 members served one".to_owned(),
        }),
        faults: vec![v1::AttributedFault {
            operator: vec![0xEE; 20].into(),
            kind: "BAD_SHARD".to_owned(),
            count: 3,
            last_at: u64::MAX,
            detail: "its shard: seat 1".to_owned(),
        }],
        bad_seats: vec![v1::BadSeat { digest: vec![0xFF; 32].into(), seat: 3, found_at: u64::MAX }],
        accusations: vec![v1::Accusation {
            rollup: vec![0x11; 20].into(),
            kind: "CONFLICTING_HEADER".to_owned(),
            count: 2,
            last_at: u64::MAX,
            proven: true,
            ..v1::Accusation::default()
        }],
        ..v1::GetMemberResponse::default()
    }
}

/// An aggregator that answers requests for its description only.
struct FakeAggregator(v1::GetAggregatorResponse);

#[tonic::async_trait]
impl AggregatorService for FakeAggregator {
    async fn get_aggregator(
        &self,
        _: tonic::Request<v1::GetAggregatorRequest>,
    ) -> Result<tonic::Response<v1::GetAggregatorResponse>, tonic::Status> {
        Ok(tonic::Response::new(self.0.clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregators_status_names_who_lied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let v1::GetMemberResponse { faults, accusations, .. } = member_answer();
    // Times lie half an hour before a full hour, so that ages in hours stay the same while the test
    // runs.
    let ago = |hours: u64| (dac_cli::unix_now() - hours * 3600 - 1800) * 1000;
    let waiting = |number, state: v1::BatchState, received_at_ms| v1::WaitingBatch {
        submission_digest: vec![0x22; 32].into(),
        rollup: vec![0x11; 20].into(),
        batch_number: number,
        state: state.into(),
        received_at_ms,
        waiting: None,
        certified_at_ms: 0,
        l1_problem: String::new(),
    };
    let answer = v1::GetAggregatorResponse {
        chain_id: 1,
        registry: vec![0xAA; 20].into(),
        disperser: vec![0xBB; 20].into(),
        version: "1.0".to_owned(),
        protocols: vec!["dac.v1".to_owned()],
        posts: true,
        l1_block: 100,
        l1_age_seconds: 1,
        faults,
        accusations,
        uncertified_batches: 2,
        oldest_unencoded: Some(waiting(8, v1::BatchState::Received, ago(26))),
        oldest_undelivered: Some(v1::WaitingBatch {
            waiting: Some(v1::Waiting {
                reason: "UNREACHABLE".to_owned(),
                detail: "2 of 4 members say: connection refused; 2 of 3 signatures are there".to_owned(),
                since_ms: ago(49),
            }),
            ..waiting(7, v1::BatchState::Dispersing, ago(73))
        }),
        oldest_unrecorded: Some(v1::WaitingBatch {
            certified_at_ms: ago(49),
            l1_problem: "gas costs more than the cap of 200 gwei: posting waits for cheaper gas".to_owned(),
            ..waiting(6, v1::BatchState::Certified, ago(50))
        }),
        payer: Some(v1::Payer {
            account: vec![0xBB; 20].into(),
            balance_gwei: Some(40_000_000),
            next_gwei: 750_000,
            hour_gwei: 1_500_000,
            hour_max_gwei: 2_000_000_000,
            problem: "gas costs more than the cap of 200 gwei: posting waits for cheaper gas".to_owned(),
            low: true,
            stopped: 1,
        }),
        l1_endpoints: Some(v1::L1Endpoints {
            configured: 3,
            agree: 2,
            disagreements: 1,
            undecided: String::new(),
            problems: vec!["endpoint 1 of chain.rpc: a receipt differs".to_owned()],
        }),
        ..v1::GetAggregatorResponse::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(AggregatorServiceServer::new(FakeAggregator(answer)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let _server = tokio::spawn(server);
    let status = expect(path, 0, &["aggregator", "status", &url]);
    compare_shape("aggregator-status.json", &status);
    assert_eq!(status["accusations"][0]["proven"], true);
    let (moving, held_up) = (&status["oldest_unencoded"], &status["oldest_undelivered"]);
    assert_eq!((&moving["moves"], &moving["waiting"]), (&true.into(), &Value::Null));
    assert_eq!((&held_up["moves"], &held_up["waiting"]["reason"]), (&false.into(), &"UNREACHABLE".into()));
    assert!((73 * 3600..74 * 3600).contains(&held_up["age_seconds"].as_u64().unwrap()), "{held_up}");
    let unrecorded = &status["oldest_unrecorded"];
    assert_eq!((&unrecorded["batch_number"], &unrecorded["state"]), (&6.into(), &"CERTIFIED".into()));
    assert!((49 * 3600..50 * 3600).contains(&unrecorded["age_seconds"].as_u64().unwrap()), "{unrecorded}");
    // The URL can be an option, as in other commands.
    expect(path, 0, &["aggregator", "status", "--aggregator", &url]);
    let by_environment =
        command(path, &["aggregator", "status"]).env("DAC_AGGREGATOR", &url).output().unwrap();
    assert!(by_environment.status.success());
    let text = String::from_utf8(dac(path, &["aggregator", "status", &url]).stdout).unwrap();
    compare_snapshot("aggregator-status.txt", &text.replace(&url, "http://aggregator"));
    expect(path, 4, &["aggregator", "status", "http://127.0.0.1:1"]);
}

/// Serves a node that answers requests for its description only.
fn serve_identity(answer: v1::GetMemberResponse) -> (String, tokio::task::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, serve_identity_on(listener, answer))
}

fn serve_identity_on(
    listener: std::net::TcpListener,
    answer: v1::GetMemberResponse,
) -> tokio::task::JoinHandle<()> {
    listener.set_nonblocking(true).unwrap();
    let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
    tokio::spawn(async move {
        tonic::transport::Server::builder()
            .add_service(MemberServiceServer::new(support::FakeIdentity(answer)))
            .serve_with_incoming(incoming)
            .await
            .unwrap();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_batches_have_an_exit_code_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let geometry = dac_types::Geometry::new(7, 3).unwrap();
    let dispersal =
        dac_coding::testing::all(geometry).unwrap().into_iter().find(|made| made.name == "dirty_padding");
    let scene = Plan::new(7, 3, 5).play(&dispersal.unwrap(), &[]);
    write_files(folder.path(), &scene);
    let digest = scene.digest.to_string();
    let arguments =
        ["retrieve", &digest, "--out", "x", "--committee", "committee.json", "--allow-private-endpoints"];
    let malformed = expect(folder.path(), 3, &arguments);
    assert_eq!(malformed["error"]["code"], "MALFORMED");
    assert!(!folder.path().join("x").exists());
}

fn write_files(folder: &Path, scene: &Scene) {
    let committee = CommitteeFile { domain: scene.domain, committee: (*scene.committee).clone() };
    std::fs::write(folder.join("committee.json"), committee.to_json()).unwrap();
    let certificate = CertificateFile { domain: scene.domain, certificate: scene.certificate.clone() };
    std::fs::write(folder.join("certificate.json"), certificate.to_json()).unwrap();
}
