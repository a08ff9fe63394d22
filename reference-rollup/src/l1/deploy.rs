//! Deploys the hashing libraries, the verifier with its key, and the rollup's contract.

use alloy::sol_types::SolConstructor;
use alloy_primitives::{Address, Bytes};
use dac_chain::admin::Account;
use dac_types::HashKind;

use super::L1Error;
use super::abi::{Groth16Adapter, PaymentsRollup, PoseidonT3, PoseidonT4, PoseidonT5};
use crate::prover::VerifyingKeyOnL1;

/// The terms that a rollup's users can rely on. Delays are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The account that may pause, and may change the verifier after the delay; it should be a
    /// timelock.
    pub owner: Address,
    /// The committee's certificate log.
    pub certificate_log: Address,
    /// If the rollup serves nothing for this long, anyone may freeze it.
    pub freeze_delay: u64,
    /// How long the data stays available after a freeze.
    pub exit_window: u64,
    /// The time between proposing a verifier and accepting it; it must exceed the other two
    /// together.
    pub verifier_delay: u64,
}

/// The contracts of a deployed rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The rollup's contract.
    pub settlement: Address,
    /// The verifier of proofs.
    pub verifier: Address,
    /// The libraries that hash two, three and four elements.
    pub poseidon: [Address; 3],
    /// The block of the contract's deployment: nothing about this rollup is older.
    pub block: u64,
    /// The gas that all deployments used.
    pub gas_used: u64,
}

/// Deploys all of it. `progress` is called with the next step.
pub async fn deploy(
    account: &Account,
    terms: &Terms,
    key: &VerifyingKeyOnL1,
    mut progress: impl FnMut(&'static str),
) -> Result<Deployed, L1Error> {
    let mut gas_used = 0;
    let mut poseidon = [Address::ZERO; 3];
    let libraries = [&PoseidonT3::BYTECODE, &PoseidonT4::BYTECODE, &PoseidonT5::BYTECODE];
    for (address, code) in poseidon.iter_mut().zip(libraries) {
        progress("Poseidon");
        let (library, receipt) = account.create(code, &[]).await?;
        *address = library;
        gas_used += receipt.gas_used;
    }
    progress("the verifier");
    let (verifier, receipt) = account.create(&Groth16Adapter::BYTECODE, &adapter_arguments(key)).await?;
    gas_used += receipt.gas_used;
    progress("the rollup's contract");
    let [t3, t4, t5] = poseidon;
    let arguments = PaymentsRollup::constructorCall {
        owner_: terms.owner,
        log_: terms.certificate_log,
        verifier_: verifier,
        freezeDelay_: terms.freeze_delay,
        exitWindow_: terms.exit_window,
        verifierDelay_: terms.verifier_delay,
        hashers: PaymentsRollup::Hashers { t3, t4, t5 },
    };
    let (settlement, receipt) = account.create(&PaymentsRollup::BYTECODE, &arguments.abi_encode()).await?;
    gas_used += receipt.gas_used;
    Ok(Deployed { settlement, verifier, poseidon, block: receipt.block, gas_used })
}

/// The adapter gets one key, and OPAQUE as the only hash kind, because members do not know
/// Poseidon.
fn adapter_arguments(key: &VerifyingKeyOnL1) -> Bytes {
    let key = Groth16Adapter::VerifyingKey {
        points: key.points,
        alpha: key.alpha,
        beta: key.beta,
        gamma: key.gamma,
        delta: key.delta,
        ic: key.ic.clone(),
    };
    let kinds = 1 << HashKind::Opaque as u8;
    Groth16Adapter::constructorCall { keys: vec![key], kinds_: kinds }.abi_encode().into()
}
