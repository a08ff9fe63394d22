//! Disks that corrupt data, fill up, and lose the end of what was written: a member serves all that
//! it signed for, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use dac_chain::EcdsaKey;
use dac_coding::testing;
use dac_database::Backend;
use dac_proto::reason::Reason;
use dac_proto::v1::DeliveryState;
use dac_tests::disk::{self, Mounts, SmallDisk};
use dac_tests::disperser::Delivery;
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Member, Network, Plan, Shape, real_payload};
use dac_tests::postgres::Cluster;
use dac_tests::rot::{self, Files, Part};
use dac_tests::traffic::{Traffic, TrafficPlan};
use dac_tests::{Context, Failure, Result, death, history, rpc, wait};
use dac_types::{BatchDigest, HashKind, Seat};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

/// The number of bits flipped in rows, for each part of a batch.
const FLIPS: u64 = 4;
/// The number of bits flipped anywhere in a database's file.
const FILE_FLIPS: u64 = 12;
/// The size of a file system that a few batches fill.
const SMALL_DISK_BYTES: u64 = 12 << 20;

/// The seat of the member whose log is torn.
const SEAT: Seat = Seat(1);

/// The shards that a member serves, by batch.
type Shards = BTreeMap<BatchDigest, Vec<u8>>;

/// Submits batches until all members hold them, and returns one member's shards of them.
async fn some_batches(network: &Network, seat: usize) -> Result<Shards> {
    let mut shards = Shards::new();
    for number in 1..=3 {
        let batch = network
            .submit(number, HashKind::Opaque, &real_payload(60_000 + 7 * usize::try_from(number)?))
            .await?;
        let digest = network.certified(&batch).await?;
        network.posted(&batch).await?;
        for member in &network.members {
            member.waits_for(digest).await?;
        }
        shards.insert(digest, rpc::shard(network.members[seat].retrieval()?, digest).await?);
    }
    Ok(shards)
}

/// Checks that a member serves each shard unchanged, or refuses by name. Returns whether it refused
/// one.
async fn serves_nothing_wrong(member: &Member, shards: &Shards) -> Result<bool> {
    let mut refused = false;
    for (&digest, shard) in shards {
        match rpc::shard(member.retrieval()?, digest).await {
            Ok(served) => assert!(served == *shard, "{digest}: served, and not what was signed for"),
            Err(status) => {
                let reason = rpc::reason(&status);
                assert!(
                    matches!(reason, Reason::Corrupt | Reason::UnknownBatch | Reason::StorageFailed),
                    "{digest}: {status}"
                );
                refused = true;
            }
        }
    }
    Ok(refused)
}

