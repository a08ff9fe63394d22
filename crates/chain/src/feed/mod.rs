//! What L1 says that members owe: certificates recorded, batches settled, coverage renewed; read
//! once each, in order, and taken back where the chain was reorganised.
//!
//! * [`Cursor`] is all that is remembered of one contract. It is stored in the same transaction as
//!   what was learned.
//! * [`step`] makes one bounded step from a cursor over one [`L1View`]; it holds nothing else, so
//!   it may be repeated at any time.
//! * [`read_again`] reads what was read once more when it lies deeper: what a node did not have yet
//!   is found then.
//! * [`RpcEvents`] does both over JSON-RPC: all of one step from one endpoint, and from the next
//!   one where that fails.
//!
//! **Reorganisations.** A cursor has the hashes of blocks that were read, dense near the newest and
//! ever sparser behind it. Where one is no longer on the chain, the step is [`Step::Rewind`]: to
//! the newest that is. When none is, reading begins anew.
//!
//! **Endpoints that differ.** A block counts as replaced only when another one is seen in its
//! place. A head that goes back over the same blocks, because an endpoint is behind, is
//! [`Step::Behind`]: nothing is taken back, nothing is learned.

mod checkpoint;
mod cursor;
mod events;
mod fact;
mod mark;
mod pages;
mod rpc;
#[cfg(test)]
mod rpc_tests;
mod second;
#[cfg(test)]
mod second_tests;
mod step;
#[cfg(test)]
mod step_tests;
mod view;

pub use self::checkpoint::Checkpoint;
pub use self::cursor::{Cursor, CursorError};
pub use self::events::L1Events;
pub use self::fact::{Fact, Origin, RenewedCoverage};
pub use self::rpc::RpcEvents;
pub use self::second::{SecondReading, read_again};
pub use self::step::{Step, head, step};
pub use self::view::{FeedConfig, L1View};
