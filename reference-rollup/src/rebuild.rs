//! The whole state again, from what the committee's members give back and from what L1 says: all
//! that a user needs when the operator is gone.
//!
//! Payloads are believed as far as L1 confirms them: after every batch the root must be the one
//! that settled. The inbox's head is L1's, and is computed from its entries.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use ark_bn254::Fr;
use ark_ff::Zero;
use thiserror::Error;

use crate::field;
use crate::inbox::{InboxEntry, Withdrawal};
use crate::payload::PayloadError;
use crate::state::State;

/// One entry of the inbox, as L1 announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRecord {
    /// The first is 1.
    pub number: u64,
    /// What it says.
    pub entry: InboxEntry,
    /// The inbox's head after it.
    pub head: B256,
}

/// One batch, as L1 settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The first is 1.
    pub number: u64,
    /// By which members find its payload.
    pub digest: B256,
    /// The state root after it.
    pub new_state_root: B256,
    /// Entries of the inbox taken in all, up to and with this batch.
    pub inputs_consumed: u64,
    /// Commitment to its withdrawals.
    pub outputs: B256,
}

/// What L1 tells of a rollup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In order.
    pub inbox: Vec<InboxRecord>,
    /// In order.
    pub batches: Vec<BatchRecord>,
}

/// Why the state cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RebuildError {
    /// The history leaves out an entry of the inbox, or repeats one.
    #[error("the history has inbox entry {got} where {expected} is due")]
    InboxOrder {
        /// Due.
        expected: u64,
        /// Found.
        got: u64,
    },
    /// The history's entries do not hash to the heads that it gives.
    #[error("inbox entry {number} leads to head {got}, the history says {expected}")]
    InboxHead {
        /// Which entry.
        number: u64,
        /// Computed.
        got: B256,
        /// As L1 gave it.
        expected: B256,
    },
    /// The history leaves out a batch, or repeats one.
    #[error("the history has batch {got} where {expected} is due")]
    BatchOrder {
        /// Due.
        expected: u64,
        /// Found.
        got: u64,
    },
    /// A batch gives entries of the inbox back.
    #[error("batch {batch} has taken {got} inbox entries in all, the batches before it {before}")]
    InputsGoBack {
        /// Which.
        batch: u64,
        /// In all, with it.
        got: u64,
        /// In all, without it.
        before: u64,
    },
    /// A batch took entries of the inbox that the history does not have.
    #[error("batch {batch} has taken {got} inbox entries in all, the history has {known}")]
    InputsMissing {
        /// Which.
        batch: u64,
        /// In all, with it.
        got: u64,
        /// In the history.
        known: u64,
    },
    /// No payload was given for a batch.
    #[error("the payload of batch {batch} is missing: its digest is {digest}")]
    MissingPayload {
        /// Which.
        batch: u64,
        /// By which members find it.
        digest: B256,
    },
    /// More payloads than batches.
    #[error("a payload is given for batch {batch}, the history has {settled} batches")]
    NotSettled {
        /// Which.
        batch: u64,
        /// Batches of the history.
        settled: u64,
    },
    /// What was given for a batch is no payload of this rollup.
    #[error("batch {batch}: {source}")]
    Payload {
        /// Which.
        batch: u64,
        /// Why not.
        source: PayloadError,
    },
    /// What was given for a batch is not what was settled.
    #[error("batch {batch} leads to state root {got}, settled is {expected}")]
    WrongRoot {
        /// Which.
        batch: u64,
        /// Computed.
        got: B256,
        /// As it settled.
        expected: B256,
    },
    /// A payload leads to the root, and grants something else than what settled. No circuit lets
    /// that happen.
    #[error("the payload of batch {batch} grants {got}, the batch settled with outputs {expected}")]
    WrongOutputs {
        /// Which.
        batch: u64,
        /// Computed.
        got: B256,
        /// As it settled.
        expected: B256,
    },
}

/// What payloads and history lead to.
#[derive(Clone)]
pub struct Rebuilt {
    /// The last state.
    pub state: State,
    /// What each batch granted on L1, by its number; batches that granted nothing are left out.
    pub withdrawals: BTreeMap<u64, Vec<Withdrawal>>,
}

/// The state in the making: one batch after the other. An error ends it, since a payload may have
/// been applied in part.
pub struct Rebuilder<'a> {
    state: State,
    withdrawals: BTreeMap<u64, Vec<Withdrawal>>,
    inbox: &'a [InboxRecord],
    /// By number of entries taken.
    heads: Vec<Fr>,
    taken: u64,
    applied: u64,
    rest: &'a [BatchRecord],
}

