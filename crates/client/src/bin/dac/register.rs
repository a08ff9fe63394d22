//! `dac register`: an operator puts its BLS key and its URLs into the registry.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dac_cli::Output;
use dac_client::{EndpointPolicy, EndpointUrl};
use serde_json::json;

use crate::context::ChainArgs;
use crate::exit::CliError;
use crate::keys::{self, EthereumKeyArgs};

/// Register as an operator: your BLS key with a proof that you hold it, and where your node answers.
///
/// The proof of possession is made here and checked on L1. The registry's owner then seats operators in an epoch
/// (`dac admin open-epoch`). Registering again replaces key and URLs; open epochs keep the key they were opened with.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac register --deployment deployment.json \\
      --key operator.json --password-file operator.password \\
      --bls-key bls.json --bls-password-file bls.password \\
      --dispersal-url https://member.example.org:7001 --retrieval-url https://member.example.org:7002")]
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
    /// Where anybody retrieves them.
    #[arg(long, value_name = "URL")]
    retrieval_url: EndpointUrl,
    #[command(flatten)]
    chain: ChainArgs,
}

impl Register {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let operator = self.operator.open()?;
        let bls_key = keys::open_bls(&self.bls_key, &self.bls_password_file)?;
        let chain = self.chain.connect().await?;
        for url in [&self.dispersal_url, &self.retrieval_url] {
            if let Err(error) = url.check_literal(EndpointPolicy::PublicOnly) {
                output.note(format!("note: {error}: clients elsewhere will refuse to connect to it"));
            }
            if !url.is_tls() {
                output.note(format!("note: {url} goes without TLS"));
            }
        }
        let admin = keys::registry_admin(&chain, operator);
        let public_key = bls_key.public_key();
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
}
