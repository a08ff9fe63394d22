//! How the committee's processes read L1: the follower of the committee registry, the certificate
//! log and rollups' settlement contracts.
//!
//! * [`Follower`] reads the registry at a configured interval; all other code uses the last
//! [`RegistryView`].
//! * [`CertificateLogReader`] tells which certificates were recorded, and whether one would be.
//! * [`feed`] follows the events that create duties of members, through reorganisations.
//! * [`L1`] and [`Broadcast`] are what a sender of transactions needs from L1.
//! * [`settlement`] covers the rollup's contract: the calls that settle a batch, what a refusal
//! means, and which batches have settled.
//! * [`admin`] deploys and administers the contracts.
//! * [`ChainError`] says what went wrong, [`Refusal`] why a contract refused.

pub mod admin;
pub mod amount;
mod contract;
mod error;
mod events;
pub mod feed;
mod follower;
mod l1;
mod log;
mod metrics;
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
pub use dac_types::EcdsaKey;

pub use contract::{ContractEvent, ContractReader, EventPage};
pub use contracts::Refusal;
pub use contracts::calls::record_calldata;
pub use error::{ChainError, ErrorClass, RegistryFault};
pub use follower::{Follower, RegistryPublisher, RegistryWatch, Stale, backoff};
pub use l1::{Broadcast, Chain, ContractCall, L1, RpcL1};
pub use log::{CertificateLogReader, RecordedCertificate, RecordedPage};
pub use metrics::{EndpointMetrics, Named, News};
pub use registration::{Registration, RegistryTerms};
pub use registry::{RegistryReader, RegistryView, RpcRegistryReader};
pub use rpc::{BlockRef, Endpoints, EndpointsStatus, Head, Receipt, SendAnswer, checked_agree};
pub use settlement::{RenewOrder, Searched, SettleOrder, SettledBatch, SettlementReader, SettlementRefusal};
pub use transaction::{Draft, FeeBounds, Fees, Market, Signed, TRANSFER_GAS, TransactionSigner, USUAL_TIP};
