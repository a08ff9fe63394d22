//! Tests of rollups that lie: they sign contradicting submissions, or more than their quota allows.

use dac_chain::EcdsaKey;
use dac_coding::testing;
use dac_proto::reason::Reason;
use dac_tests::disperser::Delivery;
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Network, Shape};
use dac_tests::{Result, rpc, wait};
use dac_types::{AdmittedRollup, B256, Geometry, HashKind, SignedSubmission};
use futures::stream;
use tonic::Status;

use crate::{counted, network_with_metrics, payload, unharmed};

async fn submit(network: &Network, order: &SignedSubmission, number: u64) -> Result<(), Status> {
    let channel = network.api().map_err(|failure| Status::internal(failure.to_string()))?;
    let pieces = stream::iter(rpc::pieces(&payload(number)));
    rpc::submit(channel, rpc::submit_open(&network.domain(), order), pieces).await.map(drop)
}

/// Every party refuses contradicting submissions by name; a rollup that uses up its quota harms
/// only itself.
#[tokio::test(flavor = "multi_thread")]
async fn rollups_that_equivocate_or_flood_are_refused_by_name() -> Result<()> {
    let mut measure =
        Measure::begin(Promise::Byzantine, "byzantine::rollups_that_equivocate_or_flood_are_refused_by_name");
    let (network, metrics) = network_with_metrics(Shape::SMALL).await?;
    let first = network.rollup.signed(network.rollup.order(1, HashKind::Sha256, &payload(1)));
    submit(&network, &first, 1).await?;

    // Two payloads of one number are submitted to the same aggregator.
    let second = network.rollup.signed(network.rollup.order(1, HashKind::Sha256, &payload(2)));
    let status = submit(&network, &second, 2).await.expect_err("the number is taken");
    assert_eq!(rpc::reason(&status), Reason::ConflictingBatch, "{status}");
    measure.tried(1);
    let rollup = network.rollup.address.to_string();
    let labels = [("reason", "CONFLICTING_BATCH"), ("rollup", rollup.as_str())];
    counted(metrics.aggregator, "dac_aggregator_submissions_refused_total", &labels).await?;
    // The payload is not the one that the submission names.
    let order = network.rollup.signed(network.rollup.order(3, HashKind::Sha256, &payload(3)));
    let status = submit(&network, &order, 4).await.expect_err("not the payload ordered");
    assert_eq!(rpc::reason(&status), Reason::BadPayload, "{status}");
    measure.tried(1);
    // The submission names another aggregator.
    let mut order = network.rollup.order(5, HashKind::Sha256, &payload(5));
    order.disperser = EcdsaKey::random().address();
    let status = submit(&network, &network.rollup.signed(order), 5).await.expect_err("another's order");
    assert_eq!(rpc::reason(&status), Reason::WrongDisperser, "{status}");
    measure.tried(1);

    // A colluding disperser makes two codewords for one submission of an opaque payload: a member
    // signs only one of them.
    let accomplice = EcdsaKey::random();
    let geometry = Geometry::new(network.shape().n, network.shape().k).expect("a possible committee");
    let member = &network.members[0];
    let hash = B256::repeat_byte(6);
    let one = testing::honest(geometry, payload(6), hash)?;
    let one = Delivery::new(&network.rollup, &accomplice, 6, HashKind::Opaque, one);
    one.deliver(member).await?;
    let other = testing::honest(geometry, payload(7), hash)?;
    let mut two = one.clone();
    other.fill(&mut two.header);
    two.dispersal = other;
    let status = two.deliver(member).await.expect_err("a second header");
    assert_eq!(rpc::reason(&status), Reason::ConflictingHeader, "{status}");
    measure.tried(1);
    assert!(!member.has(two.digest()).await?);

    // A rollup gets a day's bytes and no more; another rollup is not affected.
    let mut greedy = network.rollup.clone();
    greedy.address = dac_types::Address::repeat_byte(0x22);
    let terms = AdmittedRollup {
        rollup: greedy.address,
        poster: greedy.poster.address(),
        retention_max_seconds: 86_400,
        daily_payload_bytes: 50_000,
    };
    network.committee.admin(&network.anvil).admit_rollup(&terms).await?;
    let deliver = |number: u64| -> Result<Delivery> {
        let dispersal = testing::honest(geometry, payload(number), B256::repeat_byte(8))?;
        Ok(Delivery::new(&greedy, &accomplice, number, HashKind::Opaque, dispersal))
    };
    let within = deliver(1)?;
    // The member must have read the new terms first.
    wait::until("the rollup to be admitted", wait::LIMIT, async || within.deliver(member).await.ok()).await?;
    let status = deliver(2)?.deliver(member).await.expect_err("the quota is spent");
    assert_eq!(rpc::reason(&status), Reason::QuotaExceeded, "{status}");
    measure.tried(1);
    // The same submission again does not count against the quota.
    within.deliver(member).await?;
    unharmed(&network, 100).await?;
    measure.passed();
    Ok(())
}
