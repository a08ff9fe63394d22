//! The metrics pages of a live member, its read-only server and an aggregator: as Prometheus wants
//! them, and in the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use dac_database::Backend;
use dac_tests::failure::{Context, Failure};
use dac_tests::monitoring::{LISTENER, address, metrics as page};
use dac_tests::network::{Network, Plan, Shape, real_payload};
use dac_tests::process::{Process, program, source_root};
use dac_tests::{Result, configuration, monitoring, wait};
use dac_types::HashKind;

/// Set where the check may not be left out.
const DEMAND: &str = "DAC_DEMAND_PROMTOOL";

/// Starts a read-only server over the first member's database.
async fn start_reader(network: &Network) -> Result<(Process, SocketAddr)> {
    let folder = network.folder().join("reader");
    fs::create_dir_all(&folder).context(folder.display())?;
    let home = network.members[0].service.config();
    let mut config: toml::Table = toml::from_str(&fs::read_to_string(home).context(home.display())?)?;
    config.remove("keys");
    config.remove(configuration::DISPERSAL);
    let public_key = network.committee.members[0].secret_key.public_key().to_compressed();
    config.insert("role".to_owned(), "reader".into());
    config.insert("public_key".to_owned(), public_key.to_string().into());
    let (file, ready) = (folder.join("reader.toml"), folder.join("ready.json"));
    fs::write(&file, toml::to_string(&config)?).context(file.display())?;
    let arguments = configuration::arguments(&file, &ready);
    let mut process = Process::start("reader", &program("dac-node")?, arguments, &folder.join("log"))?;
    let addresses = configuration::wait_ready(&mut process, &ready).await?;
    Ok((process, *addresses.get(LISTENER).context("a monitoring page")?))
}

/// Names of all metrics on a page; each has a text that says what it means.
fn names(page: &str) -> BTreeSet<String> {
    let described = |kind: &str| -> BTreeSet<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(kind));
        lines.filter_map(|line| line.split_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let names = described("# TYPE ");
    assert_eq!(names, described("# HELP "), "{page}");
    names
}

/// Has promtool check a page; `false` where there is none.
fn check(what: &str, page: &str) -> Result<bool> {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        child => child.context("promtool")?,
    };
    child.stdin.take().context("its input")?.write_all(page.as_bytes()).context("promtool")?;
    let output = child.wait_with_output().context("promtool")?;
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(true);
    }
    Err(Failure::new(format!("promtool on the page of {what}: {said}\n{page}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_as_prometheus_wants_them_and_documented() -> Result<()> {
    let settings = monitoring::settings();
    let plan = Plan { node: settings.clone(), aggregator: settings, ..Plan::default() };
    let network = Network::start_as(Shape { backend: Backend::Postgres, ..Shape::SMALL }, &plan).await?;
    let (_reader, reader) = start_reader(&network).await?;
    let fresh = [
        ("member", page(address(&network.members[0].service)?).await?),
        ("reader", page(reader).await?),
        ("aggregator", page(address(&network.aggregator)?).await?),
    ];
    // What operators are told to watch is there before anything has happened.
    for (page, watched) in [
        (0, "dac_node_corrupt_total 0"),
        (0, "dac_node_unreadable_total 0"),
        (0, "dac_node_repairs_total{outcome=\"failed\"} 0"),
        (1, "dac_node_corrupt_total 0"),
        (2, "dac_aggregator_lies_total{operator=\"unknown\",reason=\"BAD_SIGNATURE\"} 0"),
        (2, "dac_aggregator_batches{state=\"failed\"} 0"),
        (0, "dac_node_l1_disagreements_total 0"),
        (0, "dac_node_l1_claims_capped_total{rollup=\"other\"} 0"),
        (0, "dac_node_peer_faults_total{operator=\"other\",kind=\"BAD_SHARD\"} 0"),
        (1, "dac_node_l1_undecided 0"),
        (2, "dac_aggregator_l1_disagreements_total 0"),
        (2, "dac_aggregator_l1_undecided 0"),
        (2, "dac_aggregator_batches_waiting{reason=\"UNREACHABLE\"} 0"),
        (2, "dac_aggregator_waits_total{reason=\"TLS\"} 0"),
        (2, "dac_aggregator_renewals_held_back_total{rollup=\"other\"} 0"),
    ] {
        let (what, page) = &fresh[page];
        assert!(page.lines().any(|line| line == watched), "{watched} on the page of the {what}: {page}");
    }
    // What is counted by rollup or operator is there for those that the registry names.
    let (rollup, operator) = (network.rollup.address, network.committee.members[1].operator.address());
    for (service, series) in [
        (
            &network.members[0].service,
            [
                format!("dac_node_l1_claims_left_out_total{{rollup=\"{rollup}\"}}"),
                format!("dac_node_peer_faults_total{{operator=\"{operator}\",kind=\"UNREACHABLE\"}}"),
            ],
        ),
        (
            &network.aggregator,
            [
                format!(
                    "dac_aggregator_submissions_refused_total{{reason=\"BAD_PAYLOAD\",rollup=\"{rollup}\"}}"
                ),
                format!("dac_aggregator_lies_total{{operator=\"{operator}\",reason=\"OTHER_SEAT\"}}"),
            ],
        ),
    ] {
        let address = address(service)?;
        for series in series {
            let exists =
                async || (monitoring::value(&page(address).await.ok()?, &series)? == 0.0).then_some(());
            wait::until(&series, wait::LIMIT, exists).await?;
        }
    }
    // A batch leaves its traces on the pages.
    let batch = network.submit(1, HashKind::Opaque, &real_payload(1_000)).await?;
    let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
    dac_tests::rpc::watch(network.api()?, dac_tests::rpc::by_submission(digest), |batch| {
        batch.state() == dac_proto::v1::BatchState::Posted
    })
    .await?;
    let used = [
        ("member", page(address(&network.members[0].service)?).await?),
        ("reader", page(reader).await?),
        ("aggregator", page(address(&network.aggregator)?).await?),
    ];
    let documentation = source_root().join("docs/operations.md");
    let documentation = fs::read_to_string(&documentation).context(documentation.display())?;
    for ((what, before), (_, after)) in fresh.iter().zip(&used) {
        assert!(names(before).is_subset(&names(after)), "{what}");
        for name in names(after) {
            assert!(documentation.contains(&format!("`{name}`")), "{name} of a {what} in docs/operations.md");
        }
        for page in [before, after] {
            if !check(what, page)? {
                assert!(std::env::var_os(DEMAND).is_none(), "promtool: not found");
                eprintln!("SKIPPED: promtool is not there, so the metrics pages were not checked with it");
            }
        }
    }
    Ok(())
}
