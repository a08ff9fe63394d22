//! L1 as the committee's processes see it: contract bindings, the committee follower, the certificate log and the
//! durable poster.
//!
//! * [`Follower`] reads the registry again and again; everybody else looks at the last [`RegistryView`].
//! * [`CertificateLogReader`] tells what was recorded, and whether a certificate would be.
//! * [`feed`] follows what L1 says that members owe, through reorganisations.
//! * [`Poster`] records certificates and settles batches, whatever happens to it or to L1.
//! * [`settlement`] is the rollup's contract: what settles a batch, what a refusal means, what has settled.
//! * [`admin`] deploys and administers the contracts.
//! * [`ChainError`] says what went wrong, [`Refusal`] why a contract refused.

pub mod admin;
pub mod amount;
mod contract;
mod error;
mod events;
pub mod feed;
mod follower;
mod log;
mod metrics;
pub mod poster;
mod records;
mod registration;
mod registry;
mod rpc;
pub mod settlement;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod view;

pub use dac_contracts as contracts;

pub use alloy::primitives::{Address, B256, Bytes, Signature, U256};
pub use alloy::signers::local::PrivateKeySigner;

pub use contract::{ContractEvent, ContractReader, EventPage};
pub use contracts::Refusal;
pub use contracts::calls::record_calldata;
pub use error::{ChainError, ErrorClass, RegistryFault};
pub use follower::{Follower, RegistryPublisher, RegistryWatch, Stale};
pub use log::{CertificateLogReader, RecordedCertificate, RecordedPage};
pub use metrics::{EndpointMetrics, Named, News};
pub use poster::{Broadcast, Chain, L1, Outcome, Poster, PosterConfig, PosterError, PosterStore, RpcL1};
pub use registration::{Registration, RegistryTerms};
pub use registry::{RegistryReader, RegistryView, RpcRegistryReader};
pub use rpc::{BlockRef, Endpoints, EndpointsStatus, Head, Receipt, SendAnswer, checked_agree};
pub use settlement::{RenewOrder, Searched, SettleOrder, SettledBatch, SettlementReader, SettlementRefusal};
pub use transaction::{FeeBounds, Fees, TransactionSigner};
