//! Renews rollups' coverage (section 7 of `docs/protocol.md`) well before it runs short: a quorum
//! of the active epoch signs that it keeps all settled batches for longer, and the sum goes to the
//! rollup's contract.

mod decide;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_bls::{CheckedRenewal, CommitteeKeys, Signature};
use dac_chain::settlement::CoverageState;
use dac_chain::{ChainError, Endpoints, RenewOrder, SettlementReader};
use dac_poster::Outcome;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_types::{
    Address, AdmittedRollup, Committee, CoverageRenewal, Domain, RenewalCertificate, RenewalDigest, Seat,
    SignatureBytes,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub use self::decide::{Covered, Due, Renewed, due};
use crate::accusations::{Accused, Charge};
use crate::batch::DeliveryFailure;
use crate::collect::is_renewal_good;
use crate::context::Context;
use crate::members::{CallFailure, Urgency};

/// How long one rollup's renewal may take to reach L1 before the next rollup's turn. Without this
/// limit a contract that refuses "for now" for ever would stop all renewals, and so would a process
/// that no longer posts, which never learns the outcome.
const POSTING_WAIT: Duration = Duration::from_secs(120);

/// How long a busy member is asked again within one round.
const ASKED_FOR: Duration = Duration::from_secs(30);

/// A source that says how long members keep rollups' batches.
#[async_trait]
pub trait CoverageSource: Send + Sync + 'static {
    /// Returns the coverage of one rollup. Fails if the rollup's address has no settlement
    /// contract.
    async fn covered(&self, rollup: Address) -> Result<Covered, ChainError>;
}

/// Reads coverage from L1 over JSON-RPC.
#[derive(Debug)]
pub struct RpcCoverage {
    endpoints: Endpoints,
    confirmations: u64,
}

impl RpcCoverage {
    /// Makes a source that reads the newest block with `confirmations` blocks on top.
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
    /// The time between two rounds over all rollups.
    pub interval: Duration,
    /// The lead before coverage runs short; see [`due`].
    pub ahead: Option<Duration>,
}

/// Checks the coverage of all rollups once in every interval while this process posts, until the
/// process stops.
pub async fn run(ctx: Arc<Context>, source: Arc<dyn CoverageSource>, settings: RenewSettings) {
    let mut renewed = HashMap::new();
    loop {
        if ctx.posting.is_leading() {
            look(&ctx, &*source, settings, &mut renewed).await;
        }
        tokio::time::sleep(settings.interval).await;
    }
}

async fn look(
    ctx: &Context,
    source: &dyn CoverageSource,
    settings: RenewSettings,
    renewed: &mut HashMap<Address, Renewed>,
) {
    let Ok(view) = ctx.registry() else { return };
    renewed.retain(|rollup, _| view.rollups.contains_key(rollup));
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
        let (now, retention) = (ctx.now(), admitted.retention_max_seconds);
        let Some(due) = due(&covered, retention, settings.ahead, now) else { continue };
        let former = renewed.get(&rollup).copied();
        if let Some(until) = former.and_then(|former| former.holds_back(&due, now)) {
            metrics::counter!("dac_aggregator_renewals_held_back_total", "rollup" => rollup.to_string())
                .increment(1);
            debug!(%rollup, until, "renewed lately, and its contract says that coverage is short still");
            continue;
        }
        let Some(committee) = view.active_committee(now) else { continue };
        match renew(ctx, committee, rollup, due).await {
            Ok(()) => {
                metrics::counter!("dac_aggregator_renewals_total", "outcome" => "renewed").increment(1);
                info!(%rollup, last_batch = due.last_batch, expires_at = due.expires_at, "coverage is renewed");
            }
            Err(problem) => {
                metrics::counter!("dac_aggregator_renewals_total", "outcome" => "failed").increment(1);
                warn!(%rollup, last_batch = due.last_batch, %problem, "coverage is not renewed; trying again");
                if !matches!(problem, Problem::Slow) {
                    continue;
                }
            }
        }
        let remembered = Renewed::after(former, &due, retention, settings.interval, now);
        if remembered.is_repeated(settings.interval) {
            warn!(%rollup, last_batch = due.last_batch, pause_seconds = remembered.pause(),
                  "its contract did not count the renewal before this one; the next one waits longer");
        }
        renewed.insert(rollup, remembered);
    }
}

/// Why a rollup is not renewed.
#[derive(Debug, Error)]
enum Problem {
    /// No quorum signed, so nothing was handed to L1.
    #[error("{0}")]
    Unsigned(String),
    #[error("L1 refuses it: {0}")]
    Refused(String),
    /// The transaction may still be included later.
    #[error("L1 did not take it within {POSTING_WAIT:?}; the poster goes on with it")]
    Slow,
}

async fn renew(ctx: &Context, committee: &Arc<Committee>, rollup: Address, due: Due) -> Result<(), Problem> {
    let Due { last_batch, expires_at } = due;
    let renewal = CoverageRenewal { rollup, last_batch, expires_at, epoch: committee.epoch() };
    let keys = ctx.keys.keys(committee).map_err(|error| Problem::Unsigned(error.to_string()))?;
    let signatures = ask(ctx, committee, &keys, &renewal).await;
    let domain = ctx.identity.domain;
    let summed = ctx.workers.run(move || sum(&keys, domain, renewal, &signatures)).await;
    let checked = summed.map_err(|error| error.to_string()).flatten().map_err(Problem::Unsigned)?;
    let order = RenewOrder::new(&checked);
    match tokio::time::timeout(POSTING_WAIT, ctx.posting.renew(&order)).await {
        Ok(Outcome::Recorded { .. }) => Ok(()),
        Ok(Outcome::Failed { reason }) => Err(Problem::Refused(reason.to_string())),
        Err(_) => Err(Problem::Slow),
    }
}

