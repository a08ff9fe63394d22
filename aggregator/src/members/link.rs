//! One member's endpoint: its connection, and the turns at it.

use std::time::Duration;

use dac_client::{Dialer, EndpointUrl, Generation};
use dac_proto::v1;
use dac_proto::v1::dispersal_service_client::DispersalServiceClient;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::failure::{CallFailure, TlsSide, UNREACHABLE};
use super::settings::CallSettings;
use crate::budget::{Part, Turns};

/// The largest answer of a member: one attestation.
const ANSWER_MAX_BYTES: usize = 4 << 10;
/// Deliveries to one member at once for batches that have their certificate already. One rollup has
/// one of them at a time.
const STRAGGLER_CALLS_PER_MEMBER: usize = 2;
/// Calls to one member at once that bring a certificate and nothing else. The member verifies and
/// stores together what comes together.
const CERTIFICATE_CALLS_PER_MEMBER: usize = 12;
/// Calls to one member at once that only ask whether it would take a batch.
const QUESTIONS_PER_MEMBER: usize = 5;
/// How long a member that refused before has to refuse once more before its shard is sent, at least
/// and at most: four times as long as it took the last time.
const QUESTION_MIN: Duration = Duration::from_millis(50);
const QUESTION_MAX: Duration = Duration::from_secs(1);

/// One member's endpoint.
#[derive(Debug)]
pub struct MemberLink {
    url: String,
    dialer: Dialer,
    channel: tokio::sync::Mutex<Option<(Generation, Channel)>>,
    pub(super) calls: Turns,
    pub(super) straggler_calls: Turns,
    pub(super) certificate_calls: Turns,
    pub(super) questions: Turns,
    /// How long its last refusal took.
    refused_in: Mutex<Duration>,
    shows_certificate: bool,
    /// After a failed connection: until when only batches that wait for their certificate try
    /// again.
    down_until: Mutex<Option<Instant>>,
    straggler_pause: Duration,
}

impl MemberLink {
    /// Makes the link to a member. Nothing is connected before it is called.
    pub(super) fn new(url: String, dialer: Dialer, settings: &CallSettings) -> Self {
        Self {
            url,
            dialer,
            channel: tokio::sync::Mutex::new(None),
            calls: Turns::new(settings.calls_per_member, Part::ThreeQuarters),
            straggler_calls: Turns::new(STRAGGLER_CALLS_PER_MEMBER, Part::Half),
            certificate_calls: Turns::new(CERTIFICATE_CALLS_PER_MEMBER, Part::ThreeQuarters),
            questions: Turns::new(QUESTIONS_PER_MEMBER, Part::ThreeQuarters),
            refused_in: Mutex::new(QUESTION_MAX),
            shows_certificate: settings.shows_certificate,
            down_until: Mutex::new(None),
            straggler_pause: settings.straggler_retry_max,
        }
    }

    /// Whether there is a connection. While one is being made there is none.
    pub(super) fn is_connected(&self) -> bool {
        self.channel.try_lock().is_ok_and(|channel| channel.is_some())
    }

    /// Connected, or why not. Channels reconnect by themselves, with the certificate that they
    /// began with: after its renewal calls go over a new one, and those under way end on the
    /// former.
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
                Err(CallFailure::unreachable(UNREACHABLE, &fault, self.tls_side()))
            }
        }
    }

    /// Connects, if it is not connected yet.
    pub async fn connect(&self) -> Result<(), CallFailure> {
        Box::pin(self.channel()).await.map(drop)
    }

    /// Drops the connection after a failure that leaves in doubt whether the member is there. The
    /// next call then connects first, before a payload is loaded for it.
    async fn doubt(&self, failure: &CallFailure) {
        if failure.is_of_connection() {
            *self.channel.lock().await = None;
        }
    }

    /// When stragglers may try again.
    pub(super) fn down(&self) -> Option<Instant> {
        self.down_until.lock().filter(|until| *until > Instant::now())
    }

    fn tls_side(&self) -> TlsSide {
        let is_tls = self.url.parse::<EndpointUrl>().is_ok_and(|url| url.is_tls());
        TlsSide { is_tls, shows_certificate: self.shows_certificate }
    }

    /// Makes one call, which may take `timeout` with the connecting that it may need. After a
    /// failure of the connection the next call connects anew.
    pub(super) async fn within<T>(
        &self,
        timeout: Duration,
        call: impl AsyncFnOnce(DispersalServiceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, CallFailure> {
        let call = async {
            let client = DispersalServiceClient::new(self.channel().await?)
                .max_decoding_message_size(ANSWER_MAX_BYTES);
            call(client).await.map_err(|status| CallFailure::from_status(&status, self.tls_side()))
        };
        let answer = tokio::time::timeout(timeout, call)
            .await
            .unwrap_or_else(|_| Err(CallFailure::no_answer(timeout)));
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(failure) => {
                self.doubt(&failure).await;
                Err(failure)
            }
        }
    }

    /// Sends a shard, or only the first of the messages that carry it.
    pub(super) async fn store_shard(
        &self,
        messages: impl Stream<Item = v1::StoreShardRequest> + Send + 'static,
        timeout: Duration,
    ) -> Result<v1::StoreShardResponse, CallFailure> {
        let began = Instant::now();
        let answer = self.within(timeout, async |mut client| client.store_shard(messages).await).await;
        if answer.as_ref().is_err_and(CallFailure::is_refusal) {
            *self.refused_in.lock() = began.elapsed();
        }
        answer
    }

    /// How long a question waits for a refusal.
    pub(super) fn patience(&self) -> Duration {
        self.refused_in.lock().saturating_mul(4).clamp(QUESTION_MIN, QUESTION_MAX)
    }
}
