//! `dac member`: what one node says of itself.

use std::process::ExitCode;

use clap::Args;
use dac_cli::{Exit, Failure, Output};
use dac_client::{EndpointUrl, MemberClient, MemberFault, Patience, printable};
use dac_proto::wire;
use serde_json::json;

use crate::context::DialArgs;
use crate::exit::CliError;
use crate::output::table;

/// Ask a node who it is: its key, seats, versions, storage, and how far it has read L1.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac member https://member.example.org:7002")]
pub(crate) struct ShowMember {
    /// The node's retrieval URL.
    endpoint: EndpointUrl,
    #[command(flatten)]
    dial: DialArgs,
}

impl ShowMember {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let unavailable =
            |fault: MemberFault| Failure::new(Exit::Unavailable, format!("{}: {fault}", self.endpoint));
        let dialer = self.dial.for_given_url()?;
        let mut client = MemberClient::connect(&dialer, self.endpoint.as_str(), Patience::default())
            .await
            .map_err(unavailable)?;
        let member = client.describe().await.map_err(unavailable)?;
        let junk = |error: wire::WireError| unavailable(MemberFault::Junk(error));
        let registry = wire::address("registry", &member.registry).map_err(junk)?;
        let operator = wire::optional_address("operator", &member.operator).map_err(junk)?;
        let public_key = wire::public_key_bytes("public_key", &member.public_key).map_err(junk)?;
        let protocols: Vec<String> = member.protocols.iter().map(|protocol| printable(protocol)).collect();
        let document = json!({
            "endpoint": self.endpoint.as_str(),
            "chain_id": member.chain_id,
            "registry": registry,
            "operator": operator,
            "public_key": public_key.to_string(),
            "seats": member.seats.iter().map(|seat| json!({
                "epoch": seat.epoch, "seat": seat.seat, "active": seat.active,
            })).collect::<Vec<_>>(),
            "version": printable(&member.version),
            "protocols": protocols,
            "stored_batches": member.stored_batches,
            "stored_bytes": member.stored_bytes,
            "capacity_bytes": (member.capacity_bytes != 0).then_some(member.capacity_bytes),
            "l1_block": member.l1_block,
            "l1_age_seconds": member.l1_age_seconds,
        });
        output.result(document, || {
            let mut rows: Vec<Vec<String>> = [
                (
                    "operator",
                    operator.map_or("sits in no epoch".to_owned(), |operator| operator.to_checksum(None)),
                ),
                ("public key", public_key.to_string()),
                ("chain, registry", format!("{}, {}", member.chain_id, registry.to_checksum(None))),
                ("version", format!("{} ({})", printable(&member.version), protocols.join(", "))),
                ("stored", format!("{} batches, {} bytes", member.stored_batches, member.stored_bytes)),
                ("L1", format!("block {}, read {} s ago", member.l1_block, member.l1_age_seconds)),
            ]
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
            for seat in &member.seats {
                let state = if seat.active { "active" } else { "not active" };
                rows.push(vec![
                    "seat".to_owned(),
                    format!("{} of epoch {} ({state})", seat.seat, seat.epoch),
                ]);
            }
            table(&[self.endpoint.as_str(), ""], &rows)
        });
        Ok(ExitCode::SUCCESS)
    }
}
