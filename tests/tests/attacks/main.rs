//! Attacks on live processes. Each test asserts that an honest client is served during its attack,
//! how much longer its calls take than without the attack, and how much memory the attack costs the
//! servers.
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

/// The lock that the running attack holds, because attacks that run at the same time would disturb
/// each other's figures.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Waits until no other attack of this program runs, and takes the lock.
async fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

/// Starts a system without gates: behind a gate every client would have the same address.
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

/// Gives a listener the default rate of new connections. Other tests set a higher one.
fn limit_connections(changes: &mut toml::Table, listener: &str) -> Result<()> {
    let listener = changes.entry(listener).or_insert_with(|| toml::Table::new().into());
    let limits = listener.as_table_mut().context("a listener")?.entry("limits");
    let limits = limits.or_insert_with(|| toml::Table::new().into());
    let limits = limits.as_table_mut().context("its limits")?;
    let rate = ListenerLimits::default().connections_per_second;
    limits.entry("connections_per_second").or_insert_with(|| i64::from(rate).into());
    Ok(())
}

/// Returns the address of one of a service's listeners.
fn address(service: &Service, listener: &str) -> SocketAddr {
    service.gate(listener).address()
}

const MIB: u64 = 1 << 20;
