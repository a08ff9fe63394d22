//! Tests with several endpoints that do not agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, U64};
use alloy::sol_types::SolEvent;
use dac_types::{BatchDigest, BatchHeader, HashKind};
use serde_json::{Value, json};

use super::{Cursor, Fact, FeedConfig, L1Events, Origin, RpcEvents, Step};
use crate::contracts::Settlement::BatchSettled;
use crate::error::ChainError;
use crate::rpc::Endpoints;
use crate::rpc::fake::{Say, serve};
use crate::testing::FakeEvents;

const ROLLUP: Address = Address::repeat_byte(0x22);
const CONFIG: FeedConfig = FeedConfig { confirmations: 0, page_blocks: 10 };

fn settled(number: u64) -> Fact {
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
    FakeEvents::settled(BatchDigest(B256::with_last_byte(u8::try_from(number).unwrap())), &header)
}

/// A chain with these batches settled, one in a block, whose clock goes on.
fn chain(batches: u64, seconds_ago: u64) -> FakeEvents {
    #[expect(
        clippy::disallowed_methods,
        reason = "the endpoint's blocks are compared with the machine's clock"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let chain = FakeEvents::new(Address::ZERO, now - seconds_ago - batches, 1);
    for number in 1..=batches {
        chain.mine(vec![settled(number)]);
    }
    chain
}

/// An endpoint that serves a chain over HTTP.
struct Node {
    url: String,
    asked: Arc<AtomicUsize>,
    /// If set, every answer leaves out the last batch but one.
    forgetful: Arc<AtomicBool>,
    /// The queries for logs that got an answer, and those that did not.
    logs: Arc<[AtomicUsize; 2]>,
}

impl Node {
    async fn of(chain: &FakeEvents) -> Self {
        Self::granting(chain, u64::MAX, || panic!("granted")).await
    }

