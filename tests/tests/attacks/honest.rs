//! What an honest client meets: how long its calls take under an attack, and without it, before and
//! afterwards; and what memory the attack costs the servers.

use std::time::{Duration, Instant};

use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_tests::attacker::{NICENESS, forget_peak, peak_bytes, resident_bytes};
use dac_tests::failure::Context;
use dac_tests::network::{Network, Service, real_payload};
use dac_tests::{Failure, Result, rpc};
use dac_types::{BatchDigest, HashKind};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

/// An honest call that takes longer was not served.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client begins its next call no sooner than this after it began the last one: it leaves its own
/// share unspent, of which 64 new connections a second are a part.
const PACE: Duration = Duration::from_millis(20);
/// A rollup has several batches under way, with two or three connections each.
const ROLLUP_PACE: Duration = Duration::from_millis(200);
/// So many times as long as without an attack may the slowest of a hundred calls take under it.
const SLOWER_MAX: u32 = 5;
/// Shorter than this no 99th percentile is believed. Servers, clients and attackers have more
/// threads than this machine has processors, and one that waits for its turn waits some
/// milliseconds (a slice of Linux's scheduler is 3): whether three of 300 calls of a millisecond
/// waited for such a turn is chance, and not an attack's doing.
const FLOOR: Duration = Duration::from_millis(4);

/// Awaits an honest call, which must succeed soon.
pub(crate) async fn served<T, E>(what: &str, call: impl Future<Output = Result<T, E>>) -> Result<T>
where
    Failure: From<E>,
{
    let answer = timeout(PATIENCE, call).await.context(format!("{what}: no answer in {PATIENCE:?}"))?;
    answer.map_err(|error| Failure::new(format!("{what}: {}", Failure::from(error))))
}

/// An honest client of one kind, and how long its calls have taken.
pub(crate) struct Honest {
    what: &'static str,
    calls: u64,
    at_once: usize,
    pace: Duration,
    made: u64,
    without: Vec<Duration>,
    under: Vec<Duration>,
}

impl Honest {
    /// A client whose calls take milliseconds and come one after the other.
    pub(crate) fn caller(what: &'static str) -> Self {
        let (without, under) = (Vec::new(), Vec::new());
        Self { what, calls: 300, at_once: 1, pace: PACE, made: 0, without, under }
    }

    /// The same client with calls that are farther apart, for attacks that come in waves.
    pub(crate) fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// A rollup whose batches take a while, so that it has several under way.
    pub(crate) fn rollup(what: &'static str) -> Self {
        Self { calls: 200, at_once: 4, pace: ROLLUP_PACE, ..Self::caller(what) }
    }

    /// Calls while nobody attacks. It is done twice, before the attack and after it, so that what
    /// else the machine does meanwhile is in both figures.
    pub(crate) async fn without(&mut self, call: impl AsyncFn(u64) -> Result<()>) -> Result<()> {
        let took = self.sample(self.calls / 2, call).await?;
        self.without.extend(took);
        Ok(())
    }

    /// Calls while the attack runs.
    pub(crate) async fn under(&mut self, call: impl AsyncFn(u64) -> Result<()>) -> Result<()> {
        let took = self.sample(self.calls, call).await?;
        self.under.extend(took);
        Ok(())
    }

    /// So many calls, each of which is told a number of its own, from 1.
    async fn sample(&mut self, calls: u64, call: impl AsyncFn(u64) -> Result<()>) -> Result<Vec<Duration>> {
        let numbers = self.made + 1..=self.made + calls;
        self.made += calls;
        let (what, pace, call) = (self.what, self.pace, &call);
        let timed = stream::iter(numbers).map(|number| async move {
            let began = Instant::now();
            served(what, call(number)).await?;
            let took = began.elapsed();
            sleep(pace.saturating_sub(took)).await;
            Ok(took)
        });
        timed.buffer_unordered(self.at_once).try_collect().await
    }

    /// Tells what the attack cost whom, and demands that it was little.
    pub(crate) fn verdict(self, attack: &str, grown: u64, grown_max: u64) {
        let [without, under] = [&self.without, &self.under].map(|took| percentile_99(took));
        println!(
            "attack: {attack}: {} of an honest client: p99 {under:.1?} under it, {without:.1?} without ({:.1} times; \
             the slowest {:.1?} and {:.1?}; {} and {} calls); servers' memory +{} KiB at the peak; attackers' threads \
             at niceness {NICENESS}",
            self.what,
            under.as_secs_f64() / without.as_secs_f64(),
            self.under.iter().max().expect("calls were made"),
            self.without.iter().max().expect("calls were made"),
            self.under.len(),
            self.without.len(),
            grown >> 10,
        );
        let under_max = without.max(FLOOR) * SLOWER_MAX;
        assert!(under < under_max, "{attack}: p99 {under:?} under attack, {without:?} without");
        assert!(grown <= grown_max, "{attack}: {grown} bytes of memory, at most {grown_max}");
    }
}

/// The shortest of the times of which 99 of 100 are no longer.
fn percentile_99(took: &[Duration]) -> Duration {
    assert!(took.len() >= 200, "too few calls for a 99th percentile: {}", took.len());
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * 99).div_ceil(100) - 1]
}

/// The memory of servers since an attack began.
pub(crate) struct Memory(Vec<(u32, u64)>);

impl Memory {
    /// What they have now; their peaks are counted from here.
    pub(crate) fn of<'a>(services: impl IntoIterator<Item = &'a Service>) -> Result<Self> {
        let processes = services.into_iter().map(|service| {
            let process = service.id()?;
            forget_peak(process)?;
            Ok((process, resident_bytes(process)?))
        });
        Ok(Self(processes.collect::<Result<_>>()?))
    }

    /// By how much more each had at its peak, in sum.
    pub(crate) fn grown(&self) -> Result<u64> {
        let grown = self.0.iter().map(|(process, before)| Ok(peak_bytes(*process)?.saturating_sub(*before)));
        grown.sum()
    }
}

/// A call to each of two servers, over connections of its own.
pub(crate) async fn ask_both(member: Channel, aggregator: Channel) -> Result<()> {
    rpc::member(member).await?;
    AggregatorServiceClient::new(aggregator).get_aggregator(v1::GetAggregatorRequest {}).await?;
    Ok(())
}

/// A rollup's small batch, from its submission to its certificate.
pub(crate) async fn certify(network: &Network, number: u64) -> Result<BatchDigest> {
    let payload = real_payload(1000 + usize::try_from(number)?);
    let batch = network.submit(number, HashKind::Keccak256, &payload).await?;
    network.certified(&batch).await
}
