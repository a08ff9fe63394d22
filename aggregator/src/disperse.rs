//! Calls to members: one connection a member, shared by all batches; a bounded number of calls at once, in all and to
//! each; every call with a deadline; every failure with a reason.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_bls::Signature;
use dac_client::{ConnectionCause, Dialer, EndpointUrl, Generation, MemberFault, printable};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_client::DispersalServiceClient;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Address, Attestation, BatchDigest, RenewalDigest, Seat, SignatureBytes};
use parking_lot::Mutex;
use rand::Rng;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::batch::DeliveryFailure;
use crate::budget::{Held, Part, Turns};

/// An answer holds one attestation, and is refused where it is larger.
const ANSWER_MAX_BYTES: usize = 4 << 10;
/// Deliveries to one member at once for batches that have their certificate already. One rollup has
/// one of them at a time.
const STRAGGLER_CALLS_PER_MEMBER: usize = 2;
/// Calls to one member at once that bring a certificate and nothing else. The member verifies and
/// stores together what comes together.
const CERTIFICATE_CALLS_PER_MEMBER: usize = 12;
/// Calls to one member at once that only ask whether it would take a batch.
const QUESTIONS_PER_MEMBER: usize = 5;

/// How long a member that refused before has to refuse once more before its shard is sent, at least and at most: four times as long as
/// it took the last time.
const QUESTION_MIN: Duration = Duration::from_millis(50);
const QUESTION_MAX: Duration = Duration::from_secs(1);

/// The reason where the transport, a proxy or a fault of the member's ended a call.
const TRANSPORT: &str = "TRANSPORT";
/// The reason where TLS, or the lack of a certificate, ended it.
const TLS: &str = "TLS";
/// The reason where a call took too long.
const NO_ANSWER: &str = Reason::TimedOut.as_str();

/// How members are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSettings {
    /// Calls at once, to all members together.
    pub calls_max: usize,
    /// Calls at once to one member.
    pub calls_per_member: usize,
    /// From the first byte sent to the answer.
    pub call_timeout: Duration,
    /// Pause after the first failure; it doubles with each.
    pub retry_initial: Duration,
    /// Longest pause while the batch waits for its certificate.
    pub retry_max: Duration,
    /// Longest pause once it has its certificate.
    pub straggler_retry_max: Duration,
    /// Whether members that ask for a client certificate are shown one.
    pub shows_certificate: bool,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// What follows from it.
    pub kind: DeliveryFailure,
    /// Machine-readable: a [`Reason`], or what the transport met.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// When the member thinks that it may succeed.
    pub retry_after: Option<Duration>,
}

