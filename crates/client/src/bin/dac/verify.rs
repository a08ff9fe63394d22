//! `dac verify`: verifies a certificate file, offline or against L1.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dac_cli::{Exit, Failure, Output, unix_now};
use dac_client::files::{CertificateFile, CommitteeFile};
use dac_client::verify::{L1Verdict, Verified, verify_in_registry, verify_offline, verify_on_l1};
use serde_json::{Value, json};

use crate::context::ChainArgs;
use crate::exit::CliError;
use crate::output::show_time;

/// Verify a certificate file: its signature against the committee, and what L1 says about it.
///
/// With --committee no server is asked; the file is trusted for the keys. Otherwise the
/// registry gives the keys, the certificate log says whether the contract accepts the certificate
/// now, and since when it is recorded. A certificate that was good stays good when its batch
/// expires or its epoch ends; it just cannot be posted any more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac verify certificate.json --deployment deployment.json
  dac verify certificate.json --committee committee.json   # offline")]
pub(crate) struct Verify {
    /// The certificate file.
    #[arg(value_name = "FILE")]
    certificate: PathBuf,
    /// Verify offline, against the committee in this file (`dac committee --out`).
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
}

impl Verify {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let file = CertificateFile::read(&self.certificate)?;
        let now = unix_now();
        if let Some(path) = &self.committee {
            let committee = CommitteeFile::read(path)?;
            let verified = verify_offline(&file, &committee, now)?;
            output.result(document(&file, &verified, None), || text(&file, &verified, None));
            return Ok(ExitCode::SUCCESS);
        }
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let verified = verify_in_registry(&file, &view, view.head.timestamp.max(now))?;
        let verdict = match chain.log().await? {
            Some(log) => Some(verify_on_l1(&file, &log).await?),
            None => {
                output.note(
                    "note: no --certificate-log is given, so L1 was asked for the committee's keys alone",
                );
                None
            }
        };
        // That the certificate can no longer be posted is not its fault. Any other disagreement
        // between the contract and this program is a bug of this program.
        if let Some(L1Verdict { check: Err(error), recorded_at: None }) = &verdict
            && verified.postable.is_ok()
            && !view.paused
        {
            return Err(Failure::new(
                Exit::Failed,
                format!("the signature verifies here, but the contract refuses: {error}"),
            )
            .into());
        }
        output.result(document(&file, &verified, verdict.as_ref()), || {
            text(&file, &verified, verdict.as_ref())
        });
        Ok(ExitCode::SUCCESS)
    }
}

fn document(file: &CertificateFile, verified: &Verified, l1: Option<&L1Verdict>) -> Value {
    let header = &file.certificate.header;
    json!({
        "valid": true,
        "digest": verified.digest.to_string(),
        "rollup": header.rollup,
        "batch_number": header.batch_number,
        "epoch": header.epoch,
        "expires_at": header.expires_at,
        "quorum": verified.quorum,
        "signers": verified.signers.iter().map(|seat| seat.0).collect::<Vec<_>>(),
        "absent": verified.absent.iter().map(|seat| seat.0).collect::<Vec<_>>(),
        "postable": verified.postable.is_ok(),
        "postable_problem": verified.postable.as_ref().err().map(ToString::to_string),
        "l1": l1.map(|l1| json!({
            "recorded_at": l1.recorded_at,
            "accepted": l1.check.is_ok(),
            "refusal": l1.check.as_ref().err().map(ToString::to_string),
        })),
    })
}

fn text(file: &CertificateFile, verified: &Verified, l1: Option<&L1Verdict>) -> String {
    let header = &file.certificate.header;
    let n = verified.signers.len() + verified.absent.len();
    let mut lines = vec![
        format!(
            "GOOD: {} of {n} members of epoch {} signed, {} are needed",
            verified.signers.len(),
            header.epoch,
            verified.quorum
        ),
        format!("batch {} of rollup {}", header.batch_number, header.rollup.to_checksum(None)),
        format!("digest {}", verified.digest),
        format!("served until {}", show_time(header.expires_at)),
    ];
    if let Err(problem) = &verified.postable {
        lines.push(format!("cannot be posted any more: {problem}"));
    }
    match l1 {
        None => lines.push("L1 was not asked whether it is recorded".to_owned()),
        Some(l1) => {
            lines.push(match l1.recorded_at {
                Some(time) => format!("recorded on L1 at {}", show_time(time)),
                None => "not recorded on L1".to_owned(),
            });
            lines.push(match &l1.check {
                Ok(()) => "the contract accepts it now".to_owned(),
                Err(refusal) => format!("the contract does not accept it now: {refusal}"),
            });
        }
    }
    lines.join("\n")
}
