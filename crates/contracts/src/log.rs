//! The certificate log's ABI and bytecode.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

alloy::sol! {
    #[derive(Debug)]
    CertificateLog,
    "../../contracts/abi/CertificateLog.json"
}
