//! `dac load`: measures how fast an aggregator and its committee are, and what happens to batches
//! under overload.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use dac_cli::{Exit, Failure, Output, count, unix_now};
use dac_client::EndpointUrl;
use dac_client::load::{self, Latencies, LoadPlan, Rate, Sizes, Snapshot, Summary, Target};
use dac_runtime::config::Period;
use dac_types::Address;
use serde_json::{Value, json};

use crate::context::{ChainArgs, DialArgs, address};
use crate::exit::CliError;
use crate::keys;
use crate::output::table;
use crate::posting::Posting;
use crate::submit::Kind;

/// Put load on an aggregator and its committee, and measure: batches of random bytes at a rate that
/// does not wait.
///
/// Batches are due by the clock, even while earlier ones are delayed, and latencies count from when
/// a batch was due, so that they include the time for which a service stops. A batch that would
/// exceed --in-flight is dropped and counted. Nothing is tried again: a refusal is a result. The
/// batches are real ones, stored by the members until they expire and recorded on L1 at the
/// aggregator's cost: use a rollup that was admitted for this.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac load --deployment deployment.json --aggregator https://aggregator.example.org:7000 \\
      --disperser $DISPERSER --rollup $ROLLUP \\
      --poster poster.json --poster-password-file poster.password \\
      --rate 20/s --size 64KiB..1MiB --duration 1m

  # Several rollups take turns; their keys are given in the same order.
  # --rate 50MB/s counts bytes; --rate max keeps --in-flight batches under way: the capacity.
  dac load --deployment deployment.json --aggregator https://aggregator.example.org:7000 \\
      --disperser $DISPERSER --rate max --in-flight 32 \\
      --rollup $ROLLUP --poster first.json --poster-password-file first.password \\
      --rollup $ANOTHER_ROLLUP --poster second.json --poster-password-file second.password")]
pub(crate) struct Load {
    /// URL of the aggregator.
    #[arg(long, env = "DAC_AGGREGATOR", value_name = "URL")]
    aggregator: EndpointUrl,
    /// The aggregator's signing address.
    #[arg(long, env = "DAC_DISPERSER", value_name = "ADDRESS", value_parser = address)]
    disperser: Address,
    /// A rollup's settlement contract; several take turns.
    #[arg(long, env = "DAC_ROLLUP", value_name = "ADDRESS", value_parser = address, required = true, value_delimiter = ',')]
    rollup: Vec<Address>,
    /// Web3 keystore of the rollup's poster, one for each rollup.
    #[arg(long, env = "DAC_POSTER", value_name = "FILE", required = true, value_delimiter = ',')]
    poster: Vec<PathBuf>,
    /// File with the password of that keystore, one for each rollup.
    #[arg(
        long,
        env = "DAC_POSTER_PASSWORD_FILE",
        value_name = "FILE",
        required = true,
        value_delimiter = ','
    )]
    poster_password_file: Vec<PathBuf>,
    /// Batches a second (`20/s`), payload bytes a second (`50MB/s`), or `max`.
    #[arg(long, default_value = "1/s", value_name = "RATE")]
    rate: Rate,
    /// Size of payloads, a list `16KiB,1MiB` or a range `16KiB..1MiB`: k, MB are decimal, KiB, MiB
    /// binary.
    #[arg(long, default_value = "64KiB", value_name = "SIZES")]
    size: Sizes,
    /// For how long batches are sent, warm-up included. Then those in flight are waited for.
    #[arg(long, default_value = "30s", value_name = "TIME")]
    duration: Period,
    /// Length of the first part, in which batches are sent but not measured.
    #[arg(long, default_value = "0s", value_name = "TIME")]
    warm_up: Period,
    /// Random pauses between batches, as of many independent users, instead of equal ones.
    #[arg(long)]
    random: bool,
    /// Batches without certificate, at most.
    #[arg(long, default_value_t = 64, value_name = "COUNT")]
    in_flight: usize,
    /// Connections to the aggregator.
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    connections: usize,
    /// How the batch hash commits to the payload. With opaque it is random, and each member gets no
    /// more than its shard.
    #[arg(long, value_enum, default_value = "opaque")]
    hash_kind: Kind,
    /// How certified batches come to L1. With settle they are not posted: no proof is ever handed
    /// in.
    #[arg(long, value_enum, default_value = "record")]
    posting: Posting,
    /// How long members keep the batches.
    #[arg(long, default_value = "1h", value_name = "TIME")]
    expires_in: Period,
    /// How long one batch may take to be certified. At the end the last batches are waited for as
    /// long.
    #[arg(long, default_value = "1m", value_name = "TIME")]
    timeout: Period,
    /// Number of the first batch. Without it the microseconds since 1970: each run has numbers of
    /// its own, and small ones stay free.
    #[arg(long, value_name = "NUMBER")]
    first_number: Option<u64>,
    /// Seed of sizes, pauses and payloads; random if not given.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

