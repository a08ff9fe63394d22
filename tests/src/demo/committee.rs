//! The demo's members and aggregator: their keys and processes, and the results of audits.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use dac_chain::testing::Anvil;
use dac_database::DatabaseOptions;
use dac_tests::command::{CommandLine, number, text};
use dac_tests::configuration::{self, KeyFiles, L1, Tls};
use dac_tests::process::{Process, program};
use dac_tests::{Context, Failure, Result};
use serde_json::Value;

use crate::page::Page;

/// The number of seats.
pub(crate) const N: u16 = 7;
/// The number of shards that rebuild a batch.
pub(crate) const K: u16 = 3;
/// The number of signatures that make a certificate.
pub(crate) const Q: u16 = 5;
/// The seats that are killed before the batches come: as many as may be silent, one with a row and
/// one with a parity shard.
pub(crate) const KILLED_BEFORE: [usize; 2] = [1, 5];
/// The seats that are killed after the batches. The three that remain hold one row and two parity
/// shards, so that retrieval must decode.
pub(crate) const KILLED_AFTER: [usize; 2] = [0, 3];

/// A member of the demo's committee.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) process: Option<Process>,
    dispersal_url: String,
    retrieval_url: String,
}

impl Member {
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}

/// Makes a key that is deleted with the folder, and returns its address or public key.
pub(crate) async fn keygen(dac: &CommandLine, kind: &str, name: &str) -> Result<String> {
    let line = format!(
        "keygen {kind} --out {name}.json --password-file {name}.password --new-password-file --kdf light"
    );
    let document = dac.expect(line.split_whitespace()).await?;
    let place = if kind == "bls" { "/public_key" } else { "/address" };
    Ok(text(&document, place)?.to_owned())
}

/// Makes a member's keys and starts its node on free ports.
pub(crate) async fn start_member(
    dac: &CommandLine,
    folder: &Path,
    name: String,
    l1: &L1,
    anvil: &Anvil,
) -> Result<Member> {
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

pub(crate) fn register_arguments(member: &Member) -> Vec<OsString> {
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

pub(crate) async fn start(
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

pub(crate) async fn start_aggregator(
    dac: &CommandLine,
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

/// Counts the members whose signatures are in the certificate, and the others.
pub(crate) fn tally(status: &Value) -> Result<(u64, u64)> {
    let members = status.pointer("/members").and_then(Value::as_array).context("/members")?;
    let signed = |member: &&Value| member.pointer("/in_certificate") == Some(&Value::Bool(true));
    let signers = members.iter().filter(signed).count() as u64;
    Ok((signers, members.len() as u64 - signers))
}

/// Counts the chunks proved and failed, and prints a line for each member.
pub(crate) fn audit_figures(page: &Page, audit: &Value) -> Result<(u64, u64)> {
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
