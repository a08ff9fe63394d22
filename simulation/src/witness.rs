//! What is written down while it happens, for the check at the end. It is no part of the simulated world: nothing of it is ever lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dac_node::store::MemoryStore;
use dac_types::{B256, BatchDigest, Seat};
use parking_lot::Mutex;

/// What was seen. Clones write into the same book.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Book>>);

/// A signature of an honest member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) seat: Seat,
    pub(crate) digest: BatchDigest,
    /// Whether the member's store held the batch when its key was used.
    pub(crate) is_stored: bool,
}

#[derive(Default)]
struct Book {
    signatures: Vec<Signature>,
    /// Payloads by their submissions' digests.
    accepted: BTreeMap<B256, Bytes>,
    broken: Vec<String>,
}

impl Witness {
    /// A member's key was used.
    pub(crate) fn signed(&self, signature: Signature) {
        self.0.lock().signatures.push(signature);
    }

    /// An honest member was killed: what it signed must have survived.
    pub(crate) fn killed(&self, seat: Seat, store: &MemoryStore) {
        let mut book = self.0.lock();
        let signed = book.signatures.iter().filter(|signature| signature.seat == seat);
        let lost: BTreeSet<BatchDigest> =
            signed.map(|signature| signature.digest).filter(|digest| !store.holds(*digest)).collect();
        book.broken.extend(
            lost.iter().map(|digest| format!("seat {seat} was killed and lacks {digest}, which it signed")),
        );
    }

    /// The aggregator said that it has this payload.
    pub(crate) fn accepted(&self, submission: B256, payload: Bytes) {
        self.0.lock().accepted.insert(submission, payload);
    }

    /// Something happened that never may.
    pub(crate) fn broken(&self, what: String) {
        self.0.lock().broken.push(what);
    }

    pub(crate) fn signatures(&self) -> Vec<Signature> {
        self.0.lock().signatures.clone()
    }

    pub(crate) fn payloads(&self) -> BTreeMap<B256, Bytes> {
        self.0.lock().accepted.clone()
    }

    pub(crate) fn breaches(&self) -> Vec<String> {
        self.0.lock().broken.clone()
    }
}
