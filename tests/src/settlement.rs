//! A [`Network`] whose rollup is the reference rollup, with the verifier of its circuit on L1:
//! batches are proved, submitted and settled.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use dac_chain::{Receipt, SettleOrder, SettledBatch, SettlementReader, U256};
use dac_client::{
    AggregatorClient, AggregatorError, BatchSelector, BatchState, BatchStatus, Dialer, EndpointPolicy,
    SignedProof, SubmitOptions,
};
use dac_proto::v1;
use dac_types::{BatchDigest, BatchSubmission, Certificate, HashKind, PostingMode, PublicClaim, Transition};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use reference_rollup::account::AccountIndex;
use reference_rollup::keys::SecretKey;
use reference_rollup::l1::{RollupAccount, RollupReader, Terms, deploy};
use reference_rollup::prover::Keys;
use reference_rollup::sequencer::Sealed;
use reference_rollup::transaction::{Destination, SignedTransaction};
use tokio::sync::{Mutex, OnceCell};

use crate::failure::{Context, Result};
use crate::network::{Network, Plan, Shape};
use crate::operator::{Operator, Wallet, keys};
use crate::{configuration, rpc, wait};

/// The freeze delay in seconds. Freeze delay and exit window together are shorter than the
/// committee's activation delay, as L1 demands. They can be short because no test here freezes.
const FREEZE_DELAY: u64 = 3;
/// The exit window in seconds.
const EXIT_WINDOW: u64 = 4;
/// The delay of a change of the verifier, in seconds. It is longer than the other two together.
const VERIFIER_DELAY: u64 = 8;
/// The deposit of each user, in gwei.
const DEPOSIT_GWEI: u64 = 1_000;

/// The development keys. They are large, so they are read only once.
static KEYS: OnceCell<Arc<Keys>> = OnceCell::const_new();
/// The proofs that were made, by their claim. Every network here begins in the same way on a chain
/// of its own, so tests can share proofs. One proof is made at a time, because proving uses the
/// whole machine.
static PROOFS: LazyLock<Mutex<HashMap<PublicClaim, Bytes>>> = LazyLock::new(Mutex::default);

/// A batch and its validity proof.
#[derive(Clone)]
pub struct ProvedBatch {
    /// The batch as its operator closed it.
    pub sealed: Sealed,
    /// The proof in the form that L1 takes.
    pub proof: Bytes,
}

impl ProvedBatch {
    /// Returns the payload that the committee stores.
    pub fn payload(&self) -> Bytes {
        self.sealed.payload.clone().into()
    }
}

/// The spending of an L1 account: its number of transactions, including failed ones, and its
/// balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purse {
    /// The account's nonce.
    pub transactions: u64,
    /// The account's balance in wei.
    pub wei: U256,
}

/// All processes, and a rollup on L1 whose first batches are proved but not submitted.
pub struct RollupNetwork {
    /// The processes, the committee and the chain.
    pub network: Network,
    /// The batches, from number 1.
    pub batches: Vec<ProvedBatch>,
}

impl RollupNetwork {
    /// Deploys, deposits, proves one or two batches, and then starts the processes, so that none of
    /// them waits for the prover.
    pub async fn start(batches: usize) -> Result<Self> {
        Self::start_as(batches, &Plan::default()).await
    }

    /// Does the same with processes as the plan says.
    pub async fn start_as(batches: usize, plan: &Plan) -> Result<Self> {
        let mut network = Network::prepare_as(Shape::SMALL, plan).await?;
        let keys = Arc::clone(KEYS.get_or_try_init(keys).await?);
        let owner = network.anvil.account(network.committee.owner.clone());
        let terms = Terms {
            owner: owner.address(),
            certificate_log: network.committee.deployment.log,
            freeze_delay: FREEZE_DELAY,
            exit_window: EXIT_WINDOW,
            verifier_delay: VERIFIER_DELAY,
        };
        let deployed = deploy(&owner, &terms, &keys.verifying(), |_| ()).await?;
        network.rollup.address = deployed.settlement;
        let poster = network.rollup.poster.address();
        network.committee.admit(&network.anvil, deployed.settlement, poster).await;

        let reader = RollupReader::new(network.anvil.endpoints(), deployed.settlement);
        let geometry = network.committee.quorum.geometry();
        let operator = Operator::new(network.anvil.chain_id(), reader, deployed.block, geometry, keys);
        let batches = proved_batches(&network, operator, batches).await?;
        for member in &mut network.members {
            member.service.start().await?;
        }
        network.aggregator.start().await?;
        Ok(Self { network, batches })
    }

