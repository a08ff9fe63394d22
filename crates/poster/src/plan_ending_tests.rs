//! Tests of the plan: how settlements and renewals end depending on what L1 says, which posting is
//! next, and which endings cost nothing.

use alloy::primitives::{Address, Bytes};
use dac_types::{BatchDigest, RenewalDigest};

use super::super::{Renew, Settle, Task, Unfinished};
use super::tests::{WINDOW, config, means};
use super::*;
use dac_contracts::{Refusal, Settlement, Verifier};

/// Returns a state with these batches waiting to settle, each given as rollup and number, in order
/// of arrival.
fn settling(batches: &[(u8, u64)]) -> State {
    let postings = (1..).zip(batches).map(|(sequence, &(rollup, batch_number))| {
        let settlement = Address::repeat_byte(rollup);
        let task = Task::Settle(Settle { settlement, batch_number, expires_at: 1_000 });
        Posting::new(digest_of(sequence).into(), sequence, task, Bytes::new())
    });
    State::from(Unfinished { postings: postings.collect(), slots: Vec::new(), last_sequence: 99 })
}

fn digest_of(sequence: u64) -> BatchDigest {
    BatchDigest(B256::left_padding_from(&sequence.to_be_bytes()))
}

fn seen(timestamp: u64, verdicts: impl IntoIterator<Item = (u64, Verdict)>) -> Observation {
    let block = BlockRef { number: 9, hash: B256::ZERO, timestamp };
    Observation {
        head: Head { block, base_fee: 1 },
        confirmed: block,
        nonce: 0,
        confirmed_nonce: 0,
        priority_fee: 1,
        balance: Some(U256::MAX),
        receipts: HashMap::new(),
        unseen: HashSet::new(),
        problems: HashMap::new(),
        unasked: HashSet::new(),
        verdicts: verdicts
            .into_iter()
            .map(|(sequence, verdict)| (digest_of(sequence).into(), verdict))
            .collect(),
    }
}

#[test]
fn of_each_rollup_the_least_number_is_looked_at() {
    let state = settling(&[(1, 9), (1, 7), (2, 5), (1, 8), (2, 5), (3, 1)]);
    let looked_at: Vec<u64> = state.candidates(0, |_| false).iter().map(|posting| posting.sequence).collect();
    assert_eq!(looked_at, [2, 3, 6]);
}

#[test]
fn settlements_end_as_l1_says_and_cost_nothing_before_their_turn() {
    let config = config(1);
    let refused = |refusal| Verdict::Refused { refusal, confirmed: true };
    let failed = |verdict: Verdict, timestamp: u64| {
        let plan = plan(&config, &settling(&[(1, 1)]), &seen(timestamp, [(1, verdict)]), &means());
        assert!(plan.transactions.is_empty(), "nothing is sent");
        match plan.changes.into_iter().next() {
            Some(Change::SavePosting(Posting { outcome: Some(Outcome::Failed { reason }), .. })) => {
                Some(reason)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    };
    let wrong = Refusal::of(&Verifier::InvalidProof {});
    assert_eq!(failed(refused(wrong.clone()), 1), Some(FailureReason::Refused { refusal: wrong.clone() }));
    // The refusal is not confirmed yet: a reorganisation may remove earlier batches, and then this
    // one may settle.
    assert_eq!(failed(Verdict::Refused { refusal: wrong, confirmed: false }, 1), None);
    let skipped = Refusal::of(&Settlement::BatchNumberSkipped { got: 3, expected: 2 });
    assert_eq!(failed(refused(skipped.clone()), 1_000), None);
    let expired = Some(FailureReason::Expired { expires_at: 1_000 });
    assert_eq!(failed(refused(skipped), 1_001), expired);
    let by = digest_of(77);
    assert_eq!(failed(Verdict::NumberUsed { by, confirmed: false }, 1), None);
    assert_eq!(
        failed(Verdict::NumberUsed { by, confirmed: true }, 1),
        Some(FailureReason::NumberUsed { by })
    );

    let accepted = Verdict::Acceptable { gas: 400_000 };
    let plan = plan(&config, &settling(&[(1, 1)]), &seen(1, [(1, accepted)]), &means());
    assert_eq!(plan.transactions.len(), 1);
    assert_eq!(plan.transactions[0].gas_limit, 500_000);
}

fn renewing(expires_at: u64) -> Posting {
    let digest = RenewalDigest(B256::repeat_byte(0xee)).into();
    let task = Task::Renew(Renew { settlement: Address::repeat_byte(1), last_batch: 9, expires_at });
    Posting::new(digest, 50, task, Bytes::new())
}

#[test]
fn a_renewal_goes_before_what_came_before_it() {
    let config = config(1);
    let mut state = settling(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
    let renewal = renewing(1_000);
    state.apply(&Change::SavePosting(renewal.clone()));
    assert!(state.candidates(0, |_| false).contains(&&renewal));
    let accepted = Verdict::Acceptable { gas: 400_000 };
    let mut seen = seen(1, (1..=4).map(|sequence| (sequence, accepted.clone())));
    seen.verdicts.insert(renewal.digest, accepted);
    let plan = plan(&config, &state, &seen, &means());
    let chosen: Vec<_> = plan.transactions.iter().map(|planned| planned.digest.unwrap()).collect();
    assert_eq!(chosen.len(), WINDOW);
    assert_eq!(chosen[..2], [renewal.digest, digest_of(1).into()]);
}

#[test]
fn renewals_end_as_l1_says() {
    let config = config(1);
    let ended = |verdict: Verdict, timestamp: u64| {
        let mut state = State::default();
        let renewal = renewing(1_000);
        state.apply(&Change::SavePosting(renewal.clone()));
        let mut seen = seen(timestamp, []);
        seen.verdicts.insert(renewal.digest, verdict);
        let plan = plan(&config, &state, &seen, &means());
        assert!(plan.transactions.is_empty(), "nothing is sent");
        plan.changes.into_iter().next().map(|change| match change {
            Change::SavePosting(Posting { outcome: Some(outcome), .. }) => outcome,
            other => panic!("{other:?}"),
        })
    };
    let refused = |refusal, confirmed| Verdict::Refused { refusal, confirmed };
    let failed = |reason| Some(Outcome::Failed { reason });
    let done = Outcome::Recorded { tx_hash: None, block: None, gas_used: None, by_us: false };
    assert_eq!(ended(Verdict::Done { confirmed: true, found: None }, 1), Some(done));
    assert_eq!(ended(Verdict::Done { confirmed: false, found: None }, 1), None);
    let old = Refusal::of(&Settlement::RenewalTooOld { lastBatch: 9, mark: 10 });
    assert_eq!(ended(refused(old.clone(), true), 1), failed(FailureReason::Refused { refusal: old.clone() }));
    // A reorganisation may set the contract's coverage back.
    assert_eq!(ended(refused(old, false), 1), None);
    let ahead = Refusal::of(&Settlement::RenewalAhead { lastBatch: 9, batchCount: 8 });
    assert_eq!(ended(refused(ahead.clone(), true), 1_000), None);
    assert_eq!(ended(refused(ahead, true), 1_001), failed(FailureReason::Expired { expires_at: 1_000 }));
}
