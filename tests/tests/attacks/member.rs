//! Attacks on a member by rollups and by strangers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_bls::SecretKey;
use dac_chain::PrivateKeySigner;
use dac_coding::testing;
use dac_proto::v1;
use dac_proto::v1::store_shard_request::Message;
use dac_tests::attacker::{Attacker, framed, loopback};
use dac_tests::disperser::Delivery;
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, real_payload};
use dac_tests::rollup::{Rollup, batch_hash};
use dac_tests::{Result, configuration, rpc, wait};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{AbsentSeats, Address, AggregateAttestation, B256, BatchDigest, Geometry, HashKind, Seat};
use futures::future::join_all;

use super::{address, memory, network, served};

const STORE_SHARD: &str = "/dac.v1.DispersalService/StoreShard";
/// A rollup that the registry admits and that attacks the others.
const HOSTILE: Address = Address::repeat_byte(0x66);
/// What an attack may cost a member: a small part of what is announced, or asked for, in it.
const MEMORY_MAX_BYTES: u64 = 64 << 20;

fn geometry(network: &Network) -> Geometry {
    network.committee.quorum.geometry()
}

fn message(message: Message) -> Bytes {
    framed(&v1::StoreShardRequest { message: Some(message) })
}

/// Waits until members know a rollup that was admitted just now.
async fn until_admitted(network: &Network, rollup: &Rollup) -> Result<()> {
    let payload = Bytes::from_static(b"known");
    let dispersal =
        testing::honest(geometry(network), payload.clone(), batch_hash(HashKind::Opaque, &payload))?;
    let delivery = Delivery::new(rollup, &PrivateKeySigner::random(), 1, HashKind::Opaque, dispersal);
    for member in &network.members {
        let known = async || delivery.deliver(member).await.ok();
        wait::until("a member to know the rollup", wait::LIMIT, known).await?;
    }
    Ok(())
}

/// Submits as the honest rollup does, and waits for the certificate.
async fn certified(network: &Network, number: u64) -> Result<BatchDigest> {
    let submitted = network
        .submit(
            number,
            HashKind::Keccak256,
            &real_payload(20_000 + usize::try_from(number).unwrap_or_default()),
        )
        .await?;
    network.certified(&submitted).await
}

/// One admitted rollup opens uploads of the largest payloads, with junk in them, and sends next to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_that_holds_uploads_open_keeps_no_other_one_out() -> Result<()> {
    const UPLOADS: u64 = 8;
    let mut network = network(Plan::default()).await?;
    let hostile = network.admit(HOSTILE).await;
    until_admitted(&network, &hostile).await?;
    served("a batch before the attack", certified(&network, 1)).await?;
    let before: Vec<u64> =
        network.members.iter_mut().map(|member| memory(&mut member.service)).collect::<Result<_>>()?;

    let payload = Bytes::from(vec![7; usize::try_from(PAYLOAD_MAX_BYTES).context("a payload")?]);
    let hash = batch_hash(HashKind::Keccak256, &payload);
    let dispersal = testing::honest(geometry(&network), payload, hash)?;
    let disperser = PrivateKeySigner::random();
    let mut attacks = Vec::new();
    for number in 0..UPLOADS {
        let delivery =
            Delivery::new(&hostile, &disperser, 100 + number, HashKind::Keccak256, dispersal.clone());
        for member in &network.members {
            let to = address(&member.service, configuration::DISPERSAL);
            let mut attacker = Attacker::connect(IpAddr::from([127, 0, 0, 1]), to).await?;
            let open = message(Message::Open(delivery.open(member.seat)));
            // From the aggregator's own address: that is not what tells them apart. What is ended is begun anew.
            attacks.push(tokio::spawn(async move {
                let byte = message(Message::Piece(Bytes::from_static(b"7")));
                let mut refused = 0_u64;
                while let Ok(mut call) = attacker.begin(STORE_SHARD).await {
                    let mut sent = call.send(open.clone(), false);
                    while sent.is_ok() {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        sent = call.send(byte.clone(), false);
                    }
                    refused += 1;
                    if refused > 1_000 {
                        break;
                    }
                }
            }));
        }
    }
    // The member's own figure says when the attack holds what it may.
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
    for number in 2..12 {
        let digest = served("a batch during the attack", certified(&network, number)).await?;
        for member in &network.members {
            served("its shard", member.waits_for(digest)).await?;
        }
    }
    for (member, before) in network.members.iter_mut().zip(before) {
        let grown = memory(&mut member.service)?.saturating_sub(before);
        println!("uploads held open: seat {} grew by {} KiB", member.seat, grown >> 10);
        assert!(grown < MEMORY_MAX_BYTES, "seat {}: {grown} bytes", member.seat);
    }
    for attack in attacks {
        attack.abort();
    }
    Ok(())
}

