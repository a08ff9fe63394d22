//! Tests the plan against a model of a chain that mines, loses transactions, reorganises and
//! includes other senders' transactions, while the poster is killed at any point. Once the chain is
//! quiet, every certificate is recorded exactly once and no nonce is pending.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, Bytes, keccak256};
use dac_types::{BatchDigest, Domain};
use proptest::prelude::*;

use super::super::{SentVariant, Task};
use super::*;
use dac_contracts::{CertificateLog, Refusal};

pub(super) const WINDOW: usize = 3;

pub(super) fn config(confirmations: u64) -> PosterConfig {
    let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
    PosterConfig {
        confirmations,
        window: WINDOW,
        bump_after_blocks: 2,
        fee_cap: 10_000,
        tip_cap: 10_000,
        tip_floor: 0,
        reverts_max: 1_000,
        lost_max: 1_000,
        attempts_max: 1_000,
        ..PosterConfig::new(domain, Address::repeat_byte(2))
    }
}

/// Returns the means of a poster that may spend any amount and whose transactions were never
/// refused.
pub(super) fn means() -> Means {
    Means { account: Address::ZERO, allowance: u128::MAX, asked_tip: 0, refused_tips: HashSet::new() }
}

/// A transaction in a block.
#[derive(Clone, Debug)]
struct Included {
    hash: B256,
    success: bool,
}

#[derive(Clone, Debug, Default)]
struct Block {
    transactions: Vec<Included>,
    recorded: Vec<PostingDigest>,
    nonces: u64,
}

/// A chain with one poster's account and one log.
#[derive(Default)]
struct Chain {
    blocks: Vec<Block>,
    /// The number of reorganisations so far. It makes the hashes of blocks with the same number
    /// differ.
    forks: u64,
    base_fee: u128,
    /// For each nonce, the transaction with the highest fee that was handed over.
    pool: BTreeMap<u64, (SentVariant, Option<PostingDigest>)>,
    /// The account's nonce that the endpoint reports instead of the true one.
    false_nonce: Option<u64>,
}

impl Chain {
    fn nonce_at(&self, height: usize) -> u64 {
        self.blocks[..height].iter().map(|block| block.nonces).sum()
    }

    fn is_recorded_at(&self, digest: PostingDigest, height: usize) -> bool {
        self.blocks[..height].iter().any(|block| block.recorded.contains(&digest))
    }

    fn mine(&mut self, most: usize) {
        let mut block = Block::default();
        let height = self.blocks.len();
        let mut nonce = self.nonce_at(height);
        while block.transactions.len() < most {
            let Some((variant, digest)) = self.pool.get(&nonce) else { break };
            if variant.fees.max_fee < self.base_fee {
                break;
            }
            let digest = digest.filter(|_| variant.purpose == Purpose::Post);
            let fresh = digest
                .filter(|digest| !self.is_recorded_at(*digest, height) && !block.recorded.contains(digest));
            block.recorded.extend(fresh);
            let success = variant.purpose == Purpose::Cancel || fresh.is_some();
            block.transactions.push(Included { hash: variant.hash, success });
            block.nonces += 1;
            nonce += 1;
        }
        self.blocks.push(block);
    }

    fn somebody_records(&mut self, digest: PostingDigest) {
        let recorded = if self.is_recorded_at(digest, self.blocks.len()) { vec![] } else { vec![digest] };
        self.blocks.push(Block { recorded, ..Block::default() });
    }

    /// Another program uses the account's key, and with it a nonce.
    fn somebody_uses_a_nonce(&mut self) {
        self.blocks.push(Block { nonces: 1, ..Block::default() });
    }

    /// Replaces the last `depth` blocks by as many empty ones and one more. Their transactions are
    /// lost, also from the pool.
    fn reorganise(&mut self, depth: usize) {
        let depth = depth.min(self.blocks.len());
        self.forks += 1;
        self.blocks.truncate(self.blocks.len() - depth);
        self.blocks.resize_with(self.blocks.len() + depth + 1, Block::default);
        self.pool.clear();
    }

    fn block(&self, height: usize) -> BlockRef {
        let hash = keccak256([self.forks.to_be_bytes(), (height as u64).to_be_bytes()].concat());
        BlockRef { number: height as u64, hash, timestamp: height as u64 }
    }

