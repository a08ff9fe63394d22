//! Attacks on live processes. Each test asserts that an honest client is served while its attack
//! runs, how much longer its calls take than without the attack, and what memory the attack costs
//! the servers.
//!
//! The cheapest attack on each kind of server is part of every run of the tests; the others are run
//! by `make slow`.

mod aggregator;
mod honest;
mod listeners;
mod listings;
mod member;
mod renewals;
mod tls;

use std::net::SocketAddr;

use dac_runtime::grpc::ListenerLimits;
use dac_tests::configuration::{API, DISPERSAL, RETRIEVAL};
use dac_tests::network::{Network, Plan, Service, Shape};
use dac_tests::{Context as _, Result};
use tokio::sync::{Mutex, MutexGuard};

/// Who attacks has the machine alone: attacks beside each other would be part of each other's
/// figures.
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
    limit_connections(&mut plan.node, DISPERSAL)?;
    limit_connections(&mut plan.node, RETRIEVAL)?;
    limit_connections(&mut plan.aggregator, API)?;
    Network::start_as(shape, &plan).await
}

/// Gives a listener the rate of new connections that it has by default. In other tests it has more.
fn limit_connections(changes: &mut toml::Table, listener: &str) -> Result<()> {
    let listener = changes.entry(listener).or_insert_with(|| toml::Table::new().into());
    let limits = listener.as_table_mut().context("a listener")?.entry("limits");
    let limits = limits.or_insert_with(|| toml::Table::new().into());
    let limits = limits.as_table_mut().context("its limits")?;
    let rate = ListenerLimits::default().connections_per_second;
    limits.entry("connections_per_second").or_insert_with(|| i64::from(rate).into());
    Ok(())
}

/// Where one of a service's listeners is.
fn address(service: &Service, listener: &str) -> SocketAddr {
    service.gate(listener).address()
}

const MIB: u64 = 1 << 20;
