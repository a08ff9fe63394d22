//! An aggregator as its client sees it: a batch's state, waiting for it, its certificate. Nothing that it says is believed
//! beyond what signatures prove.

use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1::batch_service_client::BatchServiceClient;
use dac_proto::wire::{self, WireError};
use dac_proto::{v1, wire::fixed};
use dac_types::{B256, BatchDigest, BatchSubmission, Certificate, Seat, limits};
use thiserror::Error;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::connect::{Dialer, message_limit};
use crate::endpoint::EndpointUrl;
use crate::fault::MemberFault;
use crate::submit::SubmissionError;
use crate::text::printable;

/// Why an aggregator did not do what was asked.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// What was to be sent is wrong already.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// No connection, or a broken one.
    #[error("the aggregator: {0}")]
    Unreachable(MemberFault),
    /// Too slow.
    #[error("the aggregator did not answer {what} within {limit:?}")]
    TimedOut {
        /// Which call.
        what: &'static str,
        /// Its deadline.
        limit: Duration,
    },
    /// It refused.
    #[error("the aggregator refused with {}: {message}", reason.map_or_else(|| format!("{code:?}"), |reason| reason.to_string()))]
    Refused {
        /// The machine-readable reason, if it gave one.
        reason: Option<Reason>,
        /// The gRPC code.
        code: Code,
        /// What it says, made printable.
        message: String,
    },
    /// Its answer cannot be read.
    #[error("the aggregator's answer: {0}")]
    Junk(#[from] WireError),
    /// Its answer is about another batch.
    #[error("asked about batch {expected}, the aggregator answered about {got}")]
    OtherBatch {
        /// Asked for.
        expected: B256,
        /// Received.
        got: B256,
    },
    /// The batch came to an end that is not the one waited for.
    #[error("the batch is {}{}", state.name(), if failure.is_empty() { String::new() } else { format!(": {failure}") })]
    Ended {
        /// How it ended.
        state: BatchState,
        /// Why.
        failure: String,
    },
    /// What was waited for did not happen in time.
    #[error("the batch is {} after {limit:?}, not yet {}", state.map_or("unknown", BatchState::name), goal.name())]
    Waiting {
        /// Its last known state.
        state: Option<BatchState>,
        /// The state waited for.
        goal: BatchState,
        /// The deadline.
        limit: Duration,
    },
}

impl AggregatorError {
    /// From a status that the aggregator answered or that the transport made up.
    pub(crate) fn from_status(status: &Status) -> Self {
        match MemberFault::from_status(status) {
            MemberFault::Status { reason, code, message } => Self::Refused { reason, code, message },
            fault => Self::Unreachable(fault),
        }
    }

    /// The aggregator's reason, if it gave one.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => *reason,
            _ => None,
        }
    }
}

/// Where a batch is in its life. Section 8 of `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// On the aggregator's durable storage.
    Received,
    /// On its way to the members.
    Dispersing,
    /// A quorum signed.
    Certified,
    /// Certified, and its validity proof is there.
    Proved,
    /// Recorded on L1.
    Posted,
    /// Its state transition is final on L1.
    Settled,
    /// Given up.
    Failed,
    /// Past its time.
    Expired,
}

impl BatchState {
    /// As in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Dispersing => "DISPERSING",
            Self::Certified => "CERTIFIED",
            Self::Proved => "PROVED",
            Self::Posted => "POSTED",
            Self::Settled => "SETTLED",
            Self::Failed => "FAILED",
            Self::Expired => "EXPIRED",
        }
    }

    /// Whether `goal` is reached. Certification and proving are independent; posting implies both.
    pub fn has_reached(self, goal: Self) -> bool {
        self.rank().zip(goal.rank()).is_some_and(|(own, goal)| own >= goal)
    }

    /// Whether nothing more happens after this one.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Settled | Self::Failed | Self::Expired)
    }

    const fn rank(self) -> Option<u8> {
        match self {
            Self::Received => Some(0),
            Self::Dispersing => Some(1),
            Self::Certified => Some(2),
            Self::Proved => Some(3),
            Self::Posted => Some(4),
            Self::Settled => Some(5),
            Self::Failed | Self::Expired => None,
        }
    }

    fn from_wire(value: i32) -> Result<Self, WireError> {
        match v1::BatchState::try_from(value) {
            Ok(v1::BatchState::Received) => Ok(Self::Received),
            Ok(v1::BatchState::Dispersing) => Ok(Self::Dispersing),
            Ok(v1::BatchState::Certified) => Ok(Self::Certified),
            Ok(v1::BatchState::Proved) => Ok(Self::Proved),
            Ok(v1::BatchState::Posted) => Ok(Self::Posted),
            Ok(v1::BatchState::Settled) => Ok(Self::Settled),
            Ok(v1::BatchState::Failed) => Ok(Self::Failed),
            Ok(v1::BatchState::Expired) => Ok(Self::Expired),
            Ok(v1::BatchState::Unspecified) | Err(_) => {
                Err(WireError::UnknownEnum { field: "batch.state", got: value })
            }
        }
    }
}

