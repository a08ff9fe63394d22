//! `dac rotate`: the registry's owner gives seats to other operators, or new keys to seats.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dac_chain::{Registration, RpcRegistryReader};
use dac_cli::{Exit, Failure, Output, count, unix_now};
use dac_client::{Change, Dialer, MemberDescription, Readiness, Rotation};
use dac_runtime::config::Period;
use dac_types::{Address, Committee, Seat};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::context::{Chain, ChainArgs, DialArgs, address};
use crate::exit::CliError;
use crate::keys::{self, EthereumKeyArgs};
use crate::nodes;
use crate::output::{show_time, table};

/// The most registrations that are read at the same time.
const ASKED_AT_ONCE: usize = 16;

/// Give seats to other operators, or to new keys of the same ones: opens the next epoch with
/// exactly these seats replaced.
///
/// An operator who gets a seat has registered before (`dac register`), with the key and the URLs of
/// a node that runs already. n, k and q stay as they are, so that old batches stay with the seats;
/// the registry lets at most q − k seats change hands at once (one at least). The new epoch begins
/// after the activation delay; certificates of the former one are taken until its grace is over,
/// and an operator that leaves serves what it signed until that expires.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac rotate --deployment deployment.json --key owner.json --password-file owner.password \\
      --seat 3 --operator $OPERATOR --wait
  # The operator that sits there registered a new key. This says what would happen.
  dac rotate --deployment deployment.json --key owner.json --password-file owner.password \\
      --seat 3 --operator $OPERATOR --dry-run

Exit codes: 0 done; 3 with --wait: not active, or a newcomer not ready, when the time was over.")]
pub(crate) struct Rotate {
    /// A seat to give away; several with as many --operator, in the same order.
    #[arg(long, required = true, value_name = "SEAT")]
    seat: Vec<u8>,
    /// Operator that gets the seat.
    #[arg(long = "operator", required = true, value_name = "ADDRESS", value_parser = address)]
    operators: Vec<Address>,
    /// Check everything and send nothing.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until the epoch is active, and then until every newcomer reports that it holds what its
    /// seat owes.
    #[arg(long)]
    wait: bool,
    /// Stop waiting after this time; the rotation goes on.
    #[arg(long, value_name = "TIME", requires = "wait")]
    timeout: Option<Period>,
    /// Pause between two checks.
    #[arg(long, default_value = "5s", value_name = "TIME", requires = "wait")]
    interval: Period,
    #[command(flatten)]
    owner: OwnerKey,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

/// The owner's key. `--operator` names the new operators here, so `--key` cannot have it as an
/// alias.
#[derive(Debug, Args)]
#[command(next_help_heading = "Key")]
struct OwnerKey {
    /// Web3 keystore of the registry's owner.
    #[arg(long, visible_alias = "owner", value_name = "FILE", env = "DAC_KEY")]
    key: std::path::PathBuf,
    /// File with the password of that keystore.
    #[arg(long, value_name = "FILE", env = "DAC_PASSWORD_FILE")]
    password_file: std::path::PathBuf,
}

impl Rotate {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        if self.seat.len() != self.operators.len() {
            let (seats, operators) = (self.seat.len(), self.operators.len());
            return Err(Failure::usage(format!(
                "{} and {} are named",
                count(seats, "seat"),
                count(operators, "operator")
            ))
            .hint("one --operator for each --seat, in the same order")
            .into());
        }
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let former = view.committees.values().next_back().cloned().ok_or_else(|| {
            Failure::usage("the registry has no epoch yet")
                .hint("the owner opens the first one: dac admin open-epoch")
        })?;
        if view.head.timestamp < former.active_from() {
            let (epoch, from) = (former.epoch(), show_time(former.active_from()));
            return Err(Failure::new(
                Exit::Refused,
                format!("epoch {epoch} is open already and begins {from}: until then no other can be opened"),
            )
            .into());
        }
        let reader = RpcRegistryReader::new(chain.endpoints.clone(), chain.registry);
        let rotation = self.plan(&reader, &former).await?;
        let terms = reader.terms().await?;
        let dialer = self.dial.for_members(&chain.rpc_url)?;
        let mut warnings = Vec::new();
        for change in &rotation.changes {
            if let Err(problem) = look(&dialer, &chain, change).await {
                let (seat, operator) = (change.seat, change.to.operator);
                let warning = format!("seat {seat}, {operator}: {problem}");
                output.warn(&warning);
                warnings.push(warning);
            }
        }
        let mut document = json!({
            "former_epoch": former.epoch(),
            "n": rotation.operators.len(),
            "k": rotation.quorum.geometry().k(),
            "q": rotation.quorum.q(),
            "operators": rotation.operators,
            "changes": rotation.changes.iter().map(describe).collect::<Vec<_>>(),
            "changes_allowed": Rotation::limit(&former),
            "activation_delay_seconds": terms.activation_delay,
            "grace_seconds": terms.grace,
            "warnings": warnings,
        });
        let key = EthereumKeyArgs::of(&self.owner.key, &self.owner.password_file).open(output)?;
        if self.dry_run {
            let admin = keys::registry_admin(&chain, key);
            if admin.address() != terms.owner {
                output.warn(format!("the registry's owner is {}, not {}", terms.owner, admin.address()));
            }
            output.result(document, || {
                format!(
                    "{}nothing was sent; epoch {} would begin {} s after it is opened",
                    changes_table(&rotation.changes),
                    former.epoch() + 1,
                    terms.activation_delay
                )
            });
            return Ok(ExitCode::SUCCESS);
        }

