//! The ABI that every rollup's settlement contract has, whatever else it does.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

alloy::sol! {
    #[derive(Debug)]
    ISettlement,
    "../../contracts/abi/ISettlement.json"
}
