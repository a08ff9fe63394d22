//! `make demo`: a committee of seven on this machine, told as a story. A real batch is certified without two members, recorded
//! on L1, and read back after the aggregator and two more members are gone.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use dac_chain::Address;
use dac_chain::testing::Anvil;
use dac_database::DatabaseOptions;
use dac_tests::command::{Dac, number, shown, text};
use dac_tests::configuration::{self, KeyFiles, L1, Tls};
use dac_tests::process::{Process, program, source_root};
use dac_tests::{Context, Failure, Result};
use dac_types::{Domain, Quorum};
use futures::future::try_join_all;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

const N: u16 = 7;
const K: u16 = 3;
const Q: u16 = 5;
/// A rollup's settlement contract: the service needs nothing of it but its name.
const ROLLUP: Address = Address::repeat_byte(0x11);
/// Seats killed before the batch comes: as many as may be silent. Data rows and parity both.
const KILLED_BEFORE: [usize; 2] = [1, 5];
/// Seats killed after it: what is left holds one data row and two parity shards, so retrieval must decode.
const KILLED_AFTER: [usize; 2] = [0, 3];
/// Chunks that each member must prove in the audit.
const AUDITED_CHUNKS: u64 = 8;

/// A committee of seven on this machine certifies a real batch and gives it back after four members and the aggregator are killed.
#[derive(Debug, Parser)]
struct Arguments {
    /// The payload.
    #[arg(long, default_value = "demo-data/linea-6-blobs.bin")]
    payload: PathBuf,
    /// Where keys, databases, logs and the summary go; emptied first.
    #[arg(long, default_value_os_t = source_root().join("target/demo"))]
    folder: PathBuf,
}

/// What came of it, for machines.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    payload_bytes: u64,
    n: u16,
    k: u16,
    q: u16,
    signers: u64,
    absent: u64,
    certificate_ms: u64,
    record_tx: String,
    record_gas: u64,
    members_killed: u64,
    retrieved_equal: bool,
    audit_chunks_ok: u64,
    audit_chunks_failed: u64,
}

impl Summary {
    /// The first thing that is not as it should be.
    fn check(&self) -> Result<()> {
        let Self { signers, absent, .. } = *self;
        let rules = [
            (signers >= u64::from(Q), "a quorum signed"),
            (signers + absent == u64::from(N), "everybody signed or is named as absent"),
            (absent == u64::from(N - Q), "the certificate formed without the members that were killed"),
            (self.record_gas > 0 && self.record_tx.len() == 66, "the certificate is on L1"),
            (self.members_killed == u64::from(N - K), "all members but k were killed"),
            (self.retrieved_equal, "the payload came back as it went in"),
            (self.audit_chunks_ok >= u64::from(K), "the members left prove their chunks"),
            (self.audit_chunks_failed == 0, "no chunk failed"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(Failure::new(format!("this does not hold: {rule}"))),
        }
    }
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
    // Whichever way this ends, the story is dropped, and with it every process that it started.
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

/// Numbers the page and times each step.
struct Page {
    step: usize,
    started: Instant,
    since: Instant,
}

impl Page {
    fn new() -> Self {
        Self { step: 0, started: Instant::now(), since: Instant::now() }
    }

    fn step(&mut self, title: &str) {
        self.step += 1;
        self.since = Instant::now();
        println!("\n{}. {title}", self.step);
    }

    fn say(&self, line: impl AsRef<str>) {
        println!("   {}", line.as_ref());
    }

    fn took(&self) {
        println!("   ({:.1} s)", self.since.elapsed().as_secs_f64());
    }
}

/// One member of the story.
struct Member {
    name: String,
    operator: String,
    process: Option<Process>,
    dispersal_url: String,
    retrieval_url: String,
}

impl Member {
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}

/// Runs `dac`, and shows the command as one would type it.
async fn typed(page: &Page, dac: &Dac, line: &str) -> Result<Value> {
    page.say(format!("$ dac {line}"));
    dac.expect(line.split_whitespace()).await
}

/// Makes a key that is thrown away with the folder, and returns its address or public key.
async fn keygen(dac: &Dac, kind: &str, name: &str) -> Result<String> {
    let line = format!(
        "keygen {kind} --out {name}.json --password-file {name}.password --new-password-file --kdf light"
    );
    let document = dac.expect(line.split_whitespace()).await?;
    let place = if kind == "bls" { "/public_key" } else { "/address" };
    Ok(text(&document, place)?.to_owned())
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
    let dac = Dac::new(&folder)?.with("DAC_DEPLOYMENT", "deployment.json");
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
    page.say(format!("$ {}", shown(&register_arguments(example))));
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

    page.step("A rollup is admitted, and an aggregator starts");
    let poster = keygen(&dac, "ethereum", "poster").await?;
    let line = format!(
        "admin admit-rollup --key owner.json --password-file owner.password --rollup {ROLLUP} --poster {poster} --retention 30d --daily-bytes 1GiB"
    );
    typed(&page, &dac, &line).await?;
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

    page.step("The rollup submits a batch");
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
    let line = configuration::submit_arguments(&payload_file, &api, &disperser, ROLLUP, 1, &poster);
    page.say(format!("$ {}", shown(&line)));
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

    page.step("kill −9 of the aggregator, and of all members but k");
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
    };
    let file = folder.join("summary.json");
    fs::write(&file, serde_json::to_string_pretty(&summary)? + "\n").context(file.display())?;
    summary.check()?;
    drop((members, aggregator, anvil));
    println!(
        "\nAll of it holds. Everything is stopped again; {:.1} s in all.",
        page.started.elapsed().as_secs_f64()
    );
    println!("Summary: {}; logs beside it.", file.display());
    Ok(())
}

/// An empty folder for this run.
fn prepare(folder: &Path) -> Result<PathBuf> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(folder.display()),
    }
    fs::create_dir_all(folder).context(folder.display())?;
    fs::canonicalize(folder).context(folder.display())
}

