//! A real chain and a real committee on it, for tests: nothing here is for production, and
//! everything panics with the reason when it cannot be had.

mod anvil;
mod committee;
mod events;
mod rollup;

pub use anvil::{Anvil, AnvilOptions, Mining};
pub use committee::{CommitteeSpec, TestCommittee, TestMember, deploy_committee};
pub use events::FakeEvents;
pub use rollup::{RollupSpec, TestRollup, deploy_rollup};

pub use crate::contracts::calls::{SettleCall, decode_renewal};
