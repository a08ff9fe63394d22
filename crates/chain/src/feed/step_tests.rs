//! Properties of following a chain that grows and reorganises while it is read: at the end the
//! consumer holds exactly the facts of the chain, none lost and none twice.

use std::collections::VecDeque;
use std::sync::Mutex;

use alloy::primitives::{Address, B256, U256};
use async_trait::async_trait;
use dac_types::BatchDigest;
use proptest::prelude::*;

use super::{Cursor, Fact, FeedConfig, L1Events, L1View, Origin, Step};
use crate::error::ChainError;
use crate::log::RecordedCertificate;
use crate::rpc::BlockRef;
use crate::settlement::SettledBatch;
use crate::testing::FakeEvents;

const ROLLUP: Address = Address::repeat_byte(0x22);
const LOG: Address = Address::repeat_byte(0x11);
const GENESIS: u64 = 1_000;
const BLOCK_SECONDS: u64 = 10;

fn digest(number: u64) -> BatchDigest {
    BatchDigest(B256::from(U256::from(number)))
}

fn recorded(number: u64) -> Fact {
    Fact::Recorded(RecordedCertificate {
        digest: digest(number),
        rollup: ROLLUP,
        batch_number: number,
        epoch: 1,
        expires_at: 1 << 40,
        payload_length: 1,
        shard_root: B256::ZERO,
        block: 0,
        tx: B256::ZERO,
    })
}

fn settled(number: u64) -> Fact {
    let transition =
        dac_types::Transition { new_state_root: B256::ZERO, inputs_consumed: 0, outputs: B256::ZERO };
    let batch = SettledBatch {
        digest: digest(number),
        batch_number: number,
        epoch: 1,
        expires_at: 1 << 40,
        transition,
        block: 0,
        tx: B256::ZERO,
    };
    Fact::Settled { rollup: ROLLUP, batch }
}

/// A consumer that follows the chain and stores what it learns in one transaction with the cursor.
struct Consumer {
    cursor: Cursor,
    facts: Vec<Fact>,
    rewinds: usize,
}

impl Consumer {
    fn new(origin: Origin, since: u64) -> Self {
        Self { cursor: Cursor::new(origin, since), facts: Vec::new(), rewinds: 0 }
    }

    /// Learns from a step; returns whether it is caught up.
    fn take(&mut self, step: Step) -> bool {
        let caught_up = step.is_caught_up();
        match step {
            Step::Rewind { to_block, cursor } => {
                assert!(cursor.next_block() < self.cursor.next_block(), "back is back");
                self.facts.retain(|fact| fact.block() <= to_block);
                // A restart at this point changes nothing.
                self.cursor = Cursor::from_text(&cursor.to_text()).unwrap();
                self.rewinds += 1;
            }
            Step::Facts { facts, cursor, .. } => {
                for fact in &facts {
                    assert!((self.cursor.next_block()..cursor.next_block()).contains(&fact.block()));
                }
                self.facts.extend(facts);
                self.cursor = cursor;
            }
            Step::UpToDate { .. } | Step::Behind { .. } => {}
        }
        caught_up
    }

    async fn catch_up(&mut self, l1: &impl L1Events, config: &FeedConfig) {
        for _ in 0..10_000 {
            let step = l1.step(&self.cursor, config).await.unwrap();
            if self.take(step) {
                return;
            }
        }
        panic!("never caught up: {:?}", self.cursor);
    }
}

/// A chain that changes between any two requests.
struct Restless<'a> {
    chain: &'a FakeEvents,
    /// The changes to come, and how many more requests are answered before each.
    changes: Mutex<VecDeque<(u8, Change)>>,
    world: &'a Mutex<World>,
}

/// The number of batches settled by each block, as rollups count them.
#[derive(Default)]
struct World {
    /// The count for each block.
    settled: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Change {
    Mine { facts: u8 },
    Reorganise { depth: usize, blocks: Vec<u8> },
}

impl World {
    fn change(&mut self, chain: &FakeEvents, change: &Change) {
        let made = |world: &mut Self, facts: u8| {
            let before = world.settled.last().copied().unwrap_or(0);
            // Facts of a log and of a settlement contract in turn, so that each is read among the
            // other's events.
            let facts: Vec<Fact> = (1..=u64::from(facts))
                .flat_map(|more| {
                    let renewed = FakeEvents::renewed(ROLLUP, before + more, 1, 1 << 41);
                    [recorded(before + more), settled(before + more), renewed]
                })
                .collect();
            world.settled.push(before + facts.len() as u64 / 3);
            facts
        };
        match change {
            Change::Mine { facts } => {
                let facts = made(self, *facts);
                chain.mine(facts);
            }
            Change::Reorganise { depth, blocks } => {
                self.settled.truncate(self.settled.len().saturating_sub(*depth));
                let blocks = blocks.iter().map(|facts| made(self, *facts)).collect();
                chain.reorganise(*depth, blocks);
            }
        }
    }
}

impl Restless<'_> {
    fn asked(&self) {
        let mut changes = self.changes.lock().unwrap();
        while let Some((0, change)) = changes.front().cloned() {
            changes.pop_front();
            self.world.lock().unwrap().change(self.chain, &change);
        }
        if let Some((left, _)) = changes.front_mut() {
            *left -= 1;
        }
    }
}

