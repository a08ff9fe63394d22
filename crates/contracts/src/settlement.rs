//! The part of the ABI that the settlement contracts of all rollups share.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

alloy::sol! {
    #[derive(Debug)]
    ISettlement,
    "../../contracts/abi/ISettlement.json"
}
