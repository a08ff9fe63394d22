//! What the Solidity says: the contracts' ABI as their compiler wrote it, and the calls that carry certificates.

pub(crate) mod calls;
mod log;
mod registry;
mod settlement;
mod verifier;

pub(crate) use self::log::CertificateLog;
pub(crate) use self::registry::CommitteeRegistry;
pub(crate) use self::settlement::ISettlement as Settlement;
pub(crate) use self::verifier::{IValidityVerifier as Verifier, PayloadLengthNotPacked};