impl<'a> Rebuilder<'a> {
    /// Checks that the history is complete and that its inbox hashes to its heads.
    pub fn new(history: &'a History) -> Result<Self, RebuildError> {
        let mut heads = vec![Fr::zero()];
        for (record, expected) in history.inbox.iter().zip(1..) {
            let number = record.number;
            if number != expected {
                return Err(RebuildError::InboxOrder { expected, got: number });
            }
            let head = record.entry.head_after(heads[heads.len() - 1]);
            let got = field::to_b256(head);
            if got != record.head {
                return Err(RebuildError::InboxHead { number, got, expected: record.head });
            }
            heads.push(head);
        }
        for (record, expected) in history.batches.iter().zip(1..) {
            if record.number != expected {
                return Err(RebuildError::BatchOrder { expected, got: record.number });
            }
        }
        Ok(Self {
            state: State::default(),
            withdrawals: BTreeMap::new(),
            inbox: &history.inbox,
            heads,
            taken: 0,
            applied: 0,
            rest: &history.batches,
        })
    }

    /// The batch whose payload is due; none when all were applied.
    pub fn due(&self) -> Option<&'a BatchRecord> {
        self.rest.first()
    }

    /// Batches applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Applies the payload of the batch that is due, and compares root and outputs with the settled
    /// ones.
    pub fn apply(mut self, payload: &[u8]) -> Result<Self, RebuildError> {
        let Some((record, rest)) = self.rest.split_first() else {
            return Err(RebuildError::NotSettled { batch: self.applied + 1, settled: self.applied });
        };
        let (batch, got) = (record.number, record.inputs_consumed);
        if got < self.taken {
            return Err(RebuildError::InputsGoBack { batch, got, before: self.taken });
        }
        let head = usize::try_from(got).ok().and_then(|taken| self.heads.get(taken).copied());
        let known = self.heads.len() as u64 - 1;
        let head = head.ok_or(RebuildError::InputsMissing { batch, got, known })?;
        let new = usize::try_from(self.taken).ok().zip(usize::try_from(got).ok());
        let new = new.and_then(|(from, to)| self.inbox.get(from..to)).unwrap_or_default();
        let entries: Vec<InboxEntry> = new.iter().map(|record| record.entry).collect();
        let granted = self.state.apply_payload(payload, &entries);
        let granted = granted.map_err(|source| RebuildError::Payload { batch, source })?;
        self.state.set_inbox_head(head);
        let root = field::to_b256(self.state.root());
        if root != record.new_state_root {
            return Err(RebuildError::WrongRoot { batch, got: root, expected: record.new_state_root });
        }
        let outputs = granted.iter().fold(Fr::zero(), |chain, withdrawal| withdrawal.chain_after(chain));
        let outputs = field::to_b256(outputs);
        if outputs != record.outputs {
            return Err(RebuildError::WrongOutputs { batch, got: outputs, expected: record.outputs });
        }
        if !granted.is_empty() {
            self.withdrawals.insert(batch, granted);
        }
        (self.taken, self.applied, self.rest) = (got, batch, rest);
        Ok(self)
    }

    /// The state after the last batch; an error while one is due.
    pub fn finish(self) -> Result<Rebuilt, RebuildError> {
        match self.rest.first() {
            Some(due) => Err(RebuildError::MissingPayload { batch: due.number, digest: due.digest }),
            None => Ok(Rebuilt { state: self.state, withdrawals: self.withdrawals }),
        }
    }
}

/// The state that all these payloads, by batch number, lead to. Every batch of the history needs
/// its payload.
pub fn rebuild(payloads: &BTreeMap<u64, Vec<u8>>, history: &History) -> Result<Rebuilt, RebuildError> {
    let settled = history.batches.len() as u64;
    let stray = payloads.keys().find(|batch| !(1..=settled).contains(*batch));
    if let Some(&batch) = stray {
        return Err(RebuildError::NotSettled { batch, settled });
    }
    let mut rebuilder = Rebuilder::new(history)?;
    while let Some(due) = rebuilder.due() {
        let (batch, digest) = (due.number, due.digest);
        let payload = payloads.get(&batch).ok_or(RebuildError::MissingPayload { batch, digest })?;
        rebuilder = rebuilder.apply(payload)?;
    }
    rebuilder.finish()
}
