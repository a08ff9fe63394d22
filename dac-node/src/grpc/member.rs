//! MemberService: the member's identity, its state and what it can do.

use std::sync::Arc;

use bytes::Bytes;
use dac_chain::EndpointsStatus;
use dac_proto::v1;
use dac_proto::v1::member_service_server::MemberService;
use dac_runtime::tls;
use dac_types::Address;
use tonic::{Request, Response, Status};

use super::limited;
use crate::accusations::Accusation;
use crate::context::{Context, store_status};
use crate::limits::ClientKey;
use crate::repair::Fault;
use crate::store::BadSeatLine;

/// The largest number of faults, and of accusations, in one answer.
const FAULTS_MAX: usize = 64;
/// The largest number of rollups of one kind in one answer.
const ROLLUPS_MAX: usize = 64;
/// The largest number of bad seats in one answer.
const BAD_SEATS_MAX: u32 = 64;

/// Implements the service over the shared context.
#[derive(Clone)]
pub struct Members(Arc<Context>);

impl Members {
    /// Makes the service of `context`.
    pub const fn new(context: Arc<Context>) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl MemberService for Members {
    async fn get_member(
        &self,
        request: Request<v1::GetMemberRequest>,
    ) -> Result<Response<v1::GetMemberResponse>, Status> {
        let context = &*self.0;
        context.clients.take(ClientKey::of(&request)).map_err(limited)?;
        let totals = context.store.catalog.totals().await.map_err(|error| store_status(&error))?;
        let bad_seats =
            context.store.catalog.bad_seats(BAD_SEATS_MAX).await.map_err(|error| store_status(&error))?;
        let (identity, max_age) = (&context.identity, context.settings.registry_max_age);
        let (view, now) = (context.registry.latest(), context.clock.now_unix_seconds());
        // The newest epoch comes first.
        let held: Vec<_> = view
            .iter()
            .flat_map(|view| view.committees.values().rev())
            .filter_map(|committee| Some((committee, committee.seat_of(&identity.public_key)?)))
            .collect();
        let operator =
            held.first().and_then(|(committee, seat)| committee.member(*seat)).map(|own| own.operator);
        let seats = held.iter().map(|(committee, seat)| v1::MemberSeat {
            epoch: committee.epoch(),
            seat: seat.0.into(),
            active: committee.is_active(now),
        });
        Ok(Response::new(v1::GetMemberResponse {
            chain_id: identity.domain.chain_id,
            registry: Bytes::copy_from_slice(identity.domain.registry.as_slice()),
            operator: operator
                .map(|operator| Bytes::copy_from_slice(operator.as_slice()))
                .unwrap_or_default(),
            public_key: Bytes::copy_from_slice(identity.public_key.as_bytes()),
            seats: seats.collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocols: vec!["dac.v1".to_owned()],
            stored_batches: totals.batches,
            stored_bytes: totals.bytes,
            capacity_bytes: context.space.capacity_bytes().unwrap_or(0),
            l1_block: view.map_or(0, |view| view.head.number),
            l1_age_seconds: context.registry.last_success().map_or(0, |read| read.elapsed().as_secs()),
            l1_stale: context.registry.fresh(max_age).is_err(),
            l1_max_age_seconds: max_age.as_secs().max(1),
            state: state(context).into(),
            duties: Some(duties(context)),
            repair: Some(repair(context)),
            faults: context.repair.faults(FAULTS_MAX).into_iter().map(fault).collect(),
            bad_seats: bad_seats.iter().map(bad_seat).collect(),
            storage: context.store.upkeep.storage(),
            unreadable_rollups: rollups(context.progress.unreadable_rollups()),
            flooding_rollups: rollups(context.progress.flooding_rollups()),
            accusations: context.accusations.list(FAULTS_MAX).into_iter().map(accusation).collect(),
            l1_endpoints: Some(l1_endpoints(context.registry.endpoints())),
            tls_certificate_expires_at: tls::first_to_expire().unwrap_or(0),
        }))
    }
}

/// Returns whether all shards that are owed are held, according to what was read of L1 since the
/// process started.
fn state(context: &Context) -> v1::MemberState {
    match context.progress.counts(context.settings.registry_max_age) {
        None => v1::MemberState::Starting,
        Some(counts) if counts.is_whole() => v1::MemberState::Ready,
        Some(_) => v1::MemberState::Repairing,
    }
}

fn l1_endpoints(status: EndpointsStatus) -> v1::L1Endpoints {
    let EndpointsStatus { configured, agree, disagreements, undecided, problems, lasting: _ } = status;
    v1::L1Endpoints { configured, agree, disagreements, undecided: undecided.unwrap_or_default(), problems }
}

fn duties(context: &Context) -> v1::Duties {
    let counts = context.progress.counts_so_far();
    let (read_up_to_block, unread_blocks) = context.progress.blocks();
    v1::Duties {
        owed: counts.owed,
        held: counts.held,
        missing: counts.missing,
        corrupt: counts.corrupt,
        bad: counts.bad,
        read_up_to_block,
        unread_blocks,
        scrubbed_at: context.scrub.ended_at(),
        scrubbed_shards: context.scrub.shards(),
        doubted: counts.doubted,
        age_seconds: context.progress.age().map_or(0, |age| age.as_secs()),
    }
}

fn rollups(rollups: Vec<Address>) -> Vec<Bytes> {
    rollups.iter().take(ROLLUPS_MAX).map(|rollup| Bytes::copy_from_slice(rollup.as_slice())).collect()
}

fn repair(context: &Context) -> v1::Repair {
    let report = context.repair.report();
    v1::Repair {
        repaired: report.repaired,
        repaired_bytes: report.repaired_bytes,
        attempts_failed: report.failed,
        current: report.current.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default(),
        last_problem: report.last_problem,
    }
}

fn fault(fault: Fault) -> v1::AttributedFault {
    v1::AttributedFault {
        operator: Bytes::copy_from_slice(fault.operator.as_slice()),
        kind: fault.kind.to_owned(),
        count: fault.count,
        last_at: fault.last_at,
        detail: fault.detail,
    }
}

fn accusation(accusation: Accusation) -> v1::Accusation {
    let bytes = |address: Option<Address>| {
        address.map(|address| Bytes::copy_from_slice(address.as_slice())).unwrap_or_default()
    };
    v1::Accusation {
        rollup: bytes(accusation.signers.rollup),
        disperser: bytes(accusation.signers.disperser),
        kind: accusation.kind.to_owned(),
        count: accusation.count,
        last_at: accusation.last_at,
        detail: accusation.detail,
        proven: accusation.is_proven,
    }
}

fn bad_seat(line: &BadSeatLine) -> v1::BadSeat {
    v1::BadSeat {
        digest: Bytes::copy_from_slice(line.digest.as_bytes()),
        seat: line.seat.0.into(),
        found_at: line.found_at,
    }
}
