//! Tests with several endpoints of which some lie, lag, hang or are down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{B256, U64};
use serde_json::{Value, json};

use super::fake::{Say, serve};
use super::{Endpoints, checked_agree};
use crate::error::{ChainError, ErrorClass};

const TIMEOUT: Duration = Duration::from_secs(20);

/// How an endpoint behaves.
#[derive(Clone, Copy)]
enum Node {
    /// It has the blocks up to this one, of the chain with this name, and suggests this tip.
    At(u64, u8, u64),
    Down,
    Hangs,
}

/// The hash of a block of the chain with this name.
fn hash(chain: u8, number: u64) -> B256 {
    let mut hash = B256::from(alloy::primitives::U256::from(number));
    hash.0[0] = chain;
    hash
}

async fn endpoint(node: Node, asked: Arc<AtomicUsize>) -> String {
    serve(move |method, params: &Value| {
        let (head, chain, tip) = match node {
            Node::At(..) if method == "eth_chainId" => return Say::Result(json!("0x1")),
            Node::At(head, chain, tip) => (head, chain, tip),
            Node::Down => return Say::Body(502, Vec::new()),
            Node::Hangs => return Say::Silence,
        };
        asked.fetch_add(1, Ordering::SeqCst);
        if method == "eth_maxPriorityFeePerGas" {
            return Say::Result(json!(U64::from(tip)));
        }
        let number = params[0].as_str().unwrap().parse::<U64>().map_or(head, |number| number.to());
        let block = (number <= head).then(|| {
            json!({
                "number": U64::from(number), "hash": hash(chain, number), "timestamp": U64::from(1_000 + number),
                "baseFeePerGas": "0x7",
            })
        });
        Say::Result(json!(block))
    })
    .await
}

async fn endpoints(nodes: &[Node], agree: usize) -> (Endpoints, Vec<Arc<AtomicUsize>>) {
    let asked: Vec<Arc<AtomicUsize>> = nodes.iter().map(|_| Arc::default()).collect();
    let mut urls = Vec::new();
    for (node, asked) in nodes.iter().zip(&asked) {
        urls.push(endpoint(*node, asked.clone()).await);
    }
    (Endpoints::new(&urls, 1, TIMEOUT).unwrap().agreeing(agree), asked)
}

async fn tip(endpoints: &Endpoints) -> Result<u128, ChainError> {
    endpoints.agreed("the tip", |endpoint| async move { endpoint.priority_fee().await }).await
}

#[test]
fn a_default_that_one_liar_of_three_cannot_use_and_one_failure_of_two_cannot_stop() {
    for (setting, endpoints, expected) in [
        (None, 1, Some(1)),
        (None, 2, Some(1)),
        (None, 3, Some(2)),
        (None, 7, Some(2)),
        (Some(1), 3, Some(1)),
        (Some(2), 2, Some(2)),
        (Some(3), 3, Some(3)),
        (Some(2), 1, None),
        (Some(0), 3, None),
    ] {
        assert_eq!(checked_agree(setting, endpoints).ok(), expected, "{setting:?} of {endpoints}");
    }
}

