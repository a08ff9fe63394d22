//! The operator and users of the reference rollup, for the demo and the whole-system tests: a
//! sequencer that reads the inbox from L1, and a prover with public keys (DEV ONLY).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Bytes;
use dac_chain::Address;
use dac_types::Geometry;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use reference_rollup::account::{AccountId, AccountIndex};
use reference_rollup::keys::SecretKey;
use reference_rollup::l1::RollupReader;
use reference_rollup::prover::Keys;
use reference_rollup::sequencer::{Sealed, Sequencer};
use reference_rollup::shape::INBOX_SLOTS;
use reference_rollup::transaction::{Destination, Domain, SignedTransaction, Transaction};

use crate::failure::{Context, Failure, Result};
use crate::process::source_root;

/// Returns the folder in which the development keys are kept between runs.
pub fn keys_folder() -> PathBuf {
    source_root().join("target/reference-rollup")
}

/// Returns the development keys, and makes them if they do not exist.
pub async fn keys() -> Result<Arc<Keys>> {
    let keys = tokio::task::spawn_blocking(|| Keys::cached_development(&keys_folder()));
    Ok(Arc::new(keys.await.context("the task that reads the keys")??))
}

/// A user of the rollup: a key, the recipient of exits, and the number of transactions made.
pub struct Wallet {
    /// The key that signs the user's transactions.
    pub key: SecretKey,
    /// The L1 address that exits are paid to.
    pub recipient: Address,
    /// The index of the user's account, once its deposit was taken.
    pub index: AccountIndex,
    nonce: u32,
}

impl Wallet {
    /// Makes a user without transactions.
    pub fn new(key: SecretKey, recipient: Address) -> Self {
        Self { key, recipient, index: AccountIndex(0), nonce: 0 }
    }

    /// Returns the user's account id.
    pub fn id(&self) -> AccountId {
        self.key.public().account_id(self.recipient)
    }

    /// Signs the user's next transaction.
    pub fn pays(&mut self, domain: Domain, to: Destination, amount: u64) -> SignedTransaction {
        let transaction = Transaction { from: self.index, nonce: self.nonce, to, amount };
        self.nonce += 1;
        transaction.sign(domain, &self.key, self.recipient, &mut fresh_rng())
    }
}

/// Makes a random generator that is seeded by the operating system. arkworks needs another version
/// of rand than the other crates.
fn fresh_rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed(rand::random())
}

/// A proof and the time that it took.
pub struct Proved {
    /// The proof in the form that L1 takes.
    pub proof: Bytes,
    /// The time for witness and proof.
    pub took: Duration,
}

/// The rollup's operator. All that it knows is on L1 and with the committee, so that nothing is
/// lost with it.
pub struct Operator {
    sequencer: Sequencer,
    keys: Arc<Keys>,
    reader: RollupReader,
    from_block: u64,
    geometry: Geometry,
}

impl Operator {
    /// Makes the operator of a rollup that was deployed in this block.
    pub fn new(
        chain_id: u64,
        reader: RollupReader,
        from_block: u64,
        geometry: Geometry,
        keys: Arc<Keys>,
    ) -> Self {
        let sequencer = Sequencer::new(chain_id, reader.address());
        Self { sequencer, keys, reader, from_block, geometry }
    }

    /// Returns the domain in which transactions are valid.
    pub fn domain(&self) -> Domain {
        self.sequencer.domain()
    }

    /// Returns the index of a user's account.
    pub fn find(&self, wallet: &Wallet) -> Result<AccountIndex> {
        self.sequencer.state().find(wallet.id()).context("an account of this user")
    }

    /// Closes a batch of the entries that wait in the inbox and of these transactions.
    pub async fn batch(&mut self, transactions: &[SignedTransaction]) -> Result<Sealed> {
        let read = self.reader.history(self.from_block, |_, _| {}).await?;
        let waiting = self.sequencer.waiting(&read.history);
        let mut batch = self.sequencer.open();
        for entry in waiting.take(INBOX_SLOTS) {
            batch.take(entry)?;
        }
        for signed in transactions {
            batch.include(signed)?;
        }
        let batch = batch.close();
        Ok(self.sequencer.seal(batch, self.geometry)?)
    }

    /// Proves a batch on a thread of its own.
    pub async fn prove(&self, sealed: &Sealed) -> Result<Proved> {
        let (keys, sealed) = (self.keys.clone(), sealed.clone());
        let proving = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let mut rng = fresh_rng();
            let proof = keys.prove(&sealed.batch, &sealed.claim, &mut rng)?;
            Ok::<_, Failure>(Proved { proof: proof.to_bytes(), took: started.elapsed() })
        });
        proving.await.context("the prover's task")?
    }
}
