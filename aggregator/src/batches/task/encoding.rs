//! Turns the stored payload into shards and a signed header, as soon as there is an active
//! committee and memory.

use std::time::Duration;

use dac_proto::reason::Reason;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::batch::{Event, Failure, FailureReason, Obstruction};
use crate::context::{Context, PAUSE};
use crate::encode::{EncodeError, EncodedPayload};
use crate::store::StoreError;

/// The time after which an encoding that is not finished is reported as waiting for its turn.
const ENCODING_PATIENCE: Duration = Duration::from_secs(2);

/// Waits for an active committee and for memory, and encodes the payload for that committee.
/// Reports what it waits for if that takes long.
pub(super) async fn encode(ctx: &Context, payload: &EncodedPayload, events: &mpsc::Sender<Event>) -> Event {
    let mut told = None;
    let mut waits = async |reason: Reason, detail: &str| {
        if told.replace(reason) != Some(reason) {
            let obstruction = Obstruction { reason: reason.as_str().to_owned(), detail: detail.to_owned() };
            let _ = events.send(Event::EncodingWaits(obstruction)).await;
        }
    };
    loop {
        let committee = match ctx.registry().map(|view| view.active_committee(ctx.now()).cloned()) {
            Ok(Some(committee)) => committee,
            Ok(None) => {
                waits(Reason::NoActiveCommittee, "no epoch is active, so no member would sign").await;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(_) => {
                waits(Reason::L1Stale, "what was last read of the registry is too old to decide by").await;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let started = Instant::now();
        let preparing = payload.prepare(&committee, ctx.identity.domain, &ctx.signer);
        tokio::pin!(preparing);
        let prepared = tokio::select! {
            prepared = &mut preparing => prepared,
            () = tokio::time::sleep(ENCODING_PATIENCE) => {
                let (used, waiting) = ctx.encoders.fresh_use();
                let detail =
                    format!("its turn to be encoded: {waiting} batches wait for memory, {used} bytes are in use");
                waits(Reason::Busy, &detail).await;
                preparing.await
            }
        };
        match prepared {
            Ok(dispersal) => {
                metrics::histogram!("dac_aggregator_encode_seconds").record(started.elapsed().as_secs_f64());
                return Event::Encoded(Box::new(dispersal));
            }
            // The batch fails, unless it is over already: then its payload was removed on purpose,
            // and the batch ignores this event.
            Err(EncodeError::Store(StoreError::CorruptPayload { problem })) => {
                return Event::PayloadCorrupt { detail: problem };
            }
            Err(EncodeError::Store(error)) => {
                warn!(%error, "reading a payload; trying again");
                waits(Reason::StorageFailed, "the payload cannot be read for now").await;
                tokio::time::sleep(PAUSE).await;
            }
            Err(EncodeError::Crowded(refused)) => {
                waits(Reason::Busy, &format!("its turn to be encoded: {refused}")).await;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                error!(%error, "encoding");
                return Event::Failed(Failure { reason: FailureReason::Internal, detail: error.to_string() });
            }
        }
    }
}
