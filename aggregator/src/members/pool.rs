//! All members' endpoints: decides which batch may call which member, and makes the calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_client::Dialer;
use dac_proto::v1;
use dac_types::{Address, RenewalDigest, Seat, SignatureBytes};
use parking_lot::Mutex;
use rand::Rng;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use super::call::{StoreShard, check_attestation, check_renewal, messages};
use super::failure::CallFailure;
use super::link::MemberLink;
use super::settings::{CallSettings, Urgency};
use crate::budget::{Held, Part, Turns};

/// The permission to make one call. Dropping it ends the turn.
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
    /// Makes the pool without a connection; the first call to a member connects.
    pub fn new(dialer: Dialer, settings: CallSettings) -> Self {
        let calls = Turns::new(settings.calls_max, Part::ThreeQuarters);
        Self { dialer, settings, calls, links: Mutex::default() }
    }

    /// Returns the settings of calls.
    pub const fn settings(&self) -> &CallSettings {
        &self.settings
    }

    /// Returns the endpoint with this URL.
    pub fn link(&self, url: &str) -> Arc<MemberLink> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(url) {
            return Arc::clone(link);
        }
        // URLs change with epochs and operators, so endpoints that no call uses are forgotten.
        links.retain(|_, link| Arc::strong_count(link) > 1 || link.is_connected());
        let link = Arc::new(MemberLink::new(url.to_owned(), self.dialer.clone(), &self.settings));
        links.insert(url.to_owned(), Arc::clone(&link));
        link
    }

    /// Waits for a turn at a member. Rollups take turns, and none has more than its share of them,
    /// so that one whose calls hang holds up no other.
    ///
    /// Certified batches wait while the member is known to be down. They have few turns at a time,
    /// so that batches without a certificate never wait long for them.
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

    /// Makes one call with the permit of a turn. Of the returned signature only its group is
    /// checked; the caller verifies it.
    pub async fn call(
        &self,
        link: &MemberLink,
        permit: &CallPermit,
        store_shard: StoreShard,
    ) -> Result<SignatureBytes, CallFailure> {
        let (digest, seat) = (store_shard.digest, store_shard.seat);
        check_attestation(self.send(link, permit, store_shard).await?, digest, seat)
    }

    /// Asks a member that refused before whether it would take the batch now, without sending the
    /// shard, so that no memory is needed for another refusal. Returns the attestation of a member
    /// that already has the shard, and none if the member has not refused after a time in which it
    /// usually would, because it then waits for the shard.
    pub async fn would_take(
        &self,
        link: &MemberLink,
        rollup: Address,
        store_shard: StoreShard,
    ) -> Result<Option<SignatureBytes>, CallFailure> {
        let _turn = link.questions.take(rollup).await;
        let (digest, seat) = (store_shard.digest, store_shard.seat);
        let only_open = tokio_stream::iter(messages(store_shard)).take(1).chain(tokio_stream::pending());
        let asked = Box::pin(link.store_shard(only_open, self.settings.call_timeout));
        match tokio::time::timeout(link.patience(), asked).await {
            Ok(answer) => check_attestation(answer?, digest, seat).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Sends the certificate to a member that has attested before. Only success or failure matters;
    /// the answer is not checked.
    pub async fn bring_certificate(
        &self,
        link: &MemberLink,
        permit: &CallPermit,
        store_shard: StoreShard,
    ) -> Result<(), CallFailure> {
        self.send(link, permit, store_shard).await.map(drop)
    }

    /// Sends one delivery. Its stream and future are allocated only for the time of the call,
    /// because thousands of deliveries of certificates may wait for a turn.
    async fn send(
        &self,
        link: &MemberLink,
        _permit: &CallPermit,
        store_shard: StoreShard,
    ) -> Result<v1::StoreShardResponse, CallFailure> {
        let started = Instant::now();
        let stream = tokio_stream::iter(messages(store_shard));
        let result = Box::pin(link.store_shard(stream, self.settings.call_timeout)).await;
        metrics::histogram!("dac_aggregator_store_shard_seconds").record(started.elapsed().as_secs_f64());
        result
    }

    /// Asks a member to sign a renewal. Returns the signature unverified; the caller checks it. The
    /// call's time limit includes the wait for a turn.
    pub async fn sign_renewal(
        &self,
        url: &str,
        rollup: Address,
        request: v1::SignRenewalRequest,
        digest: RenewalDigest,
        seat: Seat,
    ) -> Result<SignatureBytes, CallFailure> {
        let link = self.link(url);
        let answer = link
            .within(self.settings.call_timeout, async |mut client| {
                let _turn = self.turn(&link, rollup, Urgency::Fresh).await;
                client.sign_renewal(request).await
            })
            .await?;
        check_renewal(&answer, digest, seat)
    }

    /// Returns the pause after a number of failures in a row. It doubles with each failure, is
    /// raised to what the member asked for, has an upper limit, and is then shortened at random by
    /// up to one half.
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
