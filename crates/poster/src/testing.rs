//! A poster's store in memory for tests. It survives the poster but not the process, and can be
//! told to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::{Change, NonceSlot, PosterStore, Posting, PostingDigest, StoreError, Unfinished};

/// The store in memory.
#[derive(Debug, Default)]
pub struct MemoryPosterStore(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    postings: BTreeMap<PostingDigest, Posting>,
    slots: BTreeMap<u64, NonceSlot>,
    /// The number of commits that still succeed, if there is a limit.
    commits_left: Option<usize>,
    /// The number of commits that failed since the limit was last set.
    refused: usize,
}

impl MemoryPosterStore {
    /// Lets this number of further commits succeed and all later ones fail. `None` removes the
    /// limit.
    pub fn fail_after(&self, commits: Option<usize>) {
        let mut tables = self.0.lock().expect("not poisoned");
        (tables.commits_left, tables.refused) = (commits, 0);
    }

    /// Returns the number of commits that failed since the last call of [`Self::fail_after`].
    pub fn refused(&self) -> usize {
        self.0.lock().expect("not poisoned").refused
    }

    /// Returns all postings.
    pub fn postings(&self) -> Vec<Posting> {
        self.0.lock().expect("not poisoned").postings.values().cloned().collect()
    }

    /// Returns all slots.
    pub fn slots(&self) -> Vec<NonceSlot> {
        self.0.lock().expect("not poisoned").slots.values().cloned().collect()
    }
}

#[async_trait]
impl PosterStore for MemoryPosterStore {
    async fn load(&self) -> Result<Unfinished, StoreError> {
        let tables = self.0.lock().expect("not poisoned");
        Ok(Unfinished {
            postings: tables.postings.values().filter(|posting| posting.outcome.is_none()).cloned().collect(),
            slots: tables.slots.values().cloned().collect(),
            last_sequence: tables.postings.values().map(|posting| posting.sequence).max().unwrap_or(0),
        })
    }

    async fn posting(&self, digest: PostingDigest) -> Result<Option<Posting>, StoreError> {
        Ok(self.0.lock().expect("not poisoned").postings.get(&digest).cloned())
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut tables = self.0.lock().expect("not poisoned");
        match &mut tables.commits_left {
            Some(0) => {
                tables.refused += 1;
                return Err(StoreError("told to fail".into()));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        for change in changes {
            match change {
                Change::SavePosting(posting) => {
                    tables.postings.insert(posting.digest, posting.clone());
                }
                Change::SaveSlot(slot) => {
                    tables.slots.insert(slot.nonce, slot.clone());
                }
                Change::ForgetSlot { nonce } => {
                    tables.slots.remove(nonce);
                }
            }
        }
        Ok(())
    }
}
