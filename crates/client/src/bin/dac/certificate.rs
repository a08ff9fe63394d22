//! `dac certificate`: fetches a batch's certificate from its aggregator or from the members.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dac_cli::{Exit, Failure, Output, unix_now};
use dac_client::files::{CertificateFile, write_atomically};
use dac_client::verify::verify_in_registry;
use dac_client::{EndpointUrl, Evidence, Hint, RetrieveOptions, Retriever};
use dac_types::BatchDigest;
use serde_json::json;

use crate::context::{ChainArgs, DialArgs, directory};
use crate::exit::CliError;
use crate::output::stdout_taken_by;

/// Fetch a batch's certificate and verify it. From the members, or from an aggregator if one is
/// given.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac certificate $DIGEST --out certificate.json --deployment deployment.json")]
pub(crate) struct FetchCertificate {
    /// The batch's digest.
    #[arg(value_name = "DIGEST")]
    digest: BatchDigest,
    /// The certificate file to write; printed if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite that file.
    #[arg(long, requires = "out")]
    force: bool,
    /// Ask this aggregator instead of the members.
    #[arg(long, env = "DAC_AGGREGATOR", value_name = "URL")]
    aggregator: Option<EndpointUrl>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

impl FetchCertificate {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let certificate = if let Some(url) = &self.aggregator {
            let client = self.dial.aggregator(url)?;
            client.certificate(dac_client::BatchSelector::Batch(self.digest)).await?
        } else {
            let dialer = self.dial.for_members(&chain.rpc_url)?;
            let retriever = Retriever::new(directory(&view)?, dialer, RetrieveOptions::default());
            match retriever.find_certificate(self.digest, &Hint::default()).await?.evidence {
                Evidence::Certificate(certificate) => *certificate,
                Evidence::RecordedOnL1 { .. } | Evidence::SettledOnL1 { .. } => {
                    return Err(Failure::new(
                        Exit::Unavailable,
                        "no member that answered has the certificate",
                    )
                    .into());
                }
            }
        };
        let file = CertificateFile { domain: chain.domain(), certificate };
        if file.digest() != self.digest {
            let message =
                format!("asked for the certificate of {}, got that of {}", self.digest, file.digest());
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let verified = verify_in_registry(&file, &view, unix_now())?;
        let output = &self.out.as_deref().map_or(*output, |out| stdout_taken_by(out, *output));
        if let Some(out) = &self.out {
            write_atomically(out, file.to_json().as_bytes(), self.force)?;
        }
        let document: serde_json::Value = serde_json::from_str(&file.to_json()).unwrap_or_default();
        let (signers, n) = (verified.signers.len(), verified.signers.len() + verified.absent.len());
        output.result(
            json!({ "certificate": document, "file": self.out, "signers": signers }),
            || match &self.out {
                Some(out) => format!("{}: {signers} of {n} signed", out.display()),
                None => file.to_json(),
            },
        );
        Ok(ExitCode::SUCCESS)
    }
}
