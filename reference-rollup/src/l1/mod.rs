//! The rollup's contract on L1: what it says, what users do with it, how it is deployed.

mod abi;
mod account;
mod deploy;
mod entry;
mod reader;
mod refusal;

pub use account::{GWEI, RollupAccount};
pub use dac_chain::contracts::FreezeReason;
pub use deploy::{Deployed, Terms, deploy};
pub use entry::{EntryFault, decode_entry};
pub use reader::{Read, RollupReader, Status, Waiting};
pub use refusal::{L1Error, RollupRefusal};
