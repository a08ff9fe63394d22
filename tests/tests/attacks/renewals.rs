//! An attack on the renewals of a rollup's coverage, by clients that request the same renewals from
//! members.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use dac_proto::v1;
use dac_tests::attacker::{Attacker, Attackers, loopback};
use dac_tests::network::Plan;
use dac_tests::rollup::now;
use dac_tests::settlement::RollupNetwork;
use dac_tests::{Context, Result, configuration, rpc, wait};
use dac_types::{CoverageRenewal, Domain, Seat};
use futures::future::join_all;

use super::honest::{Honest, Memory};
use super::listeners::under_way;
use super::{MIB, address, alone};

const SIGN_RENEWAL: &str = "/dac.v1.DispersalService/SignRenewal";
/// The number of calls that a connection has at the same time.
const AT_ONCE: usize = 16;
/// The default rate of a client that is not known to deliver. Other tests have no limit.
const USUAL_RATE: &str = "limits = { client_requests_per_second = 50.0, client_request_burst = 100.0 }";
/// The epoch of the committee that is asked.
const EPOCH: u64 = 1;

/// 8 connections, from one address each, ask each of two members for the rollup's renewal without
/// end; there is no quorum without these two. Nevertheless the aggregator's own renewal succeeds at
/// its first attempt, and a client that has delivered shards of the rollup gets signatures.
#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn renewals_of_strangers_keep_no_rollup_from_being_renewed() -> Result<()> {
    const CONNECTIONS: u8 = 8;
    /// The number of attacked members, of four, of which three make a quorum.
    const ATTACKED: usize = 2;
    let _alone = alone().await;
    let plan = Plan { node: toml::from_str(USUAL_RATE)?, is_bare: true, ..Plan::default() };
    let mut rollup = RollupNetwork::start_as(1, &plan).await?;
    let batch = rollup.batches[0].clone();
    let digest = rollup.submit(&batch).await?;
    let expires_at = rollup.certified(digest).await?.header.expires_at;
    rollup.hand_in_good(digest, &batch).await?;
    rollup.settled(digest).await?;
    for member in &rollup.network.members {
        member.waits_for(digest).await?;
    }
    let (domain, address_of_rollup) = (rollup.network.domain(), rollup.network.rollup.address);
    let renewal = move |expires_at| CoverageRenewal {
        rollup: address_of_rollup,
        last_batch: 1,
        expires_at,
        epoch: EPOCH,
    };
    let asked_until = now();
    let seat = Seat(0);
    let ask = async |number: u64, rollup: &RollupNetwork| {
        let channel = rollup.network.members[seat.index()].dispersal()?;
        rpc::sign_renewal(channel, &domain, seat, &renewal(asked_until + 10_000 + number)).await?;
        Ok(())
    };
    // A member signs for a settlement once it has read it from L1.
    for member in &rollup.network.members {
        let signs = async || {
            let request = renewal(asked_until + 9_000);
            rpc::sign_renewal(member.dispersal().ok()?, &domain, member.seat, &request).await.ok()
        };
        wait::until("a member to know what settled", wait::LIMIT, signs).await?;
    }
    let mut honest = Honest::caller("SignRenewal over a new connection");
    honest.without(async |number| ask(number, &rollup).await).await?;

    let memory = Memory::of(rollup.network.members[..ATTACKED].iter().map(|member| &member.service))?;
    let (attackers, asked) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    for member in &rollup.network.members[..ATTACKED] {
        let (seat, to) = (member.seat, address(&member.service, configuration::DISPERSAL));
        for place in 0..CONNECTIONS {
            let asked = Arc::clone(&asked);
            attackers.spawn(async move {
                let number = AtomicU64::new(asked_until + 100_000 * (1 + u64::from(place)));
                let request =
                    || sign_request(&domain, seat, &renewal(number.fetch_add(1, Ordering::Relaxed)));
                // Most requests are refused, and repeated at once.
                while ask_without_end(to, place, request, &asked).await.is_err() {}
            });
        }
    }
    under_way(&asked, 2_000).await?;

    rollup.network.aggregator.stop().await?;
    let renewal = toml::toml! {
        [renewal]
        enabled = true
    };
    configuration::change(rollup.network.aggregator.config(), &renewal)?;
    let began = Instant::now();
    rollup.network.aggregator.start().await?;
    let reader = rollup.reader();
    let renewed = async || (reader.state().await.ok()?.coverage_until > expires_at).then_some(());
    wait::until("coverage to be renewed on L1", wait::LIMIT, renewed).await?;
    println!("renewed {:?} after the aggregator was started, under attack", began.elapsed());
    let log = rollup.network.aggregator.log()?;
    assert!(!log.contains("coverage is not renewed"), "a look was in vain");

    honest.under(async |number| ask(number, &rollup).await).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(async |number| ask(number, &rollup).await).await?;
    println!("{} renewals of strangers were answered", asked.load(Ordering::Relaxed));
    honest.verdict(
        "8 connections ask each of two members for one rollup's renewal without end",
        grown,
        64 * MIB,
    );
    Ok(())
}

fn sign_request(domain: &Domain, seat: Seat, renewal: &CoverageRenewal) -> v1::SignRenewalRequest {
    v1::SignRenewalRequest {
        chain_id: domain.chain_id,
        registry: Bytes::copy_from_slice(domain.registry.as_slice()),
        seat: seat.0.into(),
        renewal: Some(renewal.into()),
    }
}

async fn ask_without_end(
    to: SocketAddr,
    place: u8,
    request: impl Fn() -> v1::SignRenewalRequest,
    asked: &AtomicU64,
) -> Result<()> {
    let mut attacker = Attacker::connect(loopback(60, place), to).await?;
    loop {
        let mut calls = Vec::new();
        for _ in 0..AT_ONCE {
            calls.push(attacker.call(SIGN_RENEWAL, &request()).await?.status());
        }
        let answered = join_all(calls).await.into_iter().filter(Result::is_ok).count();
        (answered > 0).then_some(()).context("no answer")?;
        asked.fetch_add(answered as u64, Ordering::Relaxed);
    }
}
