//! A chain in memory whose events a test prescribes and which the test reorganises.

use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, B256, keccak256};
use async_trait::async_trait;
use dac_types::{BatchDigest, BatchHeader, RenewalDigest, Transition};

use crate::error::ChainError;
use crate::feed::{Fact, L1View, Origin, RenewedCoverage};
use crate::log::RecordedCertificate;
use crate::rpc::BlockRef;
use crate::settlement::SettledBatch;

/// A node's view of a chain in memory. Clones show the same chain; [`FakeEvents::lagging`] returns
/// a view that is behind.
#[derive(Clone, Debug)]
pub struct FakeEvents {
    chain: Arc<Mutex<Chain>>,
    log: Address,
    /// The number of newest blocks that this view does not show yet.
    lag: usize,
}

#[derive(Debug)]
struct Chain {
    blocks: Vec<Block>,
    block_seconds: u64,
    /// A counter that makes every block's hash different.
    made: u64,
    down: bool,
    /// The contracts whose events cannot be read.
    unreadable: Vec<Origin>,
    /// The most blocks of one query.
    query_blocks_max: u64,
    /// Whether events are left out of every answer.
    withheld: bool,
}

#[derive(Clone, Debug)]
struct Block {
    hash: B256,
    timestamp: u64,
    facts: Vec<Fact>,
}

impl FakeEvents {
    /// A chain that has only its first block. `log` is the address where certificates are recorded.
    pub fn new(log: Address, genesis_timestamp: u64, block_seconds: u64) -> Self {
        let genesis = Block { hash: keccak256(b"first"), timestamp: genesis_timestamp, facts: Vec::new() };
        let chain = Chain {
            blocks: vec![genesis],
            block_seconds,
            made: 0,
            down: false,
            unreadable: Vec::new(),
            query_blocks_max: u64::MAX,
            withheld: false,
        };
        Self { chain: Arc::new(Mutex::new(chain)), log, lag: 0 }
    }

    /// The certificate log's address.
    pub fn log(&self) -> Address {
        self.log
    }

    /// A view of the same chain from a node that is this many blocks behind.
    #[must_use]
    pub fn lagging(&self, blocks: usize) -> Self {
        Self { lag: blocks, ..self.clone() }
    }

    /// The fact that a certificate of this header was recorded. Its block and transaction are set
    /// when it is mined.
    pub fn recorded(digest: BatchDigest, header: &BatchHeader) -> Fact {
        Fact::Recorded(RecordedCertificate::of(digest, header, 0, B256::ZERO))
    }

    /// The fact that a batch with this header settled.
    pub fn settled(digest: BatchDigest, header: &BatchHeader) -> Fact {
        let transition =
            Transition { new_state_root: B256::repeat_byte(1), inputs_consumed: 0, outputs: B256::ZERO };
        let batch = SettledBatch {
            digest,
            batch_number: header.batch_number,
            epoch: header.epoch,
            expires_at: header.expires_at,
            transition,
            block: 0,
            tx: B256::ZERO,
        };
        Fact::Settled { rollup: header.rollup, batch }
    }

    /// The fact that coverage was renewed.
    pub fn renewed(rollup: Address, last_batch: u64, epoch: u64, expires_at: u64) -> Fact {
        let what = [rollup.as_slice(), &last_batch.to_be_bytes(), &expires_at.to_be_bytes()].concat();
        Fact::Renewed(RenewedCoverage {
            digest: RenewalDigest(keccak256(what)),
            rollup,
            last_batch,
            epoch,
            expires_at,
            coverage_until: expires_at,
            block: 0,
            tx: B256::ZERO,
        })
    }

    /// Makes a block with these facts.
    pub fn mine(&self, facts: Vec<Fact>) -> BlockRef {
        self.lock().mine(facts)
    }

    /// Makes this many empty blocks.
    pub fn mine_empty(&self, blocks: u64) {
        let mut chain = self.lock();
        for _ in 0..blocks {
            chain.mine(Vec::new());
        }
    }

    /// Makes the following blocks this much later.
    pub fn advance(&self, seconds: u64) {
        let mut chain = self.lock();
        let block_seconds = std::mem::replace(&mut chain.block_seconds, seconds);
        chain.mine(Vec::new());
        chain.block_seconds = block_seconds;
    }

    /// Replaces the last `depth` blocks by others with these facts, one block for each entry. The
    /// very first block stays.
    pub fn reorganise(&self, depth: usize, blocks: Vec<Vec<Fact>>) {
        let mut chain = self.lock();
        let kept = chain.blocks.len().saturating_sub(depth).max(1);
        chain.blocks.truncate(kept);
        for facts in blocks {
            chain.mine(facts);
        }
    }

