//! Tests with endpoints that lie, stall, flood or send nonsense.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use serde_json::{Value, json};

use super::fake::{Say, serve};
use super::{At, Call, Endpoint, Endpoints, SendAnswer};
use crate::contracts::{CertificateLog, Refusal};
use crate::error::{ChainError, ErrorClass};

/// Long enough for a busy machine to answer, short enough to wait for.
const TIMEOUT: Duration = Duration::from_secs(5);

async fn endpoint(script: impl Fn(&str, &Value) -> Say + Send + Sync + 'static) -> Endpoint {
    Endpoint::new(&serve(script).await, TIMEOUT).unwrap()
}

#[tokio::test]
async fn answers_that_are_none_are_named_errors() {
    type Case = (Say, fn(&ChainError) -> bool);
    let id = |id: u64, result: &str| format!("{{\"id\":{id},\"result\":{result}}}").into_bytes();
    let cases: Vec<Case> = vec![
        (Say::Body(200, b"<html>".to_vec()), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, b"".to_vec()), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, b"null".to_vec()), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, b"[]".to_vec()), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, id(77, "\"0x1\"")), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, id(0, "\"0x10000000000000000\"")), |error| {
            matches!(error, ChainError::Malformed { .. })
        }),
        (Say::Body(200, id(0, "\"-1\"")), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, id(0, "{}")), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Body(200, b"[".repeat(100_000)), |error| matches!(error, ChainError::Malformed { .. })),
        (
            Say::Body(503, b"busy".to_vec()),
            |error| matches!(error, ChainError::HttpStatus { status: 503, said, .. } if said == "busy"),
        ),
        (
            Say::Body(413, b"<html>too much</html>".to_vec()),
            |error| matches!(error, ChainError::HttpStatus { status: 413, said, .. } if said == "Payload Too Large"),
        ),
        (
            Say::Body(403, b"{\"message\":\"Forbidden\"}".to_vec()),
            |error| matches!(error, ChainError::HttpStatus { status: 403, said, .. } if said.contains("Forbidden")),
        ),
        (Say::Body(302, b"".to_vec()), |error| matches!(error, ChainError::HttpStatus { .. })),
        (Say::Result(Value::Null), |error| matches!(error, ChainError::Malformed { .. })),
        (Say::Error(json!({ "code": -32005, "message": "\u{1b}[31mlimit\n".repeat(1_000) })), |error| {
            matches!(error, ChainError::Refused { code: -32005, message, .. }
                if message.len() <= 200 && !message.contains('\u{1b}'))
        }),
        (Say::Endless(b"[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",".repeat(1_000)), |error| {
            matches!(error, ChainError::AnswerTooLong { .. })
        }),
    ];
    for (number, (say, expected)) in cases.into_iter().enumerate() {
        let say = std::sync::Mutex::new(Some(say));
        let endpoint = endpoint(move |_, _| say.lock().unwrap().take().unwrap_or(Say::Silence)).await;
        let error = endpoint.chain_id().await.unwrap_err();
        assert!(expected(&error), "case {number}: {error:?}");
        assert_eq!(error.class(), ErrorClass::Retryable, "case {number}");
    }
}

