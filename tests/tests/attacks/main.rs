//! Attacks on live processes. Each test asserts that an honest client is served while its attack runs, how much longer
//! its calls take than without the attack, and what memory the attack costs the servers.
//!
//! The cheapest attack on each kind of server is part of every run of the tests; the others are run by `make slow`.

mod aggregator;
mod honest;
mod listeners;
mod listings;
mod member;
mod renewals;
mod tls;

use std::net::SocketAddr;

use dac_tests::Result;
use dac_tests::network::{Network, Plan, Service, Shape};
use tokio::sync::{Mutex, MutexGuard};

/// Who attacks has the machine alone: attacks beside each other would be part of each other's figures.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Waits until no other attack of this program runs.
async fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

/// A system whose processes listen themselves: behind a gate every client would have one address.
async fn network(plan: Plan) -> Result<Network> {
    network_of(Shape::SMALL, plan).await
}

async fn network_of(shape: Shape, mut plan: Plan) -> Result<Network> {
    plan.is_bare = true;
    Network::start_as(shape, &plan).await
}

/// Where one of a service's listeners is.
fn address(service: &Service, listener: &str) -> SocketAddr {
    service.gate(listener).address()
}

const MIB: u64 = 1 << 20;