    fn observe(&self, config: &PosterConfig, state: &State) -> Observation {
        let height = self.blocks.len();
        let deeper = usize::try_from(config.confirmations - 1).unwrap();
        let confirmed = height.saturating_sub(deeper);
        let mut receipts = HashMap::new();
        for (index, block) in self.blocks.iter().enumerate() {
            for included in &block.transactions {
                let number = index as u64 + 1;
                receipts.insert(
                    included.hash,
                    Receipt {
                        tx_hash: included.hash,
                        block: number,
                        block_hash: self.block(index + 1).hash,
                        success: included.success,
                        gas_used: 1,
                        contract: None,
                    },
                );
            }
        }
        let known: Vec<_> =
            state.slots().flat_map(|slot| slot.variants.iter().map(|variant| variant.hash)).collect();
        receipts.retain(|hash, _| known.contains(hash));
        let verdicts = state
            .under_way()
            .chain(state.waiting())
            .map(|posting| {
                let digest = posting.digest;
                let verdict =
                    match (self.is_recorded_at(digest, height), self.is_recorded_at(digest, confirmed)) {
                        (true, confirmed) => Verdict::Done { confirmed, found: None },
                        (false, _) => Verdict::Acceptable { gas: 100 },
                    };
                (digest, verdict)
            })
            .collect();
        Observation {
            head: Head { block: self.block(height), base_fee: self.base_fee },
            confirmed: self.block(confirmed),
            nonce: self.false_nonce.unwrap_or(self.nonce_at(height)),
            confirmed_nonce: self.false_nonce.unwrap_or(self.nonce_at(confirmed)),
            priority_fee: 1,
            balance: Some(U256::MAX),
            receipts,
            unseen: HashSet::new(),
            verdicts,
            problems: HashMap::new(),
            unasked: HashSet::new(),
        }
    }
}

/// How far a round of the poster gets before the process is killed.
#[derive(Clone, Copy, Debug)]
enum Until {
    Planned,
    Committed,
    Sent,
}

/// A chain, and a poster that may be killed.
struct World {
    config: PosterConfig,
    chain: Chain,
    /// The content of the store, which survives the process.
    store: State,
    outcomes: BTreeMap<PostingDigest, Outcome>,
    /// The hashes of all transactions that were signed.
    hashes: BTreeSet<B256>,
}

impl World {
    fn new(confirmations: u64) -> Self {
        let chain = Chain { base_fee: 10, ..Chain::default() };
        let config = config(confirmations);
        Self { config, chain, store: State::default(), outcomes: BTreeMap::new(), hashes: BTreeSet::new() }
    }

    fn enqueue(&mut self, number: u8) {
        let digest = digest(number);
        if self.store.posting(digest).is_none() && !self.outcomes.contains_key(&digest) {
            let sequence = self.store.take_sequence();
            let task = Task::Record;
            let posting = Posting::new(digest, sequence, task, Bytes::new());
            self.store.apply(&Change::SavePosting(posting));
        }
    }

    fn round(&mut self, until: Until) {
        let seen = self.chain.observe(&self.config, &self.store);
        let plan = plan(&self.config, &self.store, &seen, &means());
        if matches!(until, Until::Planned) {
            return;
        }
        for change in &plan.changes {
            self.store.apply(change);
            if let Change::SavePosting(Posting { digest, outcome: Some(outcome), .. }) = change {
                assert!(self.outcomes.insert(*digest, outcome.clone()).is_none(), "one outcome for each");
            }
        }
        for planned in plan.transactions {
            let mut slot = self.store.slot(planned.nonce).cloned().unwrap_or(NonceSlot {
                nonce: planned.nonce,
                digest: planned.digest,
                variants: vec![],
            });
            if let Some(last) = slot.variants.last() {
                assert!(planned.fees.max_fee * 8 >= last.fees.max_fee * 9);
                assert!(planned.fees.priority_fee * 8 >= last.fees.priority_fee * 9);
            }
            assert!(planned.fees.max_fee <= self.config.fee_cap);
            let hash = keccak256(format!("{planned:?}{}{}", slot.variants.len(), self.hashes.len()));
            assert!(self.hashes.insert(hash));
            slot.variants.push(SentVariant {
                hash,
                raw: Bytes::new(),
                fees: planned.fees,
                gas_limit: Some(planned.gas_limit),
                purpose: planned.purpose,
                signed_at_block: seen.head.block.number,
            });
            self.store.apply(&Change::SaveSlot(slot));
        }
        self.check_slots();
        if matches!(until, Until::Committed) {
            return;
        }
        for slot in self.store.slots().cloned().collect::<Vec<_>>() {
            let last = slot.variants.last().unwrap().clone();
            let digest = slot.digest;
            let dearer =
                self.chain.pool.get(&slot.nonce).is_none_or(|(old, _)| old.fees.max_fee < last.fees.max_fee);
            if dearer {
                self.chain.pool.insert(slot.nonce, (last, digest));
            }
        }
    }

