//! The checker of histories sees what it is there for: each fault is planted, one at a time, in a
//! history that was good.

use bytes::Bytes;
use dac_database::sqlx::{self, Connection};
use dac_tests::history::{self, History, Violation};
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Network, Plan, Service, Shape};
use dac_tests::traffic::{Accepted, Traffic, TrafficPlan};
use dac_tests::{Context, Result, database};
use dac_types::{B256, BatchDigest};

/// Changes a stopped or running member's database behind its back.
async fn damage(service: &Service, statement: &'static str, digest: BatchDigest) -> Result<()> {
    let mut connection = database::meddle(service).await?;
    let changed = sqlx::query(statement).bind(digest.as_bytes().to_vec()).execute(&mut connection).await?;
    assert!(changed.rows_affected() > 0, "{statement} finds something");
    Ok(connection.close().await?)
}

struct Planted<'a> {
    accepted: &'a [Accepted],
    measure: Measure,
}

impl Planted<'_> {
    fn is_seen(&mut self, history: &History, what: &str, is_it: impl Fn(&Violation) -> bool) {
        let violations = history.violations(self.accepted);
        assert!(violations.iter().any(is_it), "{what}: {violations:?}");
        self.measure.tried(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_fault_is_seen() -> Result<()> {
    // Peers on this machine are none to repair from: what is planted stays.
    let node = toml::toml! {
        [repair]
        private_endpoints = false
    };
    let network = Network::start_as(Shape::SMALL, &Plan { node, ..Plan::default() }).await?;
    let mut traffic = Traffic::start(&network, 1, TrafficPlan::small(7))?;
    traffic.more(4).await?;
    let accepted = traffic.finish(&network).await?;
    for member in &network.members {
        for recorded in history::read(&network, &accepted).await?.recorded {
            member.waits_for(recorded.digest).await?;
        }
    }
    let good = history::check(&network, &accepted).await?;
    let name = "histories::every_planted_fault_is_seen";
    let mut planted = Planted { accepted: &accepted, measure: Measure::begin(Promise::CheckerSees, name) };

    let mut spoiled = good.clone();
    spoiled.recorded.push(spoiled.recorded[0]);
    planted.is_seen(&spoiled, "posted twice", |v| matches!(v, Violation::RecordedTwice { times: 2, .. }));
    let mut spoiled = good.clone();
    spoiled.recorded.pop();
    planted.is_seen(&spoiled, "never posted", |v| matches!(v, Violation::NotRecorded { .. }));
    let mut spoiled = good.clone();
    spoiled.recorded[0].batch_number = 1_000_000;
    planted.is_seen(&spoiled, "nobody's", |v| matches!(v, Violation::Stranger { number: 1_000_000 }));
    let mut spoiled = good.clone();
    let (submission, epoch, _) = spoiled.headers[0];
    spoiled.headers.push((submission, epoch, BatchDigest(B256::repeat_byte(7))));
    planted.is_seen(&spoiled, "two headers", |v| matches!(v, Violation::TwoHeaders { .. }));

    // Another payload than the rollup's, of the same length.
    let mut other = accepted.clone();
    let mut bytes = other[0].payload.to_vec();
    *bytes.last_mut().context("a byte")? ^= 1;
    other[0].payload = Bytes::from(bytes);
    let met = history::read(&network, &other).await?.violations(&other);
    assert!(met.iter().any(|v| matches!(v, Violation::OtherBytes { .. })), "other bytes: {met:?}");
    planted.measure.tried(1);

    // For good, on two members' disks: one holds a row less, one has forgotten the batch.
    let [first, second] = [&network.members[0], &network.members[1]];
    let digest = good.recorded[0].digest;
    damage(
        &first.service,
        "DELETE FROM shard_rows WHERE shard = (SELECT shard FROM batches WHERE digest = $1)",
        digest,
    )
    .await?;
    let spoiled = history::read(&network, &accepted).await?;
    let missing = |v: &Violation| matches!(v, Violation::ShardMissing { seat, digest: of, .. } if (*seat, *of) == (first.seat, digest));
    planted.is_seen(&spoiled, "a shard's rows are gone", missing);

    let digest = good.recorded[1].digest;
    damage(&second.service, "DELETE FROM batches WHERE digest = $1", digest).await?;
    let spoiled = history::read(&network, &accepted).await?;
    let unsupported = Violation::SignedWithoutRow { seat: second.seat, digest };
    planted.is_seen(&spoiled, "a signature without its row", |v| *v == unsupported);

    // Two of four have lost it: with any one more away, it is gone.
    let digest = good.recorded[2].digest;
    for member in [first, second] {
        damage(&member.service, "DELETE FROM batches WHERE digest = $1", digest).await?;
    }
    let spoiled = history::read(&network, &accepted).await?;
    let lost = |v: &Violation| matches!(v, Violation::NotRetrievable { digest: of, .. } if *of == digest);
    planted.is_seen(&spoiled, "not retrievable", lost);
    assert!(history::check(&network, &accepted).await.is_err(), "and the check fails");
    planted.measure.passed();
    Ok(())
}
