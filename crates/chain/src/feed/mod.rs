//! The events on L1 that create duties of members: certificates recorded, batches settled, coverage
//! renewed. Each is read once, in order, and is taken back if the chain was reorganised.
//!
//! * [`Cursor`] is all the state that is kept about one contract. It is stored in the same
//! transaction as the facts.
//! * [`step`] makes one bounded step from a cursor over one [`L1View`]. It keeps no other state, so
//! it may be repeated at any time.
//! * [`read_again`] reads blocks a second time when they lie deeper, and so finds events that a
//! node did not have at the first reading.
//! * [`RpcEvents`] does both over JSON-RPC. All of one step comes from one endpoint, or from the
//! next one if that fails.
//!
//! **Reorganisations.** A cursor has the hashes of blocks that were read, many near the newest and
//! ever fewer further back. If one is no longer on the chain, the step is [`Step::Rewind`] to the
//! newest one that is. If none is, reading begins anew.
//!
//! **Endpoints that differ.** A block counts as replaced only when another one is seen in its
//! place. If the head goes back over the same blocks, because an endpoint is behind, the step is
//! [`Step::Behind`]: nothing is taken back and nothing is learned.

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