/// How far a member got with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Not tried yet.
    Pending,
    /// It signed.
    Attested,
    /// Failed for now.
    Retrying,
    /// It refused for good.
    Refused,
    /// Its signature does not verify.
    Lied,
}

impl DeliveryState {
    /// As in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Attested => "ATTESTED",
            Self::Retrying => "RETRYING",
            Self::Refused => "REFUSED",
            Self::Lied => "LIED",
        }
    }
}

/// One member's part in a batch, as the aggregator tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its seat.
    pub seat: Seat,
    /// How far it got.
    pub state: DeliveryState,
    /// Deliveries tried.
    pub attempts: u32,
    /// Machine-readable reason of the last failure.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// When it signed, in Unix milliseconds; 0: not yet.
    pub attested_at_ms: u64,
    /// Whether its signature is in the certificate.
    pub in_certificate: bool,
}

/// Where the certificate was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Status {
    /// The transaction, if it is known.
    pub transaction: Option<B256>,
    /// Its block.
    pub block: u64,
    /// What it cost.
    pub gas_used: u64,
    /// Whether this aggregator sent it.
    pub by_us: bool,
}

/// A batch as the aggregator tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchStatus {
    /// The order's digest.
    pub submission_digest: B256,
    /// The batch's, once it is encoded.
    pub digest: Option<BatchDigest>,
    /// The order.
    pub submission: BatchSubmission,
    /// The epoch, once encoded.
    pub epoch: Option<u64>,
    /// Where it is in its life.
    pub state: BatchState,
    /// Why it failed.
    pub failure: String,
    /// Every member's part, in seat order.
    pub members: Vec<MemberStatus>,
    /// Where it was recorded, once it is.
    pub l1: Option<L1Status>,
    /// In Unix milliseconds.
    pub received_at_ms: u64,
    /// In Unix milliseconds; 0: not yet.
    pub certified_at_ms: u64,
    /// What posting waits for, if for anything.
    pub l1_problem: String,
}

impl BatchStatus {
    pub(crate) fn from_wire(wire: Option<v1::Batch>) -> Result<Self, WireError> {
        let wire = wire::required("batch", wire)?;
        if wire.members.len() > usize::from(limits::COMMITTEE_MAX_SEATS) {
            return Err(WireError::Text {
                field: "batch.members",
                problem: "more members than a committee has seats",
            });
        }
        let digest = match wire.digest.len() {
            0 => None,
            _ => Some(wire::digest("batch.digest", &wire.digest)?),
        };
        Ok(Self {
            submission_digest: wire::hash("batch.submission_digest", &wire.submission_digest)?,
            digest,
            submission: wire::required("batch.submission", wire.submission)?.try_into()?,
            epoch: (wire.epoch != 0).then_some(wire.epoch),
            state: BatchState::from_wire(wire.state)?,
            failure: printable(&wire.failure),
            members: wire.members.into_iter().map(member_status).collect::<Result<_, _>>()?,
            l1: wire.l1.map(l1_status).transpose()?,
            received_at_ms: wire.received_at_ms,
            certified_at_ms: wire.certified_at_ms,
            l1_problem: printable(&wire.l1_problem),
        })
    }
}

