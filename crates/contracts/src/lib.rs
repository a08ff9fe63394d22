//! The contracts' interface in Rust, without any I/O: the ABI as the Solidity compiler wrote it,
//! the calls that carry certificates, and the meaning of a refusal.
//!
//! * [`CommitteeRegistry`], [`CertificateLog`], [`BatchLedger`], [`BatchLedgerFactory`],
//!   [`Settlement`] and [`Verifier`] are made from `contracts/abi/*.json`.
//! * [`calls`] encodes the calls that take certificates, bundles and renewals.
//! * [`evidence`] encodes a certificate as the bytes that `isSigned` takes.
//! * [`Refusal`] is the reason why a contract refused a call. One table has each error of the
//!   contracts, its [`Effect`] and its words.

pub mod calls;
pub mod evidence;
mod freeze;
mod ledger;
mod log;
mod refusal;
mod registry;
mod rules;
mod settlement;
mod verifier;

pub use self::freeze::FreezeReason;
pub use self::ledger::{BatchLedgerFactory, IBatchLedger as BatchLedger};
pub use self::log::CertificateLog;
pub use self::refusal::{BrokenRule, Refusal};
pub use self::registry::CommitteeRegistry;
pub use self::rules::Effect;
pub use self::settlement::ISettlement as Settlement;
pub use self::verifier::IValidityVerifier as Verifier;
