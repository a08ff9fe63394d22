//! `dac committee`: the seats and operators of an epoch, an assessment of its numbers, the admitted
//! rollups, and the operators that have registered.

mod registered;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use dac_cli::{Failure, Output, unix_now};
use dac_client::assessment::{Assessment, Verdict};
use dac_client::files::{CommitteeFile, write_atomically};
use dac_client::printable;
use dac_types::Committee;
use serde_json::{Value, json};

use crate::context::ChainArgs;
use crate::exit::CliError;
use crate::output::{show_time, stdout_taken_by, table};

/// Show an epoch's committee: seats, operators, endpoints, what its numbers are worth, and the
/// admitted rollups.
///
/// n members, any k of them rebuild a batch, q signatures make a certificate. A certified batch
/// stays retrievable while at most q − k of its signers withhold; certificates form while at most n
/// − q members are silent. Erasure coding has a price: q − k + 1 colluders can withhold, where full
/// copies would need q.
///
/// Of each rollup: who posts for it, for how long it may have batches stored, and how many bytes a
/// UTC day. Members count that quota by what they take; --use shows what of it the certificate log
/// has recorded today.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac committee --deployment deployment.json
  dac committee --deployment deployment.json --operators --use
  dac committee --deployment deployment.json --epoch 3 --out committee-3.json
  dac verify certificate.json --committee committee-3.json   # offline")]
pub(crate) struct ShowCommittee {
    /// Which epoch; the one that signs now, or else the newest, if not given.
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u64>,
    /// Also write a committee file, with which certificates can be verified offline.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite that file.
    #[arg(long, requires = "out")]
    force: bool,
    /// Also list the operators that have registered and sit in no seat of this epoch. Reads the
    /// registry's events from its deployment on, and anyone may register: an operator there is no
    /// member.
    #[arg(long)]
    operators: bool,
    /// Also add up what each rollup has recorded today (UTC). Reads the certificate log's events of
    /// today.
    #[arg(long = "use")]
    used: bool,
    #[command(flatten)]
    chain: ChainArgs,
}

impl ShowCommittee {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let newest = view.committees.keys().next_back().copied();
        let epoch = self.epoch.or(view.current_epoch).or(newest).ok_or_else(|| {
            Failure::usage("the registry has no epoch yet").hint("the owner opens one: dac admin open-epoch")
        })?;
        let committee = view.committee(epoch).ok_or_else(|| {
            let range = newest.map_or("none".to_owned(), |newest| format!("1 to {newest}"));
            Failure::usage(format!("the registry has no epoch {epoch}; it has {range}"))
        })?;
        let assessment = Assessment::of(committee.quorum());
        let file = CommitteeFile { domain: view.domain(), committee: Committee::clone(committee) };
        let output = &self.out.as_deref().map_or(*output, |out| stdout_taken_by(out, *output));
        if let Some(out) = &self.out {
            write_atomically(out, file.to_json().as_bytes(), self.force)?;
            output.note(format!("committee file: {}", out.display()));
        }
        for warning in &assessment.warnings {
            output.warn(warning);
        }
        let is_active = committee.is_active(unix_now());
        let recorded_today = match self.used {
            true => Some(registered::recorded_today(&chain, output).await?),
            false => None,
        };
        let rollups = registered::rollups(&view, recorded_today.as_ref());
        let operators = match self.operators {
            true => Some(registered::unseated(&chain, committee, output).await?),
            false => None,
        };
        let document = json!({
            "committee": file.to_value(),
            "active": is_active,
            "current_epoch": view.current_epoch,
            "newest_epoch": newest,
            "paused": view.paused,
            "admitted_rollups": view.rollups.len(),
            "rollups": rollups.iter().map(registered::rollup_document).collect::<Vec<_>>(),
            "unseated_operators": operators.as_ref().map(|operators| {
                operators.iter().map(registered::operator_document).collect::<Vec<_>>()
            }),
            "safety": safety_document(&assessment),
            "warnings": assessment.warnings,
            "l2beat": assessment.l2beat.iter().map(|criterion| json!({
                "id": criterion.id,
                "rule": criterion.rule,
                "verdict": criterion.verdict.name(),
                "finding": criterion.finding,
            })).collect::<Vec<_>>(),
        });
        output.result(document, || {
            let mut text = text(committee, &assessment, is_active, view.paused);
            text.push_str(&registered::text(&rollups, operators.as_deref()));
            for warning in &assessment.warnings {
                let _ = writeln!(text, "\nWARNING: {warning}");
            }
            text
        });
        Ok(ExitCode::SUCCESS)
    }
}

fn safety_document(assessment: &Assessment) -> Value {
    let safety = &assessment.safety;
    json!({
        "withholders_tolerated": safety.withholders_tolerated,
        "silent_tolerated": safety.silent_tolerated,
        "withholders_tolerated_by_full_copies": safety.withholders_tolerated_by_full_copies,
        "honest_needed": assessment.honest_needed(),
        "honest_needed_by_full_copies": assessment.honest_needed_by_full_copies(),
        "storage_factor": assessment.storage_factor(),
    })
}

fn text(committee: &Committee, assessment: &Assessment, is_active: bool, paused: bool) -> String {
    let quorum = committee.quorum();
    let (n, k, q) = (quorum.geometry().n(), quorum.geometry().k(), quorum.q());
    let mut text = String::new();
    let state = match (paused, is_active) {
        (true, _) => "PAUSED: no new batches",
        (false, true) => "active",
        (false, false) => "not active now",
    };
    let _ = writeln!(text, "epoch {} ({state})  n = {n}, k = {k}, q = {q}", committee.epoch());
    let _ = writeln!(
        text,
        "signs from {} until {}",
        show_time(committee.active_from()),
        show_time(committee.active_until())
    );
    let _ = writeln!(text, "certificates are taken on L1 until {}\n", show_time(committee.postable_until()));
    let rows: Vec<Vec<String>> = committee
        .seats()
        .map(|(seat, member)| {
            vec![
                seat.to_string(),
                member.operator.to_checksum(None),
                printable(&member.dispersal_url),
                printable(&member.retrieval_url),
            ]
        })
        .collect();
    text.push_str(&table(&["seat", "operator", "dispersal", "retrieval"], &rows));
    let safety = &assessment.safety;
    let _ = writeln!(text, "\nSafety");
    let mut line = |figure: String, meaning: &str| {
        let _ = writeln!(text, "  {figure:>12}  {meaning}");
    };
    line(
        format!("q − k = {}", safety.withholders_tolerated),
        "signers may withhold, and every certified batch is still retrievable",
    );
    line(
        format!("n − q = {}", safety.silent_tolerated),
        "members may be silent, and certificates still form",
    );
    line(
        format!("q − 1 = {}", safety.withholders_tolerated_by_full_copies),
        "withholders would be tolerated by full copies at every member: the price of erasure coding",
    );
    line(
        format!("n / k = {:.2}", assessment.storage_factor()),
        "times the payload is stored by the whole committee, where full copies would store it n times",
    );
    let _ = writeln!(text, "\nL2BEAT's criteria for committees, as far as the registry can tell");
    for criterion in &assessment.l2beat {
        let mark = match criterion.verdict {
            Verdict::Met => "met",
            Verdict::NotMet => "NOT MET",
            Verdict::Unknown => "unknown",
        };
        let _ = writeln!(text, "  {mark:>8}  {}\n            {}", criterion.rule, criterion.finding);
    }
    text
}