impl CallFailure {
    pub(crate) fn retryable(reason: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: DeliveryFailure::Retryable,
            reason: reason.to_owned(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(crate) fn lied(reason: &str, detail: String) -> Self {
        Self { kind: DeliveryFailure::Lied, reason: reason.to_owned(), detail, retry_after: None }
    }

    /// What a member's status says. Without a reason of ours it is the transport's, a proxy's or a fault's: it may pass.
    fn from_status(status: &Status, link: &MemberLink) -> Self {
        let detail = printable(status.message());
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let failure = match Reason::of(status) {
            Some(reason) if !may_pass(reason) => Self {
                kind: DeliveryFailure::Refused,
                reason: reason.as_str().to_owned(),
                detail,
                retry_after: None,
            },
            Some(reason) => Self::retryable(reason.as_str(), detail),
            None if status.code() == Code::DeadlineExceeded => Self::retryable(NO_ANSWER, detail),
            None => Self::unreachable(TRANSPORT, &MemberFault::from_status(status), link),
        };
        Self { retry_after, ..failure }
    }

    /// Whether the member itself said no, to what it was told first.
    pub fn is_refusal(&self) -> bool {
        self.kind == DeliveryFailure::Retryable
            && Reason::ALL.iter().any(|reason| reason.as_str() == self.reason && *reason != Reason::TimedOut)
    }

    /// A connection that was not made, or that broke. TLS is named where it is what failed, with
    /// what this side has to do with it.
    fn unreachable(reason: &str, fault: &MemberFault, link: &MemberLink) -> Self {
        let of_tls = |cause: &ConnectionCause| {
            cause.is_tls() || (*cause == ConnectionCause::BrokenOff && reason == TRANSPORT && link.is_tls())
        };
        match fault.cause().filter(of_tls) {
            Some(cause) => {
                Self::retryable(TLS, format!("{fault}{}", own_part(cause, link.shows_certificate)))
            }
            None => Self::retryable(reason, fault.to_string()),
        }
    }
}

/// What of this side's configuration a failure of TLS may have to do with.
const fn own_part(cause: ConnectionCause, shows_certificate: bool) -> &'static str {
    match (cause, shows_certificate) {
        (ConnectionCause::ServerAuthority, _) => {
            "; [dispersal.tls] ca names the authorities that are trusted"
        }
        (cause, false) if cause.concerns_client_certificate() => {
            "; [dispersal.tls.identity] is not set, so no client certificate is shown"
        }
        (cause, true) if cause.concerns_client_certificate() => {
            "; the certificate shown is that of [dispersal.tls.identity]"
        }
        _ => "",
    }
}

/// Whether a member that refuses for this reason may take the same batch later. One that has not read the newest blocks yet does not
/// know a rollup that was admitted a moment ago, which is final where the order is handed in.
fn may_pass(reason: Reason) -> bool {
    reason.is_retryable() || reason == Reason::UnknownRollup
}

/// What is sent to one seat.
#[derive(Clone, Debug)]
pub struct Consignment {
    /// Chain, registry, seat and record.
    pub open: v1::StoreShardOpen,
    /// The shard or the whole payload; nothing where the member has it and only the certificate is new.
    pub body: Bytes,
    /// Of the record's header.
    pub digest: BatchDigest,
    /// Whose.
    pub seat: Seat,
}

/// `open`, then slices of the body: nothing is copied here.
fn messages(consignment: Consignment) -> impl Iterator<Item = v1::StoreShardRequest> + Send {
    use v1::store_shard_request::Message;
    let Consignment { open, mut body, .. } = consignment;
    let pieces = std::iter::from_fn(move || {
        (!body.is_empty()).then(|| Message::Piece(body.split_to(body.len().min(STREAM_PIECE_MAX_BYTES))))
    });
    std::iter::once(Message::Open(open))
        .chain(pieces)
        .map(|message| v1::StoreShardRequest { message: Some(message) })
}

/// One member's endpoint.
#[derive(Debug)]
pub struct MemberLink {
    url: String,
    dialer: Dialer,
    channel: tokio::sync::Mutex<Option<(Generation, Channel)>>,
    calls: Turns,
    straggler_calls: Turns,
    certificate_calls: Turns,
    questions: Turns,
    /// How long its last refusal took.
    refused_in: Mutex<Duration>,
    shows_certificate: bool,
    /// After a failed connection: until when only batches that wait for their certificate try again.
    down_until: Mutex<Option<Instant>>,
    straggler_pause: Duration,
}

impl MemberLink {
    /// Connected, or why not. Channels reconnect by themselves, with the certificate that they began with: after its renewal calls
    /// go over a new one, and those under way end on the former.
    async fn channel(&self) -> Result<Channel, CallFailure> {
        let mut channel = self.channel.lock().await;
        let generation = self.dialer.generation();
        if let Some((_, channel)) = channel.as_ref().filter(|(former, _)| *former == generation) {
            return Ok(channel.clone());
        }
        let url: EndpointUrl =
            self.url.parse().map_err(|error| CallFailure::retryable("BAD_ENDPOINT", format!("{error}")))?;
        match self.dialer.connect_url(&url).await {
            Ok(connected) => {
                *self.down_until.lock() = None;
                Ok(channel.insert((generation, connected)).1.clone())
            }
            Err(fault) => {
                *self.down_until.lock() = Some(Instant::now() + self.straggler_pause);
                Err(CallFailure::unreachable("UNREACHABLE", &fault, self))
            }
        }
    }

    /// Connects, if it is not connected yet.
    pub async fn connect(&self) -> Result<(), CallFailure> {
        Box::pin(self.channel()).await.map(drop)
    }

    /// Is anybody there, after such a failure? The next call connects first, before a payload is loaded for it.
    async fn doubt(&self, failure: &CallFailure) {
        if [TRANSPORT, TLS, NO_ANSWER].contains(&&failure.reason[..]) {
            *self.channel.lock().await = None;
        }
    }

    /// When stragglers may try again.
    fn down(&self) -> Option<Instant> {
        self.down_until.lock().filter(|until| *until > Instant::now())
    }

    fn is_tls(&self) -> bool {
        self.url.parse::<EndpointUrl>().is_ok_and(|url| url.is_tls())
    }

    fn failure(&self, status: &Status) -> CallFailure {
        CallFailure::from_status(status, self)
    }

