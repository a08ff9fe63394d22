//! Asks a node for its description, and formats the answer.

use dac_cli::{Exit, Failure};
use dac_client::{EndpointUrl, MemberClient, MemberDescription, MemberFault, Patience};
use dac_proto::v1;
use serde_json::{Value, json};

use crate::context::DialArgs;
use crate::exit::CliError;

/// Connects to a node that the user named and asks for its description.
pub(crate) async fn ask(dial: &DialArgs, endpoint: &EndpointUrl) -> Result<MemberDescription, CliError> {
    let unavailable = |fault: MemberFault| Failure::new(Exit::Unavailable, format!("{endpoint}: {fault}"));
    let dialer = dial.for_given_url()?;
    let mut client =
        MemberClient::connect(&dialer, endpoint.as_str(), Patience::default()).await.map_err(unavailable)?;
    Ok(client.describe().await.map_err(unavailable)?)
}

/// Returns the node's identity as JSON; both documents about a member begin with it.
pub(crate) fn identity(endpoint: &EndpointUrl, member: &MemberDescription) -> Value {
    json!({
        "endpoint": endpoint.as_str(),
        "chain_id": member.chain_id,
        "registry": member.registry,
        "operator": member.operator,
        "public_key": member.public_key.to_string(),
        "seats": member.seats.iter().map(|seat| json!({
            "epoch": seat.epoch, "seat": seat.seat.0, "active": seat.active,
        })).collect::<Vec<_>>(),
        "version": member.version,
        "protocols": member.protocols,
        "stored_batches": member.stored_batches,
        "stored_bytes": member.stored_bytes,
        "capacity_bytes": member.capacity_bytes,
        "l1_block": member.l1_block,
        "l1_age_seconds": member.l1_age_seconds,
        "l1_stale": member.l1_stale,
        "l1_max_age_seconds": member.l1_max_age_seconds,
        "l1_endpoints": l1_endpoints(&member.l1_endpoints),
    })
}

/// Returns the L1 endpoints of a member or an aggregator as JSON.
pub(crate) fn l1_endpoints(told: &v1::L1Endpoints) -> Value {
    json!({
        "configured": told.configured,
        "agree": told.agree,
        "disagreements": told.disagreements,
        "undecided": (!told.undecided.is_empty()).then_some(&told.undecided),
        "problems": told.problems,
    })
}

/// Returns table rows with the number of L1 endpoints and each problem.
pub(crate) fn l1_endpoint_rows(told: &v1::L1Endpoints) -> Vec<Vec<String>> {
    // Older nodes do not report how many endpoints they have.
    let configured = (told.configured > 0).then(|| match told.agree {
        0 | 1 => format!("{} configured, each is believed", told.configured),
        agree => format!("{} configured, {agree} must agree", told.configured),
    });
    let undecided = (!told.undecided.is_empty()).then(|| format!("UNDECIDED: {}", told.undecided));
    let lines = configured.into_iter().chain(undecided).chain(told.problems.iter().cloned());
    lines.map(|line| vec!["L1 endpoints".to_owned(), line]).collect()
}

/// Says how far the node has read L1, and whether that is enough for signing.
fn view_of_l1(member: &MemberDescription) -> String {
    if member.l1_block == 0 {
        return "not read yet: it signs nothing".to_owned();
    }
    let (block, age) = (member.l1_block, member.l1_age_seconds);
    match (member.l1_stale, member.l1_max_age_seconds) {
        (true, Some(limit)) => {
            format!("block {block}, read {age} s ago, more than the {limit} s allowed: it signs nothing")
        }
        (true, None) => format!("block {block}, read {age} s ago, too long: it signs nothing"),
        (false, _) => format!("block {block}, read {age} s ago"),
    }
}

/// Returns the node's identity as table rows.
pub(crate) fn identity_rows(member: &MemberDescription) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = [
        (
            "operator",
            member.operator.map_or("sits in no epoch".to_owned(), |operator| operator.to_checksum(None)),
        ),
        ("public key", member.public_key.to_string()),
        ("chain, registry", format!("{}, {}", member.chain_id, member.registry.to_checksum(None))),
        ("version", format!("{} ({})", member.version, member.protocols.join(", "))),
        ("stored", format!("{} batches, {} bytes", member.stored_batches, member.stored_bytes)),
        ("L1", view_of_l1(member)),
    ]
    .into_iter()
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect();
    rows.extend(l1_endpoint_rows(&member.l1_endpoints));
    for seat in &member.seats {
        let state = if seat.active { "active" } else { "not active" };
        rows.push(vec!["seat".to_owned(), format!("{} of epoch {} ({state})", seat.seat, seat.epoch)]);
    }
    rows
}
