//! Makes the certificate from a quorum's signatures, and verifies signatures that come later.

use std::sync::Arc;

use dac_types::{Seat, SignatureBytes};
use tracing::{error, warn};

use super::super::delivery::Deliveries;
use crate::batch::{Event, Failure, FailureReason};
use crate::collect::{Collected, collect, is_good};
use crate::context::PAUSE;

/// Returns the keys of the header's committee. The registry's last snapshot may be of any age,
/// because the members of an epoch never change.
async fn committee_keys(deliveries: &Deliveries) -> Result<Arc<dac_bls::CommitteeKeys>, String> {
    let ctx = Arc::clone(&deliveries.ctx);
    let epoch = deliveries.record.header.epoch;
    let view =
        ctx.registry.wait_for(|view| view.committee(epoch).is_some()).await.map_err(|e| e.to_string())?;
    let committee = view.committee(epoch).cloned().ok_or("the epoch is gone")?;
    let workers = ctx.workers.clone();
    let keys = workers.run(move || ctx.keys.keys(&committee));
    keys.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

pub(super) async fn aggregate(deliveries: Arc<Deliveries>, signatures: Vec<(Seat, SignatureBytes)>) {
    let ctx = Arc::clone(&deliveries.ctx);
    let digest = deliveries.digest;
    let collected = match committee_keys(&deliveries).await {
        Ok(keys) => {
            let (record, domain) = (Arc::clone(&deliveries.record), ctx.identity.domain);
            ctx.workers
                .run(move || collect(&keys, &domain, &record.header, &signatures))
                .await
                .map_err(|error| error.to_string())
                .and_then(|collected| collected.map_err(|error| error.to_string()))
        }
        Err(problem) => Err(problem),
    };
    let event = match collected {
        Ok(Collected::Certificate(aggregate)) => Event::Aggregated { digest, aggregate, at_ms: ctx.now_ms() },
        Ok(Collected::Liars(seats)) => Event::LiarsFound { digest, seats },
        Err(problem) => {
            error!(%digest, problem, "a quorum's signatures make no certificate");
            Event::Failed(Failure { reason: FailureReason::Internal, detail: problem })
        }
    };
    let _ = deliveries.events.send(event).await;
}

pub(super) async fn check(deliveries: Arc<Deliveries>, seat: Seat, signature: SignatureBytes) {
    let digest = deliveries.digest;
    let keys = loop {
        match committee_keys(&deliveries).await {
            Ok(keys) => break keys,
            Err(problem) => {
                warn!(%digest, problem, "a late signature waits to be checked");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let workers = deliveries.ctx.workers.clone();
    if let Ok(good) = workers.run(move || is_good(&keys, digest, seat, signature)).await {
        let _ = deliveries.events.send(Event::SignatureChecked { digest, seat, good }).await;
    }
}
