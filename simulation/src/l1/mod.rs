//! A simulated chain with blocks at regular times, a mempool with nonce rules, and the rules of the
//! certificate log, which verifies every certificate's signature.

mod contract;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_consensus::{SignableTransaction, Transaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use dac_chain::contracts::CertificateLog as Abi;
use dac_chain::{Address, BlockRef, Bytes, Refusal, SendAnswer};
use dac_types::{B256, BatchDigest, EcdsaSignature, keccak256};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::contract::CertificateLog;
pub(crate) use self::contract::Recorded;
pub(crate) use self::view::ChainView;
use crate::cast::{Cast, DOMAIN, LOG, NOW};
use crate::trace;

/// The time between two blocks.
pub(crate) const BLOCK_TIME: Duration = Duration::from_millis(250);
/// Gas that recording a certificate takes.
const RECORD_GAS: u64 = 161_000;
/// Gas that a transfer of ether takes.
const TRANSFER_GAS: u64 = 21_000;

/// A transaction, waiting or included.
#[derive(Clone, Debug)]
struct Sent {
    hash: B256,
    from: Address,
    to: Option<Address>,
    nonce: u64,
    max_fee: u128,
    input: Bytes,
}

/// A transaction in a block.
#[derive(Clone, Debug)]
struct Included {
    sent: Sent,
    success: bool,
    /// The certificate that the transaction recorded.
    recorded: Option<Recorded>,
}

#[derive(Clone, Debug)]
struct Block {
    reference: BlockRef,
    included: Vec<Included>,
}

/// The content of the chain: its blocks, the oldest first, and the waiting transactions.
struct State {
    blocks: Vec<Block>,
    /// Waiting transactions by account and nonce.
    mempool: BTreeMap<(Address, u64), Sent>,
    log: CertificateLog,
    chance: StdRng,
    /// The share of waiting transactions that each block drops for good.
    drop_rate: f64,
}

/// The chain. Clones share its state.
#[derive(Clone)]
pub(crate) struct Chain {
    state: Arc<Mutex<State>>,
    cast: Arc<Cast>,
}

impl Chain {
    pub(crate) fn new(cast: Arc<Cast>, seed: u64) -> Self {
        let genesis = BlockRef { number: 0, hash: keccak256(seed.to_be_bytes()), timestamp: NOW - 10 };
        let state = State {
            blocks: vec![Block { reference: genesis, included: Vec::new() }],
            mempool: BTreeMap::new(),
            log: CertificateLog::new(Arc::clone(&cast)),
            chance: StdRng::seed_from_u64(seed ^ 0x11),
            drop_rate: 0.0,
        };
        Self { state: Arc::new(Mutex::new(state)), cast }
    }

    /// Adds a block at this time since the start.
    pub(crate) fn mine(&self, elapsed: Duration) {
        self.state.lock().mine(NOW + elapsed.as_secs());
    }

    /// Replaces the newest `depth` blocks by one more than that. Their transactions wait again, and
    /// some may be dropped.
    pub(crate) fn reorganise(&self, depth: usize, elapsed: Duration) {
        let mut state = self.state.lock();
        let depth = depth.min(state.blocks.len() - 1);
        let kept = state.blocks.len() - depth;
        for block in state.blocks.split_off(kept) {
            for included in block.included {
                let sent = included.sent;
                state.mempool.entry((sent.from, sent.nonce)).or_insert(sent);
            }
        }
        for _ in 0..=depth {
            state.mine(NOW + elapsed.as_secs());
        }
    }

    /// Sets the share of waiting transactions that each block drops for good.
    pub(crate) fn set_drop_rate(&self, rate: f64) {
        self.state.lock().drop_rate = rate;
    }

    /// Returns the certificates that were recorded in all but the newest `confirmations` blocks, in
    /// order.
    pub(crate) fn recorded(&self, confirmations: usize) -> Vec<Recorded> {
        let state = self.state.lock();
        let end = state.blocks.len().saturating_sub(confirmations);
        state.blocks[..end]
            .iter()
            .flat_map(|block| block.included.iter().filter_map(|included| included.recorded.clone()))
            .collect()
    }

    /// Returns the number of transactions that were included and failed.
    pub(crate) fn reverted(&self) -> usize {
        let state = self.state.lock();
        let included = state.blocks.iter().flat_map(|block| &block.included);
        included.filter(|included| !included.success).count()
    }
}

impl State {
    fn head(&self) -> BlockRef {
        self.blocks.last().expect("there is a first one").reference
    }

    fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    /// Returns the blocks up to the one with this hash, or `None` if it is not on the chain.
    fn up_to(&self, hash: B256) -> Option<&[Block]> {
        let position = self.blocks.iter().position(|block| block.reference.hash == hash)?;
        Some(&self.blocks[..=position])
    }

