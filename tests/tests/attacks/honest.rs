//! An honest client beside an attack: how long its calls take during the attack, before it and
//! after it, and how much memory the attack costs the servers.

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

/// An honest call that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between the beginnings of two calls of a client. It keeps the client within its own
/// limits, of which one is 64 new connections a second.
const PACE: Duration = Duration::from_millis(20);
/// The time between the beginnings of two batches of a rollup. It has several batches under way,
/// with two or three connections each.
const ROLLUP_PACE: Duration = Duration::from_millis(200);
/// The factor by which the slowest of a hundred calls may be slower during an attack.
const SLOWER_MAX: u32 = 5;
/// A 99th percentile below this counts as this. Servers, clients and attackers have more threads
/// than this machine has processors, and a thread that waits for its turn waits some milliseconds
/// (a slice of Linux's scheduler is 3). Whether three of 300 calls of a millisecond waited for such
/// a turn is chance, and not the attack's effect.
const FLOOR: Duration = Duration::from_millis(4);

/// Awaits an honest call, which must succeed within [`PATIENCE`].
pub(crate) async fn served<T, E>(what: &str, call: impl Future<Output = Result<T, E>>) -> Result<T>
where
    Failure: From<E>,
{
    let answer = timeout(PATIENCE, call).await.context(format!("{what}: no answer in {PATIENCE:?}"))?;
    answer.map_err(|error| Failure::new(format!("{what}: {}", Failure::from(error))))
}

/// An honest client of one kind, with the durations of its calls.
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
    /// A client whose calls take milliseconds and follow one another.
    pub(crate) fn caller(what: &'static str) -> Self {
        let (without, under) = (Vec::new(), Vec::new());
        Self { what, calls: 300, at_once: 1, pace: PACE, made: 0, without, under }
    }

    /// Sets the time between two calls, for attacks that come in waves.
    pub(crate) fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// A rollup with several batches under way at the same time.
    pub(crate) fn rollup(what: &'static str) -> Self {
        Self { calls: 200, at_once: 4, pace: ROLLUP_PACE, ..Self::caller(what) }
    }

    /// Measures calls without an attack. It is called before the attack and after it, so that other
    /// load of the machine is part of both figures.
    pub(crate) async fn without(&mut self, call: impl AsyncFn(u64) -> Result<()>) -> Result<()> {
        let took = self.sample(self.calls / 2, call).await?;
        self.without.extend(took);
        Ok(())
    }

    /// Measures calls while the attack runs.
    pub(crate) async fn under(&mut self, call: impl AsyncFn(u64) -> Result<()>) -> Result<()> {
        let took = self.sample(self.calls, call).await?;
        self.under.extend(took);
        Ok(())
    }

    /// Makes this many calls, and passes each one its number, from 1.
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

    /// Prints how much slower calls were and how much memory the attack cost, and fails if that is
    /// too much.
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

/// Returns the shortest duration that 99 of 100 calls do not exceed.
fn percentile_99(took: &[Duration]) -> Duration {
    assert!(took.len() >= 200, "too few calls for a 99th percentile: {}", took.len());
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * 99).div_ceil(100) - 1]
}

/// The memory of servers at the beginning of an attack.
pub(crate) struct Memory(Vec<(u32, u64)>);

impl Memory {
    /// Reads the current memory of servers and resets their peaks.
    pub(crate) fn of<'a>(services: impl IntoIterator<Item = &'a Service>) -> Result<Self> {
        let processes = services.into_iter().map(|service| {
            let process = service.id()?;
            forget_peak(process)?;
            Ok((process, resident_bytes(process)?))
        });
        Ok(Self(processes.collect::<Result<_>>()?))
    }

    /// Returns the sum of the bytes by which the servers' peaks exceed their memory at the
    /// beginning.
    pub(crate) fn grown(&self) -> Result<u64> {
        let grown = self.0.iter().map(|(process, before)| Ok(peak_bytes(*process)?.saturating_sub(*before)));
        grown.sum()
    }
}

/// Makes one call to each of two servers, over new connections.
pub(crate) async fn ask_both(member: Channel, aggregator: Channel) -> Result<()> {
    rpc::member(member).await?;
    AggregatorServiceClient::new(aggregator).get_aggregator(v1::GetAggregatorRequest {}).await?;
    Ok(())
}

/// Submits a small batch of a rollup and waits for its certificate.
pub(crate) async fn certify(network: &Network, number: u64) -> Result<BatchDigest> {
    let payload = real_payload(1000 + usize::try_from(number)?);
    let batch = network.submit(number, HashKind::Keccak256, &payload).await?;
    network.certified(&batch).await
}