    /// Sends one consignment.
    async fn store_shard(
        &self,
        messages: impl Stream<Item = v1::StoreShardRequest> + Send + 'static,
        timeout: Duration,
    ) -> Result<v1::StoreShardResponse, CallFailure> {
        let began = Instant::now();
        let call = async {
            let mut client = DispersalServiceClient::new(self.channel().await?)
                .max_decoding_message_size(ANSWER_MAX_BYTES);
            client.store_shard(messages).await.map_err(|status| self.failure(&status))
        };
        let answer = tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
            Err(CallFailure::retryable(NO_ANSWER, format!("no answer within {timeout:?}")))
        });
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(failure) => {
                if failure.is_refusal() {
                    *self.refused_in.lock() = began.elapsed();
                }
                self.doubt(&failure).await;
                Err(failure)
            }
        }
    }

    /// How long a question waits for a refusal.
    fn patience(&self) -> Duration {
        self.refused_in.lock().saturating_mul(4).clamp(QUESTION_MIN, QUESTION_MAX)
    }
}

/// An answer is this seat's attestation of this digest, or a lie.
fn check_answer(
    answer: v1::StoreShardResponse,
    digest: BatchDigest,
    seat: Seat,
) -> Result<SignatureBytes, CallFailure> {
    let attestation = dac_proto::wire::required("attestation", answer.attestation)
        .and_then(Attestation::try_from)
        .map_err(|error| CallFailure::lied("MALFORMED_ATTESTATION", error.to_string()))?;
    if attestation.digest != digest {
        let detail = format!("asked for {digest}, attested {}", attestation.digest);
        return Err(CallFailure::lied("OTHER_DIGEST", detail));
    }
    if attestation.seat != seat {
        return Err(CallFailure::lied(
            "OTHER_SEAT",
            format!("asked seat {seat}, attested as {}", attestation.seat),
        ));
    }
    Signature::from_compressed(&attestation.signature)
        .map_err(|error| CallFailure::lied("BAD_SIGNATURE", error.to_string()))?;
    Ok(attestation.signature)
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The batch waits for its certificate.
    Fresh,
    /// It has it.
    Straggler,
    /// It has it, and the member has its shard: only the certificate is new.
    Certificate,
}

/// Permission to make one call.
#[derive(Debug)]
pub struct CallPermit {
    _all: Option<Held>,
    _member: Option<Held>,
    _certified: Option<Held>,
}

/// All members' endpoints.
#[derive(Debug)]
pub struct Members {
    dialer: Dialer,
    settings: CallSettings,
    calls: Turns,
    links: Mutex<HashMap<String, Arc<MemberLink>>>,
}

impl Members {
    /// Nothing is connected before it is called.
    pub fn new(dialer: Dialer, settings: CallSettings) -> Self {
        let calls = Turns::new(settings.calls_max, Part::ThreeQuarters);
        Self { dialer, settings, calls, links: Mutex::default() }
    }

    /// How members are called.
    pub const fn settings(&self) -> &CallSettings {
        &self.settings
    }

