//! Tests that an endpoint that lies for as long as it likes cannot make the poster spend more than
//! the configured bounds.

use std::collections::BTreeMap;

use alloy::primitives::{Bytes, keccak256};
use proptest::prelude::*;

use super::super::{PosterConfig, SentVariant, Task};
use super::tests::{config, digest, means};
use super::*;
use dac_contracts::{CertificateLog, Refusal};

const POSTINGS: u8 = 6;
const ALLOWANCE: u128 = 40_000_000;

fn bounded() -> PosterConfig {
    PosterConfig {
        tip_cap: 100,
        tip_floor: 2,
        gas_limit_max: 1_000,
        reverts_max: 3,
        lost_max: 2,
        attempts_max: 4,
        ..config(2)
    }
}

/// The answers of a lying endpoint in one look.
#[derive(Clone, Debug)]
struct Said {
    head: u64,
    nonce: u64,
    confirmed_nonce: u64,
    base_fee: u128,
    tip: u128,
    balance: Option<u128>,
    /// Decides for each transaction whether a receipt is shown, and of which kind.
    receipts: u8,
    verdicts: [u8; POSTINGS as usize],
    asked_tip: u128,
    refuses_all: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let fee = || prop_oneof![0u128..50, 0u128..20_000, any::<u128>()];
    let nonce = || prop_oneof![6 => 0u64..40, 1 => any::<u64>()];
    (
        (0u64..1_000, nonce(), nonce(), fee(), fee()),
        (
            proptest::option::of(any::<u128>()),
            any::<u8>(),
            any::<[u8; POSTINGS as usize]>(),
            fee(),
            any::<bool>(),
        ),
    )
        .prop_map(|(one, two)| Said {
            head: one.0,
            nonce: one.1,
            confirmed_nonce: one.2,
            base_fee: one.3,
            tip: one.4,
            balance: two.0,
            receipts: two.1,
            verdicts: two.2,
            asked_tip: two.3,
            refuses_all: two.4,
        })
}

/// A poster that believes every answer. It counts what that costs.
struct Believer {
    config: PosterConfig,
    state: State,
    /// The most that each nonce may cost. A nonce that was given out twice has two entries.
    costs: BTreeMap<(u64, usize), u128>,
    lives: BTreeMap<u64, usize>,
    given: BTreeMap<PostingDigest, u32>,
    signed: u64,
    left: u128,
}

impl Believer {
    fn new() -> Self {
        let mut state = State::default();
        for number in 1..=POSTINGS {
            let sequence = state.take_sequence();
            let posting = Posting::new(digest(number), sequence, Task::Record, Bytes::new());
            state.apply(&Change::SavePosting(posting));
        }
        Self {
            config: bounded(),
            state,
            costs: BTreeMap::new(),
            lives: BTreeMap::new(),
            given: BTreeMap::new(),
            signed: 0,
            left: ALLOWANCE,
        }
    }

    fn observation(&self, said: &Said) -> Observation {
        let block =
            |number| BlockRef { number, hash: keccak256(u64::to_be_bytes(number)), timestamp: number };
        let confirmed = said.head.saturating_sub(1);
        let variants = self.state.slots().flat_map(|slot| &slot.variants);
        let receipts = variants.filter_map(|variant| {
            let lot = variant.hash[0] ^ said.receipts;
            let receipt = Receipt {
                tx_hash: variant.hash,
                block: if lot & 2 == 0 { said.head } else { confirmed },
                block_hash: B256::ZERO,
                success: lot & 4 == 0,
                gas_used: 1,
                contract: None,
            };
            (lot % 8 == 1 || lot % 8 == 7).then_some((variant.hash, receipt))
        });
        let mut seen = Observation {
            head: Head { block: block(said.head), base_fee: said.base_fee },
            confirmed: block(confirmed),
            nonce: said.nonce,
            confirmed_nonce: said.confirmed_nonce,
            priority_fee: said.tip,
            balance: said.balance.map(U256::from),
            receipts: receipts.collect(),
            unseen: self.state.slots().map(|slot| slot.nonce).filter(|nonce| nonce % 7 == 3).collect(),
            verdicts: HashMap::new(),
            problems: HashMap::new(),
            unasked: HashSet::new(),
        };
        for (number, verdict) in (1..=POSTINGS).zip(said.verdicts) {
            let refusal = Refusal::of(&CertificateLog::RecordingPaused {});
            let verdict = match verdict % 16 {
                0 => Verdict::Acceptable { gas: u64::MAX },
                1 => Verdict::Refused { refusal, confirmed: true },
                2 => Verdict::Done { confirmed: false, found: None },
                3 => {
                    seen.problems.insert(digest(number), "?".to_owned());
                    continue;
                }
                4 => continue,
                _ => Verdict::Acceptable { gas: 700 },
            };
            seen.verdicts.insert(digest(number), verdict);
        }
        seen
    }