/// Asks all members at once and returns their good signatures, as soon as there is a quorum and a
/// short grace is over. Members that do not sign are counted by reason; members that return a wrong
/// signature are counted by operator.
async fn ask(
    ctx: &Context,
    committee: &Committee,
    keys: &Arc<CommitteeKeys>,
    renewal: &CoverageRenewal,
) -> Vec<(Seat, Signature)> {
    let domain = ctx.identity.domain;
    let digest = renewal.digest(&domain);
    let mut calls: FuturesUnordered<_> = Seat::all(committee.quorum().geometry().n())
        .filter_map(|seat| {
            let url = committee.member(seat)?.dispersal_url.clone();
            let request = v1::SignRenewalRequest {
                chain_id: domain.chain_id,
                registry: domain.registry.to_vec().into(),
                seat: seat.0.into(),
                renewal: Some(renewal.into()),
            };
            Some(async move {
                let answer = ask_one(ctx, &url, renewal.rollup, request, digest, seat).await;
                (seat, verify(ctx, Arc::clone(keys), digest, seat, answer).await)
            })
        })
        .collect();
    let mut signatures = Vec::new();
    let mut grace_ends: Option<Instant> = None;
    loop {
        let next = match grace_ends {
            None => calls.next().await,
            Some(end) => tokio::time::timeout_at(end, calls.next()).await.unwrap_or_default(),
        };
        let Some((seat, answer)) = next else { return signatures };
        match answer {
            Ok(signature) => signatures.push((seat, signature)),
            Err(failure) => note_failure(ctx, committee, renewal, seat, &failure),
        }
        if grace_ends.is_none() && signatures.len() >= usize::from(committee.quorum().q()) {
            grace_ends = Some(Instant::now() + ctx.settings.grace);
        }
    }
}

/// Asks one member. A busy member is asked again after the pause that it names; otherwise other
/// clients' requests could delay a rollup's renewal from round to round.
async fn ask_one(
    ctx: &Context,
    url: &str,
    rollup: Address,
    request: v1::SignRenewalRequest,
    digest: RenewalDigest,
    seat: Seat,
) -> Result<SignatureBytes, CallFailure> {
    let give_up = Instant::now() + ASKED_FOR;
    let mut failures = 0;
    loop {
        let failure = match ctx.members.sign_renewal(url, rollup, request.clone(), digest, seat).await {
            Ok(signature) => return Ok(signature),
            Err(failure) => failure,
        };
        failures += 1;
        let pause = ctx.members.pause(failures, failure.retry_after, Urgency::Fresh);
        if !is_busy(&failure) || Instant::now() + pause >= give_up {
            return Err(failure);
        }
        debug!(%seat, reason = failure.reason, ?pause, "a member is too busy to sign a renewal; asking it again");
        tokio::time::sleep(pause).await;
    }
}

fn is_busy(failure: &CallFailure) -> bool {
    [Reason::Busy, Reason::RateLimited].iter().any(|reason| reason.as_str() == failure.reason)
}

/// Verifies that the signature is the seat's own over the digest; if not, the member lied.
async fn verify(
    ctx: &Context,
    keys: Arc<CommitteeKeys>,
    digest: RenewalDigest,
    seat: Seat,
    answer: Result<SignatureBytes, CallFailure>,
) -> Result<Signature, CallFailure> {
    let bytes = answer?;
    let verified = ctx.workers.run(move || is_renewal_good(&keys, &digest, seat, bytes)).await;
    match verified {
        Ok(Some(signature)) => Ok(signature),
        Ok(None) => Err(CallFailure::lied(
            "BAD_SIGNATURE",
            format!("not the signature of seat {seat} over the renewal {digest}"),
        )),
        Err(error) => Err(CallFailure::retryable("INTERNAL", error.to_string())),
    }
}

fn note_failure(
    ctx: &Context,
    committee: &Committee,
    renewal: &CoverageRenewal,
    seat: Seat,
    failure: &CallFailure,
) {
    let CallFailure { kind, reason, detail, .. } = failure;
    let rollup = renewal.rollup;
    if *kind == DeliveryFailure::Lied {
        let operator = committee.member(seat).map(|member| member.operator);
        if let Some(operator) = operator {
            let charge = Charge { kind: reason, is_proven: false, detail };
            ctx.accusations.add(Accused::Member(operator), charge, ctx.now());
        }
        let operator = operator.map_or_else(|| "unknown".to_owned(), |operator| operator.to_string());
        warn!(%rollup, %seat, operator, reason, detail, "a member's answer to a renewal is not its signature over it");
        metrics::counter!(
            "dac_aggregator_renewal_liars_total", "operator" => operator, "reason" => reason.clone()
        )
        .increment(1);
    } else {
        metrics::counter!("dac_aggregator_renewal_refusals_total", "reason" => reason.clone()).increment(1);
        info!(%rollup, %seat, reason, detail, "a member does not sign a renewal");
    }
}

/// Returns the sum of good signatures, verified as L1 will verify it.
fn sum(
    keys: &CommitteeKeys,
    domain: Domain,
    renewal: CoverageRenewal,
    signatures: &[(Seat, Signature)],
) -> Result<CheckedRenewal, String> {
    let digest = renewal.digest(&domain);
    let aggregate = keys.aggregate(&digest, signatures).map_err(|error| error.to_string())?;
    let certificate = RenewalCertificate { renewal, aggregate };
    keys.verify_renewal(&certificate, &domain).map_err(|error| error.to_string())
}