#[tokio::test]
async fn an_answer_counts_that_enough_give() {
    use Node::{At, Down, Hangs};
    let honest = At(9, 1, 5);
    for (nodes, agree, expected, blamed) in [
        (&[honest, honest, honest][..], 2, Some(5), &[][..]),
        (&[At(9, 1, 6), honest, honest], 2, Some(5), &[1]),
        (&[honest, At(9, 1, 6), honest], 2, Some(5), &[2]),
        (&[Down, honest, honest], 2, Some(5), &[1]),
        (&[Hangs, honest, honest], 2, Some(5), &[]),
        (&[honest, honest, At(9, 1, 6), At(9, 1, 7), honest], 3, Some(5), &[3, 4]),
        (&[honest, At(9, 1, 6)], 2, None, &[]),
        (&[honest, Down], 2, None, &[2]),
        (&[honest, At(9, 1, 6), Down], 2, None, &[3]),
        (&[At(9, 1, 6), honest], 1, Some(6), &[]),
    ] {
        let (endpoints, _) = endpoints(nodes, agree).await;
        let begun = Instant::now();
        let result = tip(&endpoints).await;
        assert!(begun.elapsed() < TIMEOUT, "a hanging one is not waited for");
        let status = endpoints.status();
        let named: Vec<usize> = (1..=nodes.len())
            .filter(|place| status.problems.iter().any(|text| text.contains(&format!("endpoint {place} of"))))
            .collect();
        assert_eq!(named, blamed, "{status:?}");
        match (result, expected) {
            (Ok(got), Some(expected)) => assert_eq!((got, &status.undecided), (expected, &None)),
            (Err(error), None) => {
                assert_eq!(error.class(), ErrorClass::Retryable);
                let why = status.undecided.expect("it is told");
                assert!(!why.contains("127.0.0.1") && why.contains("the tip"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((status.configured, status.agree), (nodes.len() as u64, agree as u64));
    }
}

#[tokio::test]
async fn a_disagreement_names_hosts_and_what_was_asked() {
    let (endpoints, _) = endpoints(&[Node::At(9, 1, 5), Node::At(9, 1, 6)], 2).await;
    let error = tip(&endpoints).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagree { what: "the tip", agree: 2, .. }), "{error}");
    let names: Vec<&str> = endpoints.all.iter().map(super::Endpoint::name).collect();
    let text = error.to_string();
    assert!(text.contains(&format!("{} against {}", names[0], names[1])), "{text}");
    let (alone, _) = self::endpoints(&[Node::At(9, 1, 5), Node::Down], 2).await;
    let error = tip(&alone).await.unwrap_err();
    assert!(matches!(error, ChainError::TooFewAgree { agree: 2, answered: 1, .. }), "{error}");
}

#[tokio::test]
async fn no_more_endpoints_are_asked_than_decide() {
    let node = Node::At(9, 1, 5);
    let (endpoints, asked) = endpoints(&[node; 4], 2).await;
    assert_eq!(tip(&endpoints).await.unwrap(), 5);
    let asked: Vec<usize> = asked.iter().map(|asked| asked.load(Ordering::SeqCst)).collect();
    assert_eq!(asked, [1, 1, 0, 0]);
}

#[tokio::test]
async fn the_head_is_a_block_that_enough_endpoints_have() {
    use Node::{At, Down, Hangs};
    let at = |number| At(number, 1, 0);
    for (nodes, confirmations, expected) in [
        (&[at(100), at(100), at(100)][..], 0, Some(100)),
        (&[at(100), at(99), at(97)], 0, Some(97)),
        (&[at(100), at(99), at(96)], 0, Some(99)),
        (&[at(97), at(100), at(99)], 2, Some(95)),
        // One endpoint invents blocks, one stands still, one is on another chain, one is down, one
        // hangs.
        (&[at(1_000_000), at(100), at(99)], 0, Some(99)),
        (&[at(5), at(100), at(99)], 0, Some(99)),
        (&[At(101, 2, 0), at(100), at(99)], 0, Some(99)),
        (&[At(100, 2, 0), at(100), at(100)], 3, Some(97)),
        (&[Down, at(100), at(99)], 0, Some(99)),
        (&[at(100), Hangs, at(99)], 0, Some(99)),
        (&[at(100), Down, Down], 0, None),
        (&[At(100, 1, 0), At(100, 2, 0)], 0, None),
    ] {
        let (endpoints, _) = endpoints(nodes, 2).await;
        let begun = Instant::now();
        match (endpoints.pinned(confirmations).await, expected) {
            (Ok(Some(block)), Some(expected)) => {
                assert_eq!((block.number, block.hash), (expected, hash(1, expected)));
            }
            (Err(ChainError::TooFewAgree { .. } | ChainError::Disagree { .. }), None) => {
                assert!(endpoints.status().undecided.is_some());
            }
            other => panic!("{other:?}, expected {expected:?}"),
        }
        assert!(begun.elapsed() < TIMEOUT, "a hanging one is not waited for");
    }
    // If one endpoint is enough, it decides by its own head.
    let (alone, _) = endpoints(&[at(3), at(4)], 1).await;
    assert_eq!(alone.pinned(0).await.unwrap(), None);
}

#[tokio::test]
async fn a_short_pause_that_too_many_ask_for_is_waited_for() {
    let limited = Arc::<AtomicUsize>::default();
    let counter = limited.clone();
    let first = serve(move |method, _| match method {
        "eth_chainId" => Say::Result(json!("0x1")),
        _ if counter.fetch_add(1, Ordering::SeqCst) == 0 => Say::Limit(429, "retry-after: 1\r\n"),
        _ => Say::Result(json!("0x5")),
    })
    .await;
    let second = endpoint(Node::At(9, 1, 5), Arc::default()).await;
    let endpoints = Endpoints::new(&[first, second], 1, TIMEOUT).unwrap().agreeing(2);
    let error = tip(&endpoints).await.unwrap_err();
    assert!(matches!(error, ChainError::TooFewAgree { answered: 1, .. }), "{error}");
    assert_eq!(tip(&endpoints).await.unwrap(), 5);
}