    /// Returns a reader of the rollup's contract.
    pub fn reader(&self) -> SettlementReader {
        SettlementReader::new(self.network.anvil.endpoints(), self.network.rollup.address)
    }

    /// Returns the settlements that the chain has recorded.
    pub async fn settlements(&self) -> Result<Vec<SettledBatch>> {
        let reader = self.reader();
        let head = reader.head().await?.number;
        Ok(reader.settled_events(0, head, |_, _| {}).await?)
    }

    /// Returns the nonce and balance of the aggregator's L1 account.
    pub async fn purse(&self) -> Result<Purse> {
        let parameters = serde_json::json!([self.network.rollup.disperser, "latest"]);
        let wei = serde_json::from_value(self.network.anvil.rpc("eth_getBalance", parameters).await)?;
        Ok(Purse { transactions: self.transactions("latest").await?, wei })
    }

    /// Counts the transactions that the aggregator has sent, including those that are in no block
    /// yet.
    pub async fn sent(&self) -> Result<u64> {
        self.transactions("pending").await
    }

    async fn transactions(&self, at: &str) -> Result<u64> {
        let parameters = serde_json::json!([self.network.rollup.disperser, at]);
        let nonce = self.network.anvil.rpc("eth_getTransactionCount", parameters).await;
        Ok(serde_json::from_value::<U256>(nonce)?.to())
    }

    /// Settles a batch from another account than the aggregator's.
    pub async fn stranger_settles(
        &self,
        certificate: &Certificate,
        batch: &ProvedBatch,
    ) -> Result<Receipt, dac_chain::ChainError> {
        let domain = self.network.domain();
        let order =
            SettleOrder::with_certificate(certificate, &domain, &batch.sealed.transition, &batch.proof)?;
        self.network.anvil.account(self.network.anvil.key(5)).settle(&order).await
    }

    /// Returns the rollup's contract with another account than the aggregator's.
    pub fn stranger(&self) -> RollupAccount {
        let account = self.network.anvil.account(self.network.anvil.key(5));
        RollupAccount::new(account, self.network.rollup.address)
    }

    /// Returns the rollup's client of the aggregator.
    pub fn client(&self) -> Result<AggregatorClient> {
        let url = self.network.aggregator.gate(configuration::API).url();
        Ok(AggregatorClient::new(url.parse()?, Dialer::new(EndpointPolicy::AllowPrivate)))
    }

    /// Returns the submission that the operator makes for a batch.
    pub fn order(&self, batch: &ProvedBatch) -> BatchSubmission {
        let number = batch.sealed.number();
        let order = self.network.rollup.order(number, HashKind::Opaque, &batch.sealed.payload);
        BatchSubmission { batch_hash: batch.sealed.batch_hash(), ..order }
    }

    /// Submits a batch for settlement, and returns its digest once it is encoded.
    pub async fn submit(&self, batch: &ProvedBatch) -> Result<BatchDigest> {
        self.submit_payload(self.order(batch), batch.payload()).await
    }

    /// Submits any payload with any submission.
    pub async fn submit_payload(&self, order: BatchSubmission, payload: Bytes) -> Result<BatchDigest> {
        let signed = self.network.rollup.signed(order);
        let options = SubmitOptions { posting: PostingMode::Settle, ..SubmitOptions::default() };
        let submitted =
            self.client()?.submit(&self.network.domain(), &signed, &payload, options, |_| ()).await?;
        let selector = rpc::by_submission(submitted.submission_digest);
        let encoded = self.follow("to be encoded", selector, |batch| !batch.digest.is_empty()).await?;
        Ok(dac_proto::wire::digest("digest", &encoded.digest)?)
    }

    /// Waits until a batch has a certificate, and returns it.
    pub async fn certified(&self, digest: BatchDigest) -> Result<Certificate> {
        let (client, batch) = (self.client()?, BatchSelector::Batch(digest));
        client.wait(batch, BatchState::Certified, wait::LIMIT, |_| ()).await?;
        Ok(client.certificate(batch).await?)
    }