#[async_trait]
impl L1View for Restless<'_> {
    async fn latest(&self) -> Result<BlockRef, ChainError> {
        self.asked();
        self.chain.latest().await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.asked();
        self.chain.block_at(number).await
    }

    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError> {
        self.asked();
        self.chain.facts(origin, from, to).await
    }
}

fn change() -> impl Strategy<Value = (u8, Change)> {
    let change = prop_oneof![
        3 => (0u8..3).prop_map(|facts| Change::Mine { facts }),
        2 => (1usize..40, prop::collection::vec(0u8..3, 0..45))
            .prop_map(|(depth, blocks)| Change::Reorganise { depth, blocks }),
    ];
    (0u8..12, change)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_held_is_what_the_chain_says(
        before in prop::collection::vec(0u8..3, 0..60),
        changes in prop::collection::vec(change(), 0..40),
        page_blocks in 1u64..40,
        query_blocks_max in 1u64..40,
        confirmations in 0u64..4,
        since in GENESIS..GENESIS + 300,
        of_log in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let chain = FakeEvents::new(LOG, GENESIS, BLOCK_SECONDS);
        chain.set_query_blocks_max(query_blocks_max);
        let world = Mutex::default();
        // Nothing happens before the first epoch.
        while chain.newest().timestamp < since {
            World::change(&mut world.lock().unwrap(), &chain, &Change::Mine { facts: 0 });
        }
        let quiet = chain.newest().number;
        for facts in before {
            World::change(&mut world.lock().unwrap(), &chain, &Change::Mine { facts });
        }
        // Blocks before the first epoch do not change either.
        let mut height = usize::try_from(chain.newest().number - quiet).unwrap();
        let changes = changes.into_iter().map(|(after, change)| {
            let change = match change {
                Change::Mine { .. } => { height += 1; change }
                Change::Reorganise { depth, blocks } => {
                    let depth = depth.min(height);
                    height = height - depth + blocks.len();
                    Change::Reorganise { depth, blocks }
                }
            };
            (after, change)
        });
        let restless = Restless { chain: &chain, changes: Mutex::new(changes.collect()), world: &world };
        let origin = if of_log { Origin::Log(LOG) } else { Origin::Settlement(ROLLUP) };
        let config = FeedConfig { confirmations, page_blocks };
        let mut consumer = Consumer::new(origin, since);
        runtime.block_on(async {
            let mut steps = 0;
            while !restless.changes.lock().unwrap().is_empty() {
                match restless.step(&consumer.cursor, &config).await {
                    Ok(step) => { consumer.take(step); }
                    Err(error) => assert!(
                        matches!(error, ChainError::Replaced { .. } | ChainError::BlockUnknown { .. }),
                        "{error}"
                    ),
                }
                steps += 1;
                assert!(steps < 10_000);
            }
            // A chain that was reorganised grows beyond its former height in the end.
            for _ in 0..50 {
                World::change(&mut world.lock().unwrap(), &chain, &Change::Mine { facts: 1 });
            }
            consumer.catch_up(&chain, &config).await;
        });
        let head = chain.newest().number - confirmations;
        let expected: Vec<Fact> =
            chain.all_facts(origin).into_iter().filter(|fact| fact.block() <= head).collect();
        prop_assert_eq!(&consumer.facts, &expected);
        prop_assert_eq!(consumer.cursor.next_block(), head + 1);
    }
}

async fn followed(blocks: u64) -> (FakeEvents, Consumer, FeedConfig) {
    let chain = FakeEvents::new(LOG, GENESIS, BLOCK_SECONDS);
    chain.mine_empty(99);
    for number in 1..=blocks {
        chain.mine(vec![settled(number)]);
    }
    let config = FeedConfig { confirmations: 0, page_blocks: 7 };
    let mut consumer = Consumer::new(Origin::Settlement(ROLLUP), GENESIS + 100 * BLOCK_SECONDS);
    consumer.catch_up(&chain, &config).await;
    (chain, consumer, config)
}

