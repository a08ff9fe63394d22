//! The client of one aggregator: it reads a batch's state, waits for it and fetches its
//! certificate. It believes nothing that the aggregator says beyond what signatures prove.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_proto::v1::batch_service_client::BatchServiceClient;
use dac_proto::wire::{self, WireError};
use dac_types::{B256, BatchDigest, Certificate};
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::connect::{Dialer, message_limit};
use crate::description::AggregatorDescription;
use crate::endpoint::EndpointUrl;
use crate::fault::{MemberFault, refusal};
use crate::status::{BatchState, BatchStatus, ProofState};
use crate::submission::SubmissionError;

/// Why a call to an aggregator failed.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// The submission or proof is wrong, and was not sent.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// There is no connection, or it broke.
    #[error("the aggregator: {0}")]
    Unreachable(MemberFault),
    /// The aggregator did not answer in time.
    #[error("the aggregator did not answer {what} within {limit:?}")]
    TimedOut {
        /// The name of the call.
        what: &'static str,
        /// The deadline of the call.
        limit: Duration,
    },
    /// The aggregator refused the call.
    #[error("the aggregator refused with {}", refusal(*reason, *code, message))]
    Refused {
        /// The machine-readable reason, if it gave one.
        reason: Option<Reason>,
        /// The gRPC status code.
        code: Code,
        /// The aggregator's message, made printable.
        message: String,
    },
    /// The aggregator's answer does not parse.
    #[error("the aggregator's answer: {0}")]
    Junk(#[from] WireError),
    /// The aggregator's answer is about another batch.
    #[error("asked about batch {expected}, the aggregator answered about {got}")]
    OtherBatch {
        /// The batch that was asked about.
        expected: B256,
        /// The batch that the answer is about.
        got: B256,
    },
    /// The batch reached a final state that is not the one waited for.
    #[error("the batch is {}{}", state.name(), if failure.is_empty() { String::new() } else { format!(": {failure}") })]
    Ended {
        /// The final state.
        state: BatchState,
        /// The aggregator's reason.
        failure: String,
    },
    /// L1 refuses the batch's validity proof; the batch waits for another one.
    #[error("the validity proof was rejected: {reason}")]
    ProofRejected {
        /// The reason.
        reason: String,
    },
    /// The batch did not reach the state waited for in time.
    #[error(
        "the batch is {} after {limit:?}, not yet {}{}",
        state.map_or("unknown", BatchState::name),
        goal.name(),
        if reason.is_empty() { String::new() } else { format!(": {reason}") }
    )]
    Waiting {
        /// The batch's last known state.
        state: Option<BatchState>,
        /// The state waited for.
        goal: BatchState,
        /// The time for which the caller waited.
        limit: Duration,
        /// What held the batch up last; empty if that is not known.
        reason: String,
    },
}

impl AggregatorError {
    /// Makes an error of a status that the aggregator answered or that the transport made up.
    pub(crate) fn from_status(status: &Status) -> Self {
        match MemberFault::from_status(status) {
            MemberFault::Status { reason, code, message } => Self::Refused { reason, code, message },
            fault => Self::Unreachable(fault),
        }
    }

    /// Whether the aggregator refused the call, as opposed to failing or being unreachable.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// A short stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Submission(_) => "BAD_SUBMISSION",
            Self::Unreachable(fault) => fault.code(),
            Self::TimedOut { .. } => "TIMED_OUT",
            Self::Refused { reason: Some(reason), .. } => reason.as_str(),
            Self::Refused { reason: None, .. } => "STATUS",
            Self::Junk(_) => "JUNK",
            Self::OtherBatch { .. } => "OTHER_BATCH",
            Self::Ended { .. } => "BATCH_ENDED",
            Self::ProofRejected { .. } => "PROOF_REJECTED",
            Self::Waiting { .. } => "NOT_IN_TIME",
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

/// Names the batch that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSelector {
    /// By the digest of its submission, which is known from the start.
    Submission(B256),
    /// By its own digest, which is known once the batch is encoded.
    Batch(BatchDigest),
}

