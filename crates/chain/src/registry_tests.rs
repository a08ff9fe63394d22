//! Tests with registries that lie: their answers are refused with an error that names the fault,
//! and never cause a panic or an endless reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy::primitives::{B256, Bytes, hex};
use alloy::sol_types::SolCall;
use dac_bls::SecretKey;
use serde_json::{Value, json};

use super::*;
use crate::rpc::fake::{Say, serve};

const REGISTRY: Address = Address::repeat_byte(0xaa);

/// A registry's answers.
#[derive(Clone)]
struct Lies {
    epoch_count: u64,
    record: CommitteeRegistry::EpochRecord,
    members: Vec<CommitteeRegistry::Member>,
    rollup_count: U256,
    rollups: Vec<CommitteeRegistry::RollupRecord>,
    paused: bool,
    block: B256,
    timestamp: u64,
}

fn member(seat: u8) -> CommitteeRegistry::Member {
    CommitteeRegistry::Member {
        operator: Address::repeat_byte(seat + 1),
        key: SecretKey::derive(&[seat; 32]).public_key().to_eip2537().to_vec().into(),
        dispersalUrl: "http://a.example".into(),
        retrievalUrl: "http://b.example".into(),
    }
}

fn rollup(byte: u8) -> CommitteeRegistry::RollupRecord {
    let rollup = Address::repeat_byte(byte);
    CommitteeRegistry::RollupRecord { rollup, poster: rollup, maxRetention: 1, dailyBytes: 1 }
}

impl Lies {
    fn none() -> Self {
        Self {
            epoch_count: 1,
            record: CommitteeRegistry::EpochRecord {
                n: 3,
                k: 1,
                q: 2,
                activeFrom: 10,
                activeUntil: u64::MAX,
                postableUntil: u64::MAX,
            },
            members: (0..3).map(member).collect(),
            rollup_count: U256::from(1),
            rollups: vec![rollup(1)],
            paused: false,
            block: B256::repeat_byte(5),
            timestamp: 0x64,
        }
    }

    fn answer(&self, method: &str, params: &Value) -> Say {
        match method {
            "eth_chainId" => Say::Result(json!("0x1")),
            "eth_getBlockByNumber" => Say::Result(
                json!({ "number": "0x5", "hash": self.block, "timestamp": format!("{:#x}", self.timestamp) }),
            ),
            _ => {
                assert_eq!(params[1], json!({ "blockHash": self.block }), "all at one block");
                let input = hex::decode(params[0]["input"].as_str().unwrap()).unwrap();
                Say::Result(json!(Bytes::from(self.call(&input))))
            }
        }
    }

    fn call(&self, input: &[u8]) -> Vec<u8> {
        use CommitteeRegistry as R;
        match input[..4].try_into().unwrap() {
            R::epochCountCall::SELECTOR => R::epochCountCall::abi_encode_returns(&self.epoch_count),
            R::epochCall::SELECTOR => R::epochCall::abi_encode_returns(&self.record),
            R::members_1Call::SELECTOR => R::members_1Call::abi_encode_returns(&self.members),
            R::rollupCountCall::SELECTOR => R::rollupCountCall::abi_encode_returns(&self.rollup_count),
            R::rollupsCall::SELECTOR => R::rollupsCall::abi_encode_returns(&self.rollups),
            R::pausedCall::SELECTOR => R::pausedCall::abi_encode_returns(&self.paused),
            other => panic!("{other:?}"),
        }
    }

    async fn read(self) -> Result<RegistryView, ChainError> {
        let url = serve(move |method, params| self.answer(method, params)).await;
        let endpoints = Endpoints::new(&[url], 1, Duration::from_secs(10)).unwrap();
        RpcRegistryReader::new(endpoints, REGISTRY).read(0).await
    }
}

#[tokio::test]
async fn without_a_lie_it_is_read() {
    let view = Lies::none().read().await.unwrap();
    assert_eq!(view.current_epoch, Some(1));
    assert_eq!(view.committee(1).unwrap().members().len(), 3);
}

