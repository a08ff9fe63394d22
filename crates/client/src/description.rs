//! Descriptions that members and aggregators give of themselves, parsed and bounded. Nothing in
//! them is proved: audits and retrieval check what members hold.

use dac_proto::v1;
use dac_proto::wire::{self, WireError};
use dac_types::{Address, B256, BatchDigest, PublicKeyBytes, Seat};

use crate::status::BatchState;
use crate::text::printable;
use crate::waiting::Waiting;

/// The most faults, and the most bad seats, that are read from one answer.
const ENTRIES_MAX: usize = 64;
/// The most seats that are read from one answer; the newest are kept.
const SEATS_MAX: usize = 4096;
/// The most protocols that are read from one answer.
const PROTOCOLS_MAX: usize = 16;

/// Whether a member holds what it owes, according to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// The member does not say: its software is older than this field.
    Untold,
    /// The member has not read from L1 yet what it owes.
    Starting,
    /// A shard that the member owes is missing or corrupt.
    Repairing,
    /// The member holds everything that it owes.
    Ready,
    /// The member holds everything that it owed when it last read L1, but that is too long ago: it
    /// signs nothing.
    Stale,
}

impl Readiness {
    /// The name that programs read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untold => "untold",
            Self::Starting => "starting",
            Self::Repairing => "repairing",
            Self::Ready => "ready",
            Self::Stale => "stale",
        }
    }

    fn from_wire(value: i32, l1_stale: bool) -> Result<Self, WireError> {
        match v1::MemberState::try_from(value) {
            Ok(v1::MemberState::Unspecified) => Ok(Self::Untold),
            Ok(v1::MemberState::Starting) => Ok(Self::Starting),
            Ok(v1::MemberState::Repairing) => Ok(Self::Repairing),
            Ok(v1::MemberState::Ready) if l1_stale => Ok(Self::Stale),
            Ok(v1::MemberState::Ready) => Ok(Self::Ready),
            Err(_) => Err(WireError::UnknownEnum { field: "member.state", got: value }),
        }
    }
}

/// A seat that a member claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimedSeat {
    /// The seat's epoch.
    pub epoch: u64,
    /// The seat's number.
    pub seat: Seat,
    /// Whether the member signs new batches for this seat.
    pub active: bool,
}

/// A fault of another member that this member reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedFault {
    /// The operator whose fault it is.
    pub operator: Address,
    /// The kind of fault, by the names of [`crate::MemberFault::code`].
    pub kind: String,
    /// How often the fault happened.
    pub count: u64,
    /// When it last happened, in Unix seconds.
    pub last_at: u64,
    /// A description of the last occurrence.
    pub detail: String,
}

/// A breach of the protocol by a disperser or a rollup that a member reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedAccusation {
    /// The rollup; none if the registry does not admit it.
    pub rollup: Option<Address>,
    /// The disperser; none if it is not known.
    pub disperser: Option<Address>,
    /// The reason with which the request was refused, or the kind of breach.
    pub kind: String,
    /// How often the breach happened.
    pub count: u64,
    /// When it last happened, in Unix seconds.
    pub last_at: u64,
    /// A description of the last occurrence.
    pub detail: String,
    /// Whether the member says that signatures prove it.
    pub proven: bool,
}

/// A batch whose disperser committed to a shard for this member's seat that does not match the
/// other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedBadSeat {
    /// The digest of the batch.
    pub digest: BatchDigest,
    /// The member's seat in the batch's epoch.
    pub seat: Seat,
    /// When the member found it out, in Unix seconds.
    pub found_at: u64,
}