impl Load {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let plan = self.plan();
        plan.check().map_err(Failure::usage)?;
        let domain = self.chain.connect().await?.domain();
        let client = self.dial.aggregator(&self.aggregator)?;
        let targets = self.targets(output)?;
        output.note(format!(
            "{} of {} for {}, seed {}, batch numbers from {}",
            plan.rate,
            self.rollup.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            self.duration,
            plan.seed,
            plan.first_number
        ));
        let bar = output.spinner("connecting");
        let show = |snapshot: &Snapshot| {
            let line = progress(snapshot);
            if bar.is_hidden() {
                output.note(line);
            } else {
                bar.set_message(line);
            }
        };
        let summary = load::run(&client, domain, targets, &plan, unix_now, show).await;
        bar.finish_and_clear();
        let summary = summary?;
        output.result(document(&plan, &summary), || text(&summary));
        if summary.certified == 0 && summary.due > 0 {
            return Err(Failure::new(Exit::Unavailable, "not one batch was certified").into());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn plan(&self) -> LoadPlan {
        LoadPlan {
            rate: self.rate,
            random_pauses: self.random,
            sizes: self.size.clone(),
            duration: self.duration.0,
            warm_up: self.warm_up.0,
            in_flight_max: self.in_flight,
            connections: self.connections,
            hash_kind: self.hash_kind.into(),
            posting: self.posting.into(),
            lifetime_seconds: self.expires_in.0.as_secs(),
            timeout: self.timeout.0,
            first_number: self.first_number.unwrap_or_else(microseconds),
            seed: self.seed.unwrap_or_else(rand::random),
        }
    }

    fn targets(&self, output: &Output) -> Result<Vec<Target>, CliError> {
        let (rollups, keys, passwords) =
            (self.rollup.len(), self.poster.len(), self.poster_password_file.len());
        if keys != rollups || passwords != rollups {
            let problem = format!(
                "{} have {} of posters with {}",
                count(rollups, "rollup"),
                count(keys, "key"),
                count(passwords, "password")
            );
            return Err(Failure::usage(problem)
                .hint("one --poster and one --poster-password-file for each --rollup, in the same order")
                .into());
        }
        let files = self.poster.iter().zip(&self.poster_password_file);
        let targets = self.rollup.iter().zip(files).map(|(rollup, (key, password))| {
            let poster = keys::open_ethereum(key, password, output)?;
            Ok(Target { rollup: *rollup, poster, disperser: self.disperser })
        });
        targets.collect()
    }
}

fn microseconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "only a number that no earlier run has used, finer than dac_cli::unix_now"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn progress(snapshot: &Snapshot) -> String {
    let Snapshot { elapsed, in_flight, certificates_per_second, bytes_per_second, latency, .. } = snapshot;
    let mut line = format!(
        "{:4} s  {certificates_per_second:7.1} certificates/s {:7.2} MB/s  {in_flight:4} in flight  p50 {}  p99 {}",
        elapsed.as_secs(),
        bytes_per_second / 1e6,
        milliseconds(latency.p50),
        milliseconds(latency.p99),
    );
    for (name, count) in failures(snapshot.dropped, 0, &snapshot.refused, &snapshot.failed) {
        line.push_str(&format!("  {name} {count}"));
    }
    line
}

fn failures(
    dropped: u64,
    unfinished: u64,
    refused: &BTreeMap<String, u64>,
    failed: &BTreeMap<String, u64>,
) -> Vec<(String, u64)> {
    let own =
        [("dropped", dropped), ("unfinished", unfinished)].map(|(name, count)| (name.to_owned(), count));
    let refused = refused.iter().map(|(name, count)| (format!("refused: {name}"), *count));
    let failed = failed.iter().map(|(name, count)| (format!("failed: {name}"), *count));
    own.into_iter().chain(refused).chain(failed).filter(|(_, count)| *count > 0).collect()
}

fn text(summary: &Summary) -> String {
    let of = |name: &str, latencies: &Latencies| {
        let Latencies { count, p50, p90, p99, p999, max } = latencies;
        let times = [p50, p90, p99, p999, max].map(|time| milliseconds(*time));
        [name.to_owned(), count.to_string()].into_iter().chain(times).collect::<Vec<_>>()
    };
    let mut text = format!(
        "{} with {:.1} MB, due in {:.1} s; {} certified\n{:.1} certificates/s, {:.2} MB/s\n\n",
        count(summary.due, "batch"),
        megabytes(summary.due_bytes),
        summary.window.as_secs_f64(),
        summary.certified,
        summary.certificates_per_second,
        summary.bytes_per_second / 1e6,
    );
    text.push_str(&table(
        &["from when it was due", "count", "p50", "p90", "p99", "p99.9", "max"],
        &[
            of("to the certificate", &summary.certificate_latency),
            of("to the receipt", &summary.receipt_latency),
            of("to being sent here", &summary.sender_lateness),
        ],
    ));
    for (name, count) in failures(summary.dropped, summary.unfinished, &summary.refused, &summary.failed) {
        text.push_str(&format!("\n{name}: {count}"));
    }
    text
}

fn document(plan: &LoadPlan, summary: &Summary) -> Value {
    let latencies = |latencies: &Latencies| {
        let Latencies { count, p50, p90, p99, p999, max } = latencies;
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        json!({ "count": count, "p50": ms(p50), "p90": ms(p90), "p99": ms(p99), "p99.9": ms(p999), "max": ms(max) })
    };
    json!({
        "rate": plan.rate.to_string(),
        "seed": plan.seed,
        "first_number": plan.first_number,
        "seconds": summary.window.as_secs_f64(),
        "due": summary.due,
        "due_bytes": summary.due_bytes,
        "certified": summary.certified,
        "certificates_per_second": summary.certificates_per_second,
        "megabytes_per_second": summary.bytes_per_second / 1e6,
        "certificate_ms": latencies(&summary.certificate_latency),
        "receipt_ms": latencies(&summary.receipt_latency),
        "sender_lateness_ms": latencies(&summary.sender_lateness),
        "dropped": summary.dropped,
        "refused": summary.refused,
        "failed": summary.failed,
        "unfinished": summary.unfinished,
    })
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[allow(clippy::cast_precision_loss)] // It is shown with one digit after the point.
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
