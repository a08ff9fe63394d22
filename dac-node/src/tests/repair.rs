//! What is owed and not held comes back from peers. What cannot come back is reported.

use dac_coding::testing::bad_seat;
use dac_types::limits::STORED_ROW_BYTES;
use dac_types::{Committee, Member as Registered};

use super::committee::{Members, recorded, settled};
use super::*;
use crate::store::tests::rot::break_chain;
use crate::testing::{EPOCH, Wish};

const READY: v1::MemberState = v1::MemberState::Ready;
const REPAIRING: v1::MemberState = v1::MemberState::Repairing;

#[tokio::test]
async fn a_missing_shard_is_rebuilt_from_k_peers() {
    let members = Members::start([0, 3, 5, SEAT.0]).await;
    let member = members.member(SEAT);
    assert!(matches!(member.describe().await.state(), v1::MemberState::Starting | READY));
    let mut batch = members.batch(1, LARGE);
    members.deliver(&mut batch, [0, 3, 5]).await;
    members.l1.mine(vec![recorded(&batch)]);
    let answer = member.until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == 1).await;
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
    let held = member.store.find(batch.digest).await.unwrap().unwrap();
    assert_eq!((held.seat, held.record.record()), (SEAT, &batch.record(SEAT)));
    assert_eq!(answer.repair.unwrap().repaired_bytes, batch.shard(SEAT).len() as u64);
    let answer = member.until_state(READY).await;
    let duties = answer.duties.unwrap();
    assert_eq!((duties.owed, duties.held, duties.missing, duties.unread_blocks), (1, 1, 0, 0));
    // Members that hold their shards have nothing to do.
    for seat in [0, 3, 5] {
        assert_eq!(members.member(Seat(seat)).until_state(READY).await.repair.unwrap().repaired, 0);
    }
}

#[tokio::test]
async fn what_l1_says_stands_for_a_certificate_that_nobody_has() {
    let members = Members::start([0, 1, 2, SEAT.0]).await;
    let batch = members.batch(1, 5000);
    for seat in [0, 1, 2] {
        members.member(Seat(seat)).put(&batch).await.unwrap();
    }
    members.l1.mine(vec![settled(&batch)]);
    members
        .member(SEAT)
        .until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == 1)
        .await;
    assert_eq!(members.member(SEAT).get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}

#[tokio::test]
async fn damage_is_noticed_on_read_and_repaired() {
    let members = Members::start([0, 1, 2, SEAT.0]).await;
    let member = members.member(SEAT);
    let mut batch = members.batch(1, LARGE);
    // L1 has never heard of the batch, but what was signed is repaired all the same.
    members.deliver(&mut batch, [0, 1, 2, SEAT.0]).await;
    member.store.damage("UPDATE shard_rows SET data = substr(data, 2) WHERE row_index = 1").await;
    assert_reason(member.get_shard(&batch).await, Reason::Corrupt);
    member.until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == 1).await;
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
    // The record is repaired as well.
    member.store.damage("UPDATE records SET record = substr(record, 2)").await;
    let request = v1::GetBatchRecordRequest { digest: digest(&batch) };
    assert_reason(member.retrieval().await.get_batch_record(request.clone()).await, Reason::Corrupt);
    member.until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == 2).await;
    member.retrieval().await.get_batch_record(request).await.unwrap();
    member.until_state(READY).await;
    assert_eq!(member.store.totals().await.unwrap().batches, 1);
}

