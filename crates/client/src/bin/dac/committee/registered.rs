//! Reads admitted rollups, and operators without a seat, from L1.

use std::collections::HashMap;
use std::time::Duration;

use dac_chain::{Registration, RegistryView, RpcRegistryReader};
use dac_cli::{Output, unix_now};
use dac_client::printable;
use dac_types::{Address, AdmittedRollup, Committee};
use serde_json::{Value, json};

use crate::context::Chain;
use crate::exit::CliError;
use crate::log_search::{Search, recorded_since};
use crate::output::table;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// An admitted rollup, and, if the user asked for it, what it has recorded today.
pub(super) struct Rollup {
    terms: AdmittedRollup,
    recorded_today: Option<u64>,
}

/// Lists the admitted rollups by address.
pub(super) fn rollups(view: &RegistryView, recorded_today: Option<&HashMap<Address, u64>>) -> Vec<Rollup> {
    let mut rollups: Vec<Rollup> = view
        .rollups
        .values()
        .map(|terms| Rollup {
            terms: *terms,
            recorded_today: recorded_today
                .map(|recorded| recorded.get(&terms.rollup).copied().unwrap_or_default()),
        })
        .collect();
    rollups.sort_by_key(|rollup| rollup.terms.rollup);
    rollups
}

/// Adds up the payload bytes that the certificate log has recorded since midnight UTC, by rollup.
pub(super) async fn recorded_today(
    chain: &Chain,
    output: &Output,
) -> Result<HashMap<Address, u64>, CliError> {
    let log = chain.required_log().await?;
    let head = log.head().await?.number;
    let now = unix_now();
    let since = now - now % DAY_SECONDS;
    let searching = output.spinner("reading the certificate log");
    let search =
        Search { log: &log, head, oldest: chain.deployed_at_block, enough: None, since: Some(since) };
    let found = search.run(|block| searching.set_message(format!("reading the log back from block {block}")));
    let found = found.await?;
    let mut bytes: HashMap<Address, u64> = HashMap::new();
    for event in recorded_since(&log, &found.events, since).await? {
        let sum = bytes.entry(event.rollup).or_default();
        *sum = sum.saturating_add(event.payload_length);
    }
    searching.finish_and_clear();
    Ok(bytes)
}

/// Lists the registered operators that have no seat in this committee, with their current
/// registrations.
pub(super) async fn unseated(
    chain: &Chain,
    committee: &Committee,
    output: &Output,
) -> Result<Vec<Registration>, CliError> {
    let reader = RpcRegistryReader::new(chain.endpoints.clone(), chain.registry);
    let searching = output.spinner("reading who has registered");
    let registered = reader
        .registered_operators(chain.deployed_at_block, |block, head| {
            searching.set_message(format!("reading who has registered: block {block} of {head}"));
        })
        .await?;
    let mut unseated = Vec::new();
    for operator in registered {
        if committee.members().iter().all(|member| member.operator != operator) {
            unseated.extend(reader.registration(operator).await?);
        }
    }
    searching.finish_and_clear();
    Ok(unseated)
}

pub(super) fn rollup_document(rollup: &Rollup) -> Value {
    json!({
        "rollup": rollup.terms.rollup,
        "poster": rollup.terms.poster,
        "retention_max_seconds": rollup.terms.retention_max_seconds,
        "daily_payload_bytes": rollup.terms.daily_payload_bytes,
        "recorded_today_bytes": rollup.recorded_today,
    })
}

pub(super) fn operator_document(operator: &Registration) -> Value {
    json!({
        "operator": operator.operator,
        "public_key": operator.public_key.to_string(),
        "dispersal_url": printable(&operator.dispersal_url),
        "retrieval_url": printable(&operator.retrieval_url),
    })
}

/// Formats rollups and operators as text.
pub(super) fn text(rollups: &[Rollup], operators: Option<&[Registration]>) -> String {
    let mut text = String::from("\nAdmitted rollups\n");
    if rollups.is_empty() {
        text.push_str("  none; the owner admits one: dac admin admit-rollup\n");
    } else {
        let rows: Vec<Vec<String>> = rollups.iter().map(rollup_cells).collect();
        text.push_str(&table(&["rollup", "poster", "stored for", "bytes a day", "recorded today"], &rows));
    }
    if let Some(operators) = operators {
        text.push_str("\nRegistered, and in no seat of this epoch\n");
        if operators.is_empty() {
            text.push_str("  nobody\n");
        } else {
            let rows: Vec<Vec<String>> = operators
                .iter()
                .map(|operator| {
                    vec![
                        operator.operator.to_checksum(None),
                        printable(&operator.dispersal_url),
                        printable(&operator.retrieval_url),
                    ]
                })
                .collect();
            text.push_str(&table(&["operator", "dispersal", "retrieval"], &rows));
        }
    }
    text
}

fn rollup_cells(rollup: &Rollup) -> Vec<String> {
    let AdmittedRollup { retention_max_seconds, daily_payload_bytes, .. } = rollup.terms;
    let recorded = match rollup.recorded_today {
        None => "see --use".to_owned(),
        Some(bytes) => {
            let percent = 100.0 * bytes as f64 / daily_payload_bytes.max(1) as f64;
            format!("{bytes} ({percent:.0} %)")
        }
    };
    vec![
        rollup.terms.rollup.to_checksum(None),
        rollup.terms.poster.to_checksum(None),
        humantime::format_duration(Duration::from_secs(retention_max_seconds)).to_string(),
        daily_payload_bytes.to_string(),
        recorded,
    ]
}
