//! `dac member status`: whether a node holds what it owes, and how far its repair is.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dac_cli::{Exit, Output, count};
use dac_client::{EndpointUrl, MemberDescription, Readiness, ReportedAccusation, ReportedFault};
use dac_runtime::config::Period;
use dac_types::Address;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::context::DialArgs;
use crate::exit::CliError;
use crate::member_identity::{ask, identity, identity_rows};
use crate::output::{show_time, table};

/// Ask a node whether it holds everything it owes: duties by L1, repair, scrubbing, faults of
/// others, bad seats.
///
/// A node is ready once it has read L1 and holds each shard that its seats owe. Until then it signs
/// new batches, but no renewal for a rollup of which it lacks a shard. It is stale, and signs
/// nothing, while its view of L1 is older than its chain.max_staleness; its /healthz fails then,
/// too. What it says is its own word: `dac audit` has it proved.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 ready, 3 not ready yet or stale, 4 it cannot be asked. With --watch: 0 once it is
ready.

Example:
  dac member status https://member.example.org:7002 --watch")]
pub(crate) struct ShowStatus {
    /// The node's retrieval URL.
    endpoint: EndpointUrl,
    /// Ask until it is ready, and print the rate of repair and the time that it will take.
    #[arg(long)]
    watch: bool,
    /// Pause between two questions.
    #[arg(long, default_value = "5s", value_name = "TIME", requires = "watch")]
    interval: Period,
    /// Give up watching after this time: exit code 3 or 4.
    #[arg(long, value_name = "TIME", requires = "watch")]
    timeout: Option<Period>,
    #[command(flatten)]
    dial: DialArgs,
}

impl ShowStatus {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let follow = Follow {
            dial: &self.dial,
            endpoint: &self.endpoint,
            interval: self.interval.0,
            limit: if self.watch { self.timeout.map(|limit| limit.0) } else { Some(Duration::ZERO) },
        };
        let (member, pace) = follow.until(output, |member| member.readiness == Readiness::Ready).await?;
        let is_ready = member.readiness == Readiness::Ready;
        output.result(document(&self.endpoint, &member, pace), || text(&self.endpoint, &member, pace));
        Ok(if is_ready { ExitCode::SUCCESS } else { Exit::NotReady.into() })
    }
}

/// Asks a node for its description at regular intervals.
pub(crate) struct Follow<'a> {
    pub(crate) dial: &'a DialArgs,
    pub(crate) endpoint: &'a EndpointUrl,
    pub(crate) interval: Duration,
    /// For how long the node is asked; zero asks once, none has no limit.
    pub(crate) limit: Option<Duration>,
}