#[tokio::test]
async fn damage_that_nobody_reads_is_found_by_looking_again() {
    let mut members = Members::start([0, 1, 2]).await;
    let mut config = members.config(SEAT);
    config.scrub.period = Duration::from_secs(100);
    let member = Member::start_in(tempfile::tempdir().unwrap(), config).await;
    members.running.insert(SEAT, member);
    members.publish(members.view());
    let member = members.member(SEAT);
    let mut batches: Vec<Batch> = (1..=3).map(|number| members.batch(number, LARGE)).collect();
    for batch in &mut batches {
        members.deliver(batch, [0, 1, 2, SEAT.0]).await;
    }
    member
        .store
        .damage("UPDATE shard_rows SET data = (SELECT data FROM shard_rows WHERE row_index = 0 LIMIT 1) WHERE row_index = 2 AND shard = (SELECT shard FROM batches WHERE sequence = 2)")
        .await;
    // A round began when the member was started with an empty store. The next one is due after the
    // period.
    let rounds = member.until("the first round ends", |answer| answer.duties.unwrap().scrubbed_at > 0).await;
    assert_eq!(rounds.duties.unwrap().corrupt, 0);
    member.clock.advance(100);
    let answer = member.until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == 1).await;
    assert!(answer.duties.unwrap().scrubbed_shards >= 1);
    assert_eq!(member.get_shard(&batches[1]).await.unwrap(), batches[1].shard(SEAT));
    member.until("the second round ends", |answer| answer.duties.unwrap().scrubbed_at >= NOW + 100).await;
}

#[tokio::test]
async fn invented_history_of_a_rollup_keeps_no_member_repairing() {
    let members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batch = members.batch(1, LARGE);
    members.deliver(&mut batch, [0, 1, 2]).await;
    let invented: Vec<_> = (2..=9)
        .map(|number| {
            let header =
                dac_types::BatchHeader { batch_number: number, expires_at: NOW + 60, ..batch.header.clone() };
            FakeEvents::settled(
                dac_types::BatchDigest(dac_types::keccak256([u8::try_from(number).unwrap()])),
                &header,
            )
        })
        .collect();
    members.l1.mine(vec![recorded(&batch), settled(&batch)]);
    members.l1.mine(invented);
    let member = members.member(SEAT);
    let answer = member.until("all is clear", |answer| {
        answer.state() == READY && answer.duties.as_ref().unwrap().doubted == 8
    });
    let answer = answer.await;
    assert_eq!(answer.repair.unwrap().repaired, 1);
    // No peer is at fault for not knowing the batches.
    assert!(answer.faults.iter().all(|fault| fault.kind == "UNREACHABLE"), "{:?}", answer.faults);
    assert_reason(super::renewal::sign(member, 9, NOW + 5000).await, Reason::NotHeld);
    super::renewal::sign(member, 1, NOW + 5000).await.unwrap();
}

#[tokio::test]
async fn a_contract_that_says_another_epoch_is_refuted() {
    let members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batch = members.batch(1, LARGE);
    members.deliver(&mut batch, [0, 1, 2]).await;
    let claim = dac_types::BatchHeader { epoch: EPOCH - 1, ..batch.header.clone() };
    members.l1.mine(vec![FakeEvents::settled(batch.digest, &claim)]);
    let member = members.member(SEAT);
    member.until("it is refuted", |answer| answer.repair.as_ref().unwrap().attempts_failed >= 1).await;
    member.until("nothing is owed", |answer| answer.duties.as_ref().unwrap().owed == 0).await;
    assert!(member.store.find(batch.digest).await.unwrap().is_none());
}

#[tokio::test]
async fn a_contract_that_cannot_be_read_keeps_no_member_starting() {
    let config = Config::default();
    config.l1.mine_empty(3);
    config.l1.set_unreadable(&[dac_chain::feed::Origin::Settlement(crate::testing::ROLLUP)]);
    let member = Member::start_with(config).await;
    let answer = member.until_state(READY).await;
    assert_eq!(answer.unreadable_rollups, [crate::testing::ROLLUP.as_slice()]);
    assert_reason(super::renewal::sign(&member, 1, NOW + 5000).await, Reason::L1Stale);
    member.l1.set_unreadable(&[]);
    member.until("it is read", |answer| answer.unreadable_rollups.is_empty()).await;
    assert_reason(super::renewal::sign(&member, 1, NOW + 5000).await, Reason::NotSettled);
}

