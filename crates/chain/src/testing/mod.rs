//! A real chain and a real committee on it, for tests: nothing here is for production, and everything panics with the
//! reason when it cannot be had.

mod anvil;
mod committee;
mod store;

pub use anvil::{Anvil, AnvilOptions, Mining};
pub use committee::{CommitteeSpec, TestCommittee, TestMember, deploy_committee};
pub use store::MemoryPosterStore;
