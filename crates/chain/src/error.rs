//! Everything that can go wrong between this process and L1, and who can mend it.

use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use dac_bls::PointError;
use dac_types::{CommitteeError, GeometryError};
use thiserror::Error;

use crate::amount::{Ether, Gwei};
use crate::contracts::{Effect, Refusal};

/// Who can mend an error, and so what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request itself is wrong: repeating it changes nothing.
    Sender,
    /// The same request may succeed later or elsewhere.
    Retryable,
    /// This process is configured for something that does not exist or is broken. An operator must
    /// mend it.
    Fatal,
}

/// L1's registry gave answers that do not describe a committee.
#[derive(Debug, Error)]
pub enum RegistryFault {
    /// The registry has more entries than this process will read.
    #[error("the registry claims {got} {what}, at most {limit} are read")]
    TooMany {
        /// The kind of entries.
        what: &'static str,
        /// The number that the registry claims.
        got: u64,
        /// The most entries that are read.
        limit: u64,
    },
    /// A page of a listing does not have as many entries as the count demands.
    #[error("the registry gave {got} {what} where {expected} were due")]
    PageLength {
        /// The kind of entries.
        what: &'static str,
        /// The number of entries received.
        got: usize,
        /// The number of entries due.
        expected: usize,
    },
    /// The epoch's n, k and q are not a valid geometry and quorum.
    #[error("epoch {epoch}: {source}")]
    Geometry {
        /// The epoch.
        epoch: u64,
        /// The rule that they break.
        source: GeometryError,
    },
    /// The members cannot form a committee.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// A key does not have the length of an EIP-2537 G2 point.
    #[error("epoch {epoch}, seat {seat}: a key has 256 bytes, got {got}")]
    KeyLength {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: usize,
        /// The length received, in bytes.
        got: usize,
    },
    /// A key is not a point of its group, or it is infinity.
    #[error("epoch {epoch}, seat {seat}: {source}")]
    Key {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: usize,
        /// What is wrong with the point.
        source: PointError,
    },
    /// A URL is longer than the registry allows.
    #[error("epoch {epoch}, seat {seat}: a URL has at most {limit} bytes, got {got}")]
    UrlLength {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: usize,
        /// The length received, in bytes.
        got: usize,
        /// The greatest length allowed, in bytes.
        limit: usize,
    },
    /// The registry lists a rollup twice.
    #[error("rollup {0} is listed twice")]
    DuplicateRollup(Address),
    /// The three times of an epoch contradict each other.
    #[error("epoch {epoch} is active from {from} until {until} and postable until {postable}")]
    Window {
        /// The epoch.
        epoch: u64,
        /// The first second in which it is active.
        from: u64,
        /// The last second in which its members sign.
        until: u64,
        /// The last second in which its certificates can be posted.
        postable: u64,
    },
}