/// Makes pages that SQLite cannot read, in a member that is stopped for that.
async fn rotten(members: &mut Members, batches: &[&Batch], scrub_period: Duration) {
    let folder = members.remove(SEAT).await;
    let at = STORED_ROW_BYTES + STORED_ROW_BYTES / 2;
    for batch in batches {
        break_chain(&folder.path().join("node.db"), &batch.shard(SEAT)[at..at + 16]);
    }
    let mut config = members.config(SEAT);
    config.scrub.period = scrub_period;
    let member = Member::start_in(folder, config).await;
    members.running.insert(SEAT, member);
    members.publish(members.view());
}

#[tokio::test]
async fn pages_that_cannot_be_read_are_found_by_looking_again_and_repaired() {
    let mut members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batches: Vec<Batch> = (1..=3).map(|number| members.batch(number, LARGE)).collect();
    for batch in &mut batches {
        members.deliver(batch, [0, 1, 2, SEAT.0]).await;
    }
    rotten(&mut members, &[&batches[0], &batches[1]], Duration::from_secs(100)).await;
    let member = members.member(SEAT);
    member.clock.advance(100);
    member.until("both are repaired", |answer| answer.repair.as_ref().unwrap().repaired == 2).await;
    member.until("a round ends", |answer| answer.duties.unwrap().scrubbed_at >= NOW + 100).await;
    for batch in &batches {
        assert_eq!(member.get_shard(batch).await.unwrap(), batch.shard(SEAT));
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_noticed_on_read_and_repaired() {
    let mut members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batch = members.batch(1, LARGE);
    members.deliver(&mut batch, [0, 1, 2, SEAT.0]).await;
    // The round that begins with the member ends before a stored batch becomes unreadable.
    members.member(SEAT).until("a round", |answer| answer.duties.unwrap().scrubbed_at > 0).await;
    rotten(&mut members, &[&batch], PATIENCE * 1000).await;
    let member = members.member(SEAT);
    assert_reason(member.get_shard(&batch).await, Reason::Corrupt);
    member.until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == 1).await;
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}

#[tokio::test]
async fn an_empty_folder_fills_itself() {
    let _counted = dac_measure::counted!(HealsAfterRestore, 1);
    let mut members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batches: Vec<Batch> = (1..=6).map(|number| members.batch(number, 400_000)).collect();
    for batch in &mut batches {
        members.deliver(batch, [0, 1, 2, SEAT.0]).await;
        members.l1.mine(vec![recorded(batch)]);
    }
    members.member(SEAT).until_read().await;
    members.remove(SEAT).await;
    members.add(SEAT, tempfile::tempdir().unwrap()).await;
    let member = members.member(SEAT);
    let answer = member
        .until("everything is back", |answer| {
            answer.state() == READY && answer.duties.is_some_and(|duties| duties.held == 6)
        })
        .await;
    assert_eq!(answer.repair.unwrap().repaired, 6);
    for batch in &batches {
        assert_eq!(member.get_shard(batch).await.unwrap(), batch.shard(SEAT));
    }
}

/// Copies the database file as it is after a clean stop.
fn copy(from: &TempDir) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    std::fs::copy(from.path().join("node.db"), to.path().join("node.db")).unwrap();
    to
}

