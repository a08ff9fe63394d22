//! SignRenewal: it is granted when everything is held, and in no other case.

use std::net::IpAddr;

use dac_types::{CoverageRenewal, RenewalDigest};

use super::committee::{Members, settled};
use super::*;
use crate::testing::{EPOCH, RETENTION, ROLLUP};

fn request(member: &Member, last_batch: u64, expires_at: u64) -> v1::SignRenewalRequest {
    let renewal = CoverageRenewal { rollup: ROLLUP, last_batch, expires_at, epoch: EPOCH };
    v1::SignRenewalRequest {
        chain_id: member.world.domain.chain_id,
        registry: Bytes::copy_from_slice(member.world.domain.registry.as_slice()),
        seat: member.seat.0.into(),
        renewal: Some((&renewal).into()),
    }
}

async fn ask(member: &Member, request: v1::SignRenewalRequest) -> Result<v1::SignRenewalResponse, Status> {
    member.dispersal().await.sign_renewal(request).await.map(tonic::Response::into_inner)
}

/// Asks for a renewal, and checks the signature that comes.
pub(super) async fn sign(member: &Member, last_batch: u64, expires_at: u64) -> Result<RenewalDigest, Status> {
    let answer = ask(member, request(member, last_batch, expires_at)).await?;
    let renewal = CoverageRenewal { rollup: ROLLUP, last_batch, expires_at, epoch: EPOCH };
    let digest = renewal.digest(&member.world.domain);
    assert_eq!((answer.digest, answer.seat), (digest.as_bytes().to_vec().into(), member.seat.0.into()));
    assert_eq!(answer.signature, member.key.sign_digest(&digest).to_compressed().0.to_vec());
    Ok(digest)
}

/// Starts a member that holds two settled batches and knows of a third one.
async fn holding() -> (Members, Vec<Batch>) {
    let members = Members::start([SEAT.0]).await;
    let mut batches: Vec<Batch> = (1..=3).map(|number| members.batch(number, 2000)).collect();
    for batch in &mut batches[..2] {
        members.deliver(batch, [SEAT.0]).await;
    }
    members.l1.mine(batches.iter().map(settled).collect());
    members.member(SEAT).until_read().await;
    (members, batches)
}

#[tokio::test]
async fn a_renewal_is_signed_when_all_is_held_and_keeps_it() {
    let _counted = dac_measure::counted!(Renewal, 6);
    let (members, mut batches) = holding().await;
    let member = members.member(SEAT);
    let until = NOW + RETENTION;
    assert_reason(sign(member, 4, until).await, Reason::NotSettled);
    assert_reason(sign(member, 3, until).await, Reason::NotHeld);
    let first = sign(member, 2, until).await.unwrap();
    assert_eq!(sign(member, 2, until).await.unwrap(), first, "again is the same");
    members.deliver(&mut batches[2], [SEAT.0]).await;
    sign(member, 3, until).await.unwrap();
    assert_eq!(member.store.delete_expired(until, &[], 10).await.unwrap(), 0);
    assert_eq!(member.get_shard(&batches[0]).await.unwrap(), batches[0].shard(SEAT));
    assert_eq!(member.store.delete_expired(until + 1, &[], 10).await.unwrap(), 3);
}

#[tokio::test]
async fn what_is_damaged_is_not_promised() {
    let _counted = dac_measure::counted!(Renewal, 3);
    let (members, batches) = holding().await;
    let member = members.member(SEAT);
    member
        .store
        .damage("DELETE FROM shard_rows WHERE shard = (SELECT shard FROM batches WHERE sequence = 2)")
        .await;
    assert_reason(sign(member, 2, NOW + 5000).await, Reason::NotHeld);
    sign(member, 1, NOW + 5000).await.unwrap();
    member.put(&batches[1]).await.unwrap();
    sign(member, 2, NOW + 5000).await.unwrap();
}

