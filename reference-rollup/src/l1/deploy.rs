//! Deployment: the hashing libraries, the verifier with its key, and the rollup's contract.

use alloy::sol_types::SolConstructor;
use alloy_primitives::{Address, Bytes};
use dac_chain::admin::Account;
use dac_types::HashKind;

use super::L1Error;
use super::abi::{Groth16Adapter, PaymentsRollup, PoseidonT3, PoseidonT4, PoseidonT5};
use crate::prover::VerifyingKeyOnL1;

/// What a rollup's users can rely on. Delays are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// May pause, and change the verifier after the delay: a timelock.
    pub owner: Address,
    /// The committee's certificate log.
    pub certificate_log: Address,
    /// Without service for so long, anyone may freeze.
    pub freeze_delay: u64,
    /// For so long the data stays available after a freeze.
    pub exit_window: u64,
    /// Between proposing a verifier and accepting it: longer than the two together.
    pub verifier_delay: u64,
}

/// Where a rollup lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The rollup's contract.
    pub settlement: Address,
    /// Checks proofs.
    pub verifier: Address,
    /// Hash two, three and four elements.
    pub poseidon: [Address; 3],
    /// The contract's block: nothing about this rollup is older.
    pub block: u64,
    /// Gas paid for all.
    pub gas_used: u64,
}

/// Deploys all of it. `progress` is told what comes next.
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

/// One key, and OPAQUE as the only kind of batch hash: Poseidon is none that members know.
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