        let admin = keys::registry_admin(&chain, key).registry;
        let (k, q) = (rotation.quorum.geometry().k(), rotation.quorum.q());
        let (epoch, receipt) = admin.open_epoch(&rotation.operators, k, q).await?;
        let view = chain.view().await?;
        let opened = view.committee(epoch).cloned();
        let active_from = opened.as_ref().map(|committee| committee.active_from());
        let postable_until = view.committee(former.epoch()).map(|committee| committee.postable_until());
        let shown_from = active_from.map_or("at a time not known yet".to_owned(), show_time);
        output.note(format!("epoch {epoch} is open and begins {shown_from}"));
        let (mut is_active, mut readiness) = (None, BTreeMap::new());
        if self.wait {
            let limit = self.timeout.map(|limit| limit.0);
            let wait = Wait { chain: &chain, dialer: &dialer, output, interval: self.interval.0, limit };
            (is_active, readiness) = wait.run(epoch, &rotation.changes).await?;
        }
        let is_ready =
            rotation.changes.iter().all(|change| readiness.get(&change.seat) == Some(&Readiness::Ready));
        if let Value::Object(fields) = &mut document {
            for (name, value) in [
                ("epoch", json!(epoch)),
                ("active_from", json!(active_from)),
                ("former_postable_until", json!(postable_until)),
                ("transaction", json!(receipt.tx_hash)),
                ("block", json!(receipt.block)),
                ("gas_used", json!(receipt.gas_used)),
                ("active", json!(is_active)),
                ("ready", json!(is_active.map(|active| active && is_ready))),
                (
                    "readiness",
                    readiness.iter().map(|(seat, state)| (seat.to_string(), json!(state.name()))).collect(),
                ),
            ] {
                fields.insert(name.into(), value);
            }
        }
        output.result(document, || {
            let grace = postable_until.map_or(String::new(), |until| {
                format!("certificates of epoch {} are taken until {}\n", former.epoch(), show_time(until))
            });
            let states: String =
                readiness.iter().map(|(seat, state)| format!("seat {seat}: {}\n", state.name())).collect();
            format!(
                "{}epoch {epoch} begins {shown_from}\n{grace}{states}transaction {} in block {}, {} gas",
                changes_table(&rotation.changes),
                receipt.tx_hash,
                receipt.block,
                receipt.gas_used
            )
        });
        Ok(match is_active {
            Some(active) if !(active && is_ready) => Exit::NotReady.into(),
            _ => ExitCode::SUCCESS,
        })
    }

    async fn plan(&self, reader: &RpcRegistryReader, former: &Committee) -> Result<Rotation, CliError> {
        let replacements: Vec<(Seat, Address)> =
            self.seat.iter().map(|seat| Seat(*seat)).zip(self.operators.iter().copied()).collect();
        let wanted =
            former.members().iter().map(|member| member.operator).chain(self.operators.iter().copied());
        let registrations: Vec<Option<Registration>> = futures::stream::iter(wanted)
            .map(|operator| async move { reader.registration(operator).await })
            .buffered(ASKED_AT_ONCE)
            .try_collect()
            .await?;
        let registrations: HashMap<Address, Registration> = registrations
            .into_iter()
            .flatten()
            .map(|registration| (registration.operator, registration))
            .collect();
        Ok(Rotation::plan(former, &replacements, &registrations).map_err(Failure::usage)?)
    }
}

