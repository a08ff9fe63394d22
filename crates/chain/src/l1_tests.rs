//! The poster's reads through three endpoints of which one lies: the results stay the same, and the
//! liar is named.

use std::fmt::Debug;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U128, U256};
use alloy::sol_types::SolError;
use serde_json::{Value, json};

use super::{ContractCall, L1, RpcL1};
use crate::amount::GWEI;
use crate::contracts::CertificateLog::{AlreadyRecorded, Expired};
use crate::contracts::Refusal;
use crate::error::{ChainError, ErrorClass};
use crate::rpc::fake::{Say, serve};
use crate::rpc::{BlockRef, Endpoints};

const BLOCK: BlockRef = BlockRef { number: 7, hash: B256::repeat_byte(7), timestamp: 70 };

/// The answers of an endpoint.
#[derive(Clone)]
struct Node {
    /// What the contract returns, or the data of its refusal.
    call: Result<Bytes, Bytes>,
    gas: Result<u64, Bytes>,
    balance: U256,
    /// The suggested tip; `None` if the node does not have the method.
    tip: Option<u128>,
    /// Whether it answers every request with an HTTP status for being unavailable.
    is_down: bool,
}

fn word() -> Bytes {
    vec![1; 32].into()
}

fn recorded() -> Bytes {
    AlreadyRecorded { digest: B256::repeat_byte(1) }.abi_encode().into()
}

/// A refusal whose values differ between nodes: it contains the time of the block that the call
/// runs in.
fn expired(timestamp: u64) -> Bytes {
    Expired { expiresAt: 60, timestamp: U256::from(timestamp) }.abi_encode().into()
}

impl Node {
    /// An endpoint whose contract accepts the call.
    fn honest() -> Self {
        let balance = U256::from(GWEI) * U256::from(GWEI);
        Self { call: Ok(word()), gas: Ok(200_000), balance, tip: Some(GWEI), is_down: false }
    }

    /// An endpoint whose contract refuses the call.
    fn refuses(data: Bytes) -> Self {
        Self { call: Err(data.clone()), gas: Err(data), ..Self::honest() }
    }

    fn answer(&self, method: &str, params: &Value) -> Say {
        let ran = |ran: Result<Value, Bytes>| match ran {
            Ok(value) => Say::Result(value),
            Err(data) => Say::Error(json!({ "code": 3, "message": "execution reverted", "data": data })),
        };
        let hash = json!({ "blockHash": BLOCK.hash });
        match method {
            _ if self.is_down => Say::Body(503, Vec::new()),
            "eth_chainId" => Say::Result(json!("0x1")),
            "eth_call" => {
                assert_eq!(params[1], hash);
                ran(self.call.clone().map(|data| json!(data)))
            }
            "eth_estimateGas" => {
                assert_eq!(params[1], json!(U64::from(BLOCK.number)));
                ran(self.gas.clone().map(|gas| json!(U64::from(gas))))
            }
            "eth_getBalance" => {
                assert_eq!(params[1], hash);
                Say::Result(json!(self.balance))
            }
            "eth_maxPriorityFeePerGas" => match self.tip {
                Some(tip) => Say::Result(json!(U128::from(tip))),
                None => Say::Error(json!({ "code": -32601, "message": "the method does not exist" })),
            },
            other => panic!("{other}"),
        }
    }
}

async fn endpoints(nodes: &[Node], agree: usize) -> Endpoints {
    let mut urls = Vec::new();
    for node in nodes {
        let node = node.clone();
        urls.push(serve(move |method, params| node.answer(method, params)).await);
    }
    Endpoints::new(&urls, 1, Duration::from_secs(20)).unwrap().agreeing(agree)
}

fn call() -> ContractCall {
    let (from, to) = (Address::repeat_byte(1), Address::repeat_byte(2));
    ContractCall { from, to, data: vec![1, 2, 3, 4].into(), returns: true }
}

/// The results of all reads, from one endpoint or agreed by several.
#[derive(Debug)]
struct Read {
    simulated: Result<Result<(), Refusal>, ChainError>,
    gas: Result<Result<u64, Refusal>, ChainError>,
    balance: Result<U256, ChainError>,
    tip: Result<u128, ChainError>,
}

async fn read(endpoints: &Endpoints) -> Read {
    let l1 = RpcL1::new(endpoints.clone());
    Read {
        simulated: l1.simulate(&call(), BLOCK.hash).await,
        gas: l1.estimate_gas(&call(), BLOCK).await,
        balance: l1.balance(call().from, BLOCK.hash).await,
        tip: l1.priority_fee().await,
    }
}

