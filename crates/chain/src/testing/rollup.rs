//! A rollup's settlement contract on a local chain, with a proof system for which tests need no
//! prover.

use std::path::Path;

use alloy::primitives::{Address, Bytes, U256, hex};
use alloy::sol_types::{SolCall, SolValue};
use dac_types::{B256, BatchHeader, Certificate, Domain, Transition};

use super::{Anvil, TestCommittee};
use crate::admin::Account;
use crate::settlement::{RenewOrder, SettleOrder, SettlementReader};

/// The first byte of a test's proof that the verifier accepts.
const GOOD_PROOF: u8 = 1;

/// The code of a verifier whose `verify(claim, proof)` accepts proofs whose first byte is 1, and
/// otherwise reverts with `InvalidProof()`. It takes the proof's offset and first word, shifts the
/// word to its first byte, and compares that.
const VERIFIER_CODE: [u8; 34] = hex!("6024356024013560f81c6001146020576309bde33960e01b60005260046000fd5b00");

alloy::sol! {
    function pause() external;
    function unpause() external;
    function freeze() external;
}

/// The delays of a test's rollup, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct RollupSpec {
    /// If the rollup serves nothing for this long, anyone may freeze it.
    pub freeze_delay: u64,
    /// How long data must stay available after a freeze.
    pub exit_window: u64,
}

impl RollupSpec {
    /// The least activation delay that a committee needs in order to serve such a rollup.
    pub const fn activation_delay(&self) -> u64 {
        self.freeze_delay + self.exit_window + 1
    }
}

impl Default for RollupSpec {
    fn default() -> Self {
        Self { freeze_delay: 1_000, exit_window: 2_000 }
    }
}

/// A deployed rollup.
#[derive(Clone, Debug)]
pub struct TestRollup {
    /// The address of its settlement contract.
    pub address: Address,
    /// The account that owns the contract. It also settles in tests that need another sender than
    /// the aggregator.
    account: Account,
    domain: Domain,
}

/// Deploys `PaymentsRollup` with a verifier of [`TestRollup::proof`]s. The committee's activation
/// delay must be long enough.
pub async fn deploy_rollup(anvil: &Anvil, committee: &TestCommittee, spec: RollupSpec) -> TestRollup {
    let account = anvil.account(committee.owner.clone());
    let mut hashers = [Address::ZERO; 3];
    for (hasher, name) in hashers.iter_mut().zip(["PoseidonT3", "PoseidonT4", "PoseidonT5"]) {
        *hasher = create(&account, &bytecode(name), &[]).await;
    }
    // Creation code that returns the code that follows it.
    let length = u8::try_from(VERIFIER_CODE.len()).expect("a short program");
    let creation =
        [&[0x60, length, 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3], &VERIFIER_CODE[..]].concat();
    let verifier = create(&account, &creation.into(), &[]).await;
    let [t3, t4, t5] = hashers;
    let (freeze, exit) = (spec.freeze_delay, spec.exit_window);
    let arguments = (
        committee.owner_address(),
        committee.deployment.log,
        verifier,
        U256::from(freeze),
        U256::from(exit),
        U256::from(spec.activation_delay()),
        (t3, t4, t5),
    );
    let address = create(&account, &bytecode("PaymentsRollup"), &arguments.abi_encode_params()).await;
    TestRollup { address, account, domain: committee.domain }
}

async fn create(account: &Account, code: &Bytes, arguments: &[u8]) -> Address {
    let created = account.create(code, arguments).await;
    created.unwrap_or_else(|error| panic!("deploying: {error}")).0
}

fn bytecode(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/abi").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let document: serde_json::Value = serde_json::from_str(&text).expect("an ABI file");
    document["bytecode"].as_str().and_then(|code| code.parse().ok()).expect("bytecode")
}

impl TestRollup {
    /// A proof that the verifier accepts; different seeds give different proofs.
    pub fn proof(seed: u8) -> Bytes {
        [&[GOOD_PROOF, seed][..], &[7; 254]].concat().into()
    }

    /// A proof that the verifier refuses.
    pub fn wrong_proof(seed: u8) -> Bytes {
        [&[0, seed][..], &[7; 254]].concat().into()
    }

    /// The transition that the proof shows; it consumes no inputs.
    pub fn transition(seed: u8) -> Transition {
        Transition { new_state_root: B256::repeat_byte(seed & 0x1f), inputs_consumed: 0, outputs: B256::ZERO }
    }

    /// A header of the committee for a batch of this rollup.
    pub fn header(&self, committee: &TestCommittee, batch_number: u64, expires_at: u64) -> BatchHeader {
        BatchHeader { rollup: self.address, ..committee.header(batch_number, expires_at) }
    }

    /// The call that settles a certificate with a good proof.
    pub fn order(&self, certificate: &Certificate) -> SettleOrder {
        self.order_with(certificate, &Self::proof(1))
    }

    /// The call that settles a certificate with the given proof.
    pub fn order_with(&self, certificate: &Certificate, proof: &[u8]) -> SettleOrder {
        SettleOrder::with_certificate(certificate, &self.domain, &Self::transition(3), proof)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// A reader of the contract.
    pub fn reader(&self, anvil: &Anvil) -> SettlementReader {
        SettlementReader::new(anvil.endpoints(), self.address)
    }

    /// Settles from the contract owner's account.
    pub async fn settle(&self, order: &SettleOrder) -> crate::Receipt {
        self.account.settle(order).await.unwrap_or_else(|error| panic!("settling: {error}"))
    }

    /// Renews the coverage from the contract owner's account.
    pub async fn renew(&self, order: &RenewOrder) -> crate::Receipt {
        let sent = self.account.call(self.address, U256::ZERO, order.calldata.clone()).await;
        sent.unwrap_or_else(|error| panic!("renewing: {error}"))
    }

    /// Pauses the rollup, as its owner.
    pub async fn pause(&self) {
        self.call(pauseCall {}).await;
    }

    /// Ends the pause, as the rollup's owner.
    pub async fn unpause(&self) {
        self.call(unpauseCall {}).await;
    }

    /// Freezes the rollup from the contract owner's account; a reason to freeze must exist.
    pub async fn freeze(&self) {
        self.call(freezeCall {}).await;
    }

    async fn call<C: SolCall>(&self, call: C) {
        let sent = self.account.call(self.address, U256::ZERO, call.abi_encode().into()).await;
        sent.unwrap_or_else(|error| panic!("{}: {error}", C::SIGNATURE));
    }
}
