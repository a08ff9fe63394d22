//! Runs the runbook of `docs/operations.md`, block by block, against a network of real processes,
//! so that the page describes what works.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_chain::EcdsaKey;
use dac_coding::testing;
use dac_database::Backend;
use dac_proto::reason::Reason;
use dac_tests::configuration;
use dac_tests::disperser::Delivery;
use dac_tests::failure::{Context, Failure};
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Network, Service, Shape, real_payload};
use dac_tests::process::{Process, program, source_root};
use dac_tests::rollup::batch_hash;
use dac_tests::{Result, keys, rpc, wait};
use dac_types::{B256, BatchDigest, Geometry, HashKind};
use tokio::process::Command;

/// The names of the runbook's blocks.
const RUNBOOKS: [&str; 8] = [
    "aggregator",
    "backup-postgres",
    "backup-sqlite",
    "lost-disk",
    "reader",
    "restore-postgres",
    "restore-sqlite",
    "rotation",
];
/// The longest time that a block may take.
const BLOCK_LIMIT: Duration = Duration::from_secs(120);
/// The member on whose machine the runbook is run.
const HOME: usize = 1;

/// Returns the blocks by the name after `sh runbook:`.
fn blocks() -> Result<BTreeMap<String, Vec<String>>> {
    let file = source_root().join("docs/operations.md");
    let page = fs::read_to_string(&file).context(file.display())?;
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```sh runbook:") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.entry(name.to_owned()).or_default().push(body.join("\n"));
    }
    Ok(blocks)
}

#[test]
fn every_block_of_the_page_is_run_by_a_test() -> Result<()> {
    let named: BTreeSet<String> = blocks()?.into_keys().collect();
    assert_eq!(named, RUNBOOKS.map(str::to_owned).into());
    Ok(())
}

/// A machine on which blocks are run: a folder, variables, and a `systemctl` that asks the test.
struct Machine {
    folder: PathBuf,
    variables: Vec<(&'static str, OsString)>,
}

impl Machine {
    fn new(network: &Network) -> Result<Self> {
        let folder = network.folder().join("operator");
        fs::create_dir_all(folder.join("requests")).context("a folder")?;
        let shim = folder.join("systemctl");
        // The script sends a request to the test and waits for the answer, which is an exit code.
        let script = "#!/bin/sh\nset -eu\nrequest=$(mktemp \"$REQUESTS/XXXXXX\")\n\
                      echo \"$1 $2\" >\"$request.new\"\nmv \"$request.new\" \"$request.request\"\n\
                      while [ ! -e \"$request.answer\" ]; do sleep 0.05; done\nexit \"$(cat \"$request.answer\")\"\n";
        fs::write(&shim, script).context(shim.display())?;
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).context(shim.display())?;
        let deployment = network.deployment();
        let file = folder.join("deployment.json");
        fs::write(&file, deployment.to_json()).context(file.display())?;
        let programs = program("dac")?.parent().context("the programs' folder")?.to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths([folder.clone(), programs].into_iter().chain(std::env::split_paths(&path)));
        let variables = vec![
            ("PATH", path.context("PATH")?),
            ("REQUESTS", folder.join("requests").into()),
            ("DAC_DEPLOYMENT", "deployment.json".into()),
        ];
        Ok(Self { folder, variables })
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    /// Runs one block as it stands on the page; `unit` carries out its requests to the service
    /// manager.
    async fn run(&self, block: &str, unit: &mut impl Unit) -> Result<String> {
        println!("$ {}", block.replace('\n', "\n> "));
        let run = Command::new("bash")
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(&self.folder)
            .envs(self.variables.iter().cloned())
            .kill_on_drop(true)
            .output();
        let run = tokio::time::timeout(BLOCK_LIMIT, run);
        tokio::pin!(run);
        let output = loop {
            tokio::select! {
                output = &mut run => break output.context("a block")?.context("bash")?,
                () = tokio::time::sleep(Duration::from_millis(20)) => self.answer(unit).await?,
            }
        };
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{stdout}{stderr}");
        if output.status.success() {
            return Ok(stdout.into_owned());
        }
        Err(Failure::new(format!("{} in\n{block}\n{stdout}{stderr}", output.status)))
    }

    async fn answer(&self, unit: &mut impl Unit) -> Result<()> {
        let requests = self.folder.join("requests");
        for entry in fs::read_dir(&requests).context(requests.display())? {
            let path = entry.context(requests.display())?.path();
            if path.extension().is_none_or(|extension| extension != "request") {
                continue;
            }
            let request = fs::read_to_string(&path).context(path.display())?;
            fs::remove_file(&path).context(path.display())?;
            let done = match request.trim().split_once(' ') {
                Some(("start", name)) => unit.start(name).await,
                Some(("stop", name)) => unit.stop(name).await,
                _ => Err(Failure::new(format!("no such request: {request}"))),
            };
            let answer = path.with_extension("answer");
            fs::write(answer.with_extension("draft"), if done.is_ok() { "0" } else { "1" })
                .context("an answer")?;
            fs::rename(answer.with_extension("draft"), &answer).context(answer.display())?;
            done.context(request.trim())?;
        }
        Ok(())
    }
}

/// Starts and stops services for the service manager.
trait Unit {
    async fn start(&mut self, name: &str) -> Result<()>;
    async fn stop(&mut self, name: &str) -> Result<()>;
}

/// The services of the network.
struct Services<'a> {
    node: &'a mut Service,
    aggregator: &'a mut Service,
}

impl Services<'_> {
    fn named(&mut self, name: &str) -> Result<&mut Service> {
        match name {
            "dac-node" => Ok(self.node),
            "dac-aggregator" => Ok(self.aggregator),
            _ => Err(Failure::new(format!("there is no unit {name}"))),
        }
    }
}

impl Unit for Services<'_> {
    async fn start(&mut self, name: &str) -> Result<()> {
        self.named(name)?.start().await
    }

    async fn stop(&mut self, name: &str) -> Result<()> {
        self.named(name)?.stop().await
    }
}

/// A node without a seat, on its own ports.
struct Newcomer {
    config: PathBuf,
    process: Option<Process>,
}

impl Unit for Newcomer {
    async fn start(&mut self, name: &str) -> Result<()> {
        let ready = self.config.with_file_name("ready.json");
        let log = self.config.with_file_name("log");
        let arguments = configuration::arguments(&self.config, &ready);
        let mut process = Process::start(name, &program("dac-node")?, arguments, &log)?;
        configuration::wait_ready(&mut process, &ready).await?;
        self.process = Some(process);
        Ok(())
    }

    async fn stop(&mut self, name: &str) -> Result<()> {
        let mut process = self.process.take().context(name)?;
        process.terminate(wait::LIMIT).await?;
        Ok(())
    }
}

/// Returns a port that is free for now.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("a free port")?;
    Ok(listener.local_addr().context("a port")?.port())
}

fn replace_in(file: &Path, change: impl FnOnce(&mut toml::Table) -> Option<()>) -> Result<()> {
    let mut table: toml::Table = toml::from_str(&fs::read_to_string(file).context(file.display())?)?;
    change(&mut table).context(file.display())?;
    fs::write(file, toml::to_string(&table)?).context(file.display())
}

/// Submits a batch and waits until it is recorded on L1.
async fn batch(network: &Network, number: u64) -> Result<(BatchDigest, Bytes)> {
    let payload = payload(number);
    let batch = network.submit(number, HashKind::Opaque, &payload).await?;
    network.posted(&batch).await?;
    Ok((network.certified(&batch).await?, payload))
}

/// Returns a payload that differs for each number.
fn payload(number: u64) -> Bytes {
    let mut payload = real_payload(30_000).to_vec();
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload.into()
}

async fn all_are_back(network: &Network, batches: &[(BatchDigest, Bytes)]) -> Result<()> {
    for (digest, payload) in batches {
        assert!(network.retrieve(*digest).await? == *payload, "{digest}");
    }
    Ok(())
}

/// A backup, a restore of an old backup, and a lost disk, of a member and of the aggregator; then a
/// seat changes hands under load.
#[tokio::test(flavor = "multi_thread")]
async fn the_runbook_works_on_sqlite() -> Result<()> {
    let mut measure = Measure::begin(Promise::Runbook, "runbook::the_runbook_works_on_sqlite");
    let blocks = blocks()?;
    let mut network = Network::start(Shape::SMALL).await?;
    let mut machine = Machine::new(&network)?;
    let retrieval = network.members[HOME].service.gate(configuration::RETRIEVAL).url();
    machine.set("RETRIEVAL_URL", &retrieval);
    machine.set("DATABASE_FILE", network.members[HOME].service.database_file().context("a file")?);
    machine.set("AGGREGATOR_FILE", network.aggregator.database_file().context("a file")?);

    let mut batches = vec![batch(&network, 1).await?, batch(&network, 2).await?];
    run(&machine, &blocks["backup-sqlite"], &mut network).await?;
    batches.extend([batch(&network, 3).await?, batch(&network, 4).await?]);
    // The backup does not have the last two batches.
    run(&machine, &blocks["restore-sqlite"], &mut network).await?;
    holds_all(&network, &batches).await?;

    network.members[HOME].service.kill();
    network.members[HOME].service.lose_database()?;
    run(&machine, &blocks["lost-disk"], &mut network).await?;
    holds_all(&network, &batches).await?;

    run(&machine, &blocks["aggregator"], &mut network).await?;
    batches.push(batch(&network, 5).await?);
    all_are_back(&network, &batches).await?;

    let mut rotated = Measure::begin(Promise::Rotation, "runbook::the_runbook_works_on_sqlite");
    rotation(&mut network, &blocks["rotation"], &batches).await?;
    rotated.tried(1);
    rotated.passed();
    for name in ["backup-sqlite", "restore-sqlite", "lost-disk", "aggregator", "rotation"] {
        measure.tried(blocks[name].len() as u64);
    }
    measure.passed();
    Ok(())
}

/// Tests the same runbook with PostgreSQL's own tools.
#[tokio::test(flavor = "multi_thread")]
async fn the_runbook_works_on_postgres() -> Result<()> {
    let mut measure = Measure::begin(Promise::Runbook, "runbook::the_runbook_works_on_postgres");
    let blocks = blocks()?;
    let mut network = Network::prepare(Shape { backend: Backend::Postgres, ..Shape::SMALL }).await?;
    let mut machine = Machine::new(&network)?;
    let retrieval = network.members[HOME].service.gate(configuration::RETRIEVAL).url();
    machine.set("RETRIEVAL_URL", &retrieval);
    // The member gets a whole database, as with operators; tests usually have a schema.
    let config = network.folder().join(format!("member-{HOME}/node.toml"));
    let name = format!("runbook_{}", std::process::id());
    let mut server = String::new();
    let mut url = String::new();
    replace_in(&config, |config| {
        let store = config.get_mut("store")?.as_table_mut()?;
        let schema_url = store.get("url")?.as_str()?.to_owned();
        server = schema_url.split("options").next()?.trim_end_matches(['?', '&']).to_owned();
        url = with_database(&server, &name)?;
        store.insert("url".to_owned(), url.clone().into());
        Some(())
    })?;
    let create = format!("psql \"$SERVER_URL\" --quiet --command 'CREATE DATABASE {name}'");
    machine.set("SERVER_URL", &server);
    machine.set("DATABASE_URL", &url);
    run(&machine, &[create], &mut network).await?;
    for member in &mut network.members {
        member.service.start().await?;
    }
    network.aggregator.start().await?;

    let mut batches = vec![batch(&network, 1).await?, batch(&network, 2).await?];
    run(&machine, &blocks["backup-postgres"], &mut network).await?;
    batches.extend([batch(&network, 3).await?, batch(&network, 4).await?]);
    run(&machine, &blocks["restore-postgres"], &mut network).await?;
    holds_all(&network, &batches).await?;
    all_are_back(&network, &batches).await?;
    let reader = reads_for_it(&network, &mut machine, &blocks["reader"], &batches).await?;
    drop(reader);
    network.members[HOME].service.stop().await?;
    run(&machine, &[format!("psql \"$SERVER_URL\" --quiet --command 'DROP DATABASE {name}'")], &mut network)
        .await?;
    for name in ["backup-postgres", "restore-postgres", "reader"] {
        measure.tried(blocks[name].len() as u64);
    }
    measure.passed();
    Ok(())
}

/// A read-only server over the member's database serves what the member stored.
async fn reads_for_it(
    network: &Network,
    machine: &mut Machine,
    blocks: &[String],
    batches: &[(BatchDigest, Bytes)],
) -> Result<Newcomer> {
    let config = machine.folder.join("reader.toml");
    let home = network.folder().join(format!("member-{HOME}/node.toml"));
    fs::copy(&home, &config).context(config.display())?;
    let port = free_port()?;
    let public_key = network.committee.members[HOME].secret_key.public_key().to_compressed();
    replace_in(&config, |config| {
        config.remove("keys")?;
        config.remove(configuration::DISPERSAL)?;
        config.insert("role".to_owned(), "reader".into());
        config.insert("public_key".to_owned(), public_key.to_string().into());
        let listener = config.get_mut(configuration::RETRIEVAL)?.as_table_mut()?;
        listener.insert("listen".to_owned(), format!("127.0.0.1:{port}").into());
        Some(())
    })?;
    let url = format!("http://127.0.0.1:{port}");
    machine.set("READER_URL", &url);
    let mut reader = Newcomer { config, process: None };
    for block in blocks {
        machine.run(block, &mut reader).await?;
    }
    for (digest, _) in batches {
        let own = rpc::shard(network.members[HOME].retrieval()?, *digest).await?;
        assert!(rpc::shard(rpc::channel(&url)?, *digest).await? == own, "{digest}");
    }
    Ok(reader)
}

/// Returns the URL of another database of the same server.
fn with_database(server: &str, name: &str) -> Option<String> {
    let (base, query) = server.split_once('?').map_or((server, ""), |(base, query)| (base, query));
    let (authority, _) = base.rsplit_once('/')?;
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Some(format!("{authority}/{name}{query}"))
}

async fn run(machine: &Machine, blocks: &[String], network: &mut Network) -> Result<()> {
    let mut unit = Services { node: &mut network.members[HOME].service, aggregator: &mut network.aggregator };
    for block in blocks {
        machine.run(block, &mut unit).await?;
    }
    Ok(())
}

/// Checks that the member of this machine has every shard, byte for byte.
async fn holds_all(network: &Network, batches: &[(BatchDigest, Bytes)]) -> Result<()> {
    let geometry = Geometry::new(network.shape().n, network.shape().k).expect("a possible committee");
    for (digest, payload) in batches {
        let hash = batch_hash(HashKind::Opaque, payload);
        let expected = &testing::honest(geometry, payload.clone(), hash)?.shards[HOME];
        let shard = rpc::shard(network.members[HOME].retrieval()?, *digest).await?;
        assert!(shard == *expected, "{digest}");
    }
    Ok(())
}

/// Gives a seat to a new operator while batches are in flight.
async fn rotation(network: &mut Network, blocks: &[String], before: &[(BatchDigest, Bytes)]) -> Result<()> {
    let mut machine = Machine::new(network)?;
    let folder = machine.folder.clone();
    let (dispersal, retrieval) = (free_port()?, free_port()?);
    let operator = EcdsaKey::random();
    network.anvil.fund(operator.address()).await;
    for (name, key) in [("operator", &operator), ("owner", &network.committee.owner)] {
        let files = keys::ethereum(&folder.join(name), key)?;
        fs::rename(files.keystore, folder.join(format!("{name}.json"))).context(name)?;
        fs::rename(files.password, folder.join(format!("{name}.password"))).context(name)?;
    }
    // The configuration is that of another member, except for what the first block makes.
    let home = network.folder().join(format!("member-{HOME}/node.toml"));
    let config = folder.join("node.toml");
    fs::copy(&home, &config).context(config.display())?;
    replace_in(&config, |config| {
        let path = |name: &str| toml::Value::from(folder.join(name).display().to_string());
        let keys = config.get_mut("keys")?.as_table_mut()?;
        keys.insert("bls_keystore".to_owned(), path("bls.json"));
        keys.insert("password_file".to_owned(), path("bls.password"));
        let file = format!("sqlite:{}", folder.join("newcomer.db").display());
        config.get_mut("store")?.as_table_mut()?.insert("url".to_owned(), file.into());
        for (listener, port) in [(configuration::DISPERSAL, dispersal), (configuration::RETRIEVAL, retrieval)]
        {
            let listener = config.get_mut(listener)?.as_table_mut()?;
            listener.insert("listen".to_owned(), format!("127.0.0.1:{port}").into());
        }
        Some(())
    })?;
    let retrieval_url = format!("http://127.0.0.1:{retrieval}");
    machine.set("DISPERSAL_URL", format!("http://127.0.0.1:{dispersal}"));
    machine.set("RETRIEVAL_URL", &retrieval_url);
    machine.set("SEAT", HOME.to_string());
    machine.set("NEWCOMER", operator.address().to_string());
    let mut newcomer = Newcomer { config, process: None };

    // Batches are submitted all the time until the new node holds what its seat owes.
    let (done, next) = (AtomicBool::new(false), AtomicU64::new(100));
    let traffic = async {
        let mut submitted = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            submitted.push(network.submit(number, HashKind::Opaque, &payload(number)).await?);
            // L1's time must pass even without transactions, as on a real chain. Otherwise a
            // certificate of the new epoch would be simulated at the time of the last block, which
            // lies in the former epoch.
            network.anvil.mine(1).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok::<_, Failure>(submitted)
    };
    let runbook = async {
        let mut outcome = Ok(String::new());
        for block in blocks {
            outcome = machine.run(block, &mut newcomer).await;
            if outcome.is_err() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let (submitted, outcome) = tokio::join!(traffic, runbook);
    outcome?;

    // No batch is lost, and each has signatures of its epoch's committee.
    let mut all = before.to_vec();
    let mut epochs = BTreeSet::new();
    for batch in submitted? {
        let posted = match network.posted(&batch).await {
            Ok(posted) => posted,
            Err(failure) => {
                let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
                let now = rpc::batch(network.api()?, rpc::by_submission(digest)).await?;
                return Err(Failure::new(format!("{failure}: it is {now:?}")));
            }
        };
        epochs.insert(posted.epoch);
        let number = posted.submission.context("a submission")?.batch_number;
        all.push((dac_proto::wire::digest("digest", &posted.digest)?, payload(number)));
    }
    assert_eq!(epochs, [1, 2].into(), "batches on both sides of the switch");
    all_are_back(network, &all).await?;

    // The new node has every shard that its seat owes in the end; the departed one serves what it
    // signed, and signs nothing new.
    let departed = &network.members[HOME];
    let has_all = async || {
        let stored: BTreeSet<BatchDigest> =
            rpc::stored(rpc::channel(&retrieval_url).ok()?).await.ok()?.into_iter().collect();
        all.iter().all(|(digest, _)| stored.contains(digest)).then_some(())
    };
    wait::until("the newcomer to hold every shard", wait::LIMIT, has_all).await?;
    for (digest, _) in before {
        let old = rpc::shard(departed.retrieval()?, *digest).await?;
        assert!(rpc::shard(rpc::channel(&retrieval_url)?, *digest).await? == old, "{digest}");
    }
    let disperser = EcdsaKey::random();
    let geometry = Geometry::new(network.shape().n, network.shape().k).expect("a possible committee");
    let dispersal = testing::honest(geometry, payload(9_000), B256::repeat_byte(9))?;
    let mut late = Delivery::new(&network.rollup, &disperser, 9_000, HashKind::Opaque, dispersal);
    let refused = late.deliver(departed).await.expect_err("its epoch is over");
    assert_eq!(rpc::reason(&refused), Reason::EpochNotActive, "{refused}");
    late.header.epoch = 2;
    let refused = late.deliver(departed).await.expect_err("the seat is another's");
    assert_eq!(rpc::reason(&refused), Reason::WrongSeat, "{refused}");

    // A certificate of the former epoch that was not posted yet is accepted within the grace.
    let header = network.committee.header(9_001, dac_tests::rollup::now() + 3_600);
    let certificate = network.committee.certify(header, &[]);
    let stranger = network.anvil.account(network.anvil.key(5));
    stranger.record(network.committee.deployment.log, &certificate).await?;
    Ok(())
}
