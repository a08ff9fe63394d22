//! A batch as its aggregator tells it. Nothing of it is believed beyond what signatures prove.

use dac_proto::proof::posting_mode;
use dac_proto::wire::{self, WireError};
use dac_proto::{v1, wire::fixed};
use dac_types::{B256, BatchDigest, BatchSubmission, PostingMode, Seat, Transition, limits};

use crate::text::printable;
use crate::waiting::Waiting;

/// Where a batch is in its life. Section 8 of `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// On the aggregator's durable storage.
    Received,
    /// On its way to the members.
    Dispersing,
    /// A quorum signed.
    Certified,
    /// Certified, and its validity proof is there.
    Proved,
    /// Recorded on L1; with posting SETTLE: settled in a block that is not deep enough yet.
    Posted,
    /// Its state transition is final on L1.
    Settled,
    /// Given up.
    Failed,
    /// Past its time.
    Expired,
}

impl BatchState {
    /// As in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Dispersing => "DISPERSING",
            Self::Certified => "CERTIFIED",
            Self::Proved => "PROVED",
            Self::Posted => "POSTED",
            Self::Settled => "SETTLED",
            Self::Failed => "FAILED",
            Self::Expired => "EXPIRED",
        }
    }

    /// Whether `goal` is reached. Certification and proving are independent; a settlement implies
    /// both.
    pub fn has_reached(self, goal: Self) -> bool {
        self.rank().zip(goal.rank()).is_some_and(|(own, goal)| own >= goal)
    }

    /// Whether nothing more happens after this one.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Settled | Self::Failed | Self::Expired)
    }

    const fn rank(self) -> Option<u8> {
        match self {
            Self::Received => Some(0),
            Self::Dispersing => Some(1),
            Self::Certified => Some(2),
            Self::Proved => Some(3),
            Self::Posted => Some(4),
            Self::Settled => Some(5),
            Self::Failed | Self::Expired => None,
        }
    }

    pub(crate) fn from_wire(value: i32) -> Result<Self, WireError> {
        match v1::BatchState::try_from(value) {
            Ok(v1::BatchState::Received) => Ok(Self::Received),
            Ok(v1::BatchState::Dispersing) => Ok(Self::Dispersing),
            Ok(v1::BatchState::Certified) => Ok(Self::Certified),
            Ok(v1::BatchState::Proved) => Ok(Self::Proved),
            Ok(v1::BatchState::Posted) => Ok(Self::Posted),
            Ok(v1::BatchState::Settled) => Ok(Self::Settled),
            Ok(v1::BatchState::Failed) => Ok(Self::Failed),
            Ok(v1::BatchState::Expired) => Ok(Self::Expired),
            Ok(v1::BatchState::Unspecified) | Err(_) => {
                Err(WireError::UnknownEnum { field: "batch.state", got: value })
            }
        }
    }
}

/// How far a member got with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Not tried yet.
    Pending,
    /// It signed.
    Attested,
    /// Failed for now.
    Retrying,
    /// It refused for good.
    Refused,
    /// Its signature does not verify.
    Lied,
}

impl DeliveryState {
    /// As in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Attested => "ATTESTED",
            Self::Retrying => "RETRYING",
            Self::Refused => "REFUSED",
            Self::Lied => "LIED",
        }
    }
}

/// One member's part in a batch, as the aggregator tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its seat.
    pub seat: Seat,
    /// How far it got.
    pub state: DeliveryState,
    /// Deliveries tried.
    pub attempts: u32,
    /// Machine-readable reason of the last failure.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// When it signed, in Unix milliseconds; 0: not yet.
    pub attested_at_ms: u64,
    /// Whether its signature is in the certificate.
    pub in_certificate: bool,
}

/// What is known of a validity proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofState {
    /// On the aggregator's durable storage.
    Received,
    /// L1 took it in a simulation, or for good.
    Accepted,
    /// L1 refuses it, or it is void; another one may be handed in.
    Rejected,
}

impl ProofState {
    /// As in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
        }
    }
}

/// A batch's validity proof, as the aggregator tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofStatus {
    /// What is known of it.
    pub state: ProofState,
    /// Why it was rejected.
    pub reason: String,
    /// keccak256 of its bytes.
    pub hash: B256,
    /// What it is said to show.
    pub transition: Transition,
    /// In Unix milliseconds.
    pub received_at_ms: u64,
}

/// Where the certificate was recorded, or the batch settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Status {
    /// The transaction, if it is known.
    pub transaction: Option<B256>,
    /// Its block.
    pub block: u64,
    /// What it cost.
    pub gas_used: u64,
    /// Whether this aggregator sent it.
    pub by_us: bool,
}

/// A batch as the aggregator tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchStatus {
    /// The order's digest.
    pub submission_digest: B256,
    /// The batch's, once it is encoded.
    pub digest: Option<BatchDigest>,
    /// The order.
    pub submission: BatchSubmission,
    /// The epoch, once encoded.
    pub epoch: Option<u64>,
    /// Where it is in its life.
    pub state: BatchState,
    /// Why it failed.
    pub failure: String,
    /// Every member's part, in seat order.
    pub members: Vec<MemberStatus>,
    /// How it comes to L1.
    pub posting: PostingMode,
    /// Its validity proof, once one was handed in.
    pub proof: Option<ProofStatus>,
    /// Where it was recorded, once it is.
    pub l1: Option<L1Status>,
    /// Where it settled, once it did; not final before the state says so.
    pub settlement: Option<L1Status>,
    /// In Unix milliseconds.
    pub received_at_ms: u64,
    /// In Unix milliseconds; 0: not yet.
    pub certified_at_ms: u64,
    /// What posting waits for, if for anything.
    pub l1_problem: String,
    /// Why it has no certificate yet; none while it moves, and from aggregators that do not say.
    pub waiting: Option<Waiting>,
}

