//! Ledgers, and the factory that deploys them.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

mod home {
    alloy::sol! {
        #[derive(Debug)]
        IBatchLedger,
        "../../contracts/abi/IBatchLedger.json"
    }
}

mod factory {
    alloy::sol! {
        #[derive(Debug)]
        BatchLedgerFactory,
        "../../contracts/abi/BatchLedgerFactory.json"
    }
}

pub use factory::BatchLedgerFactory;
pub use home::IBatchLedger;
