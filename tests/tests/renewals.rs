//! Coverage of settled batches is renewed by the processes themselves: members sign that they hold
//! all of them, the aggregator brings the sum to L1, and everybody keeps what was renewed for
//! longer, who signed and who was away.

use dac_database::sqlx::{self, Connection};
use dac_database::u64_from_sql;
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{MOMENT, Service};
use dac_tests::rollup::now;
use dac_tests::settlement::RollupNetwork;
use dac_tests::{Result, configuration, database, wait};
use dac_types::BatchDigest;

/// A month, which the registry grants the rollup, in seconds.
const RETENTION: u64 = 30 * 86_400;
/// Who is away.
const ABSENT: usize = 3;

/// Until when a member keeps a batch, by its database.
async fn keeps_until(service: &Service, digest: BatchDigest) -> Option<u64> {
    let mut connection = database::look(service).await.ok()?;
    let kept = sqlx::query_scalar("SELECT keep_until FROM batches WHERE digest = $1")
        .bind(digest.as_bytes().to_vec())
        .fetch_optional(&mut connection)
        .await;
    connection.close().await.ok()?;
    kept.ok()?.map(u64_from_sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_renews_and_everybody_keeps_for_longer() -> Result<()> {
    let mut measure =
        Measure::begin(Promise::Renewal, "renewals::a_quorum_renews_and_everybody_keeps_for_longer");
    let mut rollup = RollupNetwork::start(1).await?;
    let batch = rollup.batches[0].clone();
    let digest = rollup.submit(&batch).await?;
    let certificate = rollup.certified(digest).await?;
    rollup.hand_in_good(digest, &batch).await?;
    rollup.settled(digest).await?;
    for member in &rollup.network.members {
        member.waits_for(digest).await?;
    }
    let expires_at = certificate.header.expires_at;
    assert_eq!(rollup.reader().state().await?.coverage_until, expires_at);

    // One is away; q of n are not. The lead is a third of the month, so it is time.
    rollup.network.members[ABSENT].service.kill();
    rollup.network.aggregator.stop().await?;
    let renewal = toml::toml! {
        [renewal]
        enabled = true
    };
    configuration::change(rollup.network.aggregator.config(), &renewal)?;
    rollup.network.aggregator.start().await?;
    let reader = rollup.reader();
    let renewed = async || {
        let until = reader.state().await.ok()?.coverage_until;
        (until > expires_at).then_some(until)
    };
    let until = wait::until("coverage to be renewed on L1", wait::LIMIT, renewed).await?;
    let now = now();
    assert!((now + RETENTION - 600..=now + RETENTION).contains(&until), "{until}, at {now}");

    // Who was away promised nothing, and is bound all the same once it sees L1 again.
    let absent = &mut rollup.network.members[ABSENT].service;
    assert_eq!(keeps_until(absent, digest).await, Some(expires_at));
    absent.start().await?;
    for member in &rollup.network.members {
        let what = format!("seat {} to keep the batch for longer", member.seat);
        let kept = async || keeps_until(&member.service, digest).await.filter(|kept| *kept >= until);
        wait::until(&what, wait::LIMIT, kept).await?;
    }
    // Nothing is asked for again while nothing is to be gained.
    let purse = rollup.purse().await?;
    tokio::time::sleep(4 * MOMENT).await;
    assert_eq!(rollup.purse().await?, purse);
    assert_eq!(rollup.reader().state().await?.coverage_until, until);
    measure.tried(1);
    measure.passed();
    Ok(())
}
