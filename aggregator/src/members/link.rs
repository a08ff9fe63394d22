//! One member's endpoint: its connection, and the limits on calls to it.

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

/// The largest answer that is read from a member. An answer holds one attestation.
const ANSWER_MAX_BYTES: usize = 4 << 10;
/// The number of deliveries at once to one member, of batches that have their certificate already.
/// One rollup has one of them at a time.
const STRAGGLER_CALLS_PER_MEMBER: usize = 2;
/// The number of calls at once to one member that carry only a certificate. The member verifies and
/// stores certificates that arrive together in one step.
const CERTIFICATE_CALLS_PER_MEMBER: usize = 12;
/// The number of calls at once to one member that only ask whether it would take a batch.
const QUESTIONS_PER_MEMBER: usize = 5;
/// The shortest and the longest time that a member which refused before is given to refuse again,
/// before its shard is sent. In between it is four times as long as the last refusal took.
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
    /// How long the member's last refusal took.
    refused_in: Mutex<Duration>,
    shows_certificate: bool,
    /// The time until which, after a failed connection, only batches that wait for their
    /// certificate call the member.
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

    /// Returns whether there is a connection; not while one is being made.
    pub(super) fn is_connected(&self) -> bool {
        self.channel.try_lock().is_ok_and(|channel| channel.is_some())
    }

    /// Returns a connected channel, or why there is none. A channel reconnects by itself, but
    /// always with the client certificate that it was made with. After that certificate was
    /// renewed, new calls use a new channel, and calls under way finish on the old one.
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

    /// Connects to the member if there is no connection.
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

    /// Returns the time until which certified batches do not call the member, if it is known to be
    /// down.
    pub(super) fn down(&self) -> Option<Instant> {
        self.down_until.lock().filter(|until| *until > Instant::now())
    }

    fn tls_side(&self) -> TlsSide {
        let is_tls = self.url.parse::<EndpointUrl>().is_ok_and(|url| url.is_tls());
        TlsSide { is_tls, shows_certificate: self.shows_certificate }
    }

    /// Makes one call, which may take `timeout`, including the time to connect. After a failure of
    /// the connection the next call connects anew.
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

    /// Returns how long a question waits for a refusal before it counts as accepted.
    pub(super) fn patience(&self) -> Duration {
        self.refused_in.lock().saturating_mul(4).clamp(QUESTION_MIN, QUESTION_MAX)
    }
}