#[tokio::test]
async fn a_restored_backup_owes_repairs_and_renews_nothing_meanwhile() {
    let _counted = dac_measure::counted!(HealsAfterRestore, 1);
    let mut members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batches: Vec<Batch> = (1..=4).map(|number| members.batch(number, 30_000)).collect();
    members.deliver(&mut batches[0], [0, 1, 2, SEAT.0]).await;
    members.l1.mine(vec![recorded(&batches[0]), settled(&batches[0])]);
    members.member(SEAT).until_read().await;
    let folder = members.remove(SEAT).await;
    let backup = copy(&folder);
    members.add(SEAT, folder).await;
    for batch in &mut batches[1..3] {
        members.deliver(batch, [0, 1, 2, SEAT.0]).await;
        members.l1.mine(vec![recorded(batch), settled(batch)]);
    }
    let renewed = NOW + 1_000_000;
    members.l1.mine(vec![FakeEvents::renewed(crate::testing::ROLLUP, 2, EPOCH, renewed)]);
    members.member(SEAT).until_read().await;
    members.remove(SEAT).await;
    // Two of its peers are down when the member comes back with the old state. It knows what it
    // owes and cannot have it yet.
    let folders = [members.remove(Seat(0)).await, members.remove(Seat(1)).await];
    members.add(SEAT, backup).await;
    let member = members.member(SEAT);
    let answer =
        member.until("it tried", |answer| answer.repair.as_ref().unwrap().attempts_failed >= 2).await;
    assert_eq!(answer.state(), REPAIRING);
    let duties = answer.duties.unwrap();
    assert_eq!((duties.owed, duties.held, duties.missing), (3, 1, 2));
    assert!(!answer.repair.unwrap().last_problem.is_empty());
    assert_reason(super::renewal::sign(member, 3, NOW + 50_000).await, Reason::NotHeld);
    // New batches are signed.
    let attestation = member.put(&batches[3]).await.unwrap();
    member.assert_signed(&attestation, &batches[3]);
    let [first, second] = folders;
    members.add(Seat(0), first).await;
    members.add(Seat(1), second).await;
    let member = members.member(SEAT);
    member.until_state(READY).await;
    for batch in &batches {
        assert_eq!(member.get_shard(batch).await.unwrap(), batch.shard(SEAT));
    }
    super::renewal::sign(member, 3, NOW + 50_000).await.unwrap();
    // The fourth batch never settled. The first two are kept for as long as L1 says that they were
    // renewed, which the backup did not know.
    assert_eq!(member.store.delete_expired(NOW + 50_000, &[], 10).await.unwrap(), 1);
    assert_eq!(member.store.delete_expired(renewed, &[], 10).await.unwrap(), 1);
    for batch in &batches[..2] {
        assert_eq!(member.get_shard(batch).await.unwrap(), batch.shard(SEAT));
    }
}

#[tokio::test]
async fn a_bad_seat_is_told_for_good_and_the_others_serve() {
    let mut members = Members::start([0, 1, 2, SEAT.0]).await;
    let payload = Bytes::from(dac_coding::testing::noise(1, 60_000));
    let hash = dac_types::B256::repeat_byte(0x33);
    let dispersal = bad_seat(members.world.geometry(), payload, hash, SEAT).unwrap();
    let mut bad = members.world.sign(dispersal, &Wish::default());
    let mut good = members.batch(2, 1000);
    members.deliver(&mut bad, [0, 1, 2]).await;
    members.deliver(&mut good, [0, 1, 2]).await;
    members.l1.mine(vec![recorded(&bad), recorded(&good)]);
    for is_new in [true, false] {
        let member = members.member(SEAT);
        let answer = member
            .until("all is settled", |answer| answer.duties.unwrap().bad == 1 && answer.state() == READY)
            .await;
        let [line] = &answer.bad_seats[..] else { panic!("{answer:#?}") };
        assert_eq!((line.digest.clone(), line.seat, line.found_at), (digest(&bad), u32::from(SEAT.0), NOW));
        let accused: Vec<_> = answer.accusations.iter().map(|it| (&it.kind[..], it.proven)).collect();
        assert_eq!(accused, if is_new { vec![("BAD_SEAT", true)] } else { vec![] });
        assert_reason(member.get_shard(&bad).await, Reason::SeatBad);
        let request = v1::GetBatchRecordRequest { digest: digest(&bad) };
        member.retrieval().await.get_batch_record(request).await.unwrap();
        assert_eq!(members.member(Seat(0)).get_shard(&bad).await.unwrap(), bad.shard(Seat(0)));
        // No peer is at fault for serving what was committed (those that were not started do not
        // answer), and the bad seat is known after a restart.
        assert!(answer.faults.iter().all(|fault| fault.kind == "UNREACHABLE"), "{:#?}", answer.faults);
        let folder = members.remove(SEAT).await;
        members.add(SEAT, folder).await;
    }
}