    fn mine(&mut self, timestamp: u64) {
        let parent = self.head();
        let number = parent.number + 1;
        let timestamp = timestamp.max(parent.timestamp);
        let mut included: Vec<Included> = Vec::new();
        for sent in std::mem::take(&mut self.mempool).into_values() {
            if self.drop_rate > 0.0 && self.chance.random_bool(self.drop_rate) {
                continue;
            }
            let before = included.iter().filter(|other| other.sent.from == sent.from).count() as u64;
            let nonce = used_nonces(&self.blocks, sent.from) + before;
            if sent.nonce != nonce {
                if sent.nonce > nonce {
                    self.mempool.insert((sent.from, sent.nonce), sent);
                }
                continue;
            }
            let (success, recorded) = self.execute(&sent, &included, timestamp);
            included.push(Included { sent, success, recorded });
        }
        let salt: u64 = self.chance.random();
        let mut content = [parent.hash.as_slice(), &salt.to_be_bytes()].concat();
        for included in &included {
            content.extend_from_slice(included.sent.hash.as_slice());
            content.push(u8::from(included.success));
        }
        let hash = keccak256(&content);
        trace::event("block", &[&number.to_be_bytes(), hash.as_slice()]);
        self.blocks.push(Block { reference: BlockRef { number, hash, timestamp }, included });
    }

    fn execute(&mut self, sent: &Sent, before: &[Included], timestamp: u64) -> (bool, Option<Recorded>) {
        if sent.to != Some(LOG) {
            return (true, None);
        }
        match self.log.check(&sent.input, timestamp) {
            Ok(recorded) => {
                let digest = recorded.digest;
                let known = is_recorded(&self.blocks, digest)
                    || before.iter().any(|other| other.recorded.as_ref().is_some_and(|r| r.digest == digest));
                if known { (false, None) } else { (true, Some(recorded)) }
            }
            Err(_) => (false, None),
        }
    }

    /// Returns the result of a call after the block `after`, or `None` if that is not on the chain.
    fn call(&mut self, to: Address, data: &[u8], after: B256) -> Option<Result<(), Refusal>> {
        let (timestamp, known) = {
            let blocks = self.up_to(after)?;
            let known = self.log.digest(data).filter(|digest| is_recorded(blocks, *digest));
            (blocks.last()?.reference.timestamp, known)
        };
        if to != LOG {
            return Some(Err(Refusal::NoCode { address: to }));
        }
        if let Some(digest) = known {
            return Some(Err(Refusal::of(&Abi::AlreadyRecorded { digest: digest.0 })));
        }
        Some(self.log.check(data, timestamp).map(drop))
    }

    fn send(&mut self, raw: &[u8]) -> Result<SendAnswer, String> {
        let envelope = TxEnvelope::decode_2718(&mut &*raw).map_err(|error| error.to_string())?;
        let TxEnvelope::Eip1559(signed) = envelope else { return Err("not of EIP-1559".to_owned()) };
        let hash = *signed.hash();
        let transaction: &TxEip1559 = signed.tx();
        let from = EcdsaSignature::try_from(&signed.signature().as_bytes()[..])
            .and_then(|signature| signature.recover(transaction.signature_hash()))
            .map_err(|error| error.to_string())?;
        if transaction.chain_id != DOMAIN.chain_id {
            return Err("another chain".to_owned());
        }
        let sent = Sent {
            hash,
            from,
            to: transaction.to(),
            nonce: transaction.nonce,
            max_fee: transaction.max_fee_per_gas,
            input: transaction.input.clone(),
        };
        if sent.nonce < used_nonces(&self.blocks, from) {
            return Ok(SendAnswer::NonceUsed);
        }
        match self.mempool.get(&(from, sent.nonce)) {
            Some(other) if other.hash != hash && sent.max_fee < other.max_fee + other.max_fee / 10 => {
                Ok(SendAnswer::Underpriced)
            }
            _ => {
                trace::event("sent", &[hash.as_slice()]);
                self.mempool.insert((from, sent.nonce), sent);
                Ok(SendAnswer::Accepted)
            }
        }
    }
}

fn used_nonces(blocks: &[Block], account: Address) -> u64 {
    let included = blocks.iter().flat_map(|block| &block.included);
    included.filter(|included| included.sent.from == account).count() as u64
}

fn is_recorded(blocks: &[Block], digest: BatchDigest) -> bool {
    let mut included = blocks.iter().flat_map(|block| &block.included);
    included.any(|included| included.recorded.as_ref().is_some_and(|recorded| recorded.digest == digest))
}