    /// An endpoint that grants so many blocks in one query and answers wider queries with this
    /// text.
    async fn granting(
        chain: &FakeEvents,
        blocks: u64,
        refusal: impl Fn() -> Say + Send + Sync + 'static,
    ) -> Self {
        let (asked, forgetful) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (chain, counter, forgets) = (chain.clone(), asked.clone(), forgetful.clone());
        let logs = Arc::<[AtomicUsize; 2]>::default();
        let counts = logs.clone();
        let url = serve(move |method, params| {
            if method == "eth_chainId" {
                return Say::Result(json!("0x1"));
            }
            counter.fetch_add(1, Ordering::SeqCst);
            if method == "eth_getLogs" {
                let number =
                    |name: &str| params[0][name].as_str().unwrap().parse::<U64>().unwrap().to::<u64>();
                let is_wide = number("toBlock") - number("fromBlock") >= blocks;
                counts[usize::from(is_wide)].fetch_add(1, Ordering::SeqCst);
                if is_wide {
                    return refusal();
                }
            }
            answer(&chain, method, params, forgets.load(Ordering::SeqCst))
                .map_or(Say::Body(502, Vec::new()), Say::Result)
        })
        .await;
        Self { url, asked, forgetful, logs }
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn answer(chain: &FakeEvents, method: &str, params: &Value, forgetful: bool) -> Result<Value, ChainError> {
    let number = |value: &Value| value.as_str().unwrap().parse::<U64>().map(|number| number.to::<u64>());
    Ok(match method {
        "eth_getBlockByNumber" => {
            let block = match number(&params[0]) {
                Ok(number) => chain.block_at_now(number)?,
                Err(_) => Some(chain.latest_now()?),
            };
            json!(block.map(|block| json!({
                "number": U64::from(block.number), "hash": block.hash, "timestamp": U64::from(block.timestamp),
            })))
        }
        "eth_getLogs" => {
            let filter = &params[0];
            let (from, to) = (number(&filter["fromBlock"]).unwrap(), number(&filter["toBlock"]).unwrap());
            let mut facts = chain.facts_now(Origin::Settlement(ROLLUP), from, to)?;
            if forgetful && facts.len() > 1 {
                facts.remove(facts.len() - 2);
            }
            json!(facts.iter().map(log).collect::<Vec<_>>())
        }
        other => panic!("{other}"),
    })
}

fn log(fact: &Fact) -> Value {
    let Fact::Settled { batch, .. } = fact else { panic!("{fact:?}") };
    let event = BatchSettled {
        digest: batch.digest.0,
        batchNumber: batch.batch_number,
        epoch: batch.epoch,
        expiresAt: batch.expires_at,
        newStateRoot: batch.transition.new_state_root,
        inputsConsumed: batch.transition.inputs_consumed,
        outputs: batch.transition.outputs,
    };
    let data = event.encode_log_data();
    json!({
        "address": ROLLUP, "topics": data.topics(), "data": data.data, "blockNumber": U64::from(batch.block),
        "logIndex": "0x0", "transactionHash": batch.tx,
    })
}

async fn followed(l1: &RpcEvents, cursor: &mut Cursor, facts: &mut Vec<Fact>) {
    for _ in 0..100 {
        match l1.step(cursor, &CONFIG).await.unwrap() {
            Step::Facts { facts: more, cursor: next, .. } => {
                facts.extend(more);
                *cursor = next;
            }
            Step::UpToDate { .. } => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("never up to date");
}

fn l1(nodes: &[&Node]) -> RpcEvents {
    let urls: Vec<_> = nodes.iter().map(|node| node.url.clone()).collect();
    RpcEvents::new(Endpoints::new(&urls, 1, Duration::from_secs(10)).unwrap())
}

#[tokio::test]
async fn one_behind_another_is_neither_a_reorganisation_nor_the_end() {
    let chain = chain(30, 0);
    let (ahead, behind) = (Node::of(&chain).await, Node::of(&chain.lagging(7)).await);
    let (mut cursor, mut facts) = (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new());
    // All was read from the endpoint that is ahead; then the order of endpoints changes.
    followed(&l1(&[&ahead]), &mut cursor, &mut facts).await;
    assert_eq!(facts, chain.all_facts(Origin::Settlement(ROLLUP)));
    let both = l1(&[&behind, &ahead]);
    chain.mine(vec![settled(31)]);
    behind.asked();
    followed(&both, &mut cursor, &mut facts).await;
    assert_eq!(facts, chain.all_facts(Origin::Settlement(ROLLUP)));
    // The endpoint that is behind is asked last, so that it is not asked in vain each time.
    assert!(behind.asked() > 0);
    chain.mine(vec![settled(32)]);
    followed(&both, &mut cursor, &mut facts).await;
    assert_eq!((facts.len(), behind.asked()), (32, 0));
    // If there is no other endpoint, the step says that it is behind.
    let alone = l1(&[&behind]);
    assert!(
        matches!(alone.step(&cursor, &CONFIG).await.unwrap(), Step::Behind { head } if head.number == 25)
    );
}

#[tokio::test]
async fn one_that_stands_still_does_not_stop_the_others() {
    let chain = chain(30, 600);
    let stuck = Node::of(&chain.lagging(4)).await;
    let (mut cursor, mut facts) = (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new());
    followed(&l1(&[&stuck]), &mut cursor, &mut facts).await;
    assert_eq!(facts.len(), 26);
    // The chain says the same as before: nothing new, and nothing that contradicts what was read.
    let moving = Node::of(&chain).await;
    followed(&l1(&[&stuck, &moving]), &mut cursor, &mut facts).await;
    assert_eq!(facts, chain.all_facts(Origin::Settlement(ROLLUP)));
}

#[tokio::test]
async fn one_that_leaves_out_a_batch_is_passed_over() {
    let chain = chain(12, 0);
    let (forgetful, honest) = (Node::of(&chain).await, Node::of(&chain).await);
    forgetful.forgetful.store(true, Ordering::SeqCst);
    let (mut cursor, mut facts) = (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new());
    followed(&l1(&[&forgetful, &honest]), &mut cursor, &mut facts).await;
    assert_eq!(facts, chain.all_facts(Origin::Settlement(ROLLUP)));
    let mut cursor = Cursor::new(Origin::Settlement(ROLLUP), 0);
    let alone = l1(&[&forgetful]);
    let located = alone.step(&cursor, &CONFIG).await.unwrap();
    let Step::Facts { cursor: next, .. } = located else { panic!("{located:?}") };
    cursor = next;
    let error = alone.step(&cursor, &CONFIG).await.unwrap_err();
    assert!(matches!(error, ChainError::EventsMissing { after: 8, got: 10, .. }), "{error}");
}

#[tokio::test]
async fn whatever_an_endpoint_says_to_a_wide_range_it_is_read_in_narrower_ones() {
    const BLOCKS: usize = 250;
    let chain = chain(BLOCKS as u64, 0);
    let refusals: [fn() -> Say; 9] = [
        || Say::Error(json!({ "code": -32005, "message": "query returned more than 10000 results" })),
        || Say::Body(502, b"<html>bad gateway</html>".to_vec()),
        || Say::Body(503, Vec::new()),
        || Say::Body(504, b"timeout".to_vec()),
        || Say::Body(413, b"<html>".to_vec()),
        || Say::Body(200, Vec::new()),
        || Say::Body(200, br#"{"error":"too many blocks"}"#.to_vec()),
        || Say::Body(200, br#"[{"error":{"code":"-32005"}}]"#.to_vec()),
        || Say::Silence,
    ];
    for (case, refusal) in refusals.into_iter().enumerate() {
        let narrow = Node::granting(&chain, 10, refusal).await;
        // A timeout that a busy machine can keep, and that can be waited for about eight times.
        let endpoints = Endpoints::new(&[&narrow.url], 1, Duration::from_secs(2)).unwrap();
        let l1 = RpcEvents::new(endpoints);
        let config = FeedConfig { confirmations: 0, page_blocks: 1_000 };
        let (mut cursor, mut facts, mut failures) =
            (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new(), 0);
        while facts.len() < BLOCKS {
            match l1.step(&cursor, &config).await {
                Ok(Step::Facts { facts: more, cursor: next, .. }) => {
                    facts.extend(more);
                    cursor = next;
                }
                Err(error) => {
                    assert!(error.may_be_crowded(), "{case}: {error}");
                    failures += 1;
                    assert!(failures < 4, "{case}: {error}");
                }
                other => panic!("{case}: {other:?}"),
            }
        }
        assert_eq!(facts, chain.all_facts(Origin::Settlement(ROLLUP)), "{case}");
        let [granted, refused] = [0, 1].map(|which| narrow.logs[which].load(Ordering::SeqCst));
        assert!(granted <= 40 && refused <= 14, "{case}: {granted} granted, {refused} refused");
        let others = narrow.asked() - granted - refused;
        assert!(others <= 60, "{case}: {others} requests beside those for logs");
    }
}

#[tokio::test]
async fn one_liar_of_three_changes_no_event() {
    let chain = chain(30, 0);
    for place in 0..3 {
        let nodes = [Node::of(&chain).await, Node::of(&chain).await, Node::of(&chain.lagging(1)).await];
        nodes[place].forgetful.store(true, Ordering::SeqCst);
        let urls: Vec<_> = nodes.iter().map(|node| node.url.clone()).collect();
        let endpoints = Endpoints::new(&urls, 1, Duration::from_secs(10)).unwrap().agreeing(2);
        let l1 = RpcEvents::new(endpoints.clone());
        let (mut cursor, mut facts) = (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new());
        followed(&l1, &mut cursor, &mut facts).await;
        // All endpoints have all but the last block.
        assert_eq!(facts, chain.all_facts(Origin::Settlement(ROLLUP))[..29], "{place}");
        assert_eq!(cursor.newest().unwrap().number, 29);
    }
}

#[tokio::test]
async fn a_liar_that_withholds_the_newest_event_is_named() {
    let chain = chain(3, 0);
    let (honest, liar) = (Node::of(&chain).await, Node::of(&chain).await);
    let urls = [liar.url.clone(), honest.url.clone(), Node::of(&chain).await.url];
    let endpoints = Endpoints::new(&urls, 1, Duration::from_secs(10)).unwrap().agreeing(2);
    let l1 = RpcEvents::new(endpoints.clone());
    let (mut cursor, mut facts) = (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new());
    followed(&l1, &mut cursor, &mut facts).await;
    assert_eq!(endpoints.status().problem(), None);
    liar.forgetful.store(true, Ordering::SeqCst);
    for number in 4..=6 {
        chain.mine(vec![settled(number)]);
    }
    followed(&l1, &mut cursor, &mut facts).await;
    assert_eq!(facts.len(), 6);
    let status = endpoints.status();
    assert!(
        status.problems[0].starts_with("endpoint 1 of chain.rpc: a contract's events differs"),
        "{status:?}"
    );
}

#[tokio::test]
async fn blocks_are_read_a_second_time_from_another_endpoint() {
    let chain = chain(1, 0);
    let (withholds, honest) = (Node::of(&chain).await, Node::of(&chain).await);
    withholds.forgetful.store(true, Ordering::SeqCst);
    let l1 = l1(&[&withholds, &honest]);
    let (mut cursor, mut facts) = (Cursor::new(Origin::Settlement(ROLLUP), 0), Vec::new());
    followed(&l1, &mut cursor, &mut facts).await;
    honest.asked();
    for _ in 0..100 {
        chain.mine_empty(1);
        followed(&l1, &mut cursor, &mut facts).await;
    }
    assert!(honest.asked() <= 2, "the first endpoint answers");
    let head = cursor.next_block() - 1;
    assert!(cursor.is_second_reading_due(head));
    withholds.asked();
    let reading = l1.read_again(&cursor, head, &FeedConfig::new(0)).await.unwrap().unwrap();
    assert_eq!((honest.asked(), withholds.asked()), (3, 0));
    assert_eq!(reading.missed, Some(0));
}

#[tokio::test]
async fn logs_are_put_in_order_and_what_is_none_of_them_is_refused() {
    let of = |number: u64| {
        let Fact::Settled { rollup, mut batch } = settled(number) else { panic!() };
        batch.block = number;
        Fact::Settled { rollup, batch }
    };
    let with = |number: u64, key: &str, value: Value| {
        let mut log = log(&of(number));
        log[key] = value;
        log
    };
    let read = async |logs: Vec<Value>| {
        let logs = json!(logs);
        let url = serve(move |_, _| Say::Result(logs.clone())).await;
        let view = super::rpc::View(crate::rpc::Endpoint::new(&url, Duration::from_secs(10)).unwrap());
        super::L1View::facts(&view, Origin::Settlement(ROLLUP), 1, 5).await
    };
    let (one, two) = (log(&of(1)), log(&of(2)));
    assert_eq!(read(vec![two.clone(), one.clone()]).await.unwrap(), [of(1), of(2)]);
    // A log that was reorganised out.
    let removed = with(3, "removed", json!(true));
    assert_eq!(read(vec![one.clone(), removed]).await.unwrap(), [of(1)]);
    for bad in [
        vec![one.clone(), one.clone()],
        vec![with(1, "address", json!(Address::ZERO))],
        vec![with(9, "logIndex", json!("0x0"))],
        vec![with(1, "blockNumber", Value::Null)],
        vec![with(1, "transactionHash", Value::Null)],
        vec![with(1, "topics", json!([B256::ZERO]))],
        vec![with(1, "topics", json!([]))],
        vec![with(1, "data", json!("0x00"))],
        vec![json!({})],
    ] {
        let refused = read(bad.clone()).await;
        assert!(matches!(refused, Err(ChainError::Malformed { .. })), "{bad:?}: {refused:?}");
    }
}
