//! Records what happens, for the check at the end. It is not part of the simulated world: no fault
//! affects it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dac_types::{B256, BatchDigest, Seat};
use parking_lot::Mutex;

use crate::store::MemberMemory;

/// The record of a history. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Book>>);

/// A signature by an honest member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) seat: Seat,
    pub(crate) digest: BatchDigest,
    /// Whether the member's store had the batch when the key was used.
    pub(crate) is_stored: bool,
}

/// The content of the record.
#[derive(Default)]
struct Book {
    signatures: Vec<Signature>,
    /// Payloads by the digest of their submission.
    accepted: BTreeMap<B256, Bytes>,
    /// The rules that were broken, in words.
    broken: Vec<String>,
}

impl Witness {
    /// Records the use of a member's key.
    pub(crate) fn signed(&self, signature: Signature) {
        self.0.lock().signatures.push(signature);
    }

    /// Checks that the store of an honest member that was killed has everything that the member
    /// signed.
    pub(crate) fn killed(&self, seat: Seat, store: &MemberMemory) {
        let mut book = self.0.lock();
        let signed = book.signatures.iter().filter(|signature| signature.seat == seat);
        let lost: BTreeSet<BatchDigest> =
            signed.map(|signature| signature.digest).filter(|digest| !store.holds(*digest)).collect();
        book.broken.extend(
            lost.iter().map(|digest| format!("seat {seat} was killed and lacks {digest}, which it signed")),
        );
    }

    /// Records that the aggregator acknowledged this payload.
    pub(crate) fn accepted(&self, submission: B256, payload: Bytes) {
        self.0.lock().accepted.insert(submission, payload);
    }

    /// Records an event that must never happen.
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
