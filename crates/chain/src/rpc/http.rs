//! One exchange over HTTP, with a deadline and a bound on the answer. No error contains the URL.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::found::find_data;
use super::rest::{LIMITED_DEFAULT, LIMITED_MAX};
use crate::error::ChainError;

/// The most bytes of one answer. The largest answer asked for, a page of logs, is far smaller.
const ANSWER_MAX_BYTES: usize = 8 << 20;
/// The most characters of an endpoint's error text that are repeated.
const MESSAGE_MAX_CHARS: usize = 200;

/// How nodes say that a call stopped without a revert, in lower-case letters only: geth and Erigon,
/// Reth and anvil, Nethermind and Besu. Errors of the node itself, such as an unknown block, are
/// not listed.
const HALTS: [&str; 24] = [
    "outofgas",
    "memoryoog",
    "precompileoog",
    "operandoog",
    "gasrequiredexceeds",
    "gasuint64overflow",
    "invalidopcode",
    "invalidfeopcode",
    "opcodenotfound",
    "badinstruction",
    "notactivated",
    "invalidjump",
    "badjump",
    "stackunderflow",
    "stackoverflow",
    "stacklimitreached",
    "writeprotection",
    "staticstateviolation",
    "statechangeduringstaticcall",
    "returndataoutofbounds",
    "outofoffset",
    "maxcalldepthexceeded",
    "executionaborted",
    "executiontimeout",
];

/// The HTTP client for one node.
pub(super) struct Http {
    client: reqwest::Client,
    url: reqwest::Url,
    /// Host and port, which may be logged.
    name: String,
    timeout: Duration,
    next_id: AtomicU64,
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a Value,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorObject>,
}

impl<'a> Response<'a> {
    /// Some proxies answer a single request with a list of one answer.
    fn parse(body: &'a [u8]) -> serde_json::Result<Self> {
        let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        if is_list {
            serde_json::from_slice::<[Self; 1]>(body).map(|[response]| response)
        } else {
            serde_json::from_slice(body)
        }
    }

    fn answers(&self, id: u64) -> bool {
        self.id.is_some_and(|got| got.get().parse() == Ok(id))
    }
}

/// The error that a node, or a proxy in front of it, returned.
#[derive(Deserialize)]
#[serde(from = "Value")]
pub(super) struct ErrorObject {
    code: i64,
    pub(super) message: String,
    data: Option<Value>,
}

impl From<Value> for ErrorObject {
    /// Proxies have errors of their own form: a text alone, a code in quotes or none, no message. A
    /// code that is not a number becomes 0.
    fn from(value: Value) -> Self {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let code = match value.get("code") {
            Some(Value::String(code)) => code.trim().parse().ok(),
            code => code.and_then(Value::as_i64),
        };
        let message = value.get("message").filter(|message| !message.is_null()).unwrap_or(&value);
        Self { code: code.unwrap_or(0), message: text(message), data: value.get("data").cloned() }
    }
}

impl ErrorObject {
    /// Returns the revert data, from any place where nodes put it.
    pub(super) fn revert_data(&self) -> Option<Bytes> {
        find_data(&self.message, self.data.as_ref())
    }

    /// Code 3 means a revert by convention; some nodes only say so in words.
    pub(super) fn is_revert(&self) -> bool {
        self.code == 3 || self.message.to_ascii_lowercase().contains("revert")
    }
}

impl ErrorObject {
    /// Returns why the call stopped, if it stopped without a revert. Some nodes say that outside
    /// the message.
    pub(super) fn halt(&self) -> Option<String> {
        let said = [Some(self.message.as_str()), self.data.as_ref().and_then(Value::as_str)];
        said.into_iter().flatten().find_map(|text| {
            let letters: String =
                text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
            HALTS.iter().any(|halt| letters.contains(halt)).then(|| shorten(text))
        })
    }
}

impl ErrorObject {
    /// Whether the error limits the rate of requests, in the words of the usual providers. A
    /// refusal of too large a request, with the same code, does not count.
    fn is_rate_limit(&self) -> bool {
        let text = self.message.to_ascii_lowercase();
        self.code == 429
            || ["rate limit", "rate exceeded", "too many requests", "per second", "request limit"]
                .iter()
                .any(|words| text.contains(words))
    }
}

/// What came back over HTTP.
struct Received {
    status: reqwest::StatusCode,
    /// The pause that the endpoint asks for, if it asks for one.
    retry_after: Option<Duration>,
    answer: Vec<u8>,
}