fn is_same<T: Debug>(a: &Result<T, ChainError>, b: &Result<T, ChainError>) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[tokio::test]
async fn one_liar_of_three_changes_nothing_of_what_the_poster_reads_and_is_named() {
    type Lie = (&'static str, &'static str, fn(&mut Node));
    let taken = Node::honest();
    let refused = Node::refuses(recorded());
    let lies: &[(&Node, Lie)] = &[
        (&taken, ("it is recorded already", "a simulation", |node| node.call = Err(recorded()))),
        (&taken, ("it expired", "a simulation", |node| node.call = Err(expired(70)))),
        (&taken, ("no words", "a simulation", |node| node.call = Err(Bytes::new()))),
        (&refused, ("it would be recorded", "a simulation", |node| node.call = Ok(word()))),
        (&refused, ("it expired", "a simulation", |node| node.call = Err(expired(70)))),
        (&taken, ("gas without end", "the gas of a call", |node| node.gas = Ok(u64::MAX))),
        (&taken, ("too little gas", "the gas of a call", |node| node.gas = Ok(21_000))),
        (&taken, ("refused", "the gas of a call", |node| node.gas = Err(expired(70)))),
        (&refused, ("not refused", "the gas of a call", |node| node.gas = Ok(200_000))),
        (&taken, ("a poor account", "the poster's balance", |node| node.balance = U256::ZERO)),
        (&taken, ("a rich account", "the poster's balance", |node| node.balance = U256::MAX)),
        (&taken, ("a dear tip", "the tip", |node| node.tip = Some(190 * GWEI))),
        (&taken, ("a tip beyond all numbers", "the tip", |node| node.tip = Some(u128::MAX))),
        (&taken, ("no tip", "", |node| node.tip = Some(0))),
        (&taken, ("an unknown method", "", |node| node.tip = None)),
    ];
    for (honest, (name, what, lie)) in lies {
        let truth = read(&endpoints(&[(*honest).clone()], 1).await).await;
        for place in 0..3 {
            let mut nodes = vec![(*honest).clone(); 3];
            lie(&mut nodes[place]);
            let endpoints = endpoints(&nodes, 2).await;
            let got = read(&endpoints).await;
            let case = format!("{name} of endpoint {}: {got:?}", place + 1);
            assert!(is_same(&got.simulated, &truth.simulated), "{case}");
            assert!(is_same(&got.gas, &truth.gas), "{case}");
            assert!(is_same(&got.balance, &truth.balance), "{case}");
            assert!(is_same(&got.tip, &truth.tip), "{case}");
            let status = endpoints.status();
            assert_eq!(status.undecided, None, "{case}");
            let says = format!("endpoint {} of chain.rpc: {what} differs", place + 1);
            // The last endpoint is not asked if the first two decide, but suggestions are asked of
            // all.
            let named = status.problems.iter().any(|problem| problem.starts_with(&says));
            assert_eq!(named, !what.is_empty() && (place < 2 || *what == "the tip"), "{case}: {status:?}");
            assert!(status.problems.len() <= 1, "{case}: {status:?}");
        }
    }
}

#[tokio::test]
async fn honest_endpoints_need_not_say_the_same_to_the_letter() {
    let node = |timestamp, gas, tip| Node {
        call: Err(expired(timestamp)),
        gas: Ok(gas),
        tip: Some(tip),
        ..Node::honest()
    };
    let nodes = [node(70, 200_000, 2 * GWEI), node(82, 203_000, GWEI / 1000), node(71, 198_000, GWEI)];
    let endpoints = endpoints(&nodes, 2).await;
    let got = read(&endpoints).await;
    assert!(
        got.simulated.as_ref().is_ok_and(|ran| ran.as_ref().is_err_and(Refusal::is::<Expired>)),
        "{got:?}"
    );
    // The larger of the two, because too little gas makes a transaction fail.
    assert_eq!(got.gas.unwrap().unwrap(), 203_000);
    assert_eq!(got.tip.unwrap(), GWEI);
    assert_eq!(endpoints.status().problems, Vec::<String>::new());
}

#[tokio::test]
async fn where_too_few_agree_it_is_an_error_that_passes_and_names_them() {
    let liar = Node { balance: U256::ZERO, gas: Ok(u64::MAX), call: Err(expired(70)), ..Node::honest() };
    let down = Node { is_down: true, ..Node::honest() };
    for (nodes, expected) in
        [(vec![Node::honest(), liar], "do not agree"), (vec![Node::honest(), down], "must agree")]
    {
        let endpoints = endpoints(&nodes, 2).await;
        let Read { simulated, gas, balance, tip } = read(&endpoints).await;
        let mut errors = vec![simulated.unwrap_err(), gas.unwrap_err(), balance.unwrap_err()];
        match tip {
            // Of two suggestions the lower one is taken.
            Ok(tip) => assert_eq!((tip, expected), (GWEI, "do not agree")),
            Err(error) => errors.push(error),
        }
        for error in errors {
            assert_eq!(error.class(), ErrorClass::Retryable);
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains("127.0.0.1"), "{text}");
        }
        assert!(endpoints.status().undecided.is_some());
    }
}

#[tokio::test]
async fn of_two_suggestions_the_lower_one_is_taken_and_nobody_is_blamed() {
    let dear = Node { tip: Some(190 * GWEI), ..Node::honest() };
    for nodes in [[dear.clone(), Node::honest()], [Node::honest(), dear]] {
        let endpoints = endpoints(&nodes, 2).await;
        assert_eq!(RpcL1::new(endpoints.clone()).priority_fee().await.unwrap(), GWEI);
        assert_eq!(endpoints.status().problems, Vec::<String>::new());
    }
}

#[tokio::test]
async fn one_that_is_believed_alone_is_believed() {
    let nodes = [Node { tip: None, balance: U256::ZERO, ..Node::honest() }, Node::honest()];
    let got = read(&endpoints(&nodes, 1).await).await;
    assert_eq!(got.balance.unwrap(), U256::ZERO);
    // The other endpoint has the method.
    assert_eq!(got.tip.unwrap(), GWEI);
}
