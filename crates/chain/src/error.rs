//! Everything that can go wrong between this process and L1, and whose fault it is.

use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use dac_bls::PointError;
use dac_types::{CommitteeError, GeometryError};
use thiserror::Error;

use crate::amount::{Ether, Gwei};
use crate::contracts::{Effect, Refusal};

/// Whose fault an error is, and so what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// What was asked for is wrong: asking again changes nothing.
    Sender,
    /// The same request may succeed later or elsewhere.
    Retryable,
    /// This process is configured for something that does not exist or is broken. An operator must
    /// mend it.
    Fatal,
}

/// An answer of L1 that does not describe a committee.
#[derive(Debug, Error)]
pub enum RegistryFault {
    /// More than this process will read.
    #[error("the registry claims {got} {what}, at most {limit} are read")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// Number claimed.
        got: u64,
        /// Number read at most.
        limit: u64,
    },
    /// A page of a listing does not have the length that the count demands.
    #[error("the registry gave {got} {what} where {expected} were due")]
    PageLength {
        /// What is listed.
        what: &'static str,
        /// Entries received.
        got: usize,
        /// Entries due.
        expected: usize,
    },
    /// n, k and q are no committee.
    #[error("epoch {epoch}: {source}")]
    Geometry {
        /// The epoch.
        epoch: u64,
        /// Why.
        source: GeometryError,
    },
    /// Members do not make a committee.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// A key has another length than an EIP-2537 G2 point.
    #[error("epoch {epoch}, seat {seat}: a key has 256 bytes, got {got}")]
    KeyLength {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: usize,
        /// Length received.
        got: usize,
    },
    /// A key is no point of its group, or infinity.
    #[error("epoch {epoch}, seat {seat}: {source}")]
    Key {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: usize,
        /// Why.
        source: PointError,
    },
    /// A URL longer than the registry allows.
    #[error("epoch {epoch}, seat {seat}: a URL has at most {limit} bytes, got {got}")]
    UrlLength {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: usize,
        /// Length received.
        got: usize,
        /// Longest allowed.
        limit: usize,
    },
    /// A rollup listed twice.
    #[error("rollup {0} is listed twice")]
    DuplicateRollup(Address),
    /// The validity window of an epoch makes no sense.
    #[error("epoch {epoch} is active from {from} until {until} and postable until {postable}")]
    Window {
        /// The epoch.
        epoch: u64,
        /// First second.
        from: u64,
        /// Last second of signing.
        until: u64,
        /// Last second of posting.
        postable: u64,
    },
}

