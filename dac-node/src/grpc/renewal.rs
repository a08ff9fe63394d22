//! SignRenewal: the member promises to keep all settled batches of one rollup for longer. It signs
//! only if it holds all of them.

use dac_chain::RegistryView;
use dac_chain::feed::Origin;
use dac_proto::reason::Reason;
use dac_proto::{v1, wire};
use dac_types::{Committee, CoverageRenewal, TimesError};
use tonic::Status;

use super::dispersal::{Dispersal, busy, refused};
use super::limited;
use crate::admit::Refusal;
use crate::attest;
use crate::context::store_status;
use crate::limits::Caller;
use crate::store::{Covered, Lacking, RenewalAsked};

/// How often, at most, a rollup's batches are checked for renewals within its longest retention.
const STEPS_PER_RETENTION: u64 = 20;

impl Dispersal {
    /// Checks the request, then L1, then the stored shards, so that the cheap refusals come first.
    /// Then it makes the promise durable and signs it.
    pub(super) async fn renew(
        &self,
        caller: Caller,
        request: v1::SignRenewalRequest,
    ) -> Result<v1::SignRenewalResponse, Status> {
        let context = self.context();
        if context.draining.is_cancelled() {
            return Err(Reason::ShuttingDown.status("this member is stopping"));
        }
        let seat = wire::seat("seat", request.seat)?;
        let registry = wire::address("registry", &request.registry)?;
        let renewal: CoverageRenewal = wire::required("renewal", request.renewal)?.try_into()?;
        let domain = &context.identity.domain;
        if request.chain_id != domain.chain_id {
            let (expected, got) = (domain.chain_id, request.chain_id);
            return Err(refused(Refusal::ChainId { expected, got }));
        }
        if registry != domain.registry {
            return Err(refused(Refusal::Registry { expected: domain.registry, got: registry }));
        }
        let view = context.registry()?;
        let (epoch, now) = (renewal.epoch, context.clock.now_unix_seconds());
        let committee = view.committee(epoch).ok_or_else(|| refused(Refusal::UnknownEpoch { epoch }))?;
        if !committee.is_active(now) {
            let (from, until) = (committee.active_from(), committee.active_until());
            return Err(refused(Refusal::EpochNotActive { epoch, from, until, now }));
        }
        let ours =
            committee.member(seat).is_some_and(|member| member.public_key == context.identity.public_key);
        if !ours {
            return Err(refused(Refusal::WrongSeat { epoch, seat }));
        }
        let rollup = renewal.rollup;
        let terms = view.rollup(rollup).ok_or_else(|| refused(Refusal::UnknownRollup { rollup }))?;
        check_expiry(renewal.expires_at, terms.retention_max_seconds, now)
            .map_err(|error| refused(error.into()))?;
        if !context.progress.is_current(Origin::Settlement(rollup), context.settings.registry_max_age) {
            return Err(Reason::L1Stale.status("what settled on L1 has not been read up to its head yet"));
        }
        let group = context.deliverers.group(rollup, caller);
        if !group.is_known {
            context.clients.take(caller.client).map_err(limited)?;
        }
        // A renewal that cannot be promised takes no turn from one that can.
        let last = context.store.renewals.last_settled(rollup).await.map_err(|error| store_status(&error))?;
        if last < renewal.last_batch {
            return Err(not_settled(last, &renewal));
        }
        let _turn = context.renewals.turn(group, caller.client).await.map_err(busy)?;
        let since_epoch = lineage_since(&view, epoch);
        let keep_until = keep_until(renewal.expires_at, terms.retention_max_seconds, now);
        let asked = RenewalAsked { renewal, seat, since_epoch, keep_until };
        let store = &context.store;
        let covered = match Covered::obtain(&*store.renewals, &*store.shards, asked).await {
            Ok(Ok(covered)) => covered,
            Ok(Err(Lacking::Settlements { last })) => return Err(not_settled(last, &renewal)),
            Ok(Err(Lacking::Shards { missing, first })) => {
                context.repair_wanted.notify_one();
                let message = format!(
                    "seat {seat}'s shards of {missing} settled batches are not held, the first of them batch {first}"
                );
                return Err(Reason::NotHeld.status(message));
            }
            Err(error) => return Err(context.store_failed(&error).await),
        };
        let (digest, signature) =
            attest::renew(&*context.signer, &covered, domain).await.map_err(|error| {
                tracing::error!(%error, %rollup, "the renewal is covered but could not be signed");
                Reason::Internal.status("the renewal is covered but could not be signed; try again")
            })?;
        tracing::info!(%rollup, last_batch = renewal.last_batch, expires_at = renewal.expires_at, "renewal signed");
        Ok(v1::SignRenewalResponse {
            digest: bytes::Bytes::copy_from_slice(digest.as_bytes()),
            seat: seat.0.into(),
            signature: bytes::Bytes::copy_from_slice(&signature.0),
        })
    }
}

fn not_settled(last: u64, renewal: &CoverageRenewal) -> Status {
    Reason::NotSettled.status(format!("L1 shows {last} settled batches, not {}", renewal.last_batch))
}

/// Returns the first epoch from which on the seats are those of `epoch`.
fn lineage_since(view: &RegistryView, epoch: u64) -> u64 {
    let backwards = view.committees.range(..=epoch).rev().map(|(_, committee)| &**committee);
    Committee::lineage(backwards).last().map_or(epoch, Committee::epoch)
}

/// Returns the time until which batches are kept, rounded up to a step but never beyond what may be
/// asked for now. A client that keeps asking for a little more, as any client may, then causes no
/// checks and no writes until the next step.
fn keep_until(expires_at: u64, retention: u64, now: u64) -> u64 {
    let step = (retention / STEPS_PER_RETENTION).max(1);
    expires_at
        .checked_next_multiple_of(step)
        .unwrap_or(u64::MAX)
        .min(now.saturating_add(retention))
        .max(expires_at)
}

/// Checks that a renewal promises something, and no more than the rollup's longest retention.
fn check_expiry(expires_at: u64, retention: u64, now: u64) -> Result<(), TimesError> {
    TimesError::check_expiry(expires_at, now)?;
    if expires_at > now.saturating_add(retention) {
        return Err(TimesError::ExpiresTooLate { expires_at, retention, now });
    }
    Ok(())
}
