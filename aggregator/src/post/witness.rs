//! Looks over the poster's shoulder: what L1 last answered, so that people see why a certificate is not recorded yet.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dac_chain::poster::ContractCall;
use dac_chain::{
    Address, BlockRef, ChainError, Head, L1, Receipt, RecordedCertificate, Revert, Searched, SendAnswer,
    SettledBatch,
};
use dac_runtime::failpoint;
use dac_types::{B256, BatchDigest, keccak256};
use parking_lot::Mutex;

/// Refusals that are remembered, at most.
const REFUSALS_MAX: usize = 4096;

/// L1, and what it last answered.
pub struct Witness {
    inner: Arc<dyn L1>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The last failure since L1 last answered.
    failure: Option<String>,
    /// By the hash of the call.
    refusals: HashMap<B256, String>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("seen", &*self.seen.lock()).finish_non_exhaustive()
    }
}

impl Witness {
    /// Over an L1.
    pub fn new(inner: Arc<dyn L1>) -> Self {
        Self { inner, seen: Mutex::default() }
    }

    /// What keeps the call with this hash from being included, as far as is known.
    pub fn problem(&self, call: B256) -> Option<String> {
        let seen = self.seen.lock();
        seen.failure.clone().or_else(|| seen.refusals.get(&call).cloned())
    }

    /// What the last answer of L1 was, where it was none.
    pub fn failure(&self) -> Option<String> {
        self.seen.lock().failure.clone()
    }

    /// The call is done with.
    pub fn forget(&self, call: B256) {
        self.seen.lock().refusals.remove(&call);
    }

    fn note<T>(&self, result: Result<T, ChainError>) -> Result<T, ChainError> {
        if let Err(error) = &result {
            self.seen.lock().failure = Some(format!("L1: {error}"));
        }
        result
    }

    /// A settlement that cannot be simulated is the trouble of its batch alone, and the poster tells it there.
    fn note_call<T>(&self, call: &ContractCall, result: Result<T, ChainError>) -> Result<T, ChainError> {
        if call.returns { self.note(result) } else { result }
    }

    fn note_verdict<T>(&self, call: &ContractCall, result: &Result<Result<T, Revert>, ChainError>) {
        let mut seen = self.seen.lock();
        let hash = keccak256(&call.data);
        match result {
            Ok(Err(revert)) if !is_done(revert) => {
                if seen.refusals.len() < REFUSALS_MAX {
                    seen.refusals.insert(hash, format!("L1 refuses it for now: {revert}"));
                }
            }
            Ok(_) => {
                seen.refusals.remove(&hash);
            }
            Err(_) => {}
        }
    }
}

#[async_trait]
impl L1 for Witness {
    async fn head(&self) -> Result<Head, ChainError> {
        let head = self.note(self.inner.head().await)?;
        self.seen.lock().failure = None;
        Ok(head)
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.note(self.inner.block_at(number).await)
    }

    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError> {
        self.note(self.inner.nonce(account, block).await)
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        self.note(self.inner.priority_fee().await)
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Revert>, ChainError> {
        let result = self.note_call(call, self.inner.simulate(call, block).await);
        self.note_verdict(call, &result);
        result
    }

    async fn estimate_gas(&self, call: &ContractCall) -> Result<Result<u64, Revert>, ChainError> {
        let result = self.note_call(call, self.inner.estimate_gas(call).await);
        self.note_verdict(call, &result);
        result
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        failpoint!("aggregator.poster.before_send");
        let answer = self.inner.send_raw(raw).await;
        failpoint!("aggregator.poster.after_send");
        self.note(answer)
    }

    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.note(self.inner.receipt(tx_hash).await)
    }

    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        self.inner.find_recorded(log, digest, to_block).await
    }

    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError> {
        self.inner.settled_count(settlement, block).await
    }

    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        self.inner.find_settled(settlement, batch_number, to_block, searched).await
    }
}

/// What was asked for is there already.
const fn is_done(revert: &Revert) -> bool {
    matches!(revert, Revert::AlreadyRecorded { .. } | Revert::BatchAlreadySettled { .. })
}