/// A member's description of itself.
#[derive(Clone, Debug)]
pub struct MemberDescription {
    /// The chain that the member reads.
    pub chain_id: u64,
    /// The registry whose committee the member belongs to.
    pub registry: Address,
    /// The operator whose node it is; none while its key is in no epoch.
    pub operator: Option<Address>,
    /// The key that the member signs with.
    pub public_key: PublicKeyBytes,
    /// The member's seats, the newest first.
    pub seats: Vec<ClaimedSeat>,
    /// The version of the member's software.
    pub version: String,
    /// The protocols that the member speaks.
    pub protocols: Vec<String>,
    /// The number of batches stored.
    pub stored_batches: u64,
    /// The number of bytes stored.
    pub stored_bytes: u64,
    /// The most bytes that the member may store; none if there is no limit.
    pub capacity_bytes: Option<u64>,
    /// The newest L1 block that the member has read.
    pub l1_block: u64,
    /// Seconds since the member read that block.
    pub l1_age_seconds: u64,
    /// Whether `l1_age_seconds` is over the limit, or the member has read no block yet. It signs
    /// nothing then.
    pub l1_stale: bool,
    /// The limit for `l1_age_seconds`; none if the member does not say.
    pub l1_max_age_seconds: Option<u64>,
    /// Whether the member holds what it owes.
    pub readiness: Readiness,
    /// Counts of the shards that the member owes and holds; zeros if it does not say.
    pub duties: v1::Duties,
    /// Counts of the member's repairs since it started; zeros if it does not say.
    pub repair: v1::Repair,
    /// The batch that the member repairs now.
    pub repairing: Option<BatchDigest>,
    /// Faults of other members that this member met in repairs; the operators with the most faults
    /// first.
    pub faults: Vec<ReportedFault>,
    /// Batches with a bad shard for this member's seat, the newest first.
    pub bad_seats: Vec<ReportedBadSeat>,
    /// Where the member stores what it signs, in its own words; empty if it does not say.
    pub storage: String,
    /// Rollups whose contracts the member cannot read. It renews none of their batches.
    pub unreadable_rollups: Vec<Address>,
    /// Rollups whose contracts claim more batches than the member follows.
    pub flooding_rollups: Vec<Address>,
    /// Breaches of the protocol by dispersers and rollups; the proven ones first.
    pub accusations: Vec<ReportedAccusation>,
    /// Counts of the L1 endpoints that the member reads; zeros if it does not say.
    pub l1_endpoints: v1::L1Endpoints,
    /// When the first of the member's TLS certificates expires, in Unix seconds; none if it has no
    /// certificate or does not say.
    pub tls_certificate_expires_at: Option<u64>,
}

impl MemberDescription {
    /// The number of shards that are still to be repaired.
    pub fn to_repair(&self) -> u64 {
        self.duties.missing.saturating_add(self.duties.corrupt)
    }
}

impl TryFrom<v1::GetMemberResponse> for MemberDescription {
    type Error = WireError;

    fn try_from(wire: v1::GetMemberResponse) -> Result<Self, WireError> {
        let mut repair = wire.repair.unwrap_or_default();
        repair.last_problem = printable(&repair.last_problem);
        let repairing = match repair.current.len() {
            0 => None,
            _ => Some(wire::digest("repair.current", &repair.current)?),
        };
        let seats = wire.seats.iter().take(SEATS_MAX).map(|seat| {
            let (epoch, active) = (seat.epoch, seat.active);
            Ok(ClaimedSeat { epoch, seat: wire::seat("seats.seat", seat.seat)?, active })
        });
        let bad_seats = wire.bad_seats.iter().take(ENTRIES_MAX).map(|bad| {
            Ok(ReportedBadSeat {
                digest: wire::digest("bad_seats.digest", &bad.digest)?,
                seat: wire::seat("bad_seats.seat", bad.seat)?,
                found_at: bad.found_at,
            })
        });
        Ok(Self {
            chain_id: wire.chain_id,
            registry: wire::address("registry", &wire.registry)?,
            operator: wire::optional_address("operator", &wire.operator)?,
            public_key: wire::public_key_bytes("public_key", &wire.public_key)?,
            seats: seats.collect::<Result<_, WireError>>()?,
            version: printable(&wire.version),
            protocols: protocols(&wire.protocols),
            stored_batches: wire.stored_batches,
            stored_bytes: wire.stored_bytes,
            capacity_bytes: (wire.capacity_bytes != 0).then_some(wire.capacity_bytes),
            l1_block: wire.l1_block,
            l1_age_seconds: wire.l1_age_seconds,
            l1_stale: wire.l1_stale,
            l1_max_age_seconds: (wire.l1_max_age_seconds != 0).then_some(wire.l1_max_age_seconds),
            readiness: Readiness::from_wire(wire.state, wire.l1_stale)?,
            duties: wire.duties.unwrap_or_default(),
            repair,
            repairing,
            faults: faults(&wire.faults)?,
            bad_seats: bad_seats.collect::<Result<_, WireError>>()?,
            storage: printable(&wire.storage),
            unreadable_rollups: rollups("unreadable_rollups", &wire.unreadable_rollups)?,
            flooding_rollups: rollups("flooding_rollups", &wire.flooding_rollups)?,
            accusations: accusations(&wire.accusations)?,
            l1_endpoints: l1_endpoints(wire.l1_endpoints),
            tls_certificate_expires_at: expiry(wire.tls_certificate_expires_at),
        })
    }
}

