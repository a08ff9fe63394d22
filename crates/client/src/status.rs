//! A batch's status as its aggregator reports it. Only what signatures prove is believed.

use dac_proto::proof::posting_mode;
use dac_proto::wire::{self, WireError};
use dac_proto::{v1, wire::fixed};
use dac_types::{B256, BatchDigest, BatchSubmission, PostingMode, Seat, Transition, limits};

use crate::text::printable;
use crate::waiting::Waiting;

/// The state of a batch; see section 8 of `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// The aggregator has the payload on durable storage.
    Received,
    /// The shards are being delivered to the members.
    Dispersing,
    /// A quorum signed the batch.
    Certified,
    /// The batch is certified, and its validity proof was submitted.
    Proved,
    /// The certificate is recorded on L1, or, with posting SETTLE, the batch is settled in a block
    /// that is not deep enough yet.
    Posted,
    /// The batch's state transition is final on L1.
    Settled,
    /// The batch was given up.
    Failed,
    /// The batch expired before it got further.
    Expired,
}

impl BatchState {
    /// The name that the API uses.
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

    /// Whether a batch in this state has reached `goal`. Certification and proving are independent
    /// of each other; a settlement implies both.
    pub fn has_reached(self, goal: Self) -> bool {
        self.rank().zip(goal.rank()).is_some_and(|(own, goal)| own >= goal)
    }

    /// Whether the state is final.
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

/// The state of a batch's delivery to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// The delivery was not tried yet.
    Pending,
    /// The member signed.
    Attested,
    /// The delivery failed and will be tried again.
    Retrying,
    /// The member refused, and is not asked again.
    Refused,
    /// The member's signature does not verify.
    Lied,
}

impl DeliveryState {
    /// The name that the API uses.
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

/// One member's outcome for a batch, as the aggregator reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member's seat.
    pub seat: Seat,
    /// The state of the delivery to the member.
    pub state: DeliveryState,
    /// The number of deliveries tried.
    pub attempts: u32,
    /// Machine-readable reason of the last failure.
    pub reason: String,
    /// The last failure in words.
    pub detail: String,
    /// When the member signed, in Unix milliseconds; 0 if it has not signed yet.
    pub attested_at_ms: u64,
    /// Whether the member's signature is in the certificate.
    pub in_certificate: bool,
}

/// The state of a validity proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofState {
    /// The aggregator has the proof on durable storage.
    Received,
    /// L1 accepted the proof, in a simulation or in a transaction.
    Accepted,
    /// L1 refuses the proof, or the proof is void; another one may be submitted.
    Rejected,
}

impl ProofState {
    /// The name that the API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
        }
    }
}

/// A batch's validity proof, as the aggregator reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofStatus {
    /// The state of the proof.
    pub state: ProofState,
    /// Why the proof was rejected.
    pub reason: String,
    /// keccak256 of the proof's bytes.
    pub hash: B256,
    /// The state transition that the proof is said to show.
    pub transition: Transition,
    /// When the aggregator received the proof, in Unix milliseconds.
    pub received_at_ms: u64,
}

/// The L1 transaction that recorded the certificate or settled the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Status {
    /// The transaction's hash, if it is known.
    pub transaction: Option<B256>,
    /// The transaction's block.
    pub block: u64,
    /// The gas that the transaction used.
    pub gas_used: u64,
    /// Whether this aggregator sent the transaction.
    pub by_us: bool,
}

/// A batch's status, as the aggregator reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchStatus {
    /// The digest of the batch's submission.
    pub submission_digest: B256,
    /// The batch's digest, once the batch is encoded.
    pub digest: Option<BatchDigest>,
    /// The rollup's submission.
    pub submission: BatchSubmission,
    /// The batch's epoch, once the batch is encoded.
    pub epoch: Option<u64>,
    /// The batch's state.
    pub state: BatchState,
    /// Why the batch failed.
    pub failure: String,
    /// Every member's outcome, in seat order.
    pub members: Vec<MemberStatus>,
    /// How the batch gets to L1.
    pub posting: PostingMode,
    /// The batch's validity proof, once one was submitted.
    pub proof: Option<ProofStatus>,
    /// The transaction that recorded the certificate, once there is one.
    pub l1: Option<L1Status>,
    /// The transaction that settled the batch, once there is one. It is final only once the state
    /// is SETTLED.
    pub settlement: Option<L1Status>,
    /// When the aggregator received the payload, in Unix milliseconds.
    pub received_at_ms: u64,
    /// When the batch was certified, in Unix milliseconds; 0 if it is not certified yet.
    pub certified_at_ms: u64,
    /// What posting waits for; empty if it waits for nothing.
    pub l1_problem: String,
    /// Why the batch has no certificate yet; none while it makes progress, and from aggregators
    /// that do not say.
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
    /// A status of a batch in this state, of which nothing else is known.
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
