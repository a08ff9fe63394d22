//! A fake L1 with a certificate log and with rollups that settle. It mines the transactions that it
//! was sent when it is next read.

use std::collections::HashMap;

use async_trait::async_trait;
use dac_chain::contracts::{CertificateLog, Settlement, Verifier};
use dac_chain::testing::SettleCall;
use dac_chain::{
    Address, BlockRef, Broadcast, Bytes, ChainError, ContractCall, Head, L1, Receipt, RecordedCertificate,
    Refusal, Searched, SendAnswer, SettledBatch, U256,
};
use dac_types::{B256, BatchDigest, BatchHeader, Transition, keccak256};
use parking_lot::Mutex;

/// The fake L1.
#[derive(Default)]
pub(crate) struct FakeL1(Mutex<State>);

#[derive(Default)]
struct State {
    block: u64,
    down: bool,
    /// Whether sent transactions stay out of blocks.
    withhold: bool,
    refusal: Option<Refusal>,
    /// The calls seen in simulations; a transaction is recognised by the call that it contains.
    calls: Vec<Bytes>,
    /// The block that recorded a certificate, by the hash of the call.
    recorded: HashMap<B256, u64>,
    receipts: HashMap<B256, Receipt>,
    waiting: Vec<Vec<u8>>,
    /// The number of our transactions that were included.
    included: u64,
    /// The settled batches of all rollups, in order.
    settled: Vec<SettledBatch>,
    /// The refusal of every settlement, if they are refused.
    settling_refusal: Option<Refusal>,
    /// The number of settlements that were simulated.
    settlements_simulated: u64,
    /// The batch number whose settlement cannot be simulated.
    troubled: Option<u64>,
    /// The account's balance; if it is none, more than the account can spend.
    balance: Option<U256>,
}

/// The first byte of the proofs that every rollup here accepts.
const GOOD: u8 = 1;

impl FakeL1 {
    /// Sets whether the fake L1 fails to answer.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().down = down;
    }

    /// Sets the balance of the poster's account, in wei; none means more than it can spend.
    pub(crate) fn set_balance(&self, balance: Option<u64>) {
        self.0.lock().balance = balance.map(U256::from);
    }

    /// Sets whether sent transactions stay out of blocks.
    pub(crate) fn set_withhold(&self, withhold: bool) {
        self.0.lock().withhold = withhold;
    }

    /// Sets the refusal of every simulation; none to accept.
    pub(crate) fn set_refusal(&self, refusal: Option<Refusal>) {
        self.0.lock().refusal = refusal;
    }

    /// Sets the refusal of every settlement, which is given before its proof is checked; none to
    /// check proofs.
    pub(crate) fn refuse_settling(&self, refusal: Option<Refusal>) {
        self.0.lock().settling_refusal = refusal;
    }

    /// Sets the number of the batch whose settlement cannot be simulated.
    pub(crate) fn trouble(&self, batch_number: Option<u64>) {
        self.0.lock().troubled = batch_number;
    }

    /// Returns the settled batches.
    pub(crate) fn settled(&self) -> Vec<SettledBatch> {
        self.0.lock().settled.clone()
    }

    /// Returns the number of settlements that were simulated.
    pub(crate) fn settlements_simulated(&self) -> u64 {
        self.0.lock().settlements_simulated
    }

    /// Settles the rollup's next batch with this header, from another account.
    pub(crate) fn settle_for_somebody(&self, header: &BatchHeader) {
        let mut state = self.0.lock();
        state.block += 1;
        let block = state.block;
        let transition =
            Transition { new_state_root: B256::repeat_byte(0xee), inputs_consumed: 0, outputs: B256::ZERO };
        state.settle(header, transition, block, B256::repeat_byte(0xcc));
    }

    /// Removes all blocks after `head`, with what was in them.
    pub(crate) fn reorganise(&self, head: u64) {
        let mut state = self.0.lock();
        state.block = head;
        state.receipts.retain(|_, receipt| receipt.block <= head);
        state.recorded.retain(|_, block| *block <= head);
        state.settled.retain(|settled| settled.block <= head);
    }

    /// Returns the number of certificates that are recorded.
    pub(crate) fn recorded(&self) -> usize {
        self.0.lock().recorded.len()
    }

    /// Returns the number of our transactions that were included.
    pub(crate) fn included(&self) -> u64 {
        self.0.lock().included
    }

    /// Records this call from another account.
    pub(crate) fn record_for_somebody(&self, call: &Bytes) {
        let mut state = self.0.lock();
        let block = state.block;
        state.recorded.insert(keccak256(call), block);
    }

    fn answer<T>(&self, method: &'static str, work: impl FnOnce(&mut State) -> T) -> Result<T, ChainError> {
        let mut state = self.0.lock();
        if state.down {
            return Err(ChainError::Transport {
                endpoint: "fake".to_owned(),
                method,
                reason: "it is switched off".to_owned(),
            });
        }
        Ok(work(&mut state))
    }
}

impl State {
    fn mine(&mut self) {
        self.block += 1;
        if self.withhold {
            return;
        }
        for raw in std::mem::take(&mut self.waiting) {
            let hash = keccak256(&raw);
            let call = self.calls.iter().find(|call| contains(&raw, call)).cloned();
            let settle = call.as_ref().and_then(|call| SettleCall::decode(call));
            let block = self.block;
            let success = match (settle, call) {
                (Some(settle), _) => {
                    let allowed = self.may_settle(&settle, block).is_ok();
                    if allowed {
                        self.settle(&settle.header, settle.transition, block, hash);
                    }
                    allowed
                }
                (None, Some(call)) => self.recorded.insert(keccak256(&call), block).is_none(),
                (None, None) => true,
            };
            self.included += 1;
            let receipt = Receipt {
                tx_hash: hash,
                block: self.block,
                block_hash: block_hash(self.block),
                success,
                gas_used: 161_000,
                contract: None,
            };
            self.receipts.insert(hash, receipt);
        }
    }

