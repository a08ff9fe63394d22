//! A chain, a committee of 7 on it, the rollup's contracts, and the operator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use alloy_primitives::{Address, U256};
use dac_chain::admin::Account;
use dac_chain::testing::{Anvil, CommitteeSpec, TestCommittee, deploy_committee};
use dac_chain::{ChainError, Receipt, Refusal, SettleOrder};
use dac_coding::encode;
use dac_types::{BatchHeader, Certificate, HashKind, Seat, Transition};
use reference_rollup::batch::{Batch, OpenBatch};
use reference_rollup::inbox::Withdrawal;
use reference_rollup::keys::SecretKey;
use reference_rollup::l1::{self, Deployed, GWEI, L1Error, RollupAccount, RollupReader, Terms};
use reference_rollup::prover::{Keys, PROOF_BYTES};
use reference_rollup::sequencer::{Sealed, Sequencer};
use reference_rollup::transaction::{SignedTransaction, Transaction};

use crate::common::{User, rng};

pub(crate) const FREEZE_DELAY: u64 = 3_600;
pub(crate) const EXIT_WINDOW: u64 = 7_200;
pub(crate) const CHANGE_DELAY: u64 = 14_400;

/// Where development keys are kept: with those of the other tests.
pub(crate) fn keys_dir() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    target.join("reference-rollup")
}

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::cached_development(&keys_dir()).unwrap());

/// Everything that a rollup needs.
pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) committee: TestCommittee,
    pub(crate) deployed: Deployed,
    pub(crate) sequencer: Sequencer,
    pub(crate) payloads: BTreeMap<u64, Vec<u8>>,
}

/// Number 0 owns everything, the others are users.
pub(crate) fn user(anvil: &Anvil, number: u8) -> User {
    let key = SecretKey::random(&mut rng(number.into()));
    User { key, recipient: anvil.key(number.into()).address() }
}

pub(crate) async fn committee(anvil: &Anvil) -> TestCommittee {
    let spec = CommitteeSpec { activation_delay: CHANGE_DELAY, ..CommitteeSpec::new(7, 3, 5) };
    deploy_committee(anvil, &spec).await
}

impl World {
    pub(crate) async fn start() -> Self {
        let anvil = Anvil::start().await;
        let committee = committee(&anvil).await;
        let owner = anvil.account(anvil.key(0));
        let terms = Terms {
            owner: owner.address(),
            certificate_log: committee.deployment.log,
            freeze_delay: FREEZE_DELAY,
            exit_window: EXIT_WINDOW,
            verifier_delay: CHANGE_DELAY,
        };
        let deployed = l1::deploy(&owner, &terms, &KEYS.verifying(), |_| ()).await.unwrap();
        println!("deployment of libraries, verifier and rollup: {} gas", deployed.gas_used);
        Self::of(anvil, committee, deployed)
    }

    pub(crate) fn of(anvil: Anvil, committee: TestCommittee, deployed: Deployed) -> Self {
        let sequencer = Sequencer::new(anvil.chain_id(), deployed.settlement);
        Self { anvil, committee, deployed, sequencer, payloads: BTreeMap::new() }
    }

    pub(crate) fn user(&self, number: u8) -> User {
        user(&self.anvil, number)
    }

    pub(crate) fn account(&self, number: usize) -> Account {
        self.anvil.account(self.anvil.key(number))
    }

    /// The rollup's contract in a user's hands.
    pub(crate) fn rollup(&self, number: usize) -> RollupAccount {
        RollupAccount::new(self.account(number), self.deployed.settlement)
    }

    pub(crate) fn reader(&self) -> RollupReader {
        RollupReader::new(self.anvil.endpoints(), self.deployed.settlement)
    }

    pub(crate) async fn now(&self) -> u64 {
        self.anvil.head().await.timestamp
    }

    pub(crate) fn sign(&self, user: &User, transaction: Transaction) -> SignedTransaction {
        transaction.sign(self.sequencer.domain(), &user.key, user.recipient, &mut rng(7))
    }

