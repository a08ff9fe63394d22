//! Rebuilds the whole state from payloads that the committee's members serve and from L1. A user
//! needs nothing else once the operator is gone.
//!
//! L1 confirms the payloads: after every batch the root must be the one that settled. The inbox's
//! head comes from L1, and is computed from the entries.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use ark_bn254::Fr;
use ark_ff::Zero;
use thiserror::Error;

use crate::field;
use crate::inbox::{InboxEntry, Withdrawal};
use crate::payload::PayloadError;
use crate::state::State;

/// An entry of the inbox, as L1 announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRecord {
    /// The entry's number; the first is 1.
    pub number: u64,
    /// The entry itself.
    pub entry: InboxEntry,
    /// The inbox's head after it.
    pub head: B256,
}

/// A batch, as L1 settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The batch's number; the first is 1.
    pub number: u64,
    /// The digest by which members find its payload.
    pub digest: B256,
    /// The state root after it.
    pub new_state_root: B256,
    /// The total number of inbox entries taken, up to and including this batch.
    pub inputs_consumed: u64,
    /// The commitment to its withdrawals.
    pub outputs: B256,
}

/// The history of a rollup on L1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The inbox entries, in order.
    pub inbox: Vec<InboxRecord>,
    /// The settled batches, in order.
    pub batches: Vec<BatchRecord>,
}

/// Why the state cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RebuildError {
    /// The history lacks an inbox entry, or repeats one.
    #[error("the history has inbox entry {got} where {expected} is due")]
    InboxOrder {
        /// The number that is due.
        expected: u64,
        /// The number found.
        got: u64,
    },
    /// The history's entries do not hash to its heads.
    #[error("inbox entry {number} leads to head {got}, the history says {expected}")]
    InboxHead {
        /// The number of the entry.
        number: u64,
        /// The head that was computed.
        got: B256,
        /// The head in the history.
        expected: B256,
    },
    /// The history lacks a batch, or repeats one.
    #[error("the history has batch {got} where {expected} is due")]
    BatchOrder {
        /// The number that is due.
        expected: u64,
        /// The number found.
        got: u64,
    },
    /// A batch has a smaller total of inbox entries than the batch before it.
    #[error("batch {batch} has taken {got} inbox entries in all, the batches before it {before}")]
    InputsGoBack {
        /// The number of the batch.
        batch: u64,
        /// The total with this batch.
        got: u64,
        /// The total before this batch.
        before: u64,
    },
    /// A batch took inbox entries that the history lacks.
    #[error("batch {batch} has taken {got} inbox entries in all, the history has {known}")]
    InputsMissing {
        /// The number of the batch.
        batch: u64,
        /// The total with this batch.
        got: u64,
        /// The number of entries in the history.
        known: u64,
    },
    /// A batch has no payload.
    #[error("the payload of batch {batch} is missing: its digest is {digest}")]
    MissingPayload {
        /// The number of the batch.
        batch: u64,
        /// The digest by which members find the payload.
        digest: B256,
    },
    /// There is a payload for a batch that did not settle.
    #[error("a payload is given for batch {batch}, the history has {settled} batches")]
    NotSettled {
        /// The number of the batch.
        batch: u64,
        /// The number of batches in the history.
        settled: u64,
    },
    /// The bytes for a batch are not a payload of this rollup.
    #[error("batch {batch}: {source}")]
    Payload {
        /// The number of the batch.
        batch: u64,
        /// What is wrong with the bytes.
        source: PayloadError,
    },
    /// The payload for a batch is not the one that settled.
    #[error("batch {batch} leads to state root {got}, settled is {expected}")]
    WrongRoot {
        /// The number of the batch.
        batch: u64,
        /// The root that was computed.
        got: B256,
        /// The root that settled.
        expected: B256,
    },
    /// A payload leads to the settled root, but grants other withdrawals than those that settled.
    /// The circuit makes this impossible.
    #[error("the payload of batch {batch} grants {got}, the batch settled with outputs {expected}")]
    WrongOutputs {
        /// The number of the batch.
        batch: u64,
        /// The commitment that was computed.
        got: B256,
        /// The commitment that settled.
        expected: B256,
    },
}

/// The result of rebuilding.
#[derive(Clone)]
pub struct Rebuilt {
    /// The last state.
    pub state: State,
    /// The withdrawals that each batch granted on L1, by batch number. Batches without any are left
    /// out.
    pub withdrawals: BTreeMap<u64, Vec<Withdrawal>>,
}

/// A state that is being rebuilt, one batch after the other. An error ends it, since a payload may
/// have been applied in part.
pub struct Rebuilder<'a> {
    state: State,
    withdrawals: BTreeMap<u64, Vec<Withdrawal>>,
    inbox: &'a [InboxRecord],
    /// The inbox heads, by the number of entries taken.
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

    /// The batch whose payload is due; `None` once all were applied.
    pub fn due(&self) -> Option<&'a BatchRecord> {
        self.rest.first()
    }

    /// The number of batches applied.
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

    /// The state after the last batch. Fails if a payload is still due.
    pub fn finish(self) -> Result<Rebuilt, RebuildError> {
        match self.rest.first() {
            Some(due) => Err(RebuildError::MissingPayload { batch: due.number, digest: due.digest }),
            None => Ok(Rebuilt { state: self.state, withdrawals: self.withdrawals }),
        }
    }
}

/// Rebuilds the state from payloads by batch number. Every batch of the history needs its payload.
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