/// Certificates that are points of the curve and nobody's signature, each another one: under headers of strangers, and
/// under orders of an admitted rollup.
#[tokio::test(flavor = "multi_thread")]
async fn false_certificates_keep_true_ones_waiting_for_no_one() -> Result<()> {
    const ADDRESSES: u8 = 8;
    const AT_ONCE: u8 = 2;
    const STREAMS: usize = 64;
    // More than a member remembers, made beforehand: the attacker's own work is not to be what slows the members down.
    const SIGNATURES: usize = 1200;
    let mut network = network(Plan::default()).await?;
    let hostile = network.admit(HOSTILE).await;
    until_admitted(&network, &hostile).await?;
    served("a batch before the attack", certified(&network, 1)).await?;
    let seat = Seat(0);
    let to = address(&network.members[0].service, configuration::DISPERSAL);
    let before = memory(&mut network.members[0].service)?;

    let payload = real_payload(1000);
    let hash = batch_hash(HashKind::Opaque, &payload);
    let dispersal = testing::honest(geometry(&network), payload, hash)?;
    let stranger = Rollup { poster: PrivateKeySigner::random(), ..network.rollup.clone() };
    let sent = Arc::new(AtomicU64::new(0));
    let signatures = (0..SIGNATURES).map(|number| {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SecretKey::derive(&seed).sign_digest(&BatchDigest(B256::ZERO)).to_compressed()
    });
    let signatures: Arc<[_]> = signatures.collect();
    let mut attacks = Vec::new();
    for number in 0..ADDRESSES {
        let rollup = if number % 2 == 0 { stranger.clone() } else { hostile.clone() };
        for place in 0..AT_ONCE {
            let (rollup, dispersal, sent) = (rollup.clone(), dispersal.clone(), Arc::clone(&sent));
            let signatures = Arc::clone(&signatures);
            let mut attacker = Attacker::connect(loopback(30, number), to).await?;
            attacks.push(tokio::spawn(async move {
                let disperser = PrivateKeySigner::random();
                let kind = HashKind::Opaque;
                let delivery = Delivery::new(&rollup, &disperser, 1000 + u64::from(place), kind, dispersal);
                let first = usize::from(number) * STREAMS;
                for round in 0.. {
                    let mut calls = Vec::new();
                    for stream in 0..STREAMS {
                        let signature = signatures[(first + round * STREAMS + stream) % SIGNATURES];
                        let aggregate = AggregateAttestation { absent: AbsentSeats::default(), signature };
                        let mut open = delivery.open(seat);
                        if let Some(record) = &mut open.record {
                            record.certificate = Some((&aggregate).into());
                        }
                        let Ok(mut call) = attacker.begin(STORE_SHARD).await else { return };
                        if call.send(message(Message::Open(open)), true).is_ok() {
                            calls.push(call.status());
                        }
                    }
                    let answered = join_all(calls).await.into_iter().filter(Result::is_ok).count();
                    sent.fetch_add(answered as u64, Ordering::Relaxed);
                }
            }));
        }
    }
    let under_way = async || (sent.load(Ordering::Relaxed) > 200).then_some(());
    wait::until("the attack to be under way", wait::LIMIT, under_way).await?;
    for number in 2..12 {
        let digest = served("a batch during the attack", certified(&network, number)).await?;
        // Its certificate comes alone, and is checked by the member that is attacked.
        let retrieval = network.members[0].retrieval()?;
        let has_certificate = async || {
            let record = rpc::record(retrieval.clone(), digest).await.ok()?;
            record.certificate.map(|_| ())
        };
        served("its certificate", wait::until("a certificate", wait::LIMIT, has_certificate)).await?;
    }
    let grown = memory(&mut network.members[0].service)?.saturating_sub(before);
    println!("false certificates: {} answered, {} KiB", sent.load(Ordering::Relaxed), grown >> 10);
    assert!(grown < MEMORY_MAX_BYTES, "{grown} bytes");
    for attack in &attacks {
        attack.abort();
    }
    join_all(attacks).await;
    Ok(())
}