/// What went wrong on the way to L1, there, or on the way back.
#[derive(Debug, Error)]
pub enum ChainError {
    /// No L1 endpoint was configured.
    #[error("no L1 endpoint is configured")]
    NoEndpoint,
    /// An endpoint's URL cannot be used.
    #[error("the L1 endpoint's URL is unusable: {reason}")]
    EndpointUrl {
        /// Why; never the URL, which may hold a credential.
        reason: String,
    },
    /// No answer within the deadline.
    #[error("{endpoint}: {method} was not answered within {limit:?}")]
    Timeout {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// The deadline.
        limit: Duration,
    },
    /// No connection, or a broken one.
    #[error("{endpoint}: {method} failed: {reason}")]
    Transport {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// Why.
        reason: String,
    },
    /// The endpoint asks not to be asked for a while.
    #[error("{endpoint}: {method} was asked for too often, again in {retry_after:.1?}")]
    RateLimited {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// The time during which no request of this process goes to it.
        retry_after: Duration,
    },
    /// The answer is longer than anything asked for.
    #[error("{endpoint}: the answer to {method} is longer than {limit} bytes")]
    AnswerTooLong {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// Bytes read at most.
        limit: usize,
    },
    /// The answer is not what the method returns.
    #[error("{endpoint}: the answer to {method} is not understood: {reason}")]
    Malformed {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// Why.
        reason: String,
    },
    /// The L1 node refused.
    #[error("{endpoint}: {method} was refused with code {code}: {message}")]
    Refused {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// What it said, shortened.
        message: String,
    },
    /// The endpoint, or a proxy before it, answered with a status of HTTP and nothing else that is
    /// understood.
    #[error("{endpoint}: {method} failed with HTTP status {status}: {said}")]
    HttpStatus {
        /// Host and port.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// The status.
        status: u16,
        /// What it said, shortened.
        said: String,
    },
    /// The endpoint serves another chain.
    #[error("{endpoint}: chain {expected} is configured, the endpoint serves {got}")]
    WrongChain {
        /// Host and port.
        endpoint: String,
        /// Chain id configured.
        expected: u64,
        /// Chain id served.
        got: u64,
    },
    /// No contract, or another one, at the configured address.
    #[error("there is no {contract} at {address}")]
    NoContract {
        /// Which contract was expected.
        contract: &'static str,
        /// Where.
        address: Address,
    },
    /// The certificate log belongs to another registry.
    #[error("the certificate log {log} belongs to registry {got}, configured is {expected}")]
    WrongRegistry {
        /// The log.
        log: Address,
        /// Its registry.
        got: Address,
        /// The registry configured.
        expected: Address,
    },
    /// The whole snapshot took too long.
    #[error("{endpoint}: the registry was not read within {limit:?}")]
    SnapshotDeadline {
        /// Host and port.
        endpoint: String,
        /// The deadline.
        limit: Duration,
    },
    /// The registry's answers do not fit together.
    #[error("{endpoint}: {fault}")]
    Registry {
        /// Host and port.
        endpoint: String,
        /// What is wrong.
        fault: RegistryFault,
    },
    /// A contract refused, and said why.
    #[error("{0}")]
    Reverted(Refusal),
    /// A certificate cannot be written in the contract's form.
    #[error("the certificate's signature is no point: {0}")]
    CertificateSignature(#[from] PointError),
    /// A transaction was included and failed without a reason that could be found out.
    #[error("transaction {hash} failed on L1")]
    TransactionFailed {
        /// Which.
        hash: B256,
    },
    /// A transaction was not included in time; it still may be.
    #[error("transaction {hash} was not included within {limit:?}; it still may be")]
    ReceiptDeadline {
        /// Which.
        hash: B256,
        /// The deadline.
        limit: Duration,
    },
    /// Another transaction of the same account was faster, or pays more than this one.
    #[error("another transaction of this account uses nonce {nonce}")]
    NonceTaken {
        /// The nonce.
        nonce: u64,
    },
    /// Gas costs more than allowed.
    #[error("a gas price of {} gwei is needed, the cap is {} gwei", Gwei(*needed), Gwei(*cap))]
    FeeCap {
        /// Wei per gas that L1 asks for.
        needed: u128,
        /// Wei per gas allowed.
        cap: u128,
    },
    /// To replace a transaction, or to get it into the pools, takes a higher tip than allowed.
    #[error("a tip of {} gwei is needed, at most {} gwei are allowed", Gwei(*needed), Gwei(*cap))]
    TipCap {
        /// Wei per gas that are needed.
        needed: u128,
        /// Wei per gas allowed.
        cap: u128,
    },
    /// The account owns less than the transaction may cost.
    #[error(
        "the account {account} owns {} ether, the transaction may cost {} ether: send more to it",
        Ether(*balance), Ether(*needed)
    )]
    Unfunded {
        /// The account.
        account: Address,
        /// What it owns, in wei.
        balance: U256,
        /// What the transaction may cost, in wei.
        needed: U256,
    },
    /// A transaction needs more gas than allowed.
    #[error("{needed} gas is needed, the limit is {limit}")]
    GasLimit {
        /// Gas estimated.
        needed: u64,
        /// Gas allowed.
        limit: u64,
    },
    /// The key refused to sign.
    #[error("signing failed: {0}")]
    Signing(String),
    /// A block range is empty or backwards.
    #[error("there are no blocks from {from} to {to}")]
    BlockRange {
        /// First.
        from: u64,
        /// Last.
        to: u64,
    },
    /// An endpoint has no block of a number that was there before.
    #[error("L1's block {block} is not known any more: an endpoint is behind, or the chain was reorganised")]
    BlockUnknown {
        /// Its number.
        block: u64,
    },
    /// A block was replaced by another one while it was read.
    #[error("block {block} was replaced while it was read")]
    Replaced {
        /// Its number.
        block: u64,
    },
    /// Endpoints answered, and no answer came from as many as must agree.
    #[error("L1's endpoints do not agree about {what}, {agree} must: {endpoints}")]
    Disagree {
        /// What was asked.
        what: &'static str,
        /// How many must answer alike.
        agree: usize,
        /// Hosts and ports, by what they answered.
        endpoints: String,
    },
    /// Fewer endpoints answered than must agree.
    #[error("{agree} L1 endpoints must agree about {what}, {answered} answered: {reason}")]
    TooFewAgree {
        /// What was asked.
        what: &'static str,
        /// How many must answer alike.
        agree: usize,
        /// How many answered.
        answered: usize,
        /// Why another one did not.
        reason: String,
    },
    /// An endpoint left out events that must have been.
    #[error("{contract} settled batch {got} after batch {after}, says the endpoint: others are missing")]
    EventsMissing {
        /// The contract.
        contract: Address,
        /// The last batch that settled before; 0 for none.
        after: u64,
        /// The one that the endpoint gave next.
        got: u64,
    },
    /// More events in the range than are collected at once.
    #[error("more than {limit} events from block {from} to {to}: ask for fewer blocks")]
    TooManyEvents {
        /// First block.
        from: u64,
        /// Last block.
        to: u64,
        /// Events collected at most.
        limit: usize,
    },
    /// The task that would answer has ended.
    #[error("the task has stopped")]
    Stopped,
}

impl ChainError {
    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoEndpoint
            | Self::EndpointUrl { .. }
            | Self::WrongChain { .. }
            | Self::NoContract { .. }
            | Self::WrongRegistry { .. }
            | Self::Signing(_) => ErrorClass::Fatal,
            Self::CertificateSignature(_)
            | Self::TransactionFailed { .. }
            | Self::GasLimit { .. }
            | Self::Unfunded { .. }
            | Self::BlockRange { .. }
            | Self::TooManyEvents { .. } => ErrorClass::Sender,
            Self::Reverted(refusal) if refusal.effect() == Effect::MayPass => ErrorClass::Retryable,
            Self::Reverted(_) => ErrorClass::Sender,
            Self::Timeout { .. }
            | Self::Transport { .. }
            | Self::RateLimited { .. }
            | Self::AnswerTooLong { .. }
            | Self::Malformed { .. }
            | Self::Refused { .. }
            | Self::HttpStatus { .. }
            | Self::SnapshotDeadline { .. }
            | Self::Registry { .. }
            | Self::BlockUnknown { .. }
            | Self::Replaced { .. }
            | Self::Disagree { .. }
            | Self::TooFewAgree { .. }
            | Self::EventsMissing { .. }
            | Self::ReceiptDeadline { .. }
            | Self::NonceTaken { .. }
            | Self::FeeCap { .. }
            | Self::TipCap { .. }
            | Self::Stopped => ErrorClass::Retryable,
        }
    }
}
