//! `make demo` runs a committee of seven and a payments rollup on this machine, and explains each
//! step. Batches are certified without two members and settled on L1 with real proofs of the same
//! data; then the operator, the aggregator and all members but k are killed, and a user exits with
//! the data of the remaining members.

mod committee;
mod page;
mod rollup;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use dac_chain::Address;
use dac_chain::testing::Anvil;
use dac_tests::command::{CommandLine, number, text};
use dac_tests::configuration::{KeyFiles, L1, Submission};
use dac_tests::operator;
use dac_tests::process::source_root;
use dac_tests::{Context, Failure, Result};
use dac_types::{Domain, Quorum};
use futures::future::try_join_all;
use reference_rollup::prover;
use sha2::{Digest, Sha256};

use crate::committee::{
    K, KILLED_AFTER, KILLED_BEFORE, N, Q, audit_figures, keygen, register_arguments, start_aggregator,
    start_member, tally,
};
use crate::page::{Page, typed};
use crate::rollup::Rollup;
use crate::summary::Summary;

/// A rollup without a settlement contract: the service needs only its address.
const OTHER_ROLLUP: Address = Address::repeat_byte(0x11);
/// The number of chunks that each member must prove in the audit.
const AUDITED_CHUNKS: u64 = 8;

/// A committee of seven and a payments rollup on this machine: certificate and proof settle
/// together, nearly everyone is killed, a user leaves.
#[derive(Debug, Parser)]
struct Arguments {
    /// The payload of the batch that is only recorded.
    #[arg(long, default_value = "demo-data/linea-6-blobs.bin")]
    payload: PathBuf,
    /// Where keys, databases, logs and the summary go; emptied first.
    #[arg(long, default_value_os_t = source_root().join("target/demo"))]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut terminated = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    // In each case the demo's future is dropped at the end, with every process that it started.
    let outcome = tokio::select! {
        outcome = story(&arguments) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminated.recv() => Err(Failure::new("terminated")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!(
                "\ndemo: {failure}\ndemo: everything that was started is stopped; logs are in {}",
                arguments.folder.display()
            );
            ExitCode::FAILURE
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn story(arguments: &Arguments) -> Result<()> {
    let mut page = Page::new();
    let folder = prepare(&arguments.folder)?;
    let payload_file = fs::canonicalize(&arguments.payload).context(arguments.payload.display())?;
    let payload = fs::read(&payload_file).context(payload_file.display())?;
    let quorum = Quorum::new(N, K, Q)?;
    let safety = quorum.safety();

    println!(
        "A data-availability committee on this machine: n = {N} members, any k = {K} rebuild, q = {Q} signatures certify."
    );

    page.step("L1: a local EVM chain, and the committee's contracts on it");
    let anvil = Anvil::start().await;
    let dac = CommandLine::new("dac", &folder)?.with("DAC_DEPLOYMENT", "deployment.json");
    let owner: Address = keygen(&dac, "ethereum", "owner").await?.parse().context("the owner's address")?;
    anvil.fund(owner).await;
    page.say(format!("anvil answers at {}", anvil.url()));
    let line = format!(
        "admin deploy --rpc-url {} --key owner.json --password-file owner.password --activation-delay 1h --grace 1h --out deployment.json",
        anvil.url()
    );
    let deployed = typed(&page, &dac, &line).await?;
    let registry =
        text(&deployed, "/deployment/registry")?.parse::<Address>().context("the registry's address")?;
    let log =
        text(&deployed, "/deployment/certificate_log")?.parse::<Address>().context("the log's address")?;
    page.say(format!(
        "CommitteeRegistry {registry}, CertificateLog {log}, {} gas",
        number(&deployed, "/gas_used")?
    ));
    page.took();

    page.step("Seven operators make their keys, start their nodes (SQLite) and register");
    let domain = Domain { chain_id: anvil.chain_id(), registry };
    let l1 = L1 { url: anvil.url(), domain, log };
    let mut members = Vec::new();
    for seat in 0..N {
        let name = format!("member-{seat}");
        fs::create_dir_all(folder.join(&name)).context(&name)?;
        members.push(start_member(&dac, &folder, name, &l1, &anvil).await?);
    }
    let example = &members[0];
    page.say("$ dac keygen bls --out bls.json …; dac-node --config node.toml; then, for each:");
    page.say(format!("$ {}", dac.shown(&register_arguments(example))));
    try_join_all(members.iter().map(|member| dac.expect(register_arguments(member)))).await?;
    let operators: Vec<&str> = members.iter().map(|member| member.operator.as_str()).collect();
    let line = format!(
        "admin open-epoch --key owner.json --password-file owner.password --k {K} --q {Q} --operators {}",
        operators.join(",")
    );
    let opened = dac.expect(line.split_whitespace()).await?;
    page.say(format!("$ dac admin open-epoch --k {K} --q {Q} --operators 0x…,0x…, … (proofs of possession were checked on L1)"));
    page.say(format!("epoch {} is open", number(&opened, "/epoch")?));
    page.say(format!(
        "safety:   a certified batch is retrievable while at most q − k = {} of its signers withhold",
        safety.withholders_tolerated
    ));
    page.say(format!(
        "liveness: certificates form while at most n − q = {} members are silent",
        safety.silent_tolerated
    ));
    page.say(format!(
        "price:    full copies would tolerate {} withholders, and cost {} times the storage",
        safety.withholders_tolerated_by_full_copies, K
    ));
    page.took();

    page.step("Proving keys of the rollup's circuit: DEV ONLY, from a seed that everybody knows");
    let report = prover::report();
    let (constraints, bound) = (report.total.constraints, report.fingerprints.constraints);
    let fingerprint_percent = (100 * bound / constraints) as u64;
    page.say(format!(
        "{constraints} constraints, {} entries; {bound} constraints ({fingerprint_percent} %) bind the proof to the committee's data",
        report.total.entries
    ));
    page.say(format!("kept in {}; made once, which takes half a minute", operator::keys_folder().display()));
    let keys = operator::keys().await?;
    page.took();

    page.step("A payments rollup: verifier and settlement on L1; it is admitted, and an aggregator starts");
    let mut rollup = Rollup::deploy(&page, &dac, &folder, &anvil, keys).await?;
    let poster = keygen(&dac, "ethereum", "poster").await?;
    for settlement in [OTHER_ROLLUP, rollup.settlement] {
        let line = format!(
            "admin admit-rollup --key owner.json --password-file owner.password --rollup {settlement} --poster {poster} --retention 30d --daily-bytes 1GiB"
        );
        typed(&page, &dac, &line).await?;
    }
    let (mut aggregator, api, disperser) = start_aggregator(&dac, &folder, &l1, &anvil).await?;
    page.say(format!("dac-aggregator answers at {api}, disperser {disperser}"));
    page.took();

    page.step(&format!("kill −9 of {} members: as many as may be silent", N - Q));
    let mut killed = 0;
    for seat in KILLED_BEFORE {
        let member = &mut members[seat];
        page.say(format!("{} is dead", member.name));
        member.kill();
        killed += 1;
    }

    page.step("A rollup that settles elsewhere submits a batch: its certificate is recorded on L1");
    let geometry = quorum.geometry();
    let shard = geometry.shard_length(payload.len() as u64)?;
    page.say(format!(
        "{}: {} bytes, SHA-256 {}",
        payload_file.file_name().unwrap_or_default().display(),
        payload.len(),
        sha256(&payload)
    ));
    page.say(format!(
        "each member stores a shard of {shard} bytes: {:.2} times the payload in all",
        f64::from(N) / f64::from(K)
    ));
    let poster = KeyFiles { keystore: "poster.json".into(), password: "poster.password".into() };
    let line = Submission {
        payload: &payload_file,
        api: &api,
        disperser: &disperser,
        rollup: OTHER_ROLLUP,
        number: 1,
        poster: &poster,
        wait: "posted",
    }
    .arguments();
    page.say(format!("$ {}", dac.shown(&line)));
    let submitted = dac.expect(&line).await?;
    page.took();
    let digest = text(&submitted, "/digest")?.to_owned();
    let status = dac.expect(["status", &digest, "--aggregator", &api]).await?;
    let (signers, absent) = tally(&status)?;
    let certificate_ms =
        number(&status, "/certified_at_ms")?.saturating_sub(number(&status, "/received_at_ms")?);
    let record_tx = text(&status, "/l1/transaction")?.to_owned();
    let record_gas = number(&status, "/l1/gas_used")?;
    page.say(format!("batch {digest}"));
    page.say(format!(
        "certified after {certificate_ms} ms by {signers} of {N}, without the {absent} that are dead"
    ));
    page.say(format!("recorded on L1: transaction {record_tx}, {record_gas} gas"));

    page.step("Alice and Bob deposit; the payments rollup settles its first batch");
    for user in [0, 1] {
        rollup.deposit(&page, user).await?;
    }
    let sealed = rollup.first_batch().await?;
    rollup.settle(&page, &dac, &sealed, (&api, &disperser)).await?;
    page.took();

    page.step("Carol deposits; 16 transfers and a withdrawal make the second batch");
    rollup.deposit(&page, 2).await?;
    let sealed = rollup.second_batch().await?;
    let settled = rollup.settle(&page, &dac, &sealed, (&api, &disperser)).await?;
    page.took();

    page.step("kill −9 of the aggregator, and of all members but k; and the operator is gone");
    rollup.lose_operator();
    page.say("the operator is gone, with the state it had in memory");
    aggregator.kill();
    page.say("the aggregator is dead");
    for seat in KILLED_AFTER {
        let member = &mut members[seat];
        page.say(format!("{} is dead", member.name));
        member.kill();
        killed += 1;
    }
    let alive = members.iter().filter(|member| member.process.is_some()).map(|member| member.name.as_str());
    page.say(format!("alive: {}", alive.collect::<Vec<_>>().join(", ")));

    page.step(&format!("Anyone gets the batch back, from L1 and the {K} members left"));
    typed(&page, &dac, &format!("retrieve {digest} --out retrieved.bin")).await?;
    let retrieved = fs::read(folder.join("retrieved.bin")).context("retrieved.bin")?;
    let retrieved_equal = retrieved == payload;
    page.say(format!("{} bytes, SHA-256 {}", retrieved.len(), sha256(&retrieved)));
    page.say(if retrieved_equal { "equal, byte for byte" } else { "NOT EQUAL" });
    page.took();

    page.step("An auditor asks every member for random chunks of what it signed");
    let line = format!("audit --chunks {AUDITED_CHUNKS} --whole-shards");
    page.say(format!("$ dac {line}"));
    let (code, audit) = dac.document(line.split_whitespace()).await?;
    let (audit_chunks_ok, audit_chunks_failed) = audit_figures(&page, &audit)?;
    if code != Some(0) {
        return Err(Failure::new(format!("the audit ended with {code:?}: {audit}")));
    }
    page.took();

    page.step("Dave deposits, and nobody is there to take it. Anyone freezes the rollup");
    rollup.deposit(&page, 3).await?;
    rollup.freeze(&page, &anvil).await?;
    page.took();

    page.step(&format!(
        "Alice rebuilds the state from the {K} members left, and leaves; Bob claims his withdrawal, Dave gets his deposit back"
    ));
    let left = rollup.leave(&page, &dac).await?;
    rollup.claim(&page).await?;
    rollup.refund(&page, 4).await?;
    page.took();

    let summary = Summary {
        payload_bytes: payload.len() as u64,
        n: N,
        k: K,
        q: Q,
        signers,
        absent,
        certificate_ms,
        record_tx,
        record_gas,
        members_killed: killed,
        retrieved_equal,
        audit_chunks_ok,
        audit_chunks_failed,
        constraints: constraints as u64,
        fingerprint_percent,
        prove_ms: settled.prove_ms,
        settle_tx: settled.transaction,
        settle_gas: settled.gas,
        rebuilt_equal: left.state_root == sealed.transition.new_state_root.to_string(),
        state_root: left.state_root,
        exit_tx: left.transaction,
        exit_paid: left.paid_gwei,
    };
    let file = folder.join("summary.json");
    fs::write(&file, serde_json::to_string_pretty(&summary)? + "\n").context(file.display())?;
    summary.check()?;
    drop((members, aggregator, anvil));
    println!("\nAll of it holds. Everything is stopped again; {:.1} s in all.", page.seconds());
    println!("Summary: {}; logs beside it.", file.display());
    Ok(())
}

/// Makes an empty folder for this run.
fn prepare(folder: &Path) -> Result<PathBuf> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(folder.display()),
    }
    fs::create_dir_all(folder).context(folder.display())?;
    fs::canonicalize(folder).context(folder.display())
}