    fn believe(&mut self, said: &Said) -> Result<(), TestCaseError> {
        let refused = self.state.slots().map(|slot| slot.nonce).filter(|_| said.refuses_all);
        let means = Means {
            allowance: self.left,
            asked_tip: said.asked_tip,
            refused_tips: refused.collect(),
            ..means()
        };
        let plan = plan(&self.config, &self.state, &self.observation(said), &means);
        prop_assert!(plan.cost <= self.left);
        self.left -= plan.cost;
        for change in &plan.changes {
            self.state.apply(change);
            if let Change::ForgetSlot { nonce } = change {
                *self.lives.entry(*nonce).or_default() += 1;
            }
        }
        for planned in plan.transactions {
            prop_assert!(planned.fees.max_fee <= self.config.fee_cap);
            prop_assert!(planned.fees.priority_fee <= 2 * self.config.tip_cap);
            prop_assert!(planned.gas_limit <= self.config.gas_limit_max.max(TRANSFER_GAS));
            let life = self.lives.get(&planned.nonce).copied().unwrap_or_default();
            let cost = planned.fees.max_fee * u128::from(planned.gas_limit);
            let counted = self.costs.entry((planned.nonce, life)).or_default();
            *counted = cost.max(*counted);
            let known = self.state.slot(planned.nonce).cloned();
            if let (None, Some(digest)) = (&known, planned.digest) {
                *self.given.entry(digest).or_default() += 1;
            }
            let mut slot = known.unwrap_or(NonceSlot {
                nonce: planned.nonce,
                digest: planned.digest,
                variants: Vec::new(),
            });
            self.signed += 1;
            slot.variants.push(SentVariant {
                hash: keccak256(self.signed.to_be_bytes()),
                raw: Bytes::new(),
                fees: planned.fees,
                gas_limit: Some(planned.gas_limit),
                purpose: planned.purpose,
                signed_at_block: said.head,
            });
            self.state.apply(&Change::SaveSlot(slot));
        }
        let spent: u128 = self.costs.values().sum();
        prop_assert!(spent <= ALLOWANCE - self.left, "{} of {}", spent, ALLOWANCE - self.left);
        prop_assert!(
            self.given.values().all(|nonces| *nonces <= self.config.attempts_max),
            "{:?}",
            self.given
        );
        prop_assert!(self.state.postings().all(|posting| posting.lost <= self.config.lost_max));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_l1_says_what_is_spent_is_bounded(lies in prop::collection::vec(said(), 0..80)) {
        let mut believer = Believer::new();
        for said in &lies {
            believer.believe(said)?;
        }
    }
}

/// An attack that worked once: the account's nonce advances, no receipt is shown, and every
/// simulation succeeds.
#[test]
fn transactions_that_are_hidden_are_paid_a_few_times() {
    let mut believer = Believer::new();
    let mut nonce = 0;
    for head in 0..60 {
        let said = Said {
            head,
            nonce,
            confirmed_nonce: nonce,
            base_fee: 10,
            tip: 190_000,
            balance: None,
            receipts: 0,
            verdicts: [15; POSTINGS as usize],
            asked_tip: 0,
            refuses_all: false,
        };
        let mut seen = believer.observation(&said);
        (seen.receipts, seen.unseen) = (HashMap::new(), HashSet::new());
        let plan = plan(&believer.config, &believer.state, &seen, &means());
        plan.changes.iter().for_each(|change| believer.state.apply(change));
        for planned in plan.transactions {
            assert!(planned.fees.priority_fee <= believer.config.tip_cap, "not what the endpoint suggests");
            nonce = nonce.max(planned.nonce + 1);
            *believer.given.entry(planned.digest.unwrap()).or_default() += 1;
            let variant = SentVariant {
                hash: keccak256(planned.nonce.to_be_bytes()),
                raw: Bytes::new(),
                fees: planned.fees,
                gas_limit: Some(planned.gas_limit),
                purpose: planned.purpose,
                signed_at_block: head,
            };
            let slot = NonceSlot { nonce: planned.nonce, digest: planned.digest, variants: vec![variant] };
            believer.state.apply(&Change::SaveSlot(slot));
        }
    }
    assert_eq!(believer.given.len(), usize::from(POSTINGS));
    assert!(
        believer.given.values().all(|nonces| *nonces == believer.config.lost_max),
        "{:?}",
        believer.given
    );
    for posting in believer.state.postings() {
        assert_eq!(Stopped::of(&believer.config, posting), Some(Stopped::Lost { times: 2 }));
    }
    assert_eq!(believer.state.slots().count(), 0);
}

#[test]
fn an_hour_that_is_spent_and_an_empty_account_are_said_and_nothing_is_signed() {
    let believer = Believer::new();
    let honest = Said {
        head: 9,
        nonce: 0,
        confirmed_nonce: 0,
        base_fee: 10,
        tip: 5,
        balance: Some(17_500 + 5_000),
        receipts: 0,
        verdicts: [15; POSTINGS as usize],
        asked_tip: 0,
        refuses_all: false,
    };
    let decide = |said: &Said, allowance: u128| {
        let means = Means { allowance, ..means() };
        plan(&believer.config, &believer.state, &believer.observation(said), &means)
    };
    // A transaction may take 875 gas at 25 wei each.
    let cost = 875 * 25;
    let plan = decide(&honest, u128::MAX);
    assert_eq!((plan.transactions.len(), plan.cost), (1, cost));
    let (balance, needed) = (U256::from(22_500 - cost), U256::from(cost));
    assert_eq!(plan.trouble, Some(Trouble::Unfunded { account: means().account, balance, needed }));
    let rich = Said { balance: None, ..honest };
    let plan = decide(&rich, 2 * cost + 1);
    assert_eq!((plan.transactions.len(), plan.cost), (2, 2 * cost));
    assert_eq!(plan.trouble, Some(Trouble::HourSpent { limit: believer.config.hourly_max }));
    let plan = decide(&rich, u128::MAX);
    assert_eq!((plan.transactions.len(), plan.trouble), (believer.config.window, None));
}