#[tokio::test]
async fn rollups_and_operators_are_news_once() {
    let view = Lies::none().read().await.unwrap();
    let mut named = crate::metrics::Named::default();
    let news = named.news(&view);
    assert_eq!(news.rollups, [Address::repeat_byte(1)]);
    assert_eq!(news.operators, [1, 2, 3].map(Address::repeat_byte));
    assert_eq!(named.news(&view), crate::metrics::News::default());
    let admits = Lies { rollup_count: U256::from(2), rollups: vec![rollup(1), rollup(2)], ..Lies::none() };
    let news = named.news(&admits.read().await.unwrap());
    assert_eq!((news.rollups, news.operators), (vec![Address::repeat_byte(2)], vec![]));
}

#[tokio::test]
async fn each_lie_has_a_name() {
    type Case = (&'static str, fn(&mut Lies), fn(&RegistryFault) -> bool);
    let cases: &[Case] = &[
        ("no committee", |lies| lies.record.k = 3, |fault| matches!(fault, RegistryFault::Geometry { .. })),
        ("too large", |lies| lies.record.n = 65_535, |fault| matches!(fault, RegistryFault::Geometry { .. })),
        ("zero quorum", |lies| lies.record.q = 0, |fault| matches!(fault, RegistryFault::Geometry { .. })),
        (
            "backwards",
            |lies| lies.record.activeUntil = 3,
            |fault| matches!(fault, RegistryFault::Window { .. }),
        ),
        (
            "grace before the end",
            |lies| lies.record.postableUntil = 3,
            |fault| matches!(fault, RegistryFault::Window { .. }),
        ),
        (
            "a member short",
            |lies| lies.members.truncate(2),
            |fault| matches!(fault, RegistryFault::PageLength { .. }),
        ),
        (
            "a member over",
            |lies| lies.members.push(member(9)),
            |fault| matches!(fault, RegistryFault::PageLength { got: 4, expected: 3, .. }),
        ),
        (
            "no members",
            |lies| lies.members.clear(),
            |fault| matches!(fault, RegistryFault::PageLength { got: 0, .. }),
        ),
        (
            "operator twice",
            |lies| lies.members[2].operator = lies.members[0].operator,
            |fault| matches!(fault, RegistryFault::Committee(_)),
        ),
        (
            "key twice",
            |lies| lies.members[2].key = lies.members[0].key.clone(),
            |fault| matches!(fault, RegistryFault::Committee(_)),
        ),
        (
            "short key",
            |lies| lies.members[1].key = vec![0; 255].into(),
            |fault| matches!(fault, RegistryFault::KeyLength { seat: 1, got: 255, .. }),
        ),
        (
            "infinity",
            |lies| lies.members[1].key = vec![0; 256].into(),
            |fault| matches!(fault, RegistryFault::Key { seat: 1, .. }),
        ),
        (
            "no point",
            |lies| lies.members[1].key = vec![7; 256].into(),
            |fault| matches!(fault, RegistryFault::Key { seat: 1, .. }),
        ),
        (
            "long URL",
            |lies| lies.members[2].retrievalUrl = "u".repeat(257),
            |fault| matches!(fault, RegistryFault::UrlLength { seat: 2, got: 257, .. }),
        ),
        (
            "countless rollups",
            |lies| lies.rollup_count = U256::MAX,
            |fault| matches!(fault, RegistryFault::TooMany { .. }),
        ),
        (
            "fewer rollups",
            |lies| lies.rollup_count = U256::from(2),
            |fault| matches!(fault, RegistryFault::PageLength { .. }),
        ),
        (
            "a rollup twice",
            |lies| {
                lies.rollup_count = U256::from(2);
                lies.rollups = vec![rollup(1), rollup(1)];
            },
            |fault| matches!(fault, RegistryFault::DuplicateRollup(_)),
        ),
    ];
    for (name, lie, expected) in cases {
        let mut lies = Lies::none();
        lie(&mut lies);
        match lies.read().await {
            Err(ChainError::Registry { fault, .. }) => assert!(expected(&fault), "{name}: {fault:?}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn countless_epochs_are_read_up_to_a_bound() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let lies = Lies { epoch_count: u64::MAX, ..Lies::none() };
    let url = serve(move |method, params| {
        counter.fetch_add(1, Ordering::Relaxed);
        lies.answer(method, params)
    })
    .await;
    let endpoints = Endpoints::new(&[url], 1, Duration::from_secs(10)).unwrap();
    // It ends by the snapshot's deadline or with a view; either way it ends and is bounded.
    if let Ok(view) = RpcRegistryReader::new(endpoints, REGISTRY).read(0).await {
        assert_eq!(view.committees.len() as u64, EPOCHS_MAX);
    }
    assert!(calls.load(Ordering::Relaxed) < 3 * usize::try_from(EPOCHS_MAX).unwrap());
}

#[tokio::test]
async fn junk_instead_of_abi_is_refused() {
    for junk in [vec![0xff; 32], vec![0; 31], vec![0x20; 64], vec![0; 100_000]] {
        let url = serve(move |method, params| match method {
            "eth_call" => Say::Result(json!(Bytes::from(junk.clone()))),
            _ => Lies::none().answer(method, params),
        })
        .await;
        let endpoints = Endpoints::new(&[url], 1, Duration::from_secs(10)).unwrap();
        // Answers that are all zeros look like a registry without an epoch.
        match RpcRegistryReader::new(endpoints, REGISTRY).read(0).await {
            Err(ChainError::Malformed { .. } | ChainError::Registry { .. }) => {}
            Ok(view) => assert!(view.committees.is_empty() && view.rollups.is_empty()),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn one_liar_of_three_changes_neither_committee_nor_rollups_nor_pauses_nor_time() {
    type Lie = (&'static str, fn(&mut Lies));
    let lies: &[Lie] = &[
        ("a member's key", |lies| lies.members[1] = member(9)),
        ("another operator", |lies| lies.members[1].operator = Address::repeat_byte(0x77)),
        ("a member's URL", |lies| lies.members[1].retrievalUrl = "http://evil.example".into()),
        ("a smaller quorum", |lies| lies.record.q = 1),
        ("an older epoch", |lies| lies.record.activeUntil = 50),
        ("no epoch", |lies| lies.epoch_count = 0),
        ("another rollup", |lies| lies.rollups = vec![rollup(7)]),
        ("no rollup", |lies| (lies.rollup_count, lies.rollups) = (U256::ZERO, vec![])),
        ("paused", |lies| lies.paused = true),
        ("another time", |lies| lies.timestamp = 0x1_0000),
        ("another block", |lies| lies.block = B256::repeat_byte(6)),
    ];
    for (name, lie) in lies {
        for place in 0..3 {
            let mut nodes = vec![Lies::none(); 3];
            lie(&mut nodes[place]);
            let mut urls = Vec::new();
            for node in nodes {
                urls.push(serve(move |method, params| node.answer(method, params)).await);
            }
            let endpoints = Endpoints::new(&urls, 1, Duration::from_secs(20)).unwrap().agreeing(2);
            let view = RpcRegistryReader::new(endpoints.clone(), REGISTRY).read(0).await.unwrap();
            assert_eq!(view, Lies::none().read().await.unwrap(), "{name} of endpoint {place}");
            // The last endpoint is not asked if the first two decide; otherwise it is named.
            let problems = endpoints.status().problems;
            let named = problems.iter().any(|problem| {
                problem.contains(&format!("endpoint {} of chain.rpc", place + 1))
                    && problem.contains("differs")
            });
            assert!(named || place == 2, "{name} of endpoint {place}: {problems:?}");
            assert!(problems.len() <= 1, "{name} of endpoint {place}: {problems:?}");
        }
    }
}