#[tokio::test]
async fn errors_are_read_in_all_forms_that_proxies_have() {
    for (body, expected_code, expected) in [
        (r#"{"id":0,"error":"rpc method is not whitelisted"}"#, 0, "rpc method is not whitelisted"),
        (r#"{"id":0,"error":{"message":"range is too wide"}}"#, 0, "range is too wide"),
        (r#"{"id":0,"error":{"code":"-32005","message":"too much"}}"#, -32_005, "too much"),
        (r#"{"id":0,"error":{"code":"limit","message":"too much"}}"#, 0, "too much"),
        (r#"{"id":0,"error":{"code":-32005,"message":null}}"#, -32_005, r#"{"code":-32005,"message":null}"#),
        (r#"{"id":0,"error":{"code":-32005,"message":{"a":1}}}"#, -32_005, r#"{"a":1}"#),
        (r#" [{"id":0,"error":{"code":-32005,"message":"in a list"}}]"#, -32_005, "in a list"),
        (r#"{"id":"zero","error":{"code":-32005,"message":"of whom"}}"#, -32_005, "of whom"),
    ] {
        let endpoint = endpoint(move |_, _| Say::Body(200, body.as_bytes().to_vec())).await;
        let error = endpoint.chain_id().await.unwrap_err();
        let ChainError::Refused { code, message, .. } = &error else { panic!("{body}: {error:?}") };
        assert_eq!((*code, message.as_str()), (expected_code, expected), "{body}");
        assert!(error.is_crowded(), "{body}");
    }
    let list = endpoint(|_, _| Say::Body(200, br#"[{"id":0,"result":"0x7"}]"#.to_vec())).await;
    assert_eq!(list.chain_id().await.unwrap(), 7);
}

#[tokio::test]
async fn a_tip_that_must_not_be_asked_for_is_refused_whatever_says_so() {
    for (status, body) in [
        (403, "forbidden"),
        (403, "<html>"),
        (405, ""),
        (200, r#"{"id":0,"error":"rpc method is not whitelisted"}"#),
        (400, r#"{"id":0,"error":{"code":-32601,"message":"no such method"}}"#),
    ] {
        let endpoint = endpoint(move |_, _| Say::Body(status, body.as_bytes().to_vec())).await;
        let error = endpoint.priority_fee().await.unwrap_err();
        assert!(matches!(error, ChainError::Refused { .. }), "{status} {body}: {error:?}");
    }
    let down = endpoint(|_, _| Say::Body(502, Vec::new())).await;
    assert!(matches!(down.priority_fee().await, Err(ChainError::HttpStatus { status: 502, .. })));
}

#[tokio::test]
async fn silence_and_dripping_end_at_the_deadline() {
    let timeout = Duration::from_millis(200);
    for drips in [false, true] {
        let url = serve(move |_, _| if drips { Say::Drip } else { Say::Silence }).await;
        let begun = Instant::now();
        let error = Endpoint::new(&url, timeout).unwrap().chain_id().await.unwrap_err();
        assert!(matches!(error, ChainError::Timeout { .. } | ChainError::Transport { .. }), "{error:?}");
        assert!(begun.elapsed() < 20 * timeout);
    }
}

#[tokio::test]
async fn an_answer_about_something_else_is_not_taken() {
    let head = json!({ "number": "0x5", "hash": B256::ZERO, "timestamp": "0x1", "baseFeePerGas": "0x7" });
    let receipt = json!({ "transactionHash": B256::ZERO, "blockNumber": "0x5", "blockHash": B256::ZERO,
        "status": "0x1", "gasUsed": "0x1", "contractAddress": null });
    let endpoint = endpoint(move |method, _| match method {
        "eth_getBlockByNumber" => Say::Result(head.clone()),
        _ => Say::Result(receipt.clone()),
    })
    .await;
    assert_eq!(endpoint.head().await.unwrap().base_fee, 7);
    assert!(endpoint.block_at(5).await.unwrap().is_some());
    assert!(matches!(endpoint.block_at(6).await, Err(ChainError::Malformed { .. })));
    assert!(endpoint.receipt(B256::ZERO).await.unwrap().is_some());
    assert!(matches!(endpoint.receipt(B256::repeat_byte(1)).await, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn reverts_are_found_wherever_nodes_put_them() {
    // The error RecordingPaused(): as geth sends it, as a node that nests it, and as one that gives
    // no data.
    let data = "0xd8bf90ae";
    let paused = <CertificateLog::RecordingPaused as alloy::sol_types::SolError>::SELECTOR;
    let data = data.replace("d8bf90ae", &alloy::primitives::hex::encode(paused));
    let halted = |reason: &str| Some(Refusal::Halted { reason: reason.into() });
    let cases = [
        (
            json!({ "code": 3, "message": "execution reverted", "data": data }),
            Some(Refusal::of(&CertificateLog::RecordingPaused {})),
        ),
        (
            json!({ "code": -32000, "message": "x", "data": { "data": data } }),
            Some(Refusal::of(&CertificateLog::RecordingPaused {})),
        ),
        (
            json!({ "code": -32000, "message": "VM Exception: revert" }),
            Some(Refusal::Unexplained { data: Default::default() }),
        ),
        (json!({ "code": -32000, "message": "out of gas" }), halted("out of gas")),
        (json!({ "code": -32000, "message": "out of gas", "data": "0x" }), halted("out of gas")),
        (
            json!({ "code": -32003, "message": "EVM error InvalidFEOpcode" }),
            halted("EVM error InvalidFEOpcode"),
        ),
        (
            json!({ "code": -32000, "message": "invalid jump destination" }),
            halted("invalid jump destination"),
        ),
        (
            json!({ "code": -32000, "message": "execution aborted (timeout = 5s)" }),
            halted("execution aborted (timeout = 5s)"),
        ),
        (
            json!({ "code": -32015, "message": "VM execution error.", "data": "BadInstruction" }),
            halted("BadInstruction"),
        ),
        (
            json!({ "code": -32000, "message": "gas required exceeds allowance (30000000)" }),
            halted("gas required exceeds allowance (30000000)"),
        ),
        (json!({ "code": -32005, "message": "limit exceeded" }), None),
        (json!({ "code": -32002, "message": "request timed out" }), None),
        (json!({ "code": -32000, "message": "header not found" }), None),
        (json!({ "code": -32000, "message": "header not found", "data": "no hexadecimal" }), None),
    ];
    let call = Call::view(Address::ZERO, vec![1]);
    for (error, expected) in cases {
        let endpoint = endpoint(move |_, _| Say::Error(error.clone())).await;
        match (endpoint.call(&call, At::Latest).await, expected) {
            (Ok(Err(refusal)), Some(expected)) => assert_eq!(refusal, expected),
            (Err(ChainError::Refused { .. }), None) => {}
            (other, expected) => panic!("{other:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn what_nodes_say_to_a_transaction_is_understood() {
    let cases = [
        ("already known", Some(SendAnswer::Accepted)),
        ("transaction already imported", Some(SendAnswer::Accepted)),
        ("nonce too low: next nonce 5, tx nonce 4", Some(SendAnswer::NonceUsed)),
        ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", Some(SendAnswer::NonceUsed)),
        ("replacement transaction underpriced", Some(SendAnswer::Underpriced)),
        ("insufficient funds for gas * price + value", Some(SendAnswer::Unfunded)),
        ("exceeds block gas limit", None),
    ];
    for (message, expected) in cases {
        let endpoint = endpoint(move |_, _| Say::Error(json!({ "code": -32000, "message": message }))).await;
        assert_eq!(endpoint.send_raw(&[2, 3]).await.ok(), expected, "{message}");
    }
}

#[test]
fn urls_that_cannot_be_used_are_fatal_and_not_repeated() {
    for url in ["", "localhost:8545", "ftp://a", "http://", "ws://user:secret@host"] {
        let error = Endpoints::new(&[url], 1, TIMEOUT).unwrap_err();
        assert!(matches!(error, ChainError::EndpointUrl { .. }), "{url}");
        assert_eq!(error.class(), ErrorClass::Fatal);
        assert!(!error.to_string().contains("secret"));
    }
    assert!(matches!(Endpoints::new::<&str>(&[], 1, TIMEOUT), Err(ChainError::NoEndpoint)));
    let endpoints = Endpoints::new(&["https://user:secret@host.example/key"], 1, TIMEOUT).unwrap();
    let text = format!("{endpoints:?}");
    assert!(text.contains("host.example:443") && !text.contains("secret") && !text.contains("key"), "{text}");
}

#[tokio::test]
async fn errors_of_connecting_do_not_repeat_the_url() {
    let endpoint = Endpoint::new("http://user:secret@127.0.0.1:9/key", TIMEOUT).unwrap();
    let error = endpoint.chain_id().await.unwrap_err().to_string();
    assert!(!error.contains("secret") && !error.contains("key"), "{error}");
}

/// Endpoints that count the requests other than those for the chain id.
async fn counted(
    script: impl Fn(usize) -> Say + Send + Sync + 'static,
) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let count = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let counter = count.clone();
    let url = serve(move |method, _| match method {
        "eth_chainId" => Say::Result(json!("0x1")),
        _ => script(counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst)),
    })
    .await;
    (url, count)
}

async fn gas_price(endpoints: &Endpoints) -> Result<u128, ChainError> {
    endpoints.first(|endpoint| async move { endpoint.priority_fee().await }).await
}

#[tokio::test]
async fn an_endpoint_that_failed_is_asked_after_the_others() {
    let (first, asked_first) = counted(|nth| match nth {
        0 => Say::Body(502, b"bad gateway".to_vec()),
        _ => Say::Result(json!("0x1")),
    })
    .await;
    let (second, asked_second) = counted(|nth| match nth {
        0 | 1 => Say::Result(json!("0x2")),
        _ => Say::Body(502, vec![]),
    })
    .await;
    let endpoints = Endpoints::new(&[first, second], 1, TIMEOUT).unwrap();
    let asked = || [&asked_first, &asked_second].map(|count| count.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(gas_price(&endpoints).await.unwrap(), 2);
    assert_eq!(gas_price(&endpoints).await.unwrap(), 2);
    assert_eq!(asked(), [1, 2], "it rests");
    // If no other endpoint answers, it is asked all the same.
    assert_eq!(gas_price(&endpoints).await.unwrap(), 1);
    assert_eq!(asked(), [2, 3]);
}

#[tokio::test]
async fn a_pause_asked_for_is_given_within_a_bound() {
    // The header, the seconds of the pause, and whether it is waited for within the call.
    for (header, seconds, waited) in [
        ("", 1, true),
        ("retry-after: 2\r\n", 2, true),
        ("retry-after: 0\r\n", 1, true),
        ("retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", 1, true),
        ("retry-after: 40\r\n", 40, false),
        ("retry-after: 99999999\r\n", 120, false),
    ] {
        let (url, asked) = counted(move |nth| match nth {
            0 => Say::Limit(429, header),
            _ => Say::Result(json!("0x5")),
        })
        .await;
        let endpoints = Endpoints::new(&[url], 1, TIMEOUT).unwrap();
        let (begun, pause) = (Instant::now(), Duration::from_secs(seconds));
        let count = || asked.load(std::sync::atomic::Ordering::SeqCst);
        if waited {
            assert_eq!(gas_price(&endpoints).await.unwrap(), 5, "{header}");
            assert!(begun.elapsed() >= pause, "{header}: {:?}", begun.elapsed());
            assert_eq!(count(), 2);
            continue;
        }
        for _ in 0..2 {
            let error = gas_price(&endpoints).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Retryable);
            let ChainError::RateLimited { retry_after, .. } = error else { panic!("{error}") };
            assert!(retry_after <= pause && retry_after > pause - TIMEOUT, "{header}: {retry_after:?}");
        }
        assert_eq!(count(), 1, "nobody asks meanwhile");
    }
}

#[tokio::test]
async fn while_one_endpoint_pauses_another_is_asked() {
    let (first, asked_first) = counted(|_| Say::Limit(503, "retry-after: 60\r\n")).await;
    let (second, _) = counted(|_| Say::Result(json!("0x2"))).await;
    let endpoints = Endpoints::new(&[first, second], 1, TIMEOUT).unwrap();
    for _ in 0..3 {
        assert_eq!(gas_price(&endpoints).await.unwrap(), 2);
    }
    assert_eq!(asked_first.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn asking_too_often_and_asking_for_too_much_are_told_apart() {
    for (code, message, limited) in [
        (429, "whatever", true),
        (-32005, "daily request count exceeded, request rate limited", true),
        (-32000, "Your app has exceeded its compute units per second capacity", true),
        (-32029, "Too Many Requests", true),
        (-32005, "query returned more than 10000 results", false),
        (-32602, "block range is too wide", false),
    ] {
        let endpoint = endpoint(move |_, _| Say::Error(json!({ "code": code, "message": message }))).await;
        let error = endpoint.chain_id().await.unwrap_err();
        assert_eq!(matches!(error, ChainError::RateLimited { .. }), limited, "{message}: {error}");
        assert_eq!(error.is_crowded(), !limited, "{message}");
    }
}

#[tokio::test]
async fn a_transaction_goes_to_all_and_one_good_answer_is_enough() {
    let (deaf, _) = counted(|_| Say::Silence).await;
    let (taken, heard) = counted(|_| Say::Result(json!(B256::ZERO))).await;
    let (used, heard_too) =
        counted(|_| Say::Error(json!({ "code": -32000, "message": "nonce too low" }))).await;
    let (down, _) = counted(|_| Say::Body(502, vec![])).await;
    let send = async |urls: &[&String]| {
        let endpoints = Endpoints::new(urls, 1, Duration::from_secs(60)).unwrap();
        let good = |answer: &SendAnswer| *answer == SendAnswer::Accepted;
        endpoints.every(|endpoint| async move { endpoint.send_raw(&[1]).await }, good).await
    };
    assert_eq!(send(&[&deaf, &used, &down, &taken]).await.unwrap(), SendAnswer::Accepted);
    assert_eq!(send(&[&down, &used]).await.unwrap(), SendAnswer::NonceUsed);
    assert!(matches!(send(&[&down]).await, Err(ChainError::HttpStatus { .. })));
    assert_eq!(heard.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(heard_too.load(std::sync::atomic::Ordering::SeqCst) >= 1);
}

/// Endpoints with these newest blocks, each with its number and its age in seconds.
async fn heads(heads: &[(u64, u64)]) -> Endpoints {
    #[expect(
        clippy::disallowed_methods,
        reason = "the endpoints' blocks are compared with the machine's clock"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut urls = Vec::new();
    for &(number, age) in heads {
        let block = json!({ "number": format!("{number:#x}"), "hash": B256::ZERO, "timestamp": format!("{:#x}", now - age) });
        urls.push(
            serve(move |method, _| match method {
                "eth_chainId" => Say::Result(json!("0x1")),
                "eth_maxPriorityFeePerGas" => Say::Result(json!(format!("{number:#x}"))),
                _ => Say::Result(block.clone()),
            })
            .await,
        );
    }
    Endpoints::new(&urls, 1, TIMEOUT).unwrap()
}

#[tokio::test]
async fn who_is_behind_goes_behind() {
    // The newest block that is taken, and the endpoint that is asked from then on.
    for (given, newest, asked) in [
        (&[(100, 5), (101, 5)][..], 100, 100),
        // One endpoint is stuck, and one follows the chain.
        (&[(90, 500), (101, 5)], 101, 101),
        // By our clock, all of them are old.
        (&[(90, 500), (101, 300)], 101, 101),
        (&[(99, 500), (101, 300)], 99, 99),
        (&[(7, 90_000)], 7, 7),
    ] {
        let endpoints = heads(given).await;
        assert_eq!(endpoints.head().await.unwrap().block.number, newest, "{given:?}");
        assert_eq!(gas_price(&endpoints).await.unwrap(), asked, "{given:?}");
    }
    // What was seen before counts as well.
    let endpoints = heads(&[(90, 5), (101, 5)]).await;
    assert_eq!(endpoints.head().await.unwrap().block.number, 90);
    endpoints.highest.store(101, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(endpoints.head().await.unwrap().block.number, 101);
    // A chain that has gone back is believed.
    let endpoints = heads(&[(90, 5)]).await;
    endpoints.highest.store(101, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(endpoints.head().await.unwrap().block.number, 90);
    assert_eq!(endpoints.highest.load(std::sync::atomic::Ordering::Relaxed), 90);
}