    /// Takes what L1 has, in order, and includes what users signed.
    pub(crate) async fn batch(&mut self, inputs: usize, transactions: &[SignedTransaction]) -> Sealed {
        let read = self.reader().history(self.deployed.block, |_, _| ()).await.unwrap();
        let waiting = self.sequencer.waiting(&read.history);
        let mut batch: OpenBatch<'_> = self.sequencer.open();
        for entry in waiting.take(inputs) {
            batch.take(entry).unwrap();
        }
        for transaction in transactions {
            batch.include(transaction).unwrap();
        }
        let batch: Batch = batch.close();
        self.sequencer.seal(batch, self.committee.quorum.geometry()).unwrap()
    }

    pub(crate) fn prove(&self, sealed: &Sealed) -> Vec<u8> {
        let started = Instant::now();
        let proof = KEYS.prove(&sealed.batch, &sealed.claim, &mut rng(sealed.number())).unwrap().to_bytes();
        println!("batch {} proved in {} ms", sealed.number(), started.elapsed().as_millis());
        assert_eq!(proof.len(), PROOF_BYTES);
        proof.to_vec()
    }

    /// The certificate of a header for the shards of `payload`, under the hash of the batch: an
    /// honest disperser encodes the batch's own payload.
    pub(crate) async fn certificate(&self, sealed: &Sealed, payload: &[u8]) -> Certificate {
        let expires_at = self.now().await + 30 * 86_400;
        self.certificate_until(sealed, payload, expires_at)
    }

    pub(crate) fn certificate_until(&self, sealed: &Sealed, payload: &[u8], expires_at: u64) -> Certificate {
        let geometry = self.committee.quorum.geometry();
        let encoded = encode(geometry, payload.to_vec().into(), sealed.batch_hash()).unwrap();
        let commitment = encoded.commitment();
        let header = BatchHeader {
            rollup: self.deployed.settlement,
            batch_number: sealed.number(),
            epoch: self.committee.epoch,
            expires_at,
            payload_length: payload.len() as u64,
            hash_kind: HashKind::Opaque,
            batch_hash: sealed.batch_hash(),
            shard_root: commitment.shard_root,
            fingerprints_hash: commitment.fingerprints_hash,
            payload_fingerprint: commitment.payload_fingerprint.clone(),
        };
        self.committee.certify(header, &[Seat(2), Seat(5)])
    }

    pub(crate) fn order(&self, certificate: &Certificate, change: &Transition, proof: &[u8]) -> SettleOrder {
        SettleOrder::with_certificate(certificate, &self.committee.domain, change, proof).unwrap()
    }

    /// Why a settlement is refused; nothing is paid for it.
    pub(crate) async fn refusal(
        &self,
        certificate: &Certificate,
        change: &Transition,
        proof: &[u8],
    ) -> Refusal {
        let account = self.account(9);
        let before = account.balance().await.unwrap();
        let order = self.order(certificate, change, proof);
        let refusal = match account.settle(&order).await {
            Err(ChainError::Reverted(refusal)) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        };
        assert_eq!(account.balance().await.unwrap(), before, "no gas is spent");
        refusal
    }

    /// Settles from an account that is not the operator's.
    pub(crate) async fn settle(&mut self, sealed: &Sealed, proof: &[u8]) -> Receipt {
        let certificate = self.certificate(sealed, &sealed.payload).await;
        let order = self.order(&certificate, &sealed.transition, proof);
        let receipt = self.account(9).settle(&order).await.unwrap();
        println!("batch {} settled: {} gas", sealed.number(), receipt.gas_used);
        self.payloads.insert(sealed.number(), sealed.payload.clone());
        receipt
    }

    /// In wei.
    pub(crate) async fn balance(&self, address: Address) -> U256 {
        let balance = self.anvil.rpc("eth_getBalance", serde_json::json!([address, "latest"])).await;
        serde_json::from_value(balance).unwrap()
    }

    /// What `work`, done by others, pays to an address, in gwei.
    pub(crate) async fn paid(
        &self,
        address: Address,
        work: impl Future<Output = Result<Receipt, L1Error>>,
    ) -> u64 {
        let before = self.balance(address).await;
        work.await.unwrap();
        let wei = self.balance(address).await - before;
        assert_eq!(wei % U256::from(GWEI), U256::ZERO);
        (wei / U256::from(GWEI)).to()
    }
}

/// The rule that a call broke.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, L1Error>) -> l1::RollupRefusal {
    match result {
        Err(L1Error::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub(crate) fn total(withdrawals: &[Withdrawal]) -> u64 {
    withdrawals.iter().map(|withdrawal| withdrawal.amount).sum()
}
