//! A second reading finds what a first reading missed.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::{Address, B256, U256};
use async_trait::async_trait;
use dac_types::{BatchDigest, BatchHeader, HashKind};
use proptest::prelude::*;

use super::{Cursor, Fact, FeedConfig, L1Events, L1View, Origin, Step};
use crate::error::ChainError;
use crate::rpc::BlockRef;
use crate::testing::FakeEvents;

const LOG: Address = Address::repeat_byte(0x11);
const ROLLUP: Address = Address::repeat_byte(0x22);
const CONFIG: FeedConfig = FeedConfig { confirmations: 0, page_blocks: 1_000 };

fn header(number: u64) -> (BatchDigest, BatchHeader) {
    let header = BatchHeader {
        rollup: ROLLUP,
        batch_number: number,
        epoch: 1,
        expires_at: 1 << 40,
        payload_length: 1,
        hash_kind: HashKind::Opaque,
        batch_hash: B256::ZERO,
        shard_root: B256::ZERO,
        fingerprints_hash: B256::ZERO,
        payload_fingerprint: Vec::new(),
    };
    (BatchDigest(B256::from(U256::from(number))), header)
}

fn recorded(number: u64) -> Fact {
    let (digest, header) = header(number);
    FakeEvents::recorded(digest, &header)
}

fn settled(number: u64) -> Fact {
    let (digest, header) = header(number);
    FakeEvents::settled(digest, &header)
}

fn chain() -> FakeEvents {
    let chain = FakeEvents::new(LOG, 1_000, 10);
    chain.mine_empty(1);
    chain
}

/// A consumer that learns as a member does: a fact that it knows already changes nothing.
struct Consumer {
    cursor: Cursor,
    facts: Vec<Fact>,
    missed: u64,
}

impl Consumer {
    fn new(origin: Origin) -> Self {
        Self { cursor: Cursor::new(origin, 0), facts: Vec::new(), missed: 0 }
    }