    /// The endpoint with this URL.
    pub fn link(&self, url: &str) -> Arc<MemberLink> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(url) {
            return Arc::clone(link);
        }
        // URLs change with epochs and operators: those that no call uses are forgotten.
        links.retain(|_, link| {
            Arc::strong_count(link) > 1 || link.channel.try_lock().is_ok_and(|c| c.is_some())
        });
        let link = Arc::new(MemberLink {
            url: url.to_owned(),
            dialer: self.dialer.clone(),
            channel: tokio::sync::Mutex::new(None),
            calls: Turns::new(self.settings.calls_per_member, Part::ThreeQuarters),
            straggler_calls: Turns::new(STRAGGLER_CALLS_PER_MEMBER, Part::Half),
            certificate_calls: Turns::new(CERTIFICATE_CALLS_PER_MEMBER, Part::ThreeQuarters),
            questions: Turns::new(QUESTIONS_PER_MEMBER, Part::ThreeQuarters),
            refused_in: Mutex::new(QUESTION_MAX),
            shows_certificate: self.settings.shows_certificate,
            down_until: Mutex::new(None),
            straggler_pause: self.settings.straggler_retry_max,
        });
        links.insert(url.to_owned(), Arc::clone(&link));
        link
    }

    /// Waits for a turn at a member. Rollups take turns, and none has more than its share of them,
    /// so that one whose calls hang holds up no other.
    ///
    /// Certified batches wait while the member is known to be down. They have few turns at a time,
    /// so that fresh batches never wait long for them.
    pub async fn turn(&self, link: &MemberLink, rollup: Address, urgency: Urgency) -> CallPermit {
        let certified = match urgency {
            Urgency::Fresh => None,
            Urgency::Straggler => Some(&link.straggler_calls),
            Urgency::Certificate => Some(&link.certificate_calls),
        };
        let certified = match certified {
            None => None,
            Some(turns) => {
                let turn = turns.take(rollup).await;
                if let Some(until) = link.down() {
                    tokio::time::sleep_until(until).await;
                }
                Some(turn)
            }
        };
        // A certificate alone is small. It takes no turn of a delivery, because members that are
        // slow to answer would soon have all of those.
        if urgency == Urgency::Certificate {
            return CallPermit { _all: None, _member: None, _certified: certified };
        }
        let member = link.calls.take(rollup).await;
        let all = self.calls.take(rollup).await;
        CallPermit { _all: Some(all), _member: Some(member), _certified: certified }
    }

    /// One call; the member's signature is a point of the right group, and not verified beyond that. The permit says that it is its turn.
    pub async fn call(
        &self,
        link: &MemberLink,
        permit: &CallPermit,
        consignment: Consignment,
    ) -> Result<SignatureBytes, CallFailure> {
        let (digest, seat) = (consignment.digest, consignment.seat);
        check_answer(self.send(link, permit, consignment).await?, digest, seat)
    }

    /// Asks a member that refused before whether it would take the batch now, without its shard: a batch that holds no memory needs
    /// none to be refused. A member that has it already attests at once; none is what one says that waits for the shard.
    pub async fn would_take(
        &self,
        link: &MemberLink,
        rollup: Address,
        consignment: Consignment,
    ) -> Result<Option<SignatureBytes>, CallFailure> {
        let _turn = link.questions.take(rollup).await;
        let (digest, seat) = (consignment.digest, consignment.seat);
        let only_open = tokio_stream::iter(messages(consignment)).take(1).chain(tokio_stream::pending());
        let asked = Box::pin(link.store_shard(only_open, self.settings.call_timeout));
        match tokio::time::timeout(link.patience(), asked).await {
            Ok(answer) => check_answer(answer?, digest, seat).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// One call to a member that has attested before: what it says beside yes or no is not looked at.
    pub async fn bring_certificate(
        &self,
        link: &MemberLink,
        permit: &CallPermit,
        consignment: Consignment,
    ) -> Result<(), CallFailure> {
        self.send(link, permit, consignment).await.map(drop)
    }

    /// What a call needs is put aside for its time only: whoever waits for a turn, as deliveries of certificates do by the thousand, is
    /// small.
    async fn send(
        &self,
        link: &MemberLink,
        _permit: &CallPermit,
        consignment: Consignment,
    ) -> Result<v1::StoreShardResponse, CallFailure> {
        let started = Instant::now();
        let stream = tokio_stream::iter(messages(consignment));
        let result = Box::pin(link.store_shard(stream, self.settings.call_timeout)).await;
        metrics::histogram!("dac_aggregator_store_shard_seconds").record(started.elapsed().as_secs_f64());
        result
    }

    /// Asks a member to sign a renewal; its signature is so many bytes, and not verified. Waiting for a turn counts as waiting for the answer.
    pub async fn sign_renewal(
        &self,
        url: &str,
        rollup: Address,
        request: v1::SignRenewalRequest,
        digest: RenewalDigest,
        seat: Seat,
    ) -> Result<SignatureBytes, CallFailure> {
        let (link, timeout) = (self.link(url), self.settings.call_timeout);
        let call = async {
            let _permit = self.turn(&link, rollup, Urgency::Fresh).await;
            let mut client = DispersalServiceClient::new(link.channel().await?)
                .max_decoding_message_size(ANSWER_MAX_BYTES);
            client.sign_renewal(request).await.map_err(|status| link.failure(&status))
        };
        let answer = tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
            Err(CallFailure::retryable(NO_ANSWER, format!("no answer within {timeout:?}")))
        });
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(failure) => {
                link.doubt(&failure).await;
                return Err(failure);
            }
        };
        let v1::SignRenewalResponse { digest: got, seat: signer, signature } = answer;
        if got[..] != digest.as_bytes()[..] {
            return Err(CallFailure::lied("OTHER_DIGEST", format!("asked for {digest}, signed another one")));
        }
        if signer != u32::from(seat.0) {
            return Err(CallFailure::lied("OTHER_SEAT", format!("asked seat {seat}, signed as {signer}")));
        }
        <[u8; 48]>::try_from(&signature[..])
            .map(SignatureBytes)
            .map_err(|_| CallFailure::lied("BAD_SIGNATURE", format!("{} bytes", signature.len())))
    }

    /// The pause after so many failures in a row: doubling, not shorter than the member asked for, bounded, with jitter.
    pub fn pause(&self, failures: u32, asked_for: Option<Duration>, urgency: Urgency) -> Duration {
        let longest = match urgency {
            Urgency::Fresh => self.settings.retry_max,
            Urgency::Straggler | Urgency::Certificate => self.settings.straggler_retry_max,
        };
        let doubled = self.settings.retry_initial.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let pause = doubled.max(asked_for.unwrap_or_default()).min(longest);
        pause.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}