impl Follow<'_> {
    /// Asks until `done` or the limit. Returns the last answer, and the rate of repair since the
    /// first one. A node that cannot be asked is asked again within the limit.
    pub(crate) async fn until(
        &self,
        output: &Output,
        done: impl Fn(&MemberDescription) -> bool,
    ) -> Result<(MemberDescription, Option<RepairPace>), CliError> {
        let start = Instant::now();
        let mut first: Option<(Instant, MemberDescription)> = None;
        let mut last_line = String::new();
        loop {
            let is_over = self.limit.is_some_and(|limit| start.elapsed() + self.interval > limit);
            match ask(self.dial, self.endpoint).await {
                Ok(member) => {
                    let (since, before) = first.get_or_insert_with(|| (Instant::now(), member.clone()));
                    let pace = RepairPace::between(before, &member, since.elapsed());
                    if is_over || done(&member) {
                        return Ok((member, pace));
                    }
                    let line = progress(&member, pace);
                    if line != last_line {
                        output.note(&line);
                        last_line = line;
                    }
                }
                Err(error) if is_over => return Err(error),
                Err(error) => {
                    let line = format!("{}; asking again", error.0.message);
                    if line != last_line {
                        output.note(&line);
                        last_line = line;
                    }
                }
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}

/// The rate at which a node repairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RepairPace {
    bytes_per_second: f64,
    /// The time until everything is repaired at this rate; none if nothing was repaired.
    remaining: Option<Duration>,
}

impl RepairPace {
    fn between(before: &MemberDescription, now: &MemberDescription, elapsed: Duration) -> Option<Self> {
        let seconds = elapsed.as_secs_f64();
        if seconds < 0.1 {
            return None;
        }
        // After a restart the node counts from zero.
        let repaired = now.repair.repaired.checked_sub(before.repair.repaired)?;
        let bytes = now.repair.repaired_bytes.checked_sub(before.repair.repaired_bytes)?;
        let remaining = (repaired > 0)
            .then(|| Duration::from_secs_f64(now.to_repair() as f64 * seconds / repaired as f64));
        Some(Self { bytes_per_second: bytes as f64 / seconds, remaining })
    }

    fn text(self) -> String {
        let rate = format!("{:.1} KiB/s", self.bytes_per_second / 1024.0);
        match self.remaining {
            Some(remaining) => {
                let remaining = humantime::format_duration(Duration::from_secs(remaining.as_secs()));
                format!("{rate}, about {remaining} to go")
            }
            None => rate,
        }
    }
}

fn progress(member: &MemberDescription, pace: Option<RepairPace>) -> String {
    let duties = &member.duties;
    let rate = pace.map_or(String::new(), |pace| format!(", {}", pace.text()));
    format!(
        "{}: holds {} of {} owed, {} missing, {} corrupt{rate}",
        member.readiness.name(),
        duties.held,
        duties.owed,
        duties.missing,
        duties.corrupt
    )
}

fn document(endpoint: &EndpointUrl, member: &MemberDescription, pace: Option<RepairPace>) -> Value {
    let mut document = identity(endpoint, member);
    let (duties, repair) = (&member.duties, &member.repair);
    let more = json!({
        "state": member.readiness.name(),
        "ready": member.readiness == Readiness::Ready,
        "duties": {
            "owed": duties.owed,
            "held": duties.held,
            "missing": duties.missing,
            "corrupt": duties.corrupt,
            "bad": duties.bad,
            "doubted": duties.doubted,
            "read_up_to_block": duties.read_up_to_block,
            "unread_blocks": duties.unread_blocks,
            "age_seconds": duties.age_seconds,
            "scrubbed_at": (duties.scrubbed_at != 0).then_some(duties.scrubbed_at),
            "scrubbed_shards": duties.scrubbed_shards,
        },
        "repair": {
            "repaired": repair.repaired,
            "repaired_bytes": repair.repaired_bytes,
            "attempts_failed": repair.attempts_failed,
            "current": member.repairing.map(|digest| digest.to_string()),
            "last_problem": (!repair.last_problem.is_empty()).then_some(&repair.last_problem),
            "bytes_per_second": pace.map(|pace| pace.bytes_per_second),
            "remaining_seconds": pace.and_then(|pace| pace.remaining).map(|remaining| remaining.as_secs()),
        },
        "unreadable_rollups": member.unreadable_rollups,
        "flooding_rollups": member.flooding_rollups,
        "storage": (!member.storage.is_empty()).then_some(&member.storage),
        "tls_certificate_expires_at": member.tls_certificate_expires_at,
        "faults": faults(&member.faults),
        "accusations": accusations(&member.accusations),
        "bad_seats": member.bad_seats.iter().map(|bad| json!({
            "digest": bad.digest.to_string(),
            "seat": bad.seat.0,
            "found_at": bad.found_at,
        })).collect::<Vec<_>>(),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut document, more) {
        fields.extend(more);
    }
    document
}

fn text(endpoint: &EndpointUrl, member: &MemberDescription, pace: Option<RepairPace>) -> String {
    let (duties, repair) = (&member.duties, &member.repair);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("state", member.readiness.name().to_uppercase());
    row(
        "owed",
        format!(
            "{}: {} held, {} missing, {} bad; {} corrupt on disk",
            duties.owed, duties.held, duties.missing, duties.bad, duties.corrupt
        ),
    );
    row(
        "repair",
        format!(
            "{} shards, {} bytes since it started, {} attempts failed",
            repair.repaired, repair.repaired_bytes, repair.attempts_failed
        ),
    );
    if let Some(digest) = member.repairing {
        row("repairs now", digest.to_string());
    }
    if let Some(pace) = pace.filter(|_| member.to_repair() > 0) {
        row("pace", pace.text());
    }
    if !repair.last_problem.is_empty() {
        row("last problem", repair.last_problem.clone());
    }
    let scrubbed = match duties.scrubbed_at {
        0 => "no full round yet".to_owned(),
        at => format!("last full round {}", show_time(at)),
    };
    row("scrubbed", format!("{scrubbed}; {} since it started", count(duties.scrubbed_shards, "shard")));
    row(
        "L1 duties",
        format!(
            "read up to block {}, {} to go, all of it {} s ago",
            duties.read_up_to_block, duties.unread_blocks, duties.age_seconds
        ),
    );
    if duties.doubted > 0 {
        row(
            "doubted",
            format!(
                "{} more that a rollup's contract claims and too many members do not know",
                duties.doubted
            ),
        );
    }
    for (what, rollups) in
        [("cannot read", &member.unreadable_rollups), ("flooded by", &member.flooding_rollups)]
    {
        if !rollups.is_empty() {
            let rollups: Vec<String> = rollups.iter().map(|rollup| rollup.to_checksum(None)).collect();
            row(what, format!("rollup {}: not renewed", rollups.join(", ")));
        }
    }
    if !member.storage.is_empty() {
        row("storage", member.storage.clone());
    }
    if let Some(at) = member.tls_certificate_expires_at {
        row("TLS certificate", format!("expires {}", show_time(at)));
    }
    rows.extend(identity_rows(member));
    let mut text = table(&[endpoint.as_str(), ""], &rows);
    text.push_str(&what_others_did(&member.faults, &member.accusations));
    if !member.bad_seats.is_empty() {
        let rows: Vec<Vec<String>> = member
            .bad_seats
            .iter()
            .map(|bad| vec![bad.digest.to_string(), bad.seat.to_string(), show_time(bad.found_at)])
            .collect();
        text.push('\n');
        text.push_str(&table(&["bad: its disperser's doing", "seat", "found"], &rows));
    }
    text
}

/// Returns the faults of members as JSON.
pub(crate) fn faults(faults: &[ReportedFault]) -> Vec<Value> {
    let line = |fault: &ReportedFault| {
        json!({
            "operator": fault.operator,
            "kind": fault.kind,
            "count": fault.count,
            "last_at": fault.last_at,
            "detail": fault.detail,
        })
    };
    faults.iter().map(line).collect()
}

/// Returns the breaches of the protocol by rollups and dispersers as JSON.
pub(crate) fn accusations(accusations: &[ReportedAccusation]) -> Vec<Value> {
    let line = |accusation: &ReportedAccusation| {
        json!({
            "rollup": accusation.rollup,
            "disperser": accusation.disperser,
            "kind": accusation.kind,
            "count": accusation.count,
            "last_at": accusation.last_at,
            "detail": accusation.detail,
            "proven": accusation.proven,
        })
    };
    accusations.iter().map(line).collect()
}

/// Formats faults and breaches as text; empty if there are none.
pub(crate) fn what_others_did(faults: &[ReportedFault], accusations: &[ReportedAccusation]) -> String {
    let mut text = String::new();
    if !faults.is_empty() {
        let rows: Vec<Vec<String>> = faults
            .iter()
            .map(|fault| {
                let who = fault.operator.to_checksum(None);
                vec![
                    who,
                    fault.kind.clone(),
                    fault.count.to_string(),
                    show_time(fault.last_at),
                    fault.detail.clone(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["faults of", "kind", "times", "last", "detail"], &rows));
    }
    if !accusations.is_empty() {
        let name = |address: Option<Address>| {
            address.map_or("not known".to_owned(), |address| address.to_checksum(None))
        };
        let rows: Vec<Vec<String>> = accusations
            .iter()
            .map(|accusation| {
                vec![
                    name(accusation.rollup),
                    name(accusation.disperser),
                    accusation.kind.clone(),
                    if accusation.proven { "proven" } else { "not proven" }.to_owned(),
                    accusation.count.to_string(),
                    show_time(accusation.last_at),
                    accusation.detail.clone(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["rollup", "disperser", "did", "", "times", "last", "detail"], &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_proto::v1;

    fn member(missing: u64, repaired: u64, repaired_bytes: u64) -> MemberDescription {
        v1::GetMemberResponse {
            registry: vec![1; 20].into(),
            public_key: vec![2; 96].into(),
            duties: Some(v1::Duties { missing, ..v1::Duties::default() }),
            repair: Some(v1::Repair { repaired, repaired_bytes, ..v1::Repair::default() }),
            ..v1::GetMemberResponse::default()
        }
        .try_into()
        .unwrap()
    }

    #[test]
    fn pace_and_estimate_follow_from_two_answers() {
        let pace = |before: &MemberDescription, now: &MemberDescription| {
            RepairPace::between(before, now, Duration::from_secs(10))
        };
        let told = pace(&member(100, 5, 1000), &member(80, 25, 21_000)).unwrap();
        assert_eq!(told, RepairPace { bytes_per_second: 2000.0, remaining: Some(Duration::from_secs(40)) });
        assert_eq!(pace(&member(9, 5, 0), &member(9, 5, 0)).unwrap().remaining, None);
        // The node was restarted meanwhile.
        assert_eq!(pace(&member(9, 5, 0), &member(9, 0, 0)), None);
        assert_eq!(RepairPace::between(&member(1, 0, 0), &member(0, 1, 9), Duration::ZERO), None);
    }

    #[test]
    fn the_expiry_of_the_certificate_is_shown_where_there_is_one() {
        let endpoint: EndpointUrl = "https://member.example.org".parse().unwrap();
        let mut told = member(0, 0, 0);
        assert!(!text(&endpoint, &told, None).contains("TLS certificate"));
        assert!(document(&endpoint, &told, None)["tls_certificate_expires_at"].is_null());
        told.tls_certificate_expires_at = Some(4_000_000_000);
        let shown = text(&endpoint, &told, None);
        let line = shown.lines().find(|line| line.contains("TLS certificate")).unwrap();
        assert!(line.contains(&format!("expires {}", show_time(4_000_000_000))), "{line}");
        assert_eq!(document(&endpoint, &told, None)["tls_certificate_expires_at"], 4_000_000_000_u64);
    }
}