impl BatchSelector {
    pub(crate) fn to_wire(self) -> v1::BatchSelector {
        let by = match self {
            Self::Submission(digest) => {
                v1::batch_selector::By::SubmissionDigest(Bytes::copy_from_slice(digest.as_slice()))
            }
            Self::Batch(digest) => v1::batch_selector::By::Digest(Bytes::copy_from_slice(digest.as_bytes())),
        };
        v1::BatchSelector { by: Some(by) }
    }

    /// Refuses an answer about another batch.
    pub(crate) fn check(self, status: BatchStatus) -> Result<BatchStatus, AggregatorError> {
        let (expected, got) = match self {
            Self::Submission(expected) => (expected, status.submission_digest),
            Self::Batch(expected) => (expected.0, status.digest.map_or(B256::ZERO, |digest| digest.0)),
        };
        if expected == got { Ok(status) } else { Err(AggregatorError::OtherBatch { expected, got }) }
    }
}

/// A client of one aggregator. It connects anew for every call, so that a restarted aggregator is
/// found again, or keeps its connection ([`AggregatorClient::keeping_its_connection`]).
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use dac_client::files::SubmissionFile;
/// use dac_client::{AggregatorClient, BatchSelector, BatchState, Dialer, EndpointPolicy, SubmitOptions};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let order = SubmissionFile::read("submission.json".as_ref())?;
/// let payload = Bytes::from(std::fs::read("payload.bin")?);
/// let dialer = Dialer::new(EndpointPolicy::AllowPrivate);
/// let aggregator = AggregatorClient::new("http://127.0.0.1:7000".parse()?, dialer);
///
/// // Sending the same order again returns the same batch.
/// let options = SubmitOptions::default();
/// let status = aggregator.submit(&order.domain, &order.signed, &payload, options, |_| ()).await?;
/// let batch = BatchSelector::Submission(status.submission_digest);
/// aggregator.wait(batch, BatchState::Posted, Duration::from_secs(600), |_| ()).await?;
/// // This certificate is the aggregator's word until it is verified.
/// let certificate = aggregator.certificate(batch).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AggregatorClient {
    url: EndpointUrl,
    dialer: Dialer,
    answer: Duration,
    kept: Option<Arc<OnceCell<Channel>>>,
}