fn member_status(wire: v1::MemberOutcome) -> Result<MemberStatus, WireError> {
    let state = match v1::DeliveryState::try_from(wire.state) {
        Ok(v1::DeliveryState::Pending) => DeliveryState::Pending,
        Ok(v1::DeliveryState::Attested) => DeliveryState::Attested,
        Ok(v1::DeliveryState::Retrying) => DeliveryState::Retrying,
        Ok(v1::DeliveryState::Refused) => DeliveryState::Refused,
        Ok(v1::DeliveryState::Lied) => DeliveryState::Lied,
        Ok(v1::DeliveryState::Unspecified) | Err(_) => {
            return Err(WireError::UnknownEnum { field: "member.state", got: wire.state });
        }
    };
    Ok(MemberStatus {
        seat: wire::seat("member.seat", wire.seat)?,
        state,
        attempts: wire.attempts,
        reason: printable(&wire.reason),
        detail: printable(&wire.detail),
        attested_at_ms: wire.attested_at_ms,
        in_certificate: wire.in_certificate,
    })
}

fn l1_status(wire: v1::L1Record) -> Result<L1Status, WireError> {
    let transaction = match wire.transaction.len() {
        0 => None,
        _ => Some(B256::from(fixed::<32>("l1.transaction", &wire.transaction)?)),
    };
    Ok(L1Status { transaction, block: wire.block, gas_used: wire.gas_used, by_us: wire.by_us })
}

/// Which batch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSelector {
    /// By its order's digest, known from the start.
    Submission(B256),
    /// By its own, known once it is encoded.
    Batch(BatchDigest),
}

impl BatchSelector {
    fn to_wire(self) -> v1::BatchSelector {
        let by = match self {
            Self::Submission(digest) => {
                v1::batch_selector::By::SubmissionDigest(Bytes::copy_from_slice(digest.as_slice()))
            }
            Self::Batch(digest) => v1::batch_selector::By::Digest(Bytes::copy_from_slice(digest.as_bytes())),
        };
        v1::BatchSelector { by: Some(by) }
    }

    /// Refuses an answer about some other batch.
    fn check(self, status: BatchStatus) -> Result<BatchStatus, AggregatorError> {
        let (expected, got) = match self {
            Self::Submission(expected) => (expected, status.submission_digest),
            Self::Batch(expected) => (expected.0, status.digest.map_or(B256::ZERO, |digest| digest.0)),
        };
        if expected == got { Ok(status) } else { Err(AggregatorError::OtherBatch { expected, got }) }
    }
}

/// A client of one aggregator. Connects anew for every call, so that a restarted aggregator is found again.
#[derive(Clone, Debug)]
pub struct AggregatorClient {
    url: EndpointUrl,
    dialer: Dialer,
    answer: Duration,
}

