//! Endpoints that lie, stall, flood or talk nonsense.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use serde_json::{Value, json};

use super::fake::{Say, serve};
use super::{At, Call, Endpoint, Endpoints, SendAnswer};
use crate::error::{ChainError, ErrorClass};
use crate::revert::Revert;

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
            |error| matches!(error, ChainError::Transport { reason, .. } if reason.contains("503")),
        ),
        (Say::Body(302, b"".to_vec()), |error| matches!(error, ChainError::Transport { .. })),
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
    // RecordingPaused(), as geth, as a node that nests, as one that gives no data.
    let data = "0xd8bf90ae";
    let paused = <crate::bindings::CertificateLog::RecordingPaused as alloy::sol_types::SolError>::SELECTOR;
    let data = data.replace("d8bf90ae", &alloy::primitives::hex::encode(paused));
    let halted = |reason: &str| Some(Revert::Halted { reason: reason.into() });
    let cases = [
        (json!({ "code": 3, "message": "execution reverted", "data": data }), Some(Revert::RecordingPaused)),
        (json!({ "code": -32000, "message": "x", "data": { "data": data } }), Some(Revert::RecordingPaused)),
        (
            json!({ "code": -32000, "message": "VM Exception: revert" }),
            Some(Revert::Unexplained { data: Default::default() }),
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
            (Ok(Err(revert)), Some(expected)) => assert_eq!(revert, expected),
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
        ("insufficient funds for gas * price + value", None),
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