    fn learn(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            if !self.facts.contains(&fact) {
                self.facts.push(fact);
            }
        }
        self.facts.sort_by_key(Fact::block);
    }

    /// Reads up to the head, and reads again what is due. Errors are left for a later call.
    async fn look(&mut self, l1: &impl L1Events) {
        for _ in 0..1_000 {
            match l1.step(&self.cursor, &CONFIG).await {
                Ok(Step::Facts { facts, cursor, .. }) => {
                    self.learn(facts);
                    self.cursor = Cursor::from_text(&cursor.to_text()).unwrap();
                }
                Ok(Step::UpToDate { .. }) | Err(ChainError::EventsMissing { .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        let head = self.cursor.next_block() - 1;
        while self.cursor.is_second_reading_due(head) {
            match l1.read_again(&self.cursor, head, &CONFIG).await {
                Ok(Some(reading)) => {
                    self.learn(reading.facts);
                    self.missed += reading.missed.unwrap_or(0);
                    self.cursor = Cursor::from_text(&reading.cursor.to_text()).unwrap();
                }
                Err(ChainError::EventsMissing { .. }) => break,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn events_that_a_node_did_not_have_yet_are_found_when_they_lie_deeper() {
    let chain = chain();
    let mut consumer = Consumer::new(Origin::Log(LOG));
    for number in 1..=20 {
        // Three of four answers come from a node that is behind.
        chain.set_withheld(number % 4 != 0);
        chain.mine(vec![recorded(number)]);
        consumer.look(&chain).await;
    }
    chain.set_withheld(false);
    assert_eq!(consumer.facts.len(), 5, "what was missed is missing");
    for _ in 0..100 {
        chain.mine_empty(1);
        consumer.look(&chain).await;
    }
    assert_eq!((consumer.facts.as_slice(), consumer.missed), (&*chain.all_facts(Origin::Log(LOG)), 15));
    // The third reading, hours later, finds only known facts.
    for _ in 0..30 {
        chain.mine_empty(100);
        consumer.look(&chain).await;
    }
    assert_eq!((consumer.facts.len(), consumer.missed), (20, 15));
}

#[tokio::test]
async fn a_node_that_withholds_for_longer_is_found_out_by_the_third_reading() {
    let chain = chain();
    let mut consumer = Consumer::new(Origin::Log(LOG));
    chain.set_withheld(true);
    consumer.look(&chain).await;
    for number in 1..=300 {
        chain.mine(vec![recorded(number)]);
        consumer.look(&chain).await;
    }
    chain.set_withheld(false);
    for _ in 0..300 {
        chain.mine_empty(10);
        consumer.look(&chain).await;
    }
    assert_eq!((consumer.facts.len(), consumer.missed), (300, 300));
}

#[tokio::test]
async fn a_batch_that_settled_unseen_is_found_by_the_next_one() {
    let chain = chain();
    let mut consumer = Consumer::new(Origin::Settlement(ROLLUP));
    chain.mine(vec![settled(1)]);
    consumer.look(&chain).await;
    chain.set_withheld(true);
    chain.mine(vec![settled(2)]);
    chain.mine(vec![settled(3)]);
    consumer.look(&chain).await;
    chain.set_withheld(false);
    chain.mine_empty(5);
    consumer.look(&chain).await;
    assert_eq!((consumer.facts.len(), consumer.cursor.settled()), (1, 1));
    chain.mine(vec![settled(4)]);
    consumer.look(&chain).await;
    assert_eq!((consumer.facts.len(), consumer.cursor.settled()), (4, 4));
}

#[tokio::test]
async fn a_batch_that_settled_unseen_is_found_without_another_one() {
    let chain = chain();
    let mut consumer = Consumer::new(Origin::Settlement(ROLLUP));
    consumer.look(&chain).await;
    chain.set_withheld(true);
    chain.mine(vec![settled(1), settled(2)]);
    consumer.look(&chain).await;
    chain.set_withheld(false);
    for _ in 0..100 {
        chain.mine_empty(1);
        consumer.look(&chain).await;
    }
    assert_eq!((consumer.facts.len(), consumer.cursor.settled(), consumer.missed), (2, 2, 2));
    chain.mine(vec![settled(3)]);
    consumer.look(&chain).await;
    assert_eq!(consumer.cursor.settled(), 3);
}

#[tokio::test]
async fn the_last_day_is_read_again_after_a_former_version() {
    let chain = chain();
    let mut consumer = Consumer::new(Origin::Log(LOG));
    chain.mine_empty(3_000);
    chain.set_withheld(true);
    consumer.look(&chain).await;
    chain.mine(vec![recorded(1)]);
    consumer.look(&chain).await;
    chain.mine_empty(5_000);
    consumer.look(&chain).await;
    // An earlier version stored neither marks nor counts.
    let mut text: serde_json::Value = serde_json::from_str(&consumer.cursor.to_text()).unwrap();
    text.as_object_mut().unwrap().remove("marks");
    for checkpoint in text["checkpoints"].as_array_mut().unwrap() {
        checkpoint.as_object_mut().unwrap().remove("facts");
    }
    consumer.cursor = Cursor::from_text(&text.to_string()).unwrap();
    chain.set_withheld(false);
    consumer.look(&chain).await;
    assert_eq!((consumer.facts.len(), consumer.missed), (1, 0));
    assert!(!consumer.cursor.is_second_reading_due(chain.newest().number));
}

/// Counts the queries that it passes on.
struct Counted<'a>(&'a FakeEvents, AtomicU64);

#[async_trait]
impl L1View for Counted<'_> {
    async fn latest(&self) -> Result<BlockRef, ChainError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.latest().await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.block_at(number).await
    }

    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.facts(origin, from, to).await
    }
}

#[tokio::test]
async fn it_costs_a_few_percent_more_requests() {
    let chain = chain();
    let l1 = Counted(&chain, AtomicU64::new(0));
    let mut consumer = Consumer::new(Origin::Log(LOG));
    consumer.look(&l1).await;
    let (mut first, mut second) = (0, 0);
    for _ in 0..5_000 {
        chain.mine_empty(1);
        let Step::Facts { cursor, .. } = l1.step(&consumer.cursor, &CONFIG).await.unwrap() else { panic!() };
        first += l1.1.swap(0, Ordering::SeqCst);
        consumer.cursor = cursor;
        let head = consumer.cursor.next_block() - 1;
        if let Some(reading) = l1.read_again(&consumer.cursor, head, &CONFIG).await.unwrap() {
            consumer.cursor = reading.cursor;
        }
        second += l1.1.swap(0, Ordering::SeqCst);
    }
    assert!(second > 0 && second * 100 <= first * 3, "{second} beside {first}");
    // A history that is caught up with is read once.
    chain.mine_empty(100_000);
    while !matches!(l1.step(&consumer.cursor, &CONFIG).await.unwrap(), Step::UpToDate { .. }) {
        let Step::Facts { cursor, .. } = l1.step(&consumer.cursor, &CONFIG).await.unwrap() else { panic!() };
        consumer.cursor = cursor;
    }
    let mut pages = 0;
    while let Some(reading) =
        l1.read_again(&consumer.cursor, consumer.cursor.next_block() - 1, &CONFIG).await.unwrap()
    {
        consumer.cursor = reading.cursor;
        pages += 1;
    }
    assert!(pages <= 8, "{pages}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_was_withheld_for_a_while_is_known_in_the_end(
        blocks in prop::collection::vec((0_u64..3, any::<bool>()), 1..120),
        of_log in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let chain = chain();
        let origin = if of_log { Origin::Log(LOG) } else { Origin::Settlement(ROLLUP) };
        let mut consumer = Consumer::new(origin);
        runtime.block_on(async {
            consumer.look(&chain).await;
            let mut number = 0;
            for (events, withheld) in blocks {
                chain.set_withheld(withheld);
                let more = (number + 1)..=(number + events);
                number += events;
                chain.mine(more.map(if of_log { recorded } else { settled }).collect());
                consumer.look(&chain).await;
            }
            chain.set_withheld(false);
            // A second reading may have met a node that withholds; the third one finds the rest.
            for _ in 0..30 {
                chain.mine_empty(100);
                consumer.look(&chain).await;
            }
        });
        prop_assert_eq!(&consumer.facts, &chain.all_facts(origin));
    }
}