/// Checks a new operator's node by its own description.
async fn look(dialer: &Dialer, chain: &Chain, change: &Change) -> Result<(), String> {
    let url = &change.to.retrieval_url;
    let member = nodes::look(dialer, chain.domain(), url, &change.to.public_key).await?;
    if member.readiness != Readiness::Ready {
        return Err(format!("the node at {url} is {}, not ready", member.readiness.name()));
    }
    Ok(())
}

/// Waits until the epoch is active and its new operators are ready.
struct Wait<'a> {
    chain: &'a Chain,
    dialer: &'a Dialer,
    output: &'a Output,
    interval: Duration,
    limit: Option<Duration>,
}

impl Wait<'_> {
    async fn run(
        &self,
        epoch: u64,
        changes: &[Change],
    ) -> Result<(Option<bool>, BTreeMap<Seat, Readiness>), CliError> {
        let start = Instant::now();
        let is_over = || self.limit.is_some_and(|limit| start.elapsed() + self.interval > limit);
        let spinner = self.output.timed_spinner("waiting for the epoch to begin");
        loop {
            // The clock may be ahead of the last block, and members go by their own clocks.
            let view = self.chain.view().await?;
            let now = unix_now().max(view.head.timestamp);
            if view.committee(epoch).is_some_and(|committee| now >= committee.active_from()) {
                break;
            }
            if is_over() {
                return Ok((Some(false), BTreeMap::new()));
            }
            tokio::time::sleep(self.interval).await;
        }
        spinner.finish_and_clear();
        self.output.note(format!("epoch {epoch} is active"));
        let mut last = String::new();
        loop {
            let mut states = BTreeMap::new();
            let mut lines = Vec::new();
            for change in changes {
                let (seat, url) = (change.seat, &change.to.retrieval_url);
                match nodes::ask(self.dialer, url).await {
                    Ok(member) if member.public_key == change.to.public_key && sits(&member, epoch, seat) => {
                        let duties = &member.duties;
                        let state = member.readiness;
                        lines.push(format!(
                            "seat {seat}: {}, holds {} of {} owed",
                            state.name(),
                            duties.held,
                            duties.owed
                        ));
                        states.insert(seat, state);
                    }
                    Ok(_) => {
                        lines.push(format!(
                            "seat {seat}: the node at {url} does not know the epoch, or has another key"
                        ));
                        states.insert(seat, Readiness::Untold);
                    }
                    Err(fault) => {
                        lines.push(format!("seat {seat}: {fault}"));
                        states.insert(seat, Readiness::Untold);
                    }
                }
            }
            let text = lines.join("\n");
            if text != last {
                self.output.note(&text);
                last = text;
            }
            let all_ready = states.values().all(|state| *state == Readiness::Ready);
            if all_ready || is_over() {
                return Ok((Some(true), states));
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}

/// Whether a node has read the new epoch. Before that it may call itself ready for what it owed in
/// the old one.
fn sits(member: &MemberDescription, epoch: u64, seat: Seat) -> bool {
    member.seats.iter().any(|claimed| (claimed.epoch, claimed.seat) == (epoch, seat))
}

fn describe(change: &Change) -> Value {
    json!({
        "seat": change.seat.0,
        "from": change.from,
        "from_key": change.from_key.to_string(),
        "to": change.to.operator,
        "to_key": change.to.public_key.to_string(),
        "dispersal_url": change.to.dispersal_url,
        "retrieval_url": change.to.retrieval_url,
    })
}

fn changes_table(changes: &[Change]) -> String {
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            let to = if change.from == change.to.operator {
                format!("the same, key {}", change.to.public_key)
            } else {
                change.to.operator.to_checksum(None)
            };
            vec![change.seat.to_string(), change.from.to_checksum(None), to]
        })
        .collect();
    table(&["seat", "from", "to"], &rows)
}