/// Pause between two questions where the aggregator does not stream.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl AggregatorClient {
    /// Of the aggregator at `url`. The caller chose it, so private addresses are allowed by the dialer's policy alone.
    pub const fn new(url: EndpointUrl, dialer: Dialer) -> Self {
        Self { url, dialer, answer: Duration::from_secs(20) }
    }

    pub(crate) async fn connect(&self) -> Result<BatchServiceClient<Channel>, AggregatorError> {
        let channel = self.dialer.connect_url(&self.url).await.map_err(AggregatorError::Unreachable)?;
        Ok(BatchServiceClient::new(channel).max_decoding_message_size(message_limit()))
    }

    /// One batch with every member's outcome.
    pub async fn batch(&self, selector: BatchSelector) -> Result<BatchStatus, AggregatorError> {
        let answer = self
            .within("GetBatch", async {
                let request = v1::GetBatchRequest { batch: Some(selector.to_wire()) };
                let answer = self.connect().await?.get_batch(request).await;
                answer.map_err(|status| AggregatorError::from_status(&status))
            })
            .await?;
        selector.check(BatchStatus::from_wire(answer.into_inner().batch)?)
    }

    /// The certificate, unverified.
    pub async fn certificate(&self, selector: BatchSelector) -> Result<Certificate, AggregatorError> {
        let answer = self
            .within("GetCertificate", async {
                let request = v1::GetCertificateRequest { batch: Some(selector.to_wire()) };
                let answer = self.connect().await?.get_certificate(request).await;
                answer.map_err(|status| AggregatorError::from_status(&status))
            })
            .await?;
        Ok(wire::required("certificate", answer.into_inner().certificate)?.try_into()?)
    }

    /// Waits until the batch has reached `goal`, telling every change. Survives restarts of the aggregator; where it does
    /// not stream, it is asked again and again.
    pub async fn wait(
        &self,
        selector: BatchSelector,
        goal: BatchState,
        limit: Duration,
        mut changed: impl FnMut(&BatchStatus) + Send,
    ) -> Result<BatchStatus, AggregatorError> {
        let end = Instant::now() + limit;
        let mut last: Option<BatchStatus> = None;
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            let state = last.as_ref().map(|status| status.state);
            if remaining.is_zero() {
                return Err(AggregatorError::Waiting { state, goal, limit });
            }
            let mut take = |status: BatchStatus| {
                if last.as_ref() != Some(&status) {
                    changed(&status);
                }
                let verdict = verdict(&status, goal);
                last = Some(status.clone());
                verdict.map(|verdict| verdict.map(|()| status))
            };
            match tokio::time::timeout(remaining, self.follow(selector, &mut take)).await {
                Ok(Ok(Some(verdict))) => return verdict,
                // The stream ended or broke: ask once, so that a lasting refusal shows itself, and stream again.
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if is_lasting(&error) => return Err(error),
                Ok(Err(_)) => match tokio::time::timeout(remaining, self.batch(selector)).await {
                    Ok(Ok(status)) => {
                        if let Some(verdict) = take(status) {
                            return verdict;
                        }
                    }
                    Ok(Err(error)) if is_lasting(&error) => return Err(error),
                    Ok(Err(_)) | Err(_) => {}
                },
            }
            tokio::time::sleep(POLL_INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Streams changes into `take` until it has a verdict or the stream ends.
    async fn follow<T>(
        &self,
        selector: BatchSelector,
        take: &mut impl FnMut(BatchStatus) -> Option<T>,
    ) -> Result<Option<T>, AggregatorError> {
        let mut stream = self
            .within("WatchBatch", async {
                let request = v1::WatchBatchRequest { batch: Some(selector.to_wire()) };
                let answer = self.connect().await?.watch_batch(request).await;
                answer.map_err(|status| AggregatorError::from_status(&status))
            })
            .await?
            .into_inner();
        while let Some(message) =
            stream.message().await.map_err(|status| AggregatorError::from_status(&status))?
        {
            let status = selector.check(BatchStatus::from_wire(message.batch)?)?;
            if let Some(verdict) = take(status) {
                return Ok(Some(verdict));
            }
        }
        Ok(None)
    }

    async fn within<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, AggregatorError>>,
    ) -> Result<T, AggregatorError> {
        let limit = self.answer;
        tokio::time::timeout(limit, call).await.unwrap_or(Err(AggregatorError::TimedOut { what, limit }))
    }
}

/// Reached, ended otherwise, or neither yet.
fn verdict(status: &BatchStatus, goal: BatchState) -> Option<Result<(), AggregatorError>> {
    if status.state.has_reached(goal) {
        Some(Ok(()))
    } else if status.state.is_end() {
        Some(Err(AggregatorError::Ended { state: status.state, failure: status.failure.clone() }))
    } else {
        None
    }
}

/// Asking again will not help.
fn is_lasting(error: &AggregatorError) -> bool {
    match error {
        AggregatorError::Unreachable(MemberFault::Endpoint(_))
        | AggregatorError::OtherBatch { .. }
        | AggregatorError::Junk(_)
        | AggregatorError::Submission(_)
        | AggregatorError::Ended { .. } => true,
        AggregatorError::Refused { reason: Some(reason), .. } => !reason.is_retryable(),
        AggregatorError::Refused { reason: None, code, .. } => {
            !matches!(code, Code::Unimplemented | Code::ResourceExhausted | Code::DeadlineExceeded)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_reached_in_order_but_for_the_ends() {
        assert!(BatchState::Posted.has_reached(BatchState::Certified));
        assert!(BatchState::Certified.has_reached(BatchState::Certified));
        assert!(!BatchState::Dispersing.has_reached(BatchState::Certified));
        assert!(!BatchState::Failed.has_reached(BatchState::Certified));
        assert!(!BatchState::Expired.has_reached(BatchState::Received));
    }
}