async fn rows_rot(backend: Backend, name: &'static str) -> Result<()> {
    let (mut measure, seed) = (Measure::begin(Promise::RotIsFound, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::start(Shape { backend, ..Shape::SMALL }).await?;
    let seat = 3;
    let shards = some_batches(&network, seat).await?;
    let digests: Vec<BatchDigest> = shards.keys().copied().collect();
    for round in 0..FLIPS * measure::scale() {
        for part in Part::ALL {
            let digest = digests[dice.random_range(0..digests.len())];
            let member = &mut network.members[seat];
            member.service.stop().await?;
            let at = rot::flip(&member.service, digest, part, &mut dice).await?;
            member.service.start().await?;
            measure.tried(1);
            println!("round {round}: byte {at} of {part:?} of {digest}");
            serves_nothing_wrong(member, &shards).await?;
            // The damaged shard is never served, and is repaired from the other members.
            let healed = async || {
                let shard = rpc::shard(member.retrieval().ok()?, digest).await.ok()?;
                (shard == shards[&digest]).then_some(())
            };
            wait::until(&format!("{part:?} of {digest} to be repaired"), wait::LIMIT, healed).await?;
        }
    }
    let payloads = network.retrieve(digests[0]).await?;
    assert!(!payloads.is_empty());
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_rot_are_found_and_repaired_on_sqlite() -> Result<()> {
    rows_rot(Backend::Sqlite, "storage::rows_that_rot_are_found_and_repaired_on_sqlite").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_rot_are_found_and_repaired_on_postgresql() -> Result<()> {
    rows_rot(Backend::Postgres, "storage::rows_that_rot_are_found_and_repaired_on_postgresql").await
}

/// The damage is anywhere in the file: in tables, indices, free pages or SQLite's own data. A
/// member that starts serves nothing wrong; one that does not start says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_rots_anywhere_is_never_served() -> Result<()> {
    let name = "storage::a_file_that_rots_anywhere_is_never_served";
    let (mut measure, seed) = (Measure::begin(Promise::RotIsFound, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::start(Shape::SMALL).await?;
    let seat = 2;
    let shards = some_batches(&network, seat).await?;
    let member = &mut network.members[seat];
    member.service.stop().await?;
    let files = Files::of(&member.service)?;
    let mut refusals = 0;
    for _ in 0..FILE_FLIPS * measure::scale() {
        let at = files.flip(&mut dice)?;
        match member.service.start().await {
            Ok(()) => {
                serves_nothing_wrong(member, &shards).await?;
            }
            Err(_) if !member.service.is_running() => {
                println!("byte {at}: {}", why_it_ended(&member.service.log_end()));
                refusals += 1;
            }
            Err(failure) => return Err(failure),
        }
        member.service.kill();
        files.restore()?;
        measure.tried(1);
    }
    println!("{refusals} files that it did not start with");
    // Whether a flipped bit prevented a start depends on chance; this damage always does.
    files.spoil_schema()?;
    assert!(member.service.start().await.is_err(), "a database without a schema");
    let said = member.service.log_end();
    assert!(why_it_ended(&said).contains("malformed database schema"), "{said}");
    files.restore()?;
    member.service.start().await?;
    assert!(!serves_nothing_wrong(member, &shards).await?, "the file as it was is good");
    measure.passed();
    Ok(())
}

/// Returns the line of the log with the error that ended a member.
fn why_it_ended(log: &str) -> &str {
    let line = log.lines().rfind(|line| line.contains("dac-node has failed error="));
    line.unwrap_or_else(|| panic!("no line says why it ended:\n{log}"))
}

/// A power cut during a commit damages what was not synchronised: everything after the last commit
/// that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_takes_nothing_that_was_signed() -> Result<()> {
    let name = "storage::a_torn_log_takes_nothing_that_was_signed";
    let (mut measure, seed) = (Measure::begin(Promise::TornLog, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::prepare(Shape::SMALL).await?;
    let disperser = EcdsaKey::random();
    let geometry = network.committee.quorum.geometry();
    let deliveries = (1..=4)
        .map(|number| {
            let payload = real_payload(50_000 + usize::try_from(number)?);
            let hash = dac_tests::rollup::batch_hash(HashKind::Opaque, &payload);
            let dispersal = testing::honest(geometry, payload, hash)?;
            Ok(Delivery::new(&network.rollup, &disperser, number, HashKind::Opaque, dispersal))
        })
        .collect::<Result<Vec<_>>>()?;
    let member = &mut network.members[1];
    let mut shards = Shards::new();
    let mut before = None;
    let channel = member.dispersal()?;
    let files = member.service.database_file().context("a database that is a file")?;
    let dies = death::dies_at(&mut member.service, "node.store.after_commit", 4);
    let delivers = async {
        for delivery in &deliveries {
            let (open, body) = (delivery.open(SEAT), delivery.body(SEAT));
            let deliver = async || {
                let pieces = futures::stream::iter(rpc::pieces(&body));
                rpc::store_shard(channel.clone(), open.clone(), pieces).await.ok()
            };
            wait::until("an attestation", wait::LIMIT, deliver).await?;
            shards.insert(delivery.digest(), delivery.dispersal.shards[SEAT.index()].to_vec());
            // From here on the disk may lose what the member writes. The fourth commit is its last:
            // the member dies before it answers.
            before = Some(Files::beside(&files)?);
        }
        Err::<(), _>(Failure::new("it signed the last one, and should have died before"))
    };
    tokio::select! {
        died = dies => died?,
        delivered = delivers => delivered?,
    }
    let before = before.context("a delivery")?;
    assert_eq!(shards.len(), 3, "the fourth was not signed");
    let last = &deliveries[3];
    let member = &mut network.members[1];
    let after = Files::of(&member.service)?;
    let (old, new) = (before.log()?, after.log()?);
    assert!(old.is_continued_by(&new), "the log went on where it was");
    let tears = new.tears_from(old.bytes.len());
    assert!(tears.len() >= 10, "{} places", tears.len());
    for place in tears {
        for garbles in [false, true] {
            after.restore()?;
            if garbles {
                new.garble(place, &mut dice)?
            } else {
                new.truncate(place)?
            }
            member.service.set_environment(&[]);
            member.service.start().await?;
            let refused = serves_nothing_wrong(member, &shards).await?;
            assert!(!refused, "torn at {place} (garbled: {garbles}): what was signed is there");
            // The lost batch is accepted again.
            last.deliver(member).await?;
            member.service.kill();
            measure.tried(1);
        }
    }
    measure.passed();
    Ok(())
}

/// The part of a store's files that is on the disk that fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Everything,
    Data,
    Log,
}

/// Puts one member's store, or a part of it, on a small disk.
fn confine(member: &Member, full: Full) -> Result<SmallDisk> {
    let file = member.service.database_file().context("a database that is a file")?;
    let folder = file.parent().context("its folder")?;
    let elsewhere = folder.with_extension("elsewhere");
    fs::create_dir_all(&elsewhere).context(elsewhere.display())?;
    let other = elsewhere.join("data");
    let small = match full {
        Full::Everything => return SmallDisk::mount(folder, SMALL_DISK_BYTES),
        Full::Data => SmallDisk::mount(&elsewhere, SMALL_DISK_BYTES)?,
        Full::Log => SmallDisk::mount(folder, SMALL_DISK_BYTES)?,
    };
    fs::write(&other, []).context(other.display())?;
    fs::write(&file, []).context(file.display())?;
    disk::bind(&other, &file)?;
    Ok(small)
}

/// A member's disk fills up under a stream of batches: it refuses by name, serves what it signed
/// for, and continues once there is room.
async fn a_members_disk_fills_up(full: Full, measure: &mut Measure, seed: u64) -> Result<()> {
    let node = toml::toml! {
        [limits]
        disk_reserve = "1KiB"
    };
    let plan = Plan { node, ..Plan::default() };
    let mut network = Network::prepare_as(Shape::SMALL, &plan).await?;
    let seat = 3;
    let small = confine(&network.members[seat], full)?;
    for member in &mut network.members {
        member.service.start().await?;
    }
    network.aggregator.start().await?;
    let traffic =
        TrafficPlan { bytes_max: 500_000, pause: Duration::from_millis(50), ..TrafficPlan::small(seed) };
    let mut traffic = Traffic::start(&network, 1, traffic)?;
    traffic.more(4).await?;
    small.fill(200 << 10)?;
    if full == Full::Data {
        // The write-ahead log may have room for all batches meanwhile, so the member need not
        // refuse any.
        traffic.more(24).await?;
        measure.tried(24);
    } else {
        let refused = async || {
            traffic.more(1).await.ok()?;
            for batch in traffic.accepted() {
                let batch =
                    rpc::batch(network.api().ok()?, rpc::by_submission(batch.submission)).await.ok()?;
                let outcome = batch.members.get(seat)?;
                if outcome.reason == Reason::StorageFailed.as_str() {
                    assert_ne!(outcome.state(), DeliveryState::Attested);
                    return Some(());
                }
            }
            None
        };
        wait::until("the full member to refuse by name", wait::LIMIT, refused).await?;
        // More batches come to the full disk.
        traffic.more(8).await?;
        measure.tried(8);
    }
    // The member serves what it has while its disk is full.
    let held = rpc::stored(network.members[seat].retrieval()?).await?;
    assert!(!held.is_empty());
    for digest in held {
        rpc::shard(network.members[seat].retrieval()?, digest).await?;
    }
    small.make_room()?;
    let accepted = traffic.finish(&network).await?;
    let history = history::check(&network, &accepted).await?;
    for recorded in history.recorded {
        let stored = network.members[seat].waits_for(recorded.digest).await;
        stored.context(format!("with room again\n{}", network.members[seat].service.log_end()))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_takes_nothing() -> Result<()> {
    let name = "a_full_disk_is_told_and_takes_nothing";
    match disk::own_mounts(name)? {
        Mounts::Passed => return Ok(()),
        Mounts::Refused(why) => {
            println!("NO MOUNT NAMESPACE ({why}): a limit on the size of files stands in for a full disk");
            return a_members_files_are_limited("storage::a_full_disk_is_told_and_takes_nothing").await;
        }
        Mounts::Own => {}
    }
    let mut measure = Measure::begin(Promise::FullDisk, "storage::a_full_disk_is_told_and_takes_nothing");
    let seed = measure::seed(name);
    for full in [Full::Everything, Full::Log, Full::Data] {
        println!("full: {full:?}");
        a_members_disk_fills_up(full, &mut measure, seed).await?;
    }
    measure.passed();
    Ok(())
}

/// Tests the same if nothing may be mounted: the member's files cannot grow beyond a limit.
async fn a_members_files_are_limited(name: &'static str) -> Result<()> {
    let (mut measure, seed) = (Measure::begin(Promise::FullDisk, name), measure::seed(name));
    let mut network = Network::prepare(Shape::SMALL).await?;
    let seat = 3;
    network.members[seat].service.limit_files(Some(1 << 20));
    for member in &mut network.members {
        member.service.start().await?;
    }
    network.aggregator.start().await?;
    let plan =
        TrafficPlan { bytes_max: 500_000, pause: Duration::from_millis(50), ..TrafficPlan::small(seed) };
    let mut traffic = Traffic::start(&network, 1, plan)?;
    let refused = async || {
        traffic.more(1).await.ok()?;
        for batch in traffic.accepted() {
            let batch = rpc::batch(network.api().ok()?, rpc::by_submission(batch.submission)).await.ok()?;
            if batch.members.get(seat)?.reason == Reason::StorageFailed.as_str() {
                return Some(());
            }
        }
        None
    };
    wait::until("the limited member to refuse by name", wait::LIMIT, refused).await?;
    traffic.more(8).await?;
    measure.tried(8);
    network.members[seat].service.kill();
    network.members[seat].service.limit_files(None);
    network.members[seat].service.start().await?;
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_grow_are_told_and_take_nothing() -> Result<()> {
    a_members_files_are_limited("storage::files_that_cannot_grow_are_told_and_take_nothing").await
}

/// The size of a file system that holds an empty PostgreSQL and some batches, in bytes.
const POSTGRES_DISK_BYTES: u64 = 220 << 20;
/// The limit of file sizes. It is above the size of a segment of PostgreSQL's log.
const POSTGRES_FILE_BYTES: u64 = 17 << 20;

/// PostgreSQL runs out of disk space while all services use it. It refuses writes, or it stops;
/// once there is room again, all services continue.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_postgresql_takes_nothing() -> Result<()> {
    let name = "a_full_disk_under_postgresql_takes_nothing";
    let folder = TempDir::with_prefix_in("dac-full-", "/tmp").context("a folder in /tmp")?;
    let small = match disk::own_mounts(name)? {
        Mounts::Passed => return Ok(()),
        Mounts::Own => Some(SmallDisk::mount(&folder.path().join("small"), POSTGRES_DISK_BYTES)?),
        Mounts::Refused(why) => {
            println!(
                "NO MOUNT NAMESPACE ({why}): a limit on the size of PostgreSQL's files stands in for a full disk"
            );
            None
        }
    };
    let mut measure =
        Measure::begin(Promise::FullDisk, "storage::a_full_disk_under_postgresql_takes_nothing");
    let seed = measure::seed(name);
    let mut cluster = match &small {
        Some(_) => Cluster::start_with_data(Some(folder.path().join("small/data"))).await?,
        None => Cluster::start().await?,
    };
    let shape = Shape { backend: Backend::Postgres, ..Shape::SMALL };
    let plan = Plan { postgres: Some(cluster.url()), ..Plan::default() };
    let mut network = Network::start_as(shape, &plan).await?;
    let plan =
        TrafficPlan { bytes_max: 600_000, pause: Duration::from_millis(50), ..TrafficPlan::small(seed) };
    let mut traffic = Traffic::start(&network, 1, plan)?;
    traffic.more(4).await?;
    match &small {
        Some(small) => small.fill(2 << 20)?,
        None => {
            cluster.limit_files(Some(POSTGRES_FILE_BYTES));
            cluster.stop_immediately().await?;
            cluster.launch().await?;
        }
    }
    let said = |log: &str| log.contains("No space left on device") || log.contains("File too large");
    wait::until("PostgreSQL to run out of space", wait::LIMIT * 2, async || {
        said(&cluster.log()).then_some(())
    })
    .await?;
    // Traffic continues for a while, whether PostgreSQL runs or not.
    tokio::time::sleep(Duration::from_secs(2)).await;
    measure.tried(cluster.log().lines().filter(|line| said(line)).count() as u64);
    match &small {
        Some(small) => small.make_room()?,
        None => cluster.limit_files(None),
    }
    if cluster.is_running() {
        cluster.stop_immediately().await?;
    }
    cluster.launch().await?;
    network.revive().await?;
    traffic.more(4).await?;
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    drop((network, cluster));
    measure.passed();
    Ok(())
}
