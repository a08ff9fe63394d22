//! The registry's ABI and bytecode.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

alloy::sol! {
    #[derive(Debug)]
    CommitteeRegistry,
    "../../contracts/abi/CommitteeRegistry.json"
}
