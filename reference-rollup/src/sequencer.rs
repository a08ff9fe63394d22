//! The operator's side: builds batches on top of each other and says what committee and L1 are told
//! of them.
//!
//! ```text
//! open → take, include → close → seal ─┬─ payload, batch hash → aggregator: certificate ─┬─ settle
//!                                      └─ claim → prover: proof ─────────────────────────┘
//! ```
//!
//! Certification and proving need nothing of each other: the claim follows from the payload alone,
//! since encoding it is deterministic. A sequencer that starts anew rebuilds its state as everybody
//! else does ([`crate::rebuild`]).

use alloy_primitives::{Address, B256};
use dac_coding::{CodingError, Points, encode};
use dac_types::{ClaimError, ClaimFields, Geometry, HashKind, PublicClaim, Transition};
use thiserror::Error;

use crate::batch::{Batch, OpenBatch};
use crate::field;
use crate::inbox::InboxEntry;
use crate::rebuild::History;
use crate::state::State;
use crate::transaction::Domain;

/// Why a batch has no claim.
#[derive(Debug, Error)]
pub enum SealError {
    /// The committee cannot encode it.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// Never for payloads of this rollup.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

/// A batch that is closed, and what is said of it.
#[derive(Clone)]
pub struct Sealed {
    /// What happened.
    pub batch: Batch,
    /// What the committee stores.
    pub payload: Vec<u8>,
    /// What is proved.
    pub claim: PublicClaim,
    /// What L1 is told beside certificate and proof.
    pub transition: Transition,
}

/// The rollup's head, as its operator sees it.
#[derive(Clone)]
pub struct Sequencer {
    chain_id: u64,
    settlement: Address,
    state: State,
    batch_count: u64,
    inputs_consumed: u64,
}

impl Sequencer {
    /// A rollup that has just begun.
    pub fn new(chain_id: u64, settlement: Address) -> Self {
        Self::resume(chain_id, settlement, State::default(), 0, 0)
    }

    /// Goes on from a state that was rebuilt.
    pub fn resume(
        chain_id: u64,
        settlement: Address,
        state: State,
        batch_count: u64,
        inputs_consumed: u64,
    ) -> Self {
        Self { chain_id, settlement, state, batch_count, inputs_consumed }
    }

    /// Where its transactions are valid.
    pub fn domain(&self) -> Domain {
        Domain::new(self.chain_id, self.settlement)
    }

    /// The state with all batches that were sealed.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Entries of the inbox that were not taken yet, in the order in which they must be.
    pub fn waiting<'h>(&self, history: &'h History) -> impl Iterator<Item = InboxEntry> + use<'h> {
        let consumed = self.inputs_consumed;
        history.inbox.iter().filter(move |record| record.number > consumed).map(|record| record.entry)
    }

    /// Begins the next batch.
    pub fn open(&mut self) -> OpenBatch<'_> {
        let domain = self.domain();
        OpenBatch::new(&mut self.state, domain)
    }

    /// Numbers a closed batch, encodes it for a committee of this geometry and puts the claim
    /// together, just as L1 will.
    pub fn seal(&mut self, batch: Batch, geometry: Geometry) -> Result<Sealed, SealError> {
        let payload = batch.payload();
        let batch_hash = field::to_b256(batch.batch_hash());
        let payload_length = payload.len() as u64;
        let encoded = encode(geometry, payload.clone().into(), batch_hash)?;
        let commitment = encoded.commitment();
        let points = Points::from_record(commitment.shard_root, batch_hash, payload_length, geometry);
        let transition = Transition {
            new_state_root: field::to_b256(batch.after.state_root()),
            inputs_consumed: self.inputs_consumed + batch.inputs_taken(),
            outputs: field::to_b256(batch.outputs()),
        };
        let claim = PublicClaim::new(ClaimFields {
            old_state_root: field::to_b256(batch.before.state_root()),
            new_state_root: transition.new_state_root,
            chain_id: self.chain_id,
            settlement: self.settlement,
            batch_number: self.batch_count + 1,
            payload_length,
            hash_kind: HashKind::Opaque,
            batch_hash,
            l1_inputs: field::to_b256(batch.after.inbox),
            l1_outputs: transition.outputs,
            points: points.elements().flat_map(|point| point.to_bytes()).collect(),
            payload_fingerprint: commitment.payload_fingerprint.clone(),
        })?;
        self.batch_count += 1;
        self.inputs_consumed = transition.inputs_consumed;
        Ok(Sealed { batch, payload, claim, transition })
    }
}

impl Sealed {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.claim.fields().batch_number
    }

    /// Its hash, for the submission.
    pub fn batch_hash(&self) -> B256 {
        self.claim.fields().batch_hash
    }
}