    fn settle(&mut self, header: &BatchHeader, transition: Transition, block: u64, tx: B256) {
        self.settled.push(SettledBatch {
            digest: header.digest(&super::DOMAIN),
            batch_number: header.batch_number,
            epoch: header.epoch,
            expires_at: header.expires_at,
            transition,
            block,
            tx,
        });
    }

    fn settled_count(&self, block: u64) -> u64 {
        self.settled.iter().filter(|settled| settled.block <= block).count() as u64
    }

    /// Applies the rules of the settlement contract, in the contract's order.
    fn may_settle(&self, settle: &SettleCall, block: u64) -> Result<(), Refusal> {
        if let Some(refusal) = &self.settling_refusal {
            return Err(refusal.clone());
        }
        let (got, batch_count) = (settle.header.batch_number, self.settled_count(block));
        if got <= batch_count {
            return Err(Refusal::of(&Settlement::BatchAlreadySettled { got, batchCount: batch_count }));
        }
        if got > batch_count + 1 {
            return Err(Refusal::of(&Settlement::BatchNumberSkipped { got, expected: batch_count + 1 }));
        }
        if settle.recorded && !self.recorded.values().any(|recorded| *recorded <= block) {
            return Err(Refusal::of(&Settlement::NotRecorded {
                digest: settle.header.digest(&super::DOMAIN).0,
            }));
        }
        if settle.proof.first() == Some(&GOOD) {
            Ok(())
        } else {
            Err(Refusal::of(&Verifier::InvalidProof {}))
        }
    }

    fn run(&mut self, call: &ContractCall, block: u64) -> Result<(), Refusal> {
        if !self.calls.contains(&call.data) {
            self.calls.push(call.data.clone());
        }
        if let Some(settle) = SettleCall::decode(&call.data) {
            assert_eq!(call.to, settle.header.rollup, "the rollup's contract is called");
            self.settlements_simulated += 1;
            return self.may_settle(&settle, block);
        }
        if self.recorded.get(&keccak256(&call.data)).is_some_and(|recorded| *recorded <= block) {
            return Err(Refusal::of(&CertificateLog::AlreadyRecorded { digest: B256::ZERO }));
        }
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

fn block_hash(number: u64) -> B256 {
    B256::left_padding_from(&number.to_be_bytes())
}

fn number_of(hash: B256) -> u64 {
    u64::from_be_bytes(hash[24..].try_into().unwrap())
}

fn block_ref(number: u64) -> BlockRef {
    BlockRef { number, hash: block_hash(number), timestamp: number }
}

#[async_trait]
impl Broadcast for FakeL1 {
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        self.answer("send", |state| {
            if state.receipts.contains_key(&keccak256(raw)) {
                return SendAnswer::NonceUsed;
            }
            // A transaction with a higher fee replaces the former one of the same nonce.
            let call = state.calls.iter().find(|call| contains(raw, call)).cloned();
            state.waiting.retain(|waiting| {
                waiting != raw && !call.as_ref().is_some_and(|call| contains(waiting, call))
            });
            state.waiting.push(raw.to_vec());
            SendAnswer::Accepted
        })
    }
}

#[async_trait]
impl L1 for FakeL1 {
    async fn head(&self) -> Result<Head, ChainError> {
        self.answer("head", |state| {
            state.mine();
            Head { block: block_ref(state.block), base_fee: 1_000_000_000 }
        })
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.answer("block", |state| (number <= state.block).then(|| block_ref(number)))
    }

    async fn nonce(&self, _account: Address, block: B256) -> Result<u64, ChainError> {
        self.answer("nonce", |state| {
            let included = state.receipts.values().filter(|receipt| receipt.block <= number_of(block));
            included.count() as u64
        })
    }

    async fn balance(&self, _account: Address, _block: B256) -> Result<U256, ChainError> {
        self.answer("balance", |state| state.balance.unwrap_or(U256::MAX))
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        self.answer("fee", |_| 1_000_000_000)
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Refusal>, ChainError> {
        let number = SettleCall::decode(&call.data).map(|settle| settle.header.batch_number);
        if number.is_some() && number == self.0.lock().troubled {
            let (endpoint, method) = ("fake".to_owned(), "eth_call");
            return Err(ChainError::Refused {
                endpoint,
                method,
                code: -1,
                message: "it went up in smoke".into(),
            });
        }
        self.answer("call", |state| state.run(call, number_of(block)))
    }

    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Refusal>, ChainError> {
        self.answer("estimate", |state| state.run(call, block.number).map(|()| 161_000))
    }

    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.answer("receipt", |state| state.receipts.get(&tx_hash).cloned())
    }

    async fn is_recorded(
        &self,
        _log: Address,
        _digest: BatchDigest,
        _block: B256,
    ) -> Result<bool, ChainError> {
        Ok(false)
    }

    async fn find_recorded(
        &self,
        _log: Address,
        _digest: BatchDigest,
        _to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        Ok(None)
    }

    async fn settled_count(&self, _settlement: Address, block: B256) -> Result<u64, ChainError> {
        self.answer("call", |state| state.settled_count(number_of(block)))
    }

    async fn find_settled(
        &self,
        _settlement: Address,
        batch_number: u64,
        to_block: u64,
        _searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        self.answer("logs", |state| {
            let found =
                |settled: &&SettledBatch| settled.batch_number == batch_number && settled.block <= to_block;
            state.settled.iter().find(found).copied()
        })
    }
}