#[tokio::test]
async fn peers_that_lie_or_are_silent_are_named() {
    let members = Members::start([0, 1, 2, 3, SEAT.0]).await;
    let mut batch = members.batch(1, 30_000);
    members.deliver(&mut batch, [0, 1, 2, 3]).await;
    // The endpoints of seat 5 lead to seat 0's member, and those of seat 6 to no member.
    let mut view = members.view();
    for committee in view.committees.values_mut() {
        let lying = members.with_urls(committee, |seat, _| match seat.0 {
            5 => members.url(Seat(0)),
            _ => members.url(seat),
        });
        *committee = Arc::new(lying);
    }
    members.publish(view);
    let member = members.member(SEAT);
    // After this many rounds every peer has been asked.
    for round in 1..=40 {
        members.l1.mine(vec![recorded(&batch)]);
        member.until("it is repaired", |answer| answer.repair.as_ref().unwrap().repaired == round).await;
        let answer = member.describe().await;
        let kinds = |operator: u8| -> Vec<String> {
            let of = |fault: &&v1::AttributedFault| fault.operator == vec![operator; 20];
            answer.faults.iter().filter(of).map(|fault| fault.kind.clone()).collect()
        };
        for honest in 0x70..0x75 {
            assert_eq!(kinds(honest), [""; 0], "{:#?}", answer.faults);
        }
        if kinds(0x75).contains(&"BAD_SHARD".to_owned()) && kinds(0x76).contains(&"UNREACHABLE".to_owned()) {
            assert!(answer.faults.iter().all(|fault| fault.last_at == NOW && !fault.detail.is_empty()));
            return;
        }
        member.store.mark_corrupt(batch.digest, None).await.unwrap();
        member.node.context().repair_wanted.notify_one();
    }
    panic!("{:#?}", member.describe().await.faults);
}

#[tokio::test]
async fn a_newcomer_repairs_what_its_seat_owes() {
    let mut members = Members::start([0, 1, 2, SEAT.0]).await;
    let mut batches: Vec<Batch> = (1..=3).map(|number| members.batch(number, 30_000)).collect();
    for batch in &mut batches {
        members.deliver(batch, [0, 1, 2, SEAT.0]).await;
        members.l1.mine(vec![recorded(batch)]);
    }
    // In the third epoch another member has the seat.
    let key = SecretKey::derive(&[8; 32]);
    let config = Config { key: Some(key.clone()), ..members.config(SEAT) };
    let newcomer = Member::start_in(tempfile::tempdir().unwrap(), config).await;
    let url = format!("http://{}", newcomer.node.addresses().retrieval);
    let mut view = members.view();
    let third = view.committees[&3].clone();
    let seats = third
        .seats()
        .map(|(seat, member)| match seat {
            SEAT => Registered {
                operator: Address::repeat_byte(0x88),
                public_key: key.public_key().to_compressed(),
                dispersal_url: String::new(),
                retrieval_url: url.clone(),
            },
            _ => member.clone(),
        })
        .collect();
    let third = Committee::new(3, third.quorum(), seats, NOW + 100, u64::MAX, u64::MAX).unwrap();
    view.committees.insert(3, Arc::new(third));
    members.publish(view.clone());
    newcomer.registry.publish(view.clone());
    let answer = newcomer
        .until("everything is there", |answer| answer.duties.is_some_and(|duties| duties.held == 3))
        .await;
    assert_eq!(answer.operator, vec![0x88; 20]);
    for batch in &batches {
        assert_eq!(newcomer.get_shard(batch).await.unwrap(), batch.shard(SEAT));
    }
    // The old member keeps what it owes. The new one gets its shards from the other peers when the
    // old one is gone.
    assert_eq!(members.member(SEAT).until_read().await.duties.unwrap().owed, 3);
    members.remove(SEAT).await;
    let mut late = members.batch(9, 5000);
    members.deliver(&mut late, [0, 1, 2]).await;
    members.l1.mine(vec![recorded(&late)]);
    newcomer
        .until("the seat's newest as well", |answer| answer.duties.is_some_and(|duties| duties.held == 4))
        .await;
    assert_eq!(newcomer.get_shard(&late).await.unwrap(), late.shard(SEAT));
}