/// An error of a request to L1, of a transaction, or of what L1 answered.
#[derive(Debug, Error)]
pub enum ChainError {
    /// No L1 endpoint was configured.
    #[error("no L1 endpoint is configured")]
    NoEndpoint,
    /// An endpoint's URL cannot be used.
    #[error("the L1 endpoint's URL is unusable: {reason}")]
    EndpointUrl {
        /// The reason. It never contains the URL, which may hold a credential.
        reason: String,
    },
    /// An endpoint did not answer within the deadline.
    #[error("{endpoint}: {method} was not answered within {limit:?}")]
    Timeout {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// The deadline.
        limit: Duration,
    },
    /// The connection to an endpoint failed or broke.
    #[error("{endpoint}: {method} failed: {reason}")]
    Transport {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// The reason.
        reason: String,
    },
    /// The endpoint limits the rate of requests and wants none for a while.
    #[error("{endpoint}: {method} was asked for too often, again in {retry_after:.1?}")]
    RateLimited {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// How long this process sends no request to the endpoint.
        retry_after: Duration,
    },
    /// The answer is longer than the answer to any request of this process can be.
    #[error("{endpoint}: the answer to {method} is longer than {limit} bytes")]
    AnswerTooLong {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The answer does not have the form that the method returns.
    #[error("{endpoint}: the answer to {method} is not understood: {reason}")]
    Malformed {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// What could not be understood.
        reason: String,
    },
    /// The L1 node answered with a JSON-RPC error.
    #[error("{endpoint}: {method} was refused with code {code}: {message}")]
    Refused {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// The JSON-RPC error code.
        code: i64,
        /// The node's message, shortened.
        message: String,
    },
    /// The endpoint, or a proxy in front of it, answered with an HTTP status and without a JSON-RPC
    /// answer.
    #[error("{endpoint}: {method} failed with HTTP status {status}: {said}")]
    HttpStatus {
        /// The endpoint's host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// The HTTP status.
        status: u16,
        /// The answer's text, shortened.
        said: String,
    },
    /// The endpoint serves another chain.
    #[error("{endpoint}: chain {expected} is configured, the endpoint serves {got}")]
    WrongChain {
        /// The endpoint's host and port.
        endpoint: String,
        /// The configured chain id.
        expected: u64,
        /// The chain id that the endpoint serves.
        got: u64,
    },
    /// At the configured address is no contract, or another one than expected.
    #[error("there is no {contract} at {address}")]
    NoContract {
        /// The name of the contract that was expected.
        contract: &'static str,
        /// The configured address.
        address: Address,
    },
    /// The certificate log belongs to another registry.
    #[error("the certificate log {log} belongs to registry {got}, configured is {expected}")]
    WrongRegistry {
        /// The log's address.
        log: Address,
        /// The registry that the log belongs to.
        got: Address,
        /// The configured registry.
        expected: Address,
    },
    /// Reading the whole registry took too long.
    #[error("{endpoint}: the registry was not read within {limit:?}")]
    SnapshotDeadline {
        /// The endpoint's host and port.
        endpoint: String,
        /// The deadline.
        limit: Duration,
    },
    /// The registry's answers contradict each other or do not describe a committee.
    #[error("{endpoint}: {fault}")]
    Registry {
        /// The endpoint's host and port.
        endpoint: String,
        /// What is wrong.
        fault: RegistryFault,
    },
    /// A contract refused a call and gave the reason.
    #[error("{0}")]
    Reverted(Refusal),
    /// A certificate's signature is not a point of its group, so the contract's form of it does not
    /// exist.
    #[error("the certificate's signature is no point: {0}")]
    CertificateSignature(#[from] PointError),
    /// A transaction was included but failed, and running it again did not show why.
    #[error("transaction {hash} failed on L1")]
    TransactionFailed {
        /// The transaction's hash.
        hash: B256,
    },
    /// A transaction was not included before the deadline; it may still be included.
    #[error("transaction {hash} was not included within {limit:?}; it still may be")]
    ReceiptDeadline {
        /// The transaction's hash.
        hash: B256,
        /// The deadline.
        limit: Duration,
    },
    /// Another transaction of the same account, included earlier or better paid, uses the same
    /// nonce.
    #[error("another transaction of this account uses nonce {nonce}")]
    NonceTaken {
        /// The nonce.
        nonce: u64,
    },
    /// The gas price on L1 exceeds the cap.
    #[error("a gas price of {} gwei is needed, the cap is {} gwei", Gwei(*needed), Gwei(*cap))]
    FeeCap {
        /// The wei per gas that L1 asks for.
        needed: u128,
        /// The wei per gas allowed.
        cap: u128,
    },
    /// Replacing a transaction, or getting it into the pools, takes a higher tip than allowed.
    #[error("a tip of {} gwei is needed, at most {} gwei are allowed", Gwei(*needed), Gwei(*cap))]
    TipCap {
        /// The wei per gas that are needed.
        needed: u128,
        /// The wei per gas allowed.
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
        /// The account's balance in wei.
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
    /// A block range is empty or runs backwards.
    #[error("there are no blocks from {from} to {to}")]
    BlockRange {
        /// The first block.
        from: u64,
        /// The last block.
        to: u64,
    },
    /// An endpoint does not have a block that it, or another endpoint, had before.
    #[error("L1's block {block} is not known any more: an endpoint is behind, or the chain was reorganised")]
    BlockUnknown {
        /// The block's number.
        block: u64,
    },
    /// A reorganisation replaced a block while it was being read.
    #[error("block {block} was replaced while it was read")]
    Replaced {
        /// The block's number.
        block: u64,
    },
    /// The endpoints answered, but fewer than must agree gave the same answer.
    #[error("L1's endpoints do not agree about {what}, {agree} must: {endpoints}")]
    Disagree {
        /// What was asked for.
        what: &'static str,
        /// How many endpoints must give the same answer.
        agree: usize,
        /// The endpoints' hosts and ports, grouped by answer.
        endpoints: String,
    },
    /// Fewer endpoints answered than must agree.
    #[error("{agree} L1 endpoints must agree about {what}, {answered} answered: {reason}")]
    TooFewAgree {
        /// What was asked for.
        what: &'static str,
        /// How many endpoints must give the same answer.
        agree: usize,
        /// How many endpoints answered.
        answered: usize,
        /// Why another endpoint did not answer.
        reason: String,
    },
    /// An endpoint left out settlement events: batch numbers leave no gaps.
    #[error("{contract} settled batch {got} after batch {after}, says the endpoint: others are missing")]
    EventsMissing {
        /// The contract.
        contract: Address,
        /// The last batch that settled before; 0 for none.
        after: u64,
        /// The batch that the endpoint gave next.
        got: u64,
    },
    /// The range has more events than are collected at once.
    #[error("more than {limit} events from block {from} to {to}: ask for fewer blocks")]
    TooManyEvents {
        /// The first block.
        from: u64,
        /// The last block.
        to: u64,
        /// The most events that are collected.
        limit: usize,
    },
    /// The task that would have answered has ended.
    #[error("the task has stopped")]
    Stopped,
}

impl ChainError {
    /// Tells who can mend the error.
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