/// Makes a member's keys and starts its node on free ports.
async fn start_member(dac: &Dac, folder: &Path, name: String, l1: &L1, anvil: &Anvil) -> Result<Member> {
    keygen(dac, "bls", &format!("{name}/bls")).await?;
    let operator = keygen(dac, "ethereum", &format!("{name}/operator")).await?;
    anvil.fund(operator.parse().context("an operator's address")?).await;
    let home = folder.join(&name);
    let key = KeyFiles { keystore: home.join("bls.json"), password: home.join("bls.password") };
    let store = DatabaseOptions::sqlite(home.join("node.db"));
    let config = configuration::write_node(&home, l1, &store, &key, &Tls::default(), &Tls::default())?;
    let (process, listening) = start(&name, "dac-node", folder, &home, &config).await?;
    let url =
        |listener: &str| Ok::<_, Failure>(format!("http://{}", listening.get(listener).context(listener)?));
    let (dispersal_url, retrieval_url) = (url(configuration::DISPERSAL)?, url(configuration::RETRIEVAL)?);
    Ok(Member { name, operator, process: Some(process), dispersal_url, retrieval_url })
}

fn register_arguments(member: &Member) -> Vec<OsString> {
    let home = |file: &str| OsString::from(format!("{}/{file}", member.name));
    let mut arguments = vec![OsString::from("register")];
    for (option, value) in [
        ("--key", home("operator.json")),
        ("--password-file", home("operator.password")),
        ("--bls-key", home("bls.json")),
        ("--bls-password-file", home("bls.password")),
        ("--dispersal-url", member.dispersal_url.clone().into()),
        ("--retrieval-url", member.retrieval_url.clone().into()),
    ] {
        arguments.extend([option.into(), value]);
    }
    arguments
}

type Listening = std::collections::BTreeMap<String, std::net::SocketAddr>;

async fn start(
    name: &str,
    executable: &str,
    folder: &Path,
    home: &Path,
    config: &Path,
) -> Result<(Process, Listening)> {
    let ready = home.join("ready.json");
    let log = folder.join(format!("{name}.log"));
    let mut process =
        Process::start(name, &program(executable)?, configuration::arguments(config, &ready), &log)?;
    let listening = configuration::wait_ready(&mut process, &ready).await?;
    Ok((process, listening))
}

async fn start_aggregator(
    dac: &Dac,
    folder: &Path,
    l1: &L1,
    anvil: &Anvil,
) -> Result<(Process, String, String)> {
    let home = folder.join("aggregator");
    fs::create_dir_all(&home).context(home.display())?;
    let disperser = keygen(dac, "ethereum", "aggregator/disperser").await?;
    anvil.fund(disperser.parse().context("the disperser's address")?).await;
    let key = KeyFiles { keystore: home.join("disperser.json"), password: home.join("disperser.password") };
    let store = DatabaseOptions::sqlite(home.join("aggregator.db"));
    let config =
        configuration::write_aggregator(&home, l1, &store, &key, 1, &Tls::default(), &Tls::default())?;
    let (process, listening) = start("aggregator", "dac-aggregator", folder, &home, &config).await?;
    let api = listening.get(configuration::API).context("the aggregator's address")?;
    Ok((process, format!("http://{api}"), disperser))
}

/// Members whose signature is in the certificate, and the others.
fn tally(status: &Value) -> Result<(u64, u64)> {
    let members = status.pointer("/members").and_then(Value::as_array).context("/members")?;
    let signed = |member: &&Value| member.pointer("/in_certificate") == Some(&Value::Bool(true));
    let signers = members.iter().filter(signed).count() as u64;
    Ok((signers, members.len() as u64 - signers))
}

/// Chunks proved and failed, and a line for every member.
fn audit_figures(page: &Page, audit: &Value) -> Result<(u64, u64)> {
    for row in audit.pointer("/rows").and_then(Value::as_array).context("/rows")? {
        let (seat, check, result) = (number(row, "/seat")?, text(row, "/check")?, text(row, "/result")?);
        let detail = row.pointer("/detail").and_then(Value::as_str).unwrap_or_default();
        page.say(format!(
            "member-{seat}  {check:7} {result:12} {:5} ms  {detail}",
            number(row, "/latency_ms")?
        ));
    }
    let (ok, failed) = (number(audit, "/summary/chunks_ok")?, number(audit, "/summary/chunks_failed")?);
    page.say(format!("chunks: {ok} proved, {failed} failed; unreachable members are told apart from liars"));
    Ok((ok, failed))
}