#[tokio::test]
async fn requests_that_are_none_of_ours_are_refused() {
    let _counted = dac_measure::counted!(Renewal, 14);
    let (members, _) = holding().await;
    let member = members.member(SEAT);
    let good = || request(member, 1, NOW + 5000);
    let with = |change: &dyn Fn(&mut v1::SignRenewalRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let renewal = |change: &dyn Fn(&mut v1::CoverageRenewal)| {
        with(&|request| change(request.renewal.as_mut().unwrap()))
    };
    for (request, reason) in [
        (with(&|request| request.chain_id = 1), Reason::WrongDomain),
        (with(&|request| request.registry = vec![1; 20].into()), Reason::WrongDomain),
        (with(&|request| request.registry = vec![1; 19].into()), Reason::MalformedRequest),
        (with(&|request| request.seat = 300), Reason::MalformedRequest),
        (with(&|request| request.renewal = None), Reason::MalformedRequest),
        (renewal(&|renewal| renewal.last_batch = 0), Reason::MalformedRequest),
        (with(&|request| request.seat = 3), Reason::WrongSeat),
        (renewal(&|renewal| renewal.epoch = 9), Reason::UnknownEpoch),
        (renewal(&|renewal| renewal.epoch = 1), Reason::EpochNotActive),
        (renewal(&|renewal| renewal.epoch = 3), Reason::EpochNotActive),
        (renewal(&|renewal| renewal.rollup = vec![7; 20].into()), Reason::UnknownRollup),
        (renewal(&|renewal| renewal.expires_at = NOW), Reason::ExpiresTooSoon),
        (renewal(&|renewal| renewal.expires_at = NOW + RETENTION + 1), Reason::ExpiresTooLate),
        (renewal(&|renewal| renewal.last_batch = u64::MAX), Reason::NotSettled),
    ] {
        let text = format!("{request:?}");
        let result = ask(member, request).await;
        assert!(result.is_err(), "{text} was signed");
        assert_reason(result, reason);
    }
    ask(member, good()).await.unwrap();
}

#[tokio::test]
async fn what_a_contract_claims_keeps_nothing_for_longer_than_anybody_signs() {
    let _counted = dac_measure::counted!(Renewal, 1);
    let members = Members::start([SEAT.0]).await;
    let mut batch = members.batch(1, 2000);
    members.deliver(&mut batch, [SEAT.0]).await;
    let claim = dac_types::BatchHeader { expires_at: u64::MAX, ..batch.header.clone() };
    let renewed = FakeEvents::renewed(ROLLUP, 1, EPOCH, u64::MAX);
    members.l1.mine(vec![FakeEvents::settled(batch.digest, &claim), renewed]);
    let member = members.member(SEAT);
    member.until_read().await;
    assert_eq!(member.store.duty_counts(NOW).await.unwrap().owed, 1);
    // L1's newest block is read with the registry, and the clock is not ahead of it.
    let longest = NOW + RETENTION;
    assert_eq!(member.store.delete_expired(longest, &[], 10).await.unwrap(), 0);
    assert_eq!(member.store.delete_expired(longest + 1, &[], 10).await.unwrap(), 1);
    assert_eq!(member.store.duty_counts(longest + 1).await.unwrap().owed, 0);
}

#[tokio::test]
async fn without_l1_nothing_is_renewed() {
    let _counted = dac_measure::counted!(Renewal, 1);
    let mut config = Config::default();
    config.l1.set_down(true);
    config.settings.registry_max_age = PATIENCE * 10;
    let member = Member::start_with(config).await;
    assert_reason(sign(&member, 1, NOW + 5000).await, Reason::L1Stale);
    assert_eq!(member.describe().await.state(), v1::MemberState::Starting);
}

/// Runs clients of one address that keep asking, each request after the other, for longer and
/// longer promises.
async fn ask_without_end(member: &Member, address: IpAddr, asked: Arc<AtomicU64>, first: u64) {
    let target = format!("http://{}", member.node.addresses().dispersal.unwrap());
    let endpoint = Endpoint::from_shared(target).unwrap().local_address(Some(address));
    let client = DispersalServiceClient::new(endpoint.connect().await.unwrap());
    let one = |place: u64| {
        let (mut client, asked) = (client.clone(), Arc::clone(&asked));
        async move {
            for number in 0.. {
                let expires_at = NOW + 5000 + first + 1000 * place + number;
                // Most answers are BUSY.
                let _ = client.sign_renewal(request(member, 2, expires_at)).await;
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    futures::future::join_all((0..16).map(one)).await;
}

#[tokio::test]
async fn a_client_that_delivers_is_served_while_strangers_ask_without_end() {
    const STRANGERS: u8 = 8;
    let (members, _) = holding().await;
    let member = members.member(SEAT);
    let asked = Arc::new(AtomicU64::new(0));
    let flood = (0..STRANGERS).map(|number| {
        let address = IpAddr::from([127, 9, number, 1]);
        ask_without_end(member, address, Arc::clone(&asked), 100_000 * u64::from(number))
    });
    let honest = async {
        while asked.load(Ordering::Relaxed) < 500 {
            tokio::task::yield_now().await;
        }
        for number in 0..10 {
            sign(member, 2, NOW + RETENTION - number).await.unwrap();
        }
    };
    tokio::select! {
        () = honest => {}
        _ = futures::future::join_all(flood) => panic!("the flood ended"),
    }
}