/// The pause that "too many requests" asks for, and that "unavailable" asks for if it says how
/// long. The header's value is read as seconds; a date is ignored.
fn pause_asked_for(status: reqwest::StatusCode, headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let said = headers.get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = said.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let pause = match status.as_u16() {
        429 => seconds.unwrap_or(LIMITED_DEFAULT),
        503 => seconds?,
        _ => return None,
    };
    Some(pause.clamp(LIMITED_DEFAULT, LIMITED_MAX))
}

pub(super) enum Answer<T> {
    Value(T),
    Error(ErrorObject),
}

impl Http {
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, ChainError> {
        let unusable = |reason: String| ChainError::EndpointUrl { reason };
        let url: reqwest::Url = url.parse().map_err(|error| unusable(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unusable(format!("the scheme must be http or https, got {}", url.scheme())));
        }
        let host = url.host_str().ok_or_else(|| unusable("it names no host".into()))?;
        let name = match url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| unusable(describe(&error)))?;
        Ok(Self { client, url, name, timeout, next_id: AtomicU64::new(0) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn exchange<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Answer<T>, ChainError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::to_vec(&Request { jsonrpc: "2.0", id, method, params: &params })
            .map_err(|error| self.malformed(method, &error.to_string()))?;
        // The client's own timeout covers connecting and each read; this one covers the whole
        // exchange.
        let Received { status, retry_after, answer } =
            tokio::time::timeout(self.timeout, self.post(method, body)).await.map_err(|_| {
                ChainError::Timeout { endpoint: self.name.clone(), method, limit: self.timeout }
            })??;

        if let Some(retry_after) = retry_after {
            return Err(ChainError::RateLimited { endpoint: self.name.clone(), method, retry_after });
        }
        let response = match Response::parse(&answer) {
            Ok(response) if status.is_success() || response.error.is_some() => response,
            _ if !status.is_success() => return Err(self.http_status(method, status, &answer)),
            Ok(response) => response,
            Err(error) => return Err(self.malformed(method, &error.to_string())),
        };
        if let Some(error) = response.error {
            if error.is_rate_limit() {
                let (endpoint, retry_after) = (self.name.clone(), LIMITED_DEFAULT);
                return Err(ChainError::RateLimited { endpoint, method, retry_after });
            }
            return Ok(Answer::Error(error));
        }
        if !response.answers(id) {
            return Err(self.malformed(method, "the answer to another request"));
        }
        let raw = response.result.map_or("null", RawValue::get);
        let value = serde_json::from_str(raw).map_err(|error| self.malformed(method, &error.to_string()))?;
        Ok(Answer::Value(value))
    }

    async fn post(&self, method: &'static str, body: Vec<u8>) -> Result<Received, ChainError> {
        let transport = |error: reqwest::Error| ChainError::Transport {
            endpoint: self.name.clone(),
            method,
            // A URL may contain a credential.
            reason: describe(&error.without_url()),
        };
        let mut response = self
            .client
            .post(self.url.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(transport)?;
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(transport)? {
            if answer.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(ChainError::AnswerTooLong {
                    endpoint: self.name.clone(),
                    method,
                    limit: ANSWER_MAX_BYTES,
                });
            }
            answer.extend_from_slice(&piece);
        }
        let status = response.status();
        Ok(Received { status, retry_after: pause_asked_for(status, response.headers()), answer })
    }

    /// The error for an HTTP status without a JSON-RPC answer; a page of HTML is not repeated.
    fn http_status(&self, method: &'static str, status: reqwest::StatusCode, body: &[u8]) -> ChainError {
        let text = String::from_utf8_lossy(&body[..body.len().min(4 * MESSAGE_MAX_CHARS)]);
        let text = text.trim();
        let said = if text.is_empty() || text.starts_with('<') {
            status.canonical_reason().unwrap_or("no reason is given").to_owned()
        } else {
            shorten(text)
        };
        ChainError::HttpStatus { endpoint: self.name.clone(), method, status: status.as_u16(), said }
    }

    pub(super) fn malformed(&self, method: &'static str, reason: &str) -> ChainError {
        ChainError::Malformed { endpoint: self.name.clone(), method, reason: shorten(reason) }
    }

    pub(super) fn refused(&self, method: &'static str, error: ErrorObject) -> ChainError {
        ChainError::Refused {
            endpoint: self.name.clone(),
            method,
            code: error.code,
            message: shorten(&error.message),
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX_CHARS).collect()
}

/// An error's text with its causes, which reqwest's own text leaves out.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    shorten(&text)
}
