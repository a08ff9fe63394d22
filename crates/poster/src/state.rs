//! The unfinished postings and nonces, as the store holds them, and which postings may be sent
//! next.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::key::PostingDigest;
use super::kinds::Place;
use super::{Change, NonceSlot, Posting, Unfinished};

/// The unfinished postings and nonces, as the store holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Postings without an outcome, by sequence.
    pub(super) postings: BTreeMap<u64, Posting>,
    sequences: HashMap<PostingDigest, u64>,
    pub(super) slots: BTreeMap<u64, NonceSlot>,
    last_sequence: u64,
}

impl From<Unfinished> for State {
    fn from(unfinished: Unfinished) -> Self {
        let mut state = Self { last_sequence: unfinished.last_sequence, ..Self::default() };
        for posting in unfinished.postings {
            state.apply(&Change::SavePosting(posting));
        }
        for slot in unfinished.slots {
            state.apply(&Change::SaveSlot(slot));
        }
        state
    }
}

impl State {
    /// Applies a change that the store has committed.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SavePosting(posting) => {
                self.last_sequence = self.last_sequence.max(posting.sequence);
                if let Some(former) = self.sequences.remove(&posting.digest) {
                    self.postings.remove(&former);
                }
                if posting.outcome.is_none() {
                    self.sequences.insert(posting.digest, posting.sequence);
                    self.postings.insert(posting.sequence, posting.clone());
                }
            }
            Change::SaveSlot(slot) => {
                self.slots.insert(slot.nonce, slot.clone());
            }
            Change::ForgetSlot { nonce } => {
                self.slots.remove(nonce);
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.postings.is_empty() && self.slots.is_empty()
    }

    /// Takes the next sequence number. It is used up even if the commit seems to fail, because the
    /// commit may have taken place.
    pub(super) fn take_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    pub(super) fn posting(&self, digest: PostingDigest) -> Option<&Posting> {
        self.postings.get(self.sequences.get(&digest)?)
    }

    /// Returns all postings without an outcome, in order of arrival.
    pub(super) fn postings(&self) -> impl Iterator<Item = &Posting> {
        self.postings.values()
    }

    pub(super) fn pending(&self) -> usize {
        self.postings.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &NonceSlot> {
        self.slots.values()
    }

    pub(super) fn slot(&self, nonce: u64) -> Option<&NonceSlot> {
        self.slots.get(&nonce)
    }

    /// Returns the postings that have a nonce, in the order of their nonces.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Posting> {
        self.slots.values().filter_map(|slot| self.posting(slot.digest?))
    }

    /// Returns the postings without a nonce, in order of arrival.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Posting> {
        let assigned: HashSet<_> = self.slots.values().filter_map(|slot| slot.digest).collect();
        self.postings.values().filter(move |posting| !assigned.contains(&posting.digest))
    }

    /// Returns the waiting postings that may be sent next. Of each rollup's batches that wait to
    /// settle, this is the one with the least number: the others must wait for it, and looking at
    /// them would take time from other rollups' batches. A batch whose number is settled already
    /// holds up no other batch; in each round one of these per rollup is looked at.
    pub(super) fn candidates(
        &self,
        round: usize,
        is_settled: impl Fn(PostingDigest) -> bool,
    ) -> Vec<&Posting> {
        let mut least: HashMap<_, (u64, u64)> = HashMap::new();
        let mut settled: HashMap<_, Vec<u64>> = HashMap::new();
        for posting in self.waiting() {
            let kind = posting.task.kind();
            let Some(Place { contract, number }) = kind.place().filter(|_| kind.is_in_order()) else {
                continue;
            };
            if is_settled(posting.digest) {
                settled.entry(contract).or_default().push(posting.sequence);
            } else {
                let first = least.entry(contract).or_insert((u64::MAX, u64::MAX));
                *first = (*first).min((number, posting.sequence));
            }
        }
        let of_settled = settled.values().filter_map(|all| all.get(round % all.len()));
        let chosen: HashSet<u64> =
            least.values().map(|(_, sequence)| *sequence).chain(of_settled.copied()).collect();
        self.waiting()
            .filter(|posting| !posting.task.kind().is_in_order() || chosen.contains(&posting.sequence))
            .collect()
    }
}