/// An aggregator's description of itself.
#[derive(Clone, Debug)]
pub struct AggregatorDescription {
    /// The chain that the aggregator reads.
    pub chain_id: u64,
    /// The registry whose committee the aggregator works for.
    pub registry: Address,
    /// The address of the key that signs the aggregator's headers.
    pub disperser: Address,
    /// The version of the aggregator's software.
    pub version: String,
    /// The protocols that the aggregator speaks.
    pub protocols: Vec<String>,
    /// Whether this aggregator, of those that share a database, is the one that posts to L1.
    pub posts: bool,
    /// The newest L1 block that the aggregator has read.
    pub l1_block: u64,
    /// Seconds since the aggregator read that block.
    pub l1_age_seconds: u64,
    /// Members whose answers were not their signatures; those with the most faults first.
    pub faults: Vec<ReportedFault>,
    /// Breaches of the protocol by rollups; the proven ones first.
    pub accusations: Vec<ReportedAccusation>,
    /// The account that pays for postings; none if this aggregator does not post or does not say.
    pub payer: Option<ReportedPayer>,
    /// The number of batches that the aggregator works on and that have no certificate yet.
    pub uncertified_batches: u64,
    /// The oldest batch in work that is not encoded.
    pub oldest_unencoded: Option<WaitingBatch>,
    /// The oldest batch in work that is encoded and has no quorum.
    pub oldest_undelivered: Option<WaitingBatch>,
    /// The oldest certified batch that was not recorded on L1 in time; none if there is no such
    /// batch or the aggregator does not say.
    pub oldest_unrecorded: Option<WaitingBatch>,
    /// Counts of the L1 endpoints that the aggregator reads; zeros if it does not say.
    pub l1_endpoints: v1::L1Endpoints,
    /// When the first of the aggregator's TLS certificates expires, in Unix seconds; none if it has
    /// no certificate or does not say.
    pub tls_certificate_expires_at: Option<u64>,
}

/// A summary of a batch that has no certificate yet, or that is not recorded on L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingBatch {
    /// The digest of the batch's submission.
    pub submission_digest: B256,
    /// The batch's rollup.
    pub rollup: Address,
    /// The batch's number.
    pub batch_number: u64,
    /// The batch's state.
    pub state: BatchState,
    /// When the batch was received, in Unix milliseconds.
    pub received_at_ms: u64,
    /// Why the batch waits; none while it makes progress.
    pub waiting: Option<Waiting>,
    /// When the batch was certified, in Unix milliseconds; 0 if it is not certified yet.
    pub certified_at_ms: u64,
    /// What posting the batch's certificate waits for; empty if it waits for nothing.
    pub l1_problem: String,
}

impl TryFrom<v1::WaitingBatch> for WaitingBatch {
    type Error = WireError;

    fn try_from(wire: v1::WaitingBatch) -> Result<Self, WireError> {
        Ok(Self {
            submission_digest: wire::hash("waiting.submission_digest", &wire.submission_digest)?,
            rollup: wire::address("waiting.rollup", &wire.rollup)?,
            batch_number: wire.batch_number,
            state: BatchState::from_wire(wire.state)?,
            received_at_ms: wire.received_at_ms,
            waiting: wire.waiting.map(Waiting::from),
            certified_at_ms: wire.certified_at_ms,
            l1_problem: printable(&wire.l1_problem),
        })
    }
}

/// The L1 account that pays for an aggregator's transactions, as the aggregator reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedPayer {
    /// The account's address.
    pub account: Address,
    /// The account's balance; none if the aggregator has not read it from L1 yet.
    pub balance_gwei: Option<u64>,
    /// The most that the next transaction may cost.
    pub next_gwei: u64,
    /// The most that the transactions of the last hour may cost.
    pub hour_gwei: u64,
    /// The most that the transactions of one hour may cost.
    pub hour_max_gwei: u64,
    /// What keeps the account from posting; empty if nothing does.
    pub problem: String,
    /// Whether the balance is below the operator's threshold.
    pub is_low: bool,
    /// The number of postings for which nothing more is spent, since earlier transactions had no
    /// effect.
    pub stopped: u64,
}

impl TryFrom<v1::Payer> for ReportedPayer {
    type Error = WireError;

    fn try_from(wire: v1::Payer) -> Result<Self, WireError> {
        Ok(Self {
            account: wire::address("payer.account", &wire.account)?,
            balance_gwei: wire.balance_gwei,
            next_gwei: wire.next_gwei,
            hour_gwei: wire.hour_gwei,
            hour_max_gwei: wire.hour_max_gwei,
            problem: printable(&wire.problem),
            is_low: wire.low,
            stopped: wire.stopped,
        })
    }
}

impl TryFrom<v1::GetAggregatorResponse> for AggregatorDescription {
    type Error = WireError;