/// The pause between two calls for a batch's state when the aggregator does not stream changes.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl AggregatorClient {
    /// Makes a client of the aggregator at `url`. The caller chose the URL, so only the dialer's
    /// policy decides on private addresses.
    pub const fn new(url: EndpointUrl, dialer: Dialer) -> Self {
        Self { url, dialer, answer: Duration::from_secs(20), kept: None }
    }

    /// Returns a client with a connection of its own that all its calls and clones share, for
    /// callers that make many calls. The next call replaces a connection that broke.
    #[must_use]
    pub fn keeping_its_connection(&self) -> Self {
        Self { kept: Some(Arc::default()), ..self.clone() }
    }

    pub(crate) async fn connect(&self) -> Result<BatchServiceClient<Channel>, AggregatorError> {
        let channel = self.channel().await?;
        Ok(BatchServiceClient::new(channel).max_decoding_message_size(message_limit()))
    }

    async fn channel(&self) -> Result<Channel, AggregatorError> {
        let connect = || self.dialer.connect_url(&self.url);
        let channel = match &self.kept {
            None => connect().await,
            // Channels reconnect by themselves, and resolve the name again.
            Some(kept) => kept.get_or_try_init(connect).await.cloned(),
        };
        channel.map_err(AggregatorError::Unreachable)
    }

    /// Fetches the aggregator's description of itself, with the faults of members and rollups that
    /// it reports. Nothing of it is verified.
    pub async fn describe(&self) -> Result<AggregatorDescription, AggregatorError> {
        let answer = self
            .within("GetAggregator", async {
                let mut client = AggregatorServiceClient::new(self.channel().await?)
                    .max_decoding_message_size(message_limit());
                let answer = client.get_aggregator(v1::GetAggregatorRequest {}).await;
                answer.map_err(|status| AggregatorError::from_status(&status))
            })
            .await?;
        Ok(answer.into_inner().try_into()?)
    }

    /// Fetches one batch with the outcome of every member.
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

    /// Fetches the certificate of a batch. The caller verifies it.
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

    /// Waits until the batch has reached `goal` and passes each change to the callback. Survives
    /// restarts of the aggregator; if the aggregator does not stream changes, it is asked every 500
    /// ms.
    pub async fn wait(
        &self,
        selector: BatchSelector,
        goal: BatchState,
        limit: Duration,
        mut changed: impl FnMut(&BatchStatus) + Send,
    ) -> Result<BatchStatus, AggregatorError> {
        let end = Instant::now() + limit;
        let mut last: Option<BatchStatus> = None;
        let mut problem = String::new();
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                let state = last.as_ref().map(|status| status.state);
                let reason = last.map_or(problem, |status| {
                    status.obstacles().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                });
                return Err(AggregatorError::Waiting { state, goal, limit, reason });
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
                // The stream ended or broke: ask once, so that a lasting refusal becomes visible,
                // and stream again.
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if is_lasting(&error) => return Err(error),
                Ok(Err(_)) => match tokio::time::timeout(remaining, self.batch(selector)).await {
                    Ok(Ok(status)) => {
                        if let Some(verdict) = take(status) {
                            return verdict;
                        }
                    }
                    Ok(Err(error)) if is_lasting(&error) => return Err(error),
                    Ok(Err(error)) => problem = error.to_string(),
                    Err(_) => {}
                },
            }
            tokio::time::sleep(POLL_INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Streams changes into `take` until it returns a verdict or the stream ends.
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

    pub(crate) async fn within<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, AggregatorError>>,
    ) -> Result<T, AggregatorError> {
        let limit = self.answer;
        tokio::time::timeout(limit, call).await.unwrap_or(Err(AggregatorError::TimedOut { what, limit }))
    }
}

/// `Ok` if the batch has reached `goal`, an error if it ended otherwise, `None` while it can go on.
fn verdict(status: &BatchStatus, goal: BatchState) -> Option<Result<(), AggregatorError>> {
    // A recorded batch is posted without a proof.
    let recorded_only = status.state == BatchState::Posted && status.posting.records_certificate();
    if status.state.has_reached(goal) && !(goal == BatchState::Proved && recorded_only) {
        Some(Ok(()))
    } else if let (BatchState::Proved | BatchState::Settled, Some(proof)) = (goal, &status.proof)
        && proof.state == ProofState::Rejected
        && !status.state.is_end()
    {
        Some(Err(AggregatorError::ProofRejected { reason: proof.reason.clone() }))
    } else if status.state.is_end() {
        Some(Err(AggregatorError::Ended { state: status.state, failure: status.failure.clone() }))
    } else {
        None
    }
}

/// Whether asking again cannot help.
fn is_lasting(error: &AggregatorError) -> bool {
    match error {
        AggregatorError::Unreachable(MemberFault::Endpoint(_))
        | AggregatorError::OtherBatch { .. }
        | AggregatorError::Junk(_)
        | AggregatorError::Submission(_)
        | AggregatorError::ProofRejected { .. }
        | AggregatorError::Ended { .. } => true,
        AggregatorError::Refused { reason: Some(reason), .. } => !reason.is_retryable(),
        AggregatorError::Refused { reason: None, code, .. } => {
            !matches!(code, Code::Unimplemented | Code::ResourceExhausted | Code::DeadlineExceeded)
        }
        _ => false,
    }
}
