//! Attacks on live processes. Each test asserts that an honest client is served while its attack runs, and what memory
//! the attack costs the server.

mod aggregator;
mod listeners;
mod member;

use std::net::SocketAddr;
use std::time::Duration;

use dac_tests::attacker::resident_bytes;
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, Service, Shape};
use dac_tests::{Failure, Result};
use tokio::time::timeout;

/// An honest call that takes longer was not served.
const PATIENCE: Duration = Duration::from_secs(10);

/// A system whose processes listen themselves: behind a gate every client would have one address.
async fn network(mut plan: Plan) -> Result<Network> {
    plan.is_bare = true;
    Network::start_as(Shape::SMALL, &plan).await
}

/// Where one of a service's listeners is.
fn address(service: &Service, listener: &str) -> SocketAddr {
    service.gate(listener).address()
}

/// Awaits an honest call, which must succeed soon.
async fn served<T, E>(what: &str, call: impl Future<Output = Result<T, E>>) -> Result<T>
where
    Failure: From<E>,
{
    let answer = timeout(PATIENCE, call).await.context(format!("{what}: no answer in {PATIENCE:?}"))?;
    answer.map_err(|error| Failure::new(format!("{what}: {}", Failure::from(error))))
}

/// The memory of a service's process, and how much more it has than before.
fn memory(service: &mut Service) -> Result<u64> {
    resident_bytes(service.process()?.id())
}
