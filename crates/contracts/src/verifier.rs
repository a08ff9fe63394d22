//! The ABI of the verifiers of validity proofs.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

alloy::sol! {
    #[derive(Debug)]
    IValidityVerifier,
    "../../contracts/abi/IValidityVerifier.json"
}