    fn try_from(wire: v1::GetAggregatorResponse) -> Result<Self, WireError> {
        Ok(Self {
            chain_id: wire.chain_id,
            registry: wire::address("registry", &wire.registry)?,
            disperser: wire::address("disperser", &wire.disperser)?,
            version: printable(&wire.version),
            protocols: protocols(&wire.protocols),
            posts: wire.posts,
            l1_block: wire.l1_block,
            l1_age_seconds: wire.l1_age_seconds,
            faults: faults(&wire.faults)?,
            accusations: accusations(&wire.accusations)?,
            payer: wire.payer.map(ReportedPayer::try_from).transpose()?,
            uncertified_batches: wire.uncertified_batches,
            oldest_unencoded: wire.oldest_unencoded.map(WaitingBatch::try_from).transpose()?,
            oldest_undelivered: wire.oldest_undelivered.map(WaitingBatch::try_from).transpose()?,
            oldest_unrecorded: wire.oldest_unrecorded.map(WaitingBatch::try_from).transpose()?,
            l1_endpoints: l1_endpoints(wire.l1_endpoints),
            tls_certificate_expires_at: expiry(wire.tls_certificate_expires_at),
        })
    }
}

fn expiry(at: u64) -> Option<u64> {
    (at != 0).then_some(at)
}

fn protocols(protocols: &[String]) -> Vec<String> {
    protocols.iter().take(PROTOCOLS_MAX).map(|protocol| printable(protocol)).collect()
}

fn faults(faults: &[v1::AttributedFault]) -> Result<Vec<ReportedFault>, WireError> {
    let read = |fault: &v1::AttributedFault| {
        Ok(ReportedFault {
            operator: wire::address("faults.operator", &fault.operator)?,
            kind: printable(&fault.kind),
            count: fault.count,
            last_at: fault.last_at,
            detail: printable(&fault.detail),
        })
    };
    faults.iter().take(ENTRIES_MAX).map(read).collect()
}

fn accusations(accusations: &[v1::Accusation]) -> Result<Vec<ReportedAccusation>, WireError> {
    let read = |accusation: &v1::Accusation| {
        Ok(ReportedAccusation {
            rollup: wire::optional_address("accusations.rollup", &accusation.rollup)?,
            disperser: wire::optional_address("accusations.disperser", &accusation.disperser)?,
            kind: printable(&accusation.kind),
            count: accusation.count,
            last_at: accusation.last_at,
            detail: printable(&accusation.detail),
            proven: accusation.proven,
        })
    };
    accusations.iter().take(ENTRIES_MAX).map(read).collect()
}

fn l1_endpoints(wire: Option<v1::L1Endpoints>) -> v1::L1Endpoints {
    let wire = wire.unwrap_or_default();
    v1::L1Endpoints {
        undecided: printable(&wire.undecided),
        problems: wire.problems.iter().take(ENTRIES_MAX).map(|problem| printable(problem)).collect(),
        ..wire
    }
}

fn rollups(field: &'static str, rollups: &[bytes::Bytes]) -> Result<Vec<Address>, WireError> {
    rollups.iter().take(ENTRIES_MAX).map(|rollup| wire::address(field, rollup)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> v1::GetMemberResponse {
        v1::GetMemberResponse {
            registry: vec![1; 20].into(),
            public_key: vec![2; 96].into(),
            ..v1::GetMemberResponse::default()
        }
    }

    #[test]
    fn states_that_nobody_knows_are_refused_by_name() {
        assert_eq!(MemberDescription::try_from(answer()).unwrap().readiness, Readiness::Untold);
        let error = MemberDescription::try_from(v1::GetMemberResponse { state: 9, ..answer() }).unwrap_err();
        assert_eq!(error, WireError::UnknownEnum { field: "member.state", got: 9 });
    }

    #[test]
    fn who_holds_all_by_an_old_view_of_l1_is_not_ready() {
        let readiness = |state: v1::MemberState, l1_stale| {
            let told = v1::GetMemberResponse { state: state.into(), l1_stale, ..answer() };
            MemberDescription::try_from(told).unwrap().readiness
        };
        assert_eq!(readiness(v1::MemberState::Ready, false), Readiness::Ready);
        assert_eq!(readiness(v1::MemberState::Ready, true), Readiness::Stale);
        assert_eq!(readiness(v1::MemberState::Repairing, true), Readiness::Repairing);
    }

    #[test]
    fn what_it_says_of_others_is_bounded_and_printable() {
        let fault = v1::AttributedFault {
            operator: vec![3; 20].into(),
            kind: "\x1b[2J".to_owned(),
            ..v1::AttributedFault::default()
        };
        let accusation = v1::Accusation { kind: fault.kind.clone(), ..v1::Accusation::default() };
        let told = v1::GetMemberResponse {
            faults: vec![fault.clone(); 1000],
            accusations: vec![accusation; 1000],
            ..answer()
        };
        let read = MemberDescription::try_from(told).unwrap();
        assert_eq!((read.faults.len(), read.accusations.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(!read.faults[0].kind.contains('\x1b') && !read.accusations[0].kind.contains('\x1b'));
        let nobody = v1::AttributedFault { operator: vec![3; 19].into(), ..fault };
        assert!(
            MemberDescription::try_from(v1::GetMemberResponse { faults: vec![nobody], ..answer() }).is_err()
        );
    }
}
