//! A poster's store in memory, which survives the poster but not the process, and can be told to
//! fail.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::{Change, NonceSlot, PosterStore, Posting, PostingDigest, StoreError, Unfinished};

/// Two tables.
#[derive(Debug, Default)]
pub struct MemoryPosterStore(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    postings: BTreeMap<PostingDigest, Posting>,
    slots: BTreeMap<u64, NonceSlot>,
    /// Commits that still succeed, when they are counted.
    commits_left: Option<usize>,
    /// Commits that failed since the last time that was set.
    refused: usize,
}

impl MemoryPosterStore {
    /// Lets so many more commits succeed and all later ones fail; none for no such limit.
    pub fn fail_after(&self, commits: Option<usize>) {
        let mut tables = self.0.lock().expect("not poisoned");
        (tables.commits_left, tables.refused) = (commits, 0);
    }

    /// Commits that failed since then.
    pub fn refused(&self) -> usize {
        self.0.lock().expect("not poisoned").refused
    }

    /// All postings.
    pub fn postings(&self) -> Vec<Posting> {
        self.0.lock().expect("not poisoned").postings.values().cloned().collect()
    }

    /// All slots.
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