impl BatchStatus {
    pub(crate) fn from_wire(wire: Option<v1::Batch>) -> Result<Self, WireError> {
        let wire = wire::required("batch", wire)?;
        if wire.members.len() > usize::from(limits::COMMITTEE_MAX_SEATS) {
            return Err(WireError::Text {
                field: "batch.members",
                problem: "more members than a committee has seats",
            });
        }
        let digest = match wire.digest.len() {
            0 => None,
            _ => Some(wire::digest("batch.digest", &wire.digest)?),
        };
        Ok(Self {
            submission_digest: wire::hash("batch.submission_digest", &wire.submission_digest)?,
            digest,
            submission: wire::required("batch.submission", wire.submission)?.try_into()?,
            epoch: (wire.epoch != 0).then_some(wire.epoch),
            state: BatchState::from_wire(wire.state)?,
            failure: printable(&wire.failure),
            members: wire.members.into_iter().map(member_status).collect::<Result<_, _>>()?,
            posting: posting_mode("batch.posting", wire.posting)?,
            proof: wire.proof.map(proof_status).transpose()?,
            l1: wire.l1.map(l1_status).transpose()?,
            settlement: wire.settlement.map(l1_status).transpose()?,
            received_at_ms: wire.received_at_ms,
            certified_at_ms: wire.certified_at_ms,
            l1_problem: printable(&wire.l1_problem),
            waiting: wire.waiting.map(Waiting::from),
        })
    }
}

fn member_status(wire: v1::MemberOutcome) -> Result<MemberStatus, WireError> {
    let state = match v1::DeliveryState::try_from(wire.state) {
        Ok(v1::DeliveryState::Pending) => DeliveryState::Pending,
        Ok(v1::DeliveryState::Attested) => DeliveryState::Attested,
        Ok(v1::DeliveryState::Retrying) => DeliveryState::Retrying,
        Ok(v1::DeliveryState::Refused) => DeliveryState::Refused,
        Ok(v1::DeliveryState::Lied) => DeliveryState::Lied,
        Ok(v1::DeliveryState::Unspecified) | Err(_) => {
            return Err(WireError::UnknownEnum { field: "member.state", got: wire.state });
        }
    };
    Ok(MemberStatus {
        seat: wire::seat("member.seat", wire.seat)?,
        state,
        attempts: wire.attempts,
        reason: printable(&wire.reason),
        detail: printable(&wire.detail),
        attested_at_ms: wire.attested_at_ms,
        in_certificate: wire.in_certificate,
    })
}

fn proof_status(wire: v1::Proof) -> Result<ProofStatus, WireError> {
    let state = match v1::ProofState::try_from(wire.state) {
        Ok(v1::ProofState::Received) => ProofState::Received,
        Ok(v1::ProofState::Accepted) => ProofState::Accepted,
        Ok(v1::ProofState::Rejected) => ProofState::Rejected,
        Ok(v1::ProofState::Unspecified) | Err(_) => {
            return Err(WireError::UnknownEnum { field: "proof.state", got: wire.state });
        }
    };
    Ok(ProofStatus {
        state,
        reason: printable(&wire.reason),
        hash: wire::hash("proof.proof_hash", &wire.proof_hash)?,
        transition: Transition {
            new_state_root: wire::hash("proof.new_state_root", &wire.new_state_root)?,
            inputs_consumed: wire.inputs_consumed,
            outputs: wire::hash("proof.outputs", &wire.outputs)?,
        },
        received_at_ms: wire.received_at_ms,
    })
}

fn l1_status(wire: v1::L1Record) -> Result<L1Status, WireError> {
    let transaction = match wire.transaction.len() {
        0 => None,
        _ => Some(B256::from(fixed::<32>("l1.transaction", &wire.transaction)?)),
    };
    Ok(L1Status { transaction, block: wire.block, gas_used: wire.gas_used, by_us: wire.by_us })
}

#[cfg(test)]
impl BatchStatus {
    /// Of some batch, in this state, of which nothing else is known.
    pub(crate) fn example(state: BatchState) -> Self {
        use dac_types::{Address, HashKind};
        let submission = BatchSubmission {
            rollup: Address::repeat_byte(1),
            batch_number: 2,
            payload_length: 3,
            expires_at: 4,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::repeat_byte(5),
            replaces: B256::ZERO,
            disperser: Address::repeat_byte(6),
            submit_before: 7,
        };
        Self {
            submission_digest: B256::repeat_byte(8),
            digest: None,
            submission,
            epoch: None,
            state,
            failure: String::new(),
            members: Vec::new(),
            posting: PostingMode::Record,
            proof: None,
            l1: None,
            settlement: None,
            received_at_ms: 0,
            certified_at_ms: 0,
            l1_problem: String::new(),
            waiting: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_reached_in_order_but_for_the_ends() {
        assert!(BatchState::Posted.has_reached(BatchState::Certified));
        assert!(BatchState::Certified.has_reached(BatchState::Certified));
        assert!(!BatchState::Dispersing.has_reached(BatchState::Certified));
        assert!(!BatchState::Failed.has_reached(BatchState::Certified));
        assert!(!BatchState::Expired.has_reached(BatchState::Received));
    }
}