    /// Sets whether requests fail from now on.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Makes requests for events of these contracts fail from now on, and no others.
    pub fn set_unreadable(&self, contracts: &[Origin]) {
        self.lock().unreadable = contracts.to_vec();
    }

    /// Refuses queries over more blocks than this.
    pub fn set_query_blocks_max(&self, blocks: u64) {
        self.lock().query_blocks_max = blocks;
    }

    /// Sets whether every range of blocks appears to have no events from now on, as on a node that
    /// is behind and does not have the blocks yet.
    pub fn set_withheld(&self, withheld: bool) {
        self.lock().withheld = withheld;
    }

    /// The newest block of the chain, even if this view does not show it.
    pub fn newest(&self) -> BlockRef {
        let chain = self.lock();
        chain.block(chain.blocks.len() - 1)
    }

    /// All facts of a contract on the present chain, in order.
    pub fn all_facts(&self, origin: Origin) -> Vec<Fact> {
        let chain = self.lock();
        let all = chain.blocks.iter().flat_map(|block| &block.facts);
        all.filter(|fact| self.origin(fact) == origin).copied().collect()
    }

    fn origin(&self, fact: &Fact) -> Origin {
        match fact {
            Fact::Recorded(_) => Origin::Log(self.log),
            Fact::Settled { rollup, .. } => Origin::Settlement(*rollup),
            Fact::Renewed(renewed) => Origin::Settlement(renewed.rollup),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Chain> {
        self.chain.lock().expect("not poisoned")
    }

    /// The chain, and how many of its blocks this view shows.
    fn seen(&self, method: &'static str) -> Result<(std::sync::MutexGuard<'_, Chain>, usize), ChainError> {
        let chain = self.lock();
        if chain.down {
            return Err(ChainError::Transport {
                endpoint: "fake".into(),
                method,
                reason: "told to fail".into(),
            });
        }
        let seen = chain.blocks.len().saturating_sub(self.lag).max(1);
        Ok((chain, seen))
    }
}

impl Chain {
    fn mine(&mut self, mut facts: Vec<Fact>) -> BlockRef {
        let number = self.blocks.len();
        self.made += 1;
        for (index, fact) in facts.iter_mut().enumerate() {
            let tx = keccak256([self.made.to_be_bytes(), (index as u64).to_be_bytes()].concat());
            let (in_block, by) = match fact {
                Fact::Recorded(certificate) => (&mut certificate.block, &mut certificate.tx),
                Fact::Settled { batch, .. } => (&mut batch.block, &mut batch.tx),
                Fact::Renewed(renewed) => (&mut renewed.block, &mut renewed.tx),
            };
            (*in_block, *by) = (number as u64, tx);
        }
        let parent = self.blocks.last().expect("there is a first block");
        let hash = keccak256([parent.hash.as_slice(), &self.made.to_be_bytes()].concat());
        let timestamp = parent.timestamp + self.block_seconds;
        self.blocks.push(Block { hash, timestamp, facts });
        self.block(number)
    }

    fn block(&self, number: usize) -> BlockRef {
        let block = &self.blocks[number];
        BlockRef { number: number as u64, hash: block.hash, timestamp: block.timestamp }
    }
}

/// The view's answers, none of which wait for anything.
impl FakeEvents {
    pub(crate) fn latest_now(&self) -> Result<BlockRef, ChainError> {
        let (chain, seen) = self.seen("latest")?;
        Ok(chain.block(seen - 1))
    }

    pub(crate) fn block_at_now(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        let (chain, seen) = self.seen("block_at")?;
        Ok(usize::try_from(number).ok().filter(|number| *number < seen).map(|number| chain.block(number)))
    }

    pub(crate) fn facts_now(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError> {
        let (chain, seen) = self.seen("facts")?;
        if chain.unreadable.contains(&origin) {
            let (endpoint, message) = ("fake".into(), "told to fail".into());
            return Err(ChainError::Refused { endpoint, method: "facts", code: -32_000, message });
        }
        if to - from >= chain.query_blocks_max {
            let (endpoint, message) = ("fake".into(), "too many blocks".into());
            return Err(ChainError::Refused { endpoint, method: "facts", code: -32_005, message });
        }
        if chain.withheld {
            return Ok(Vec::new());
        }
        let all = chain.blocks[..seen].iter().flat_map(|block| &block.facts);
        let wanted = |fact: &&Fact| self.origin(fact) == origin && (from..=to).contains(&fact.block());
        Ok(all.filter(wanted).copied().collect())
    }
}

#[async_trait]
impl L1View for FakeEvents {
    async fn latest(&self) -> Result<BlockRef, ChainError> {
        self.latest_now()
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.block_at_now(number)
    }

    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError> {
        self.facts_now(origin, from, to)
    }
}
