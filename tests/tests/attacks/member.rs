//! Attacks on a member by rollups and by clients without any role.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dac_bls::SecretKey;
use dac_chain::EcdsaKey;
use dac_coding::testing;
use dac_proto::v1;
use dac_proto::v1::store_shard_request::Message;
use dac_tests::attacker::{Attacker, Attackers, framed, loopback};
use dac_tests::disperser::Delivery;
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, real_payload};
use dac_tests::rollup::{Rollup, batch_hash};
use dac_tests::{Result, configuration, rpc, wait};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{AbsentSeats, Address, AggregateAttestation, B256, BatchDigest, Geometry, HashKind, Seat};
use futures::future::join_all;
use tokio::time::sleep;

use super::honest::{Honest, Memory, certify, served};
use super::listeners::under_way;
use super::{MIB, address, alone, network};

/// The pause between two bytes of an upload.
const PAUSE: Duration = Duration::from_millis(500);
/// The number of calls that a connection has at the same time.
const STREAMS: usize = 64;
/// A batch number that honest calls do not reach.
const LAST_NUMBER: u64 = 1_000_000;
const STORE_SHARD: &str = "/dac.v1.DispersalService/StoreShard";
/// An admitted rollup that attacks the others.
const HOSTILE: Address = Address::repeat_byte(0x66);
/// The most memory that an attack may cost a member. It is a small part of what the attack
/// announces or requests.
const MEMORY_MAX: u64 = 64 * MIB;

fn geometry(network: &Network) -> Geometry {
    network.committee.quorum.geometry()
}

fn message(message: Message) -> Bytes {
    framed(&v1::StoreShardRequest { message: Some(message) })
}

/// Waits until members know a rollup that was just admitted.
async fn until_admitted(network: &Network, rollup: &Rollup) -> Result<()> {
    let payload = Bytes::from_static(b"known");
    let dispersal =
        testing::honest(geometry(network), payload.clone(), batch_hash(HashKind::Opaque, &payload))?;
    let delivery = Delivery::new(rollup, &EcdsaKey::random(), 1, HashKind::Opaque, dispersal);
    for member in &network.members {
        let known = async || delivery.deliver(member).await.ok();
        wait::until("a member to know the rollup", wait::LIMIT, known).await?;
    }
    Ok(())
}

/// An admitted rollup opens uploads of the largest payloads and sends a byte of junk now and then.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_that_holds_uploads_open_keeps_no_other_one_out() -> Result<()> {
    const UPLOADS: u64 = 8;
    let _alone = alone().await;
    let network = network(Plan::default()).await?;
    let hostile = network.admit(HOSTILE).await;
    until_admitted(&network, &hostile).await?;
    let mut honest = Honest::rollup("a batch of 1 KB, from its submission to its certificate,");
    honest.without(async |number| certify(&network, number).await.map(|_| ())).await?;
    let memory = Memory::of(network.members.iter().map(|member| &member.service))?;

    let payload = Bytes::from(vec![7; usize::try_from(PAYLOAD_MAX_BYTES).context("a payload")?]);
    let hash = batch_hash(HashKind::Keccak256, &payload);
    let dispersal = testing::honest(geometry(&network), payload, hash)?;
    let disperser = EcdsaKey::random();
    let attackers = Attackers::new()?;
    for number in 0..UPLOADS {
        let delivery =
            Delivery::new(&hostile, &disperser, 100 + number, HashKind::Keccak256, dispersal.clone());
        for member in &network.members {
            let to = address(&member.service, configuration::DISPERSAL);
            let open = message(Message::Open(delivery.open(member.seat)));
            attackers.come_back(PAUSE, move || upload_next_to_nothing(to, open.clone()));
        }
    }
    // The member's own metric shows when the attack holds all that it may.
    for member in &network.members {
        let busy = async || {
            let delivery = Delivery::new(&hostile, &disperser, 99, HashKind::Keccak256, dispersal.clone());
            let body = delivery.body(member.seat).slice(..1);
            let sent =
                dac_tests::disperser::send(member, delivery.open(member.seat), futures::stream::iter([body]));
            let status = sent.await.err()?;
            (rpc::reason(&status) == dac_proto::reason::Reason::Busy).then_some(())
        };
        wait::until("the hostile rollup to hold its share", wait::LIMIT, busy).await?;
    }
    honest.under(async |number| certify(&network, number).await.map(|_| ())).await?;
    // Every member gets its shard, not only a quorum.
    let digest = certify(&network, LAST_NUMBER).await?;
    for member in &network.members {
        member.waits_for(digest).await?;
    }
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(async |number| certify(&network, number).await.map(|_| ())).await?;
    honest.verdict("8 uploads of 64 MiB held open at each of 4 members", grown, MEMORY_MAX);
    Ok(())
}