#[tokio::test]
async fn a_resolved_batch_never_clears_an_unresolved_one() {
    let members = Members::start([0, 1, 2, SEAT.0]).await;
    let wish = Wish { batch_number: 1, expires_at: NOW + 1000, ..Wish::default() };
    let mut first = members.world.batch_with(1, 5000, &wish);
    let mut others: Vec<Batch> = (2..=4).map(|number| members.batch(number, 5000)).collect();
    for batch in &mut others {
        members.deliver(batch, [0, 1, 2]).await;
    }
    // The batch that expires first is wanted first, and only two members have it.
    members.deliver(&mut first, [0, 1]).await;
    let mut facts = vec![recorded(&first)];
    facts.extend(others.iter().map(recorded));
    members.l1.mine(facts);
    let member = members.member(SEAT);
    let answer =
        member.until("the others are back", |answer| answer.repair.as_ref().unwrap().repaired == 3).await;
    assert!(answer.repair.unwrap().attempts_failed >= 1);
    let answer =
        member.until("they count", |answer| answer.duties.is_some_and(|duties| duties.held == 3)).await;
    assert_eq!((answer.state(), answer.duties.unwrap().missing), (REPAIRING, 1));
    member.assert_not_stored(&first).await;
    // It comes back without help when a third member has it.
    members.member(Seat(2)).put(&first).await.unwrap();
    member.until_state(READY).await;
    assert_eq!(member.get_shard(&first).await.unwrap(), first.shard(SEAT));
}

#[tokio::test]
async fn a_reorganisation_takes_back_the_duty_and_not_the_shard() {
    let members = Members::start([0, 1, 2, SEAT.0]).await;
    let member = members.member(SEAT);
    let (mut gone, mut stays) = (members.batch(1, 5000), members.batch(2, 5000));
    members.deliver(&mut gone, [0, 1, 2]).await;
    members.deliver(&mut stays, [0, 1, 2]).await;
    members.l1.mine(vec![recorded(&stays)]);
    members.l1.mine(vec![recorded(&gone)]);
    member.until("both are held", |answer| answer.duties.is_some_and(|duties| duties.held == 2)).await;
    members.l1.reorganise(1, vec![vec![], vec![]]);
    member.until("one is owed", |answer| answer.duties.is_some_and(|duties| duties.owed == 1)).await;
    assert_eq!(member.get_shard(&gone).await.unwrap(), gone.shard(SEAT));
    members.l1.mine(vec![recorded(&gone)]);
    member
        .until("both are owed", |answer| {
            answer.duties.is_some_and(|duties| duties.owed == 2 && duties.held == 2)
        })
        .await;
    assert_eq!(member.counts().await, DutyCounts { owed: 2, held: 2, ..DutyCounts::default() });
}

#[tokio::test]
async fn private_peers_are_not_asked_unless_that_is_allowed() {
    let mut members = Members::start([0, 1, 2]).await;
    let config = Config { l1: members.l1.clone(), ..Config::default() };
    let member = Member::start_in(tempfile::tempdir().unwrap(), config).await;
    members.running.insert(SEAT, member);
    members.publish(members.view());
    let mut batch = members.batch(1, 5000);
    members.deliver(&mut batch, [0, 1, 2]).await;
    members.l1.mine(vec![recorded(&batch)]);
    let answer = members
        .member(SEAT)
        .until("it tried", |answer| answer.repair.as_ref().unwrap().attempts_failed >= 1)
        .await;
    assert!(answer.faults.iter().all(|fault| fault.kind == "ENDPOINT_REFUSED"), "{:#?}", answer.faults);
    assert!(!answer.faults.is_empty());
}
