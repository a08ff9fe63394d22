//! Tests of aggregators that lie to members.

use std::collections::BTreeMap;

use dac_chain::EcdsaKey;
use dac_chain::testing::{RollupSpec, deploy_rollup};
use dac_coding::testing;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_client::DispersalServiceClient;
use dac_tests::disperser::{Delivery, send};
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Network, Shape};
use dac_tests::rollup::{Rollup, now};
use dac_tests::{Result, Spoiled, rpc, wait};
use dac_types::{Address, B256, CoverageRenewal, Geometry, HashKind};
use futures::stream;

use crate::{payload, unharmed};

const SEVEN: Shape = Shape { n: 7, k: 3, q: 5, ..Shape::SMALL };

/// Every malicious disperser of section 4 of the protocol, replays of deliveries, and batches of
/// other rollups are tried against one committee, which keeps working.
#[tokio::test(flavor = "multi_thread")]
async fn aggregators_that_lie_get_no_signature_for_it() -> Result<()> {
    let mut measure =
        Measure::begin(Promise::Byzantine, "byzantine::aggregators_that_lie_get_no_signature_for_it");
    let network = Network::start(SEVEN).await?;
    let disperser = EcdsaKey::random();
    let geometry = Geometry::new(SEVEN.n, SEVEN.k).expect("a possible committee");
    let mut table: BTreeMap<&str, (usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for (number, dispersal) in (1..).zip(testing::all(geometry)?) {
        let name = dispersal.name;
        let delivery = Delivery::new(&network.rollup, &disperser, number, HashKind::Opaque, dispersal);
        let (signed, refused) = table.entry(name).or_default();
        for member in &network.members {
            let passes = delivery.dispersal.seats_that_pass.contains(&member.seat);
            match delivery.deliver(member).await {
                Ok(_) => {
                    assert!(passes, "{name}: seat {} signed", member.seat);
                    measure.tried(1);
                    *signed += 1;
                }
                Err(status) => {
                    assert!(!passes, "{name}: seat {} refused: {status}", member.seat);
                    let reason = rpc::reason(&status);
                    assert!(matches!(reason, Reason::BadRecord | Reason::BadShard), "{name}: {status}");
                    *refused.entry(reason.as_str()).or_default() += 1;
                    measure.tried(1);
                }
            }
        }
    }
    for (name, (signed, refused)) in &table {
        println!("{name:32} {signed} signed, refused {refused:?}");
    }

    let member = &network.members[0];
    let honest = |number| -> Result<Delivery> {
        let dispersal = testing::honest(geometry, payload(number), B256::repeat_byte(3))?;
        Ok(Delivery::new(&network.rollup, &disperser, number, HashKind::Opaque, dispersal))
    };
    // A replay is answered with the same signature, and stored once.
    let good = honest(1_001)?;
    let first = good.deliver(member).await?;
    assert_eq!(good.deliver(member).await?, first);
    let stored = rpc::stored(member.retrieval()?).await?;
    assert_eq!(stored.iter().filter(|digest| **digest == good.digest()).count(), 1);
    // The replay is sent to another seat, for another committee and for another rollup.
    let pieces = || stream::iter(rpc::pieces(&good.body(member.seat)));
    let mut elsewhere = good.open(member.seat);
    elsewhere.chain_id += 1;
    let stranger = Rollup { address: Address::repeat_byte(0x99), ..network.rollup.clone() };
    let theirs = Rollup { poster: EcdsaKey::random(), ..network.rollup.clone() };
    let foreign = |rollup: &Rollup| -> Result<Delivery> {
        let dispersal = testing::honest(geometry, payload(1_002), B256::repeat_byte(3))?;
        Ok(Delivery::new(rollup, &disperser, 1_002, HashKind::Opaque, dispersal))
    };
    let mut relabelled = honest(1_003)?;
    relabelled.header.rollup = Address::repeat_byte(0x99);
    let mut stolen = honest(1_004)?;
    stolen.disperser = EcdsaKey::random();
    let mut forged = honest(1_005)?;
    forged.order.signature = EcdsaKey::random().sign(forged.order.submission.digest(&forged.domain));
    for (what, outcome, expected) in [
        (
            "another seat's",
            send(member, good.open(network.members[1].seat), pieces()).await,
            Reason::WrongSeat,
        ),
        ("another chain's", send(member, elsewhere, pieces()).await, Reason::WrongDomain),
        ("a rollup's that is not admitted", foreign(&stranger)?.deliver(member).await, Reason::UnknownRollup),
        ("ordered by nobody", foreign(&theirs)?.deliver(member).await, Reason::WrongPoster),
        ("under another rollup's name", relabelled.deliver(member).await, Reason::UnknownRollup),
        ("somebody else's order", stolen.deliver(member).await, Reason::WrongDisperser),
        ("a forged order", forged.deliver(member).await, Reason::WrongPoster),
    ] {
        let status = outcome.expect_err(what);
        assert_eq!(rpc::reason(&status), expected, "{what}: {status}");
        measure.tried(1);
    }
    renewals(&network, &mut measure).await?;
    unharmed(&network, 2_000).await?;
    measure.passed();
    Ok(())
}

/// Asks for renewals of what is not settled, not held, or must not be promised.
async fn renewals(network: &Network, measure: &mut Measure) -> Result<()> {
    let spec = RollupSpec { freeze_delay: 3, exit_window: 4 };
    let rollup = deploy_rollup(&network.anvil, &network.committee, spec).await;
    network.committee.admit(&network.anvil, rollup.address, network.rollup.poster.address()).await;
    // The batch is settled with a certificate for data that no member has.
    let header = rollup.header(&network.committee, 1, now() + 3_600);
    rollup.settle(&rollup.order(&network.committee.certify(header, &[]))).await;
    let member = &network.members[0];
    let ask = |change: &dyn Fn(&mut v1::SignRenewalRequest)| {
        let renewal =
            CoverageRenewal { rollup: rollup.address, last_batch: 1, expires_at: now() + 3_600, epoch: 1 };
        let mut request = v1::SignRenewalRequest {
            chain_id: network.domain().chain_id,
            registry: bytes::Bytes::copy_from_slice(network.domain().registry.as_slice()),
            seat: member.seat.0.into(),
            renewal: Some((&renewal).into()),
        };
        change(&mut request);
        async {
            let mut client = DispersalServiceClient::new(member.dispersal().ok()?);
            match client.sign_renewal(request).await {
                Ok(_) => Some(None),
                Err(status) => Some(Some(rpc::reason(&status))),
            }
        }
    };
    let terms = |request: &mut v1::SignRenewalRequest, change: &dyn Fn(&mut v1::CoverageRenewal)| {
        change(request.renewal.as_mut().expect("set"));
    };
    let cases: [Spoiled<'_, v1::SignRenewalRequest>; 7] = [
        ("another chain", Reason::WrongDomain, &|request| request.chain_id += 1),
        ("another seat", Reason::WrongSeat, &|request| request.seat = 1),
        ("no such epoch", Reason::UnknownEpoch, &|request| terms(request, &|renewal| renewal.epoch = 7)),
        ("over already", Reason::ExpiresTooSoon, &|request| {
            terms(request, &|renewal| renewal.expires_at = now() - 1);
        }),
        ("for ever", Reason::ExpiresTooLate, &|request| {
            terms(request, &|renewal| renewal.expires_at = u64::MAX);
        }),
        ("a batch that is not settled", Reason::NotSettled, &|request| {
            terms(request, &|renewal| renewal.last_batch = 2);
        }),
        ("a batch that nobody holds", Reason::NotHeld, &|_| {}),
    ];
    for (what, expected, change) in cases {
        // The answer is right once the member has read the new rollup and its settlement.
        let refused = async || (ask(change).await? == Some(expected)).then_some(());
        wait::until(&format!("{what} to be refused as {expected}"), wait::LIMIT, refused).await?;
        measure.tried(1);
    }
    Ok(())
}
