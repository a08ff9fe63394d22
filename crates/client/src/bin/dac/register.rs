//! `dac register`: an operator registers its BLS key and its URLs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dac_cli::Output;
use dac_client::{Dialer, EndpointPolicy, EndpointUrl};
use dac_types::{Domain, PublicKeyBytes};
use serde_json::json;

use crate::context::{ChainArgs, DialArgs};
use crate::exit::CliError;
use crate::keys::{self, EthereumKeyArgs};
use crate::nodes;

/// Register as an operator: your BLS key with a proof that you hold it, and where your node
/// answers.
///
/// The proof of possession is made here and checked on L1. The registry's owner then seats
/// operators in an epoch (`dac admin open-epoch`). Registering again replaces key and URLs; open
/// epochs keep the key they were opened with.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac register --deployment deployment.json \\
      --key operator.json --password-file operator.password \\
      --bls-key bls.json --bls-password-file bls.password \\
      --dispersal-url https://member.example.org:7001 \\
      --retrieval-url https://member.example.org:7002")]
pub(crate) struct Register {
    #[command(flatten)]
    operator: EthereumKeyArgs,
    /// EIP-2335 keystore of the BLS key that the node attests with.
    #[arg(long, value_name = "FILE")]
    bls_key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long, value_name = "FILE")]
    bls_password_file: PathBuf,
    /// Where aggregators deliver shards.
    #[arg(long, value_name = "URL")]
    dispersal_url: EndpointUrl,
    /// Where clients retrieve them.
    #[arg(long, value_name = "URL")]
    retrieval_url: EndpointUrl,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

impl Register {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let chain = self.chain.connect().await?;
        let dialer = self.dial.for_members(&chain.rpc_url)?;
        for url in [&self.dispersal_url, &self.retrieval_url] {
            if let Err(error) = url.check_literal(EndpointPolicy::PublicOnly) {
                output.note(format!("note: {error}: clients elsewhere will refuse to connect to it"));
            }
            if !url.is_tls() {
                output.note(format!("note: {url} goes without TLS"));
            }
        }
        let operator = self.operator.open(output)?;
        let bls_key = keys::open_bls(&self.bls_key, &self.bls_password_file, output)?;
        let admin = keys::registry_admin(&chain, operator);
        let public_key = bls_key.public_key();
        let warnings = self.try_urls(&dialer, admin.domain(), &public_key.to_compressed()).await;
        for warning in &warnings {
            output.note(format!("note: {warning}"));
        }
        let possession = bls_key.prove_possession(&admin.domain(), admin.address());
        let receipt = admin
            .registry
            .register(&public_key, &possession, self.dispersal_url.as_str(), self.retrieval_url.as_str())
            .await?;
        let document = json!({
            "operator": admin.address(),
            "public_key": public_key.to_compressed().to_string(),
            "dispersal_url": self.dispersal_url.as_str(),
            "retrieval_url": self.retrieval_url.as_str(),
            "warnings": warnings,
            "transaction": receipt.tx_hash,
            "block": receipt.block,
            "gas_used": receipt.gas_used,
        });
        output.result(document, || {
            format!(
                "operator {} is registered\ntransaction {} in block {}, {} gas",
                admin.address().to_checksum(None),
                receipt.tx_hash,
                receipt.block,
                receipt.gas_used
            )
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the problems with the URLs as seen from this machine. They do not prevent
    /// registration, because the node may be started later.
    async fn try_urls(&self, dialer: &Dialer, domain: Domain, key: &PublicKeyBytes) -> Vec<String> {
        let dispersal = async {
            let connected = dialer.connect_url(&self.dispersal_url).await;
            connected
                .map(|_| ())
                .map_err(|fault| format!("nobody takes shards at {}: {fault}", self.dispersal_url))
        };
        let retrieval =
            async { nodes::look(dialer, domain, self.retrieval_url.as_str(), key).await.map(|_| ()) };
        let (dispersal, retrieval) = tokio::join!(dispersal, retrieval);
        [dispersal, retrieval].into_iter().filter_map(Result::err).collect()
    }
}