/// The attack comes from the aggregator's own address, so that the address does not tell them
/// apart.
async fn upload_next_to_nothing(to: SocketAddr, open: Bytes) -> Result<()> {
    let byte = message(Message::Piece(Bytes::from_static(b"7")));
    let mut attacker = Attacker::connect(IpAddr::from([127, 0, 0, 1]), to).await?;
    loop {
        let mut call = attacker.begin(STORE_SHARD).await?;
        let mut sent = call.send(open.clone(), false);
        while sent.is_ok() {
            sleep(PAUSE).await;
            sent = call.send(byte.clone(), false);
        }
    }
}

/// The attack delivers certificates whose signatures are points of the curve but not valid, each
/// one different: with headers of other dispersers, and with submissions of an admitted rollup.
#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn false_certificates_keep_true_ones_waiting_for_no_one() -> Result<()> {
    const ADDRESSES: u8 = 8;
    const AT_ONCE: u8 = 2;
    // These are more than a member remembers. They are made before the attack, so that the
    // attacker's own work does not slow the members down.
    const SIGNATURES: usize = 1200;
    let _alone = alone().await;
    let network = network(Plan::default()).await?;
    let hostile = network.admit(HOSTILE).await;
    until_admitted(&network, &hostile).await?;
    let seat = Seat(0);
    let certified = Mutex::new(Vec::new());
    let call = async |number: u64| {
        let digest = certify(&network, number).await?;
        certified.lock().unwrap_or_else(PoisonError::into_inner).push(digest);
        Ok(())
    };
    let mut honest = Honest::rollup("a batch of 1 KB, from its submission to its certificate,");
    honest.without(&call).await?;
    let memory = Memory::of([&network.members[seat.index()].service])?;

    let to = address(&network.members[seat.index()].service, configuration::DISPERSAL);
    let payload = real_payload(1000);
    let hash = batch_hash(HashKind::Opaque, &payload);
    let dispersal = testing::honest(geometry(&network), payload, hash)?;
    let stranger = Rollup { poster: EcdsaKey::random(), ..network.rollup.clone() };
    let signatures = (0..SIGNATURES).map(|number| {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SecretKey::derive(&seed).sign_digest(&BatchDigest(B256::ZERO)).to_compressed()
    });
    let signatures: Arc<[_]> = signatures.collect();
    let (attackers, answered) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    for number in 0..ADDRESSES {
        let rollup = if number % 2 == 0 { &stranger } else { &hostile };
        for place in 0..AT_ONCE {
            let disperser = EcdsaKey::random();
            let batch_number = 1000 + u64::from(place);
            let delivery =
                Delivery::new(rollup, &disperser, batch_number, HashKind::Opaque, dispersal.clone());
            let (signatures, answered) = (Arc::clone(&signatures), Arc::clone(&answered));
            attackers.spawn(async move {
                let opens = signatures.iter().cycle().skip(usize::from(number) * STREAMS).map(|signature| {
                    let aggregate =
                        AggregateAttestation { absent: AbsentSeats::default(), signature: *signature };
                    let mut open = delivery.open(seat);
                    if let Some(record) = &mut open.record {
                        record.certificate = Some((&aggregate).into());
                    }
                    message(Message::Open(open))
                });
                // The attack ends only when the member closes the connection.
                let _ = certify_falsely(loopback(30, number), to, opens, &answered).await;
            });
        }
    }
    under_way(&answered, 200).await?;
    honest.under(&call).await?;
    // Only members get certificates, and the attacked member verifies each of them.
    let retrieval = network.members[seat.index()].retrieval()?;
    let began = Instant::now();
    let digests = std::mem::take(&mut *certified.lock().unwrap_or_else(PoisonError::into_inner));
    for digest in digests {
        let has_certificate =
            async || rpc::record(retrieval.clone(), digest).await.ok()?.certificate.map(|_| ());
        served("its certificate", wait::until("a certificate", wait::LIMIT, has_certificate)).await?;
    }
    println!("the member had all certificates {:?} after the last one was made", began.elapsed());
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(&call).await?;
    println!("{} false certificates were answered", answered.load(Ordering::Relaxed));
    honest.verdict("false certificates from 8 addresses", grown, MEMORY_MAX);
    Ok(())
}

/// Delivers all messages, many at a time, and waits for each answer.
async fn certify_falsely(
    from: IpAddr,
    to: SocketAddr,
    mut opens: impl Iterator<Item = Bytes>,
    answered: &AtomicU64,
) -> Result<()> {
    let mut attacker = Attacker::connect(from, to).await?;
    loop {
        let mut calls = Vec::new();
        for open in opens.by_ref().take(STREAMS) {
            let mut call = attacker.begin(STORE_SHARD).await?;
            if call.send(open, true).is_ok() {
                calls.push(call.status());
            }
        }
        let count = join_all(calls).await.into_iter().filter(Result::is_ok).count();
        answered.fetch_add(count as u64, Ordering::Relaxed);
    }
}