#[tokio::test]
async fn reading_begins_with_the_first_block_that_is_not_older() {
    let (chain, consumer, config) = followed(20).await;
    assert_eq!(consumer.cursor.checkpoints()[0].number, 99);
    assert_eq!(consumer.facts, chain.all_facts(Origin::Settlement(ROLLUP)));
    // There is nothing to read before the cursor's time, nor on a chain that has only begun.
    let early = Cursor::new(Origin::Settlement(ROLLUP), GENESIS + 10_000);
    assert!(matches!(chain.step(&early, &config).await.unwrap(), Step::UpToDate { .. }));
    let begun = FakeEvents::new(LOG, GENESIS, BLOCK_SECONDS);
    let cursor = Cursor::new(Origin::Settlement(ROLLUP), 0);
    assert!(matches!(begun.step(&cursor, &config).await.unwrap(), Step::UpToDate { .. }));
    begun.mine(vec![settled(1)]);
    let mut consumer = Consumer::new(Origin::Settlement(ROLLUP), 0);
    consumer.catch_up(&begun, &config).await;
    assert_eq!(consumer.facts.len(), 1);
}

#[tokio::test]
async fn a_node_that_lags_takes_nothing_back() {
    let (chain, mut consumer, config) = followed(40).await;
    let facts = consumer.facts.clone();
    for lag in [1, 5, 39, 45, 139] {
        let step = chain.lagging(lag).step(&consumer.cursor, &config).await.unwrap();
        assert_eq!(step, Step::Behind { head: chain.lagging(lag).latest().await.unwrap() }, "{lag}");
    }
    // The node shows enough blocks, but not with the confirmations asked for.
    let config = FeedConfig { confirmations: 3, ..config };
    let step = chain.step(&consumer.cursor, &config).await.unwrap();
    assert!(matches!(step, Step::Behind { head } if head.number == 136), "{step:?}");
    chain.mine(vec![settled(41)]);
    chain.mine_empty(3);
    consumer.catch_up(&chain, &config).await;
    assert_eq!((consumer.facts[..40].to_vec(), consumer.facts.len(), consumer.rewinds), (facts, 41, 0));
}

#[tokio::test]
async fn a_chain_that_became_shorter_is_taken_back_when_it_is_seen_to_differ() {
    let (chain, mut consumer, config) = followed(40).await;
    chain.reorganise(10, vec![]);
    let step = chain.step(&consumer.cursor, &config).await.unwrap();
    assert!(matches!(step, Step::Behind { .. }), "nothing is there in the others' place: {step:?}");
    // It does not have a block at any number whose hash is known, either.
    chain.mine(vec![settled(31)]);
    let step = chain.step(&consumer.cursor, &config).await.unwrap();
    assert!(matches!(step, Step::Behind { .. }), "{step:?}");
    chain.mine_empty(4);
    consumer.catch_up(&chain, &config).await;
    assert_eq!(consumer.facts, chain.all_facts(Origin::Settlement(ROLLUP)));
    assert_eq!(consumer.rewinds, 1);
}

#[tokio::test]
async fn a_reorganisation_below_the_first_block_begins_anew() {
    let (chain, mut consumer, config) = followed(40).await;
    let blocks = std::iter::repeat_n(vec![], 20).chain((1..=130).map(|number| vec![settled(number)]));
    // The first epoch begins at the same time, but many blocks earlier.
    chain.reorganise(130, vec![]);
    chain.advance(90 * BLOCK_SECONDS);
    chain.reorganise(0, blocks.collect());
    let step = chain.step(&consumer.cursor, &config).await.unwrap();
    assert!(matches!(&step, Step::Rewind { to_block: 0, cursor } if cursor.next_block() == 0), "{step:?}");
    consumer.take(step);
    assert!(consumer.facts.is_empty());
    consumer.catch_up(&chain, &config).await;
    assert_eq!(consumer.facts, chain.all_facts(Origin::Settlement(ROLLUP)));
}

#[tokio::test]
async fn a_batch_left_out_is_noticed() {
    let (chain, mut consumer, config) = followed(3).await;
    chain.mine(vec![settled(5)]);
    let error = chain.step(&consumer.cursor, &config).await.unwrap_err();
    assert!(matches!(error, ChainError::EventsMissing { contract: ROLLUP, after: 3, got: 5 }), "{error}");
    chain.reorganise(1, vec![vec![settled(4), settled(5)]]);
    consumer.catch_up(&chain, &config).await;
    assert_eq!(consumer.cursor.settled(), 5);
}

#[tokio::test]
async fn a_node_that_is_down_leaves_everything_as_it_was() {
    let (chain, mut consumer, config) = followed(3).await;
    chain.set_down(true);
    let error = chain.step(&consumer.cursor, &config).await.unwrap_err();
    assert!(matches!(error, ChainError::Transport { .. }), "{error}");
    assert!(chain.head(0).await.is_err());
    chain.set_down(false);
    chain.mine(vec![settled(4)]);
    consumer.catch_up(&chain, &config).await;
    assert_eq!(consumer.facts.len(), 4);
}