    fn check_slots(&self) {
        let digests: Vec<_> = self.store.slots().filter_map(|slot| slot.digest).collect();
        let distinct: BTreeSet<_> = digests.iter().collect();
        assert_eq!(digests.len(), distinct.len(), "no certificate holds two nonces");
        assert!(
            digests.iter().all(|digest| self.store.posting(*digest).is_some()),
            "no slot for what is done"
        );
    }

    /// Runs rounds without further faults until the poster is idle. Only the gas price is now
    /// higher than what transactions signed earlier pay.
    fn calm_down(&mut self) {
        self.chain.base_fee = 900;
        for _ in 0..200 {
            self.round(Until::Sent);
            self.chain.mine(10);
            if self.store.is_idle() {
                return;
            }
        }
        panic!("never done: {:?}", self.store);
    }
}

pub(super) fn digest(number: u8) -> PostingDigest {
    BatchDigest(B256::repeat_byte(number)).into()
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Enqueue(u8),
    Round(Until),
    Mine(usize),
    Somebody(u8),
    ForeignNonce,
    Reorganise(usize),
    ForgetPool,
    BaseFee(u128),
    FalseNonce(Option<u64>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u8..12).prop_map(Event::Enqueue),
        2 => Just(Event::Round(Until::Planned)),
        3 => Just(Event::Round(Until::Committed)),
        6 => Just(Event::Round(Until::Sent)),
        6 => (0usize..4).prop_map(Event::Mine),
        1 => (1u8..12).prop_map(Event::Somebody),
        1 => Just(Event::ForeignNonce),
        1 => (1usize..6).prop_map(Event::Reorganise),
        1 => Just(Event::ForgetPool),
        2 => prop_oneof![Just(5), Just(100), Just(900), Just(20_000)].prop_map(Event::BaseFee),
        1 => prop_oneof![0..12u64, Just(1_000), Just(u64::MAX - 3), Just(u64::MAX)]
            .prop_map(|nonce| Event::FalseNonce(Some(nonce))),
        2 => Just(Event::FalseNonce(None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happens_every_certificate_is_recorded_once(
        confirmations in 1u64..5,
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new(confirmations);
        for event in events {
            match event {
                Event::Enqueue(number) => world.enqueue(number),
                Event::Round(until) => world.round(until),
                Event::Mine(most) => world.chain.mine(most),
                Event::Somebody(number) => world.chain.somebody_records(digest(number)),
                Event::ForeignNonce => world.chain.somebody_uses_a_nonce(),
                // Only blocks that do not count as confirmed are replaced.
                Event::Reorganise(depth) => {
                    world.chain.reorganise(depth.min(usize::try_from(confirmations).unwrap() - 1));
                }
                Event::ForgetPool => world.chain.pool.clear(),
                Event::BaseFee(fee) => world.chain.base_fee = fee,
                Event::FalseNonce(nonce) => world.chain.false_nonce = nonce,
            }
        }
        world.chain.false_nonce = None;
        let wanted: BTreeSet<_> =
            world.outcomes.keys().copied().chain(world.store.postings.values().map(|posting| posting.digest)).collect();
        world.calm_down();
        let height = world.chain.blocks.len();
        for digest in wanted {
            let recorded = matches!(world.outcomes.get(&digest), Some(Outcome::Recorded { .. }));
            prop_assert!(recorded, "{:?}", world.outcomes.get(&digest));
            prop_assert!(world.chain.is_recorded_at(digest, height));
            let times = world.chain.blocks.iter().flat_map(|block| &block.recorded).filter(|d| **d == digest).count();
            prop_assert_eq!(times, 1);
        }
    }

    /// A reorganisation deeper than the configured confirmations may undo a record that was
    /// reported, but it never leaves the poster stuck.
    #[test]
    fn a_deep_reorganisation_leaves_no_gap(
        events in prop::collection::vec(event(), 0..60),
        depth in 1usize..20,
    ) {
        let mut world = World::new(1);
        for event in events {
            match event {
                Event::Enqueue(number) => world.enqueue(number),
                Event::Mine(most) => world.chain.mine(most),
                _ => world.round(Until::Sent),
            }
        }
        world.chain.reorganise(depth);
        world.enqueue(100);
        world.calm_down();
        prop_assert!(world.chain.is_recorded_at(digest(100), world.chain.blocks.len()));
    }
}

/// Transactions with nonces beyond the real ones, which an endpoint's false answer caused, are
/// given up. At most a window of them is paid for.
#[test]
fn a_false_nonce_costs_no_more_than_a_window() {
    for claimed in [4, 100, u64::MAX - 1, u64::MAX] {
        let mut world = World::new(2);
        for number in 1..=9 {
            world.enqueue(number);
        }
        world.chain.false_nonce = Some(claimed);
        world.round(Until::Sent);
        world.chain.mine(9);
        world.chain.false_nonce = None;
        world.calm_down();
        let height = world.chain.blocks.len();
        assert!((1..=9).all(|number| world.chain.is_recorded_at(digest(number), height)), "{claimed}");
        let spent = world.chain.blocks.iter().map(|block| block.transactions.len()).sum::<usize>();
        assert!(spent <= 9 + 2 * WINDOW, "{claimed}: {spent} transactions for nine certificates");
    }
}

#[test]
fn the_window_bounds_what_is_under_way() {
    let mut world = World::new(1);
    for number in 1..=9 {
        world.enqueue(number);
    }
    world.round(Until::Sent);
    world.round(Until::Sent);
    assert_eq!(world.store.slots().count(), WINDOW);
    world.chain.mine(2);
    world.round(Until::Sent);
    assert_eq!(world.store.slots().count(), WINDOW);
    let nonces: Vec<_> = world.store.slots().map(|slot| slot.nonce).collect();
    assert_eq!(nonces, [2, 3, 4]);
}

#[test]
fn a_certificate_that_keeps_failing_on_l1_is_given_up() {
    let mut world = World::new(1);
    world.config.reverts_max = 3;
    world.enqueue(1);
    for _ in 0..3 {
        world.round(Until::Sent);
        // The simulation succeeded, but the transaction fails on L1.
        let nonce = world.chain.nonce_at(world.chain.blocks.len());
        let hash = world.store.slot(nonce).unwrap().variants[0].hash;
        let transactions = vec![Included { hash, success: false }];
        world.chain.blocks.push(Block { transactions, nonces: 1, ..Block::default() });
        world.chain.pool.clear();
    }
    world.round(Until::Sent);
    let outcome = Outcome::Failed { reason: FailureReason::FailedRepeatedly { times: 3 } };
    assert_eq!(world.outcomes.get(&digest(1)), Some(&outcome));
    assert!(world.store.is_idle());
}

#[test]
fn gas_dearer_than_the_cap_is_waited_for_and_said() {
    let mut world = World::new(1);
    world.enqueue(1);
    world.chain.base_fee = 20_000;
    let seen = world.chain.observe(&world.config, &world.store);
    let plan = plan(&world.config, &world.store, &seen, &means());
    assert!(plan.transactions.is_empty() && plan.changes.is_empty());
    assert_eq!(plan.trouble, Some(Trouble::FeeCap { cap: 10_000 }));
    world.calm_down();
}

#[test]
fn what_the_store_keeps_survives_being_written_down() {
    let mut world = World::new(1);
    world.enqueue(1);
    world.round(Until::Committed);
    let slot = world.store.slot(0).unwrap();
    let text = serde_json::to_string(slot).unwrap();
    assert_eq!(&serde_json::from_str::<NonceSlot>(&text).unwrap(), slot);
    let refused =
        Refusal::of(&CertificateLog::Expired { expiresAt: 1, timestamp: alloy::primitives::U256::from(2) });
    let posting = Posting {
        outcome: Some(Outcome::Failed { reason: FailureReason::Refused { refusal: refused } }),
        ..world.store.posting(digest(1)).unwrap().clone()
    };
    let text = serde_json::to_string(&posting).unwrap();
    assert_eq!(serde_json::from_str::<Posting>(&text).unwrap(), posting);
}