    /// Submits a proof with the batch signer's signature.
    pub async fn hand_in(
        &self,
        digest: BatchDigest,
        transition: Transition,
        proof: Bytes,
    ) -> Result<BatchStatus> {
        let signed = self.sign_proof(digest, transition, proof)?;
        Ok(self.client()?.submit_proof(&signed, SubmitOptions::default()).await?)
    }

    fn sign_proof(&self, digest: BatchDigest, transition: Transition, proof: Bytes) -> Result<SignedProof> {
        let rollup = &self.network.rollup;
        let sign = |hash| Ok::<_, String>(*rollup.poster.sign(hash).as_bytes());
        Ok(SignedProof::sign(&rollup.domain, digest, transition, proof, sign)?)
    }

    /// Returns the valid proof of a batch with the batch signer's signature.
    pub fn signed_proof(&self, digest: BatchDigest, batch: &ProvedBatch) -> Result<SignedProof> {
        self.sign_proof(digest, batch.sealed.transition, batch.proof.clone())
    }

    /// Submits the valid proof of a batch.
    pub async fn hand_in_good(&self, digest: BatchDigest, batch: &ProvedBatch) -> Result<BatchStatus> {
        self.hand_in(digest, batch.sealed.transition, batch.proof.clone()).await
    }

    /// Waits until a batch is settled, or cannot be settled with the proof that was submitted.
    pub async fn settled(&self, digest: BatchDigest) -> Result<BatchStatus, AggregatorError> {
        let client = self.client().expect("a gate has a good URL");
        client.wait(BatchSelector::Batch(digest), BatchState::Settled, wait::LIMIT, |_| ()).await
    }

    /// Fetches the aggregator's current status of a batch.
    pub async fn status(&self, digest: BatchDigest) -> Result<BatchStatus> {
        Ok(self.client()?.batch(BatchSelector::Batch(digest)).await?)
    }

    /// Watches a batch until `done` is true for it.
    pub async fn follow(
        &self,
        what: &str,
        selector: v1::BatchSelector,
        done: impl FnMut(&v1::Batch) -> bool,
    ) -> Result<v1::Batch> {
        let followed = rpc::watch(self.network.api()?, selector, done);
        let followed = tokio::time::timeout(wait::LIMIT, followed).await;
        followed.context(format!("a batch {what}"))?.context("following a batch")
    }
}

/// Makes the same batches each time: Alice and Bob deposit, Alice pays Bob, and Bob withdraws some
/// of it to L1; in the second batch Bob pays Alice.
async fn proved_batches(network: &Network, mut operator: Operator, count: usize) -> Result<Vec<ProvedBatch>> {
    let mut users = Vec::new();
    for (number, key) in [(1, 3), (2, 4)] {
        let signer = network.anvil.key(key);
        let secret = SecretKey::random(&mut ChaCha20Rng::seed_from_u64(u64::from(number)));
        let mut wallet = Wallet::new(secret, signer.address());
        wallet.index = AccountIndex(number);
        let account = RollupAccount::new(network.anvil.account(signer), network.rollup.address);
        account.deposit(wallet.id(), DEPOSIT_GWEI).await?;
        users.push(wallet);
    }
    let [alice, bob] = &mut users[..] else { unreachable!("two users") };
    let (to_alice, to_bob) = (Destination::Account(alice.index), Destination::Account(bob.index));
    let to_l1 = Destination::L1(bob.recipient);
    let domain = operator.domain();
    let transactions: [Vec<SignedTransaction>; 2] = [
        vec![alice.pays(domain, to_bob, 100), bob.pays(domain, to_l1, 250)],
        vec![bob.pays(domain, to_alice, 1)],
    ];
    let mut batches = Vec::new();
    for transactions in transactions.iter().take(count) {
        let sealed = operator.batch(transactions).await?;
        let mut proofs = PROOFS.lock().await;
        let proof = match proofs.get(&sealed.claim) {
            Some(proof) => proof.clone(),
            None => operator.prove(&sealed).await?.proof.0,
        };
        proofs.insert(sealed.claim.clone(), proof.clone());
        batches.push(ProvedBatch { sealed, proof });
    }
    Ok(batches)
}
