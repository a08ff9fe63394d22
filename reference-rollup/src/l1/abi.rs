//! The contracts' ABI and bytecode.

/// The rollup's contract.
mod rollup {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol!(
        #[derive(Debug)]
        PaymentsRollup,
        "../contracts/abi/PaymentsRollup.json"
    );
}

/// The verifier.
mod adapter {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol!(
        #[derive(Debug)]
        Groth16Adapter,
        "../contracts/abi/Groth16Adapter.json"
    );
}

/// Hashing two, three and four field elements.
mod poseidon {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    alloy::sol!(PoseidonT3, "../contracts/abi/PoseidonT3.json");
    alloy::sol!(PoseidonT4, "../contracts/abi/PoseidonT4.json");
    alloy::sol!(PoseidonT5, "../contracts/abi/PoseidonT5.json");
}

pub(crate) use self::adapter::Groth16Adapter;
pub(crate) use self::poseidon::{PoseidonT3, PoseidonT4, PoseidonT5};
pub(crate) use self::rollup::PaymentsRollup;
