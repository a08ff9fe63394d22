//! What the Solidity says: the contracts' ABI as their compiler wrote it, the calls that carry certificates, and what a
//! refusal means.

pub(crate) mod calls;
mod freeze;
mod log;
mod refusal;
mod registry;
mod rules;
mod settlement;
mod verifier;

pub use self::freeze::FreezeReason;
pub use self::log::CertificateLog;
pub use self::refusal::{BrokenRule, Refusal};
pub use self::registry::CommitteeRegistry;
pub use self::rules::Effect;
pub use self::settlement::ISettlement as Settlement;
pub use self::verifier::IValidityVerifier as Verifier;
