//! A real chain and a real committee on it, for tests. None of this is for production, and all of
//! it panics with the reason if something cannot be set up.

mod anvil;
mod committee;
mod events;
mod rollup;

pub use anvil::{Anvil, AnvilOptions, Mining};
pub use committee::{CommitteeSpec, TestCommittee, TestMember, deploy_committee};
pub use events::FakeEvents;
pub use rollup::{RollupSpec, TestRollup, deploy_rollup};

pub use crate::contracts::calls::{SettleCall, decode_renewal};
