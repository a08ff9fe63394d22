//! Renews rollups' coverage (section 7 of `docs/protocol.md`) well before it runs short: a quorum of the active epoch signs
//! that it keeps all settled batches for longer, and the sum goes to the rollup's contract.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_bls::{CheckedRenewal, CommitteeKeys, Signature};
use dac_chain::settlement::CoverageState;
use dac_chain::{ChainError, Endpoints, Outcome, RenewOrder, SettlementReader};
use dac_proto::v1;
use dac_types::{
    Address, AdmittedRollup, Committee, CoverageRenewal, RenewalCertificate, Seat, SignatureBytes,
};
use futures::future::join_all;
use tracing::{debug, info, warn};

pub use self::decide::{Covered, Due, due};
use crate::collect::is_renewal_good;
use crate::context::Context;

/// How long one rollup's renewal may take to reach L1 before the others have their turn: a contract may refuse "for now" for ever, and
/// a process that posts no more is told nothing of what it handed over.
const POSTING_WAIT: Duration = Duration::from_secs(120);

/// Where it is read how long rollups' batches are kept.
#[async_trait]
pub trait CoverageSource: Send + Sync + 'static {
    /// Of one rollup. A rollup that has no settlement contract is an error like any other.
    async fn covered(&self, rollup: Address) -> Result<Covered, ChainError>;
}

/// L1 over JSON-RPC.
#[derive(Debug)]
pub struct RpcCoverage {
    endpoints: Endpoints,
    confirmations: u64,
}

impl RpcCoverage {
    /// As of the newest block with so many blocks on top.
    pub const fn new(endpoints: Endpoints, confirmations: u64) -> Self {
        Self { endpoints, confirmations }
    }
}

#[async_trait]
impl CoverageSource for RpcCoverage {
    async fn covered(&self, rollup: Address) -> Result<Covered, ChainError> {
        let reader = SettlementReader::new(self.endpoints.clone(), rollup);
        let CoverageState { batch_count, until, freeze_delay, exit_window, .. } =
            reader.coverage_at(self.confirmations).await?;
        Ok(Covered { batch_count, until, freeze_delay, exit_window })
    }
}

/// When coverage is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewSettings {
    /// Between two looks at all rollups.
    pub interval: Duration,
    /// See [`due`].
    pub ahead: Option<Duration>,
}

/// Looks at all rollups again and again while this process posts, until the process stops.
pub async fn run(ctx: Arc<Context>, source: Arc<dyn CoverageSource>, settings: RenewSettings) {
    loop {
        if ctx.posting.is_leading() {
            look(&ctx, &*source, settings).await;
        }
        tokio::time::sleep(settings.interval).await;
    }
}

async fn look(ctx: &Context, source: &dyn CoverageSource, settings: RenewSettings) {
    let Ok(view) = ctx.registry() else { return };
    let mut rollups: Vec<&AdmittedRollup> = view.rollups.values().collect();
    rollups.sort_by_key(|rollup| rollup.rollup);
    for admitted in rollups {
        let rollup = admitted.rollup;
        let covered = match source.covered(rollup).await {
            Ok(covered) => covered,
            Err(error) => {
                debug!(%rollup, %error, "no settlement contract that says how long its batches are kept");
                continue;
            }
        };
        let now = ctx.now();
        let Some(due) = due(&covered, admitted.retention_max_seconds, settings.ahead, now) else { continue };
        let Some(committee) = view.active_committee(now) else { continue };
        match renew(ctx, committee, rollup, due).await {
            Ok(()) => {
                metrics::counter!("dac_aggregator_renewals_total", "outcome" => "renewed").increment(1);
                info!(%rollup, last_batch = due.last_batch, expires_at = due.expires_at, "coverage is renewed");
            }
            Err(problem) => {
                metrics::counter!("dac_aggregator_renewals_total", "outcome" => "failed").increment(1);
                warn!(%rollup, last_batch = due.last_batch, problem, "coverage is not renewed; trying again");
            }
        }
    }
}

async fn renew(ctx: &Context, committee: &Arc<Committee>, rollup: Address, due: Due) -> Result<(), String> {
    let Due { last_batch, expires_at } = due;
    let renewal = CoverageRenewal { rollup, last_batch, expires_at, epoch: committee.epoch() };
    let signatures = ask_all(ctx, committee, &renewal).await;
    let (workers, domain) = (ctx.workers.clone(), ctx.identity.domain);
    let keys = ctx.keys.keys(committee).map_err(|error| error.to_string())?;
    let summed = workers.run(move || sum(&keys, domain, renewal, signatures)).await;
    let (checked, liars) = summed.map_err(|error| error.to_string())??;
    for seat in liars {
        metrics::counter!("dac_aggregator_renewal_liars_total", "seat" => seat.to_string()).increment(1);
        warn!(%rollup, %seat, "a member's signature is not its own over this renewal");
    }
    let order = RenewOrder::new(&checked);
    match tokio::time::timeout(POSTING_WAIT, ctx.posting.renew(&order)).await {
        Ok(Outcome::Recorded { .. }) => Ok(()),
        Ok(Outcome::Failed { reason }) => Err(format!("L1 refuses it: {reason}")),
        Err(_) => Err(format!("L1 did not take it within {POSTING_WAIT:?}; the poster goes on with it")),
    }
}

/// All members at once; those that do not sign are counted by why.
async fn ask_all(
    ctx: &Context,
    committee: &Committee,
    renewal: &CoverageRenewal,
) -> Vec<(Seat, SignatureBytes)> {
    let domain = ctx.identity.domain;
    let digest = renewal.digest(&domain);
    let calls = Seat::all(committee.quorum().geometry().n()).filter_map(|seat| {
        let url = committee.member(seat)?.dispersal_url.clone();
        let request = v1::SignRenewalRequest {
            chain_id: domain.chain_id,
            registry: domain.registry.to_vec().into(),
            seat: seat.0.into(),
            renewal: Some(renewal.into()),
        };
        Some(async move { (seat, ctx.members.sign_renewal(&url, request, digest, seat).await) })
    });
    let mut signatures = Vec::new();
    for (seat, answer) in join_all(calls).await {
        match answer {
            Ok(signature) => signatures.push((seat, signature)),
            Err(failure) => {
                metrics::counter!("dac_aggregator_renewal_refusals_total", "reason" => failure.reason.clone())
                    .increment(1);
                info!(rollup = %renewal.rollup, %seat, reason = failure.reason, detail = failure.detail,
                      "a member does not sign a renewal");
            }
        }
    }
    signatures
}

/// The sum of those that are good, verified as L1 will verify it; and who gave what is not.
fn sum(
    keys: &CommitteeKeys,
    domain: dac_types::Domain,
    renewal: CoverageRenewal,
    signatures: Vec<(Seat, SignatureBytes)>,
) -> Result<(CheckedRenewal, Vec<Seat>), String> {
    let digest = renewal.digest(&domain);
    let (mut points, mut liars): (Vec<(Seat, Signature)>, Vec<Seat>) = (Vec::new(), Vec::new());
    for (seat, bytes) in signatures {
        match is_renewal_good(keys, &digest, seat, bytes) {
            Some(point) => points.push((seat, point)),
            None => liars.push(seat),
        }
    }
    let aggregate = keys.aggregate(&digest, &points).map_err(|error| format!("{error}; liars: {liars:?}"))?;
    let certificate = RenewalCertificate { renewal, aggregate };
    let checked = keys.verify_renewal(&certificate, &domain).map_err(|error| error.to_string())?;
    Ok((checked, liars))
}
