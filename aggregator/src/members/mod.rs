//! Calls to members. All batches share one connection to each member. The number of calls at once
//! is limited, in all and for each member, and rollups take turns. Every call has a deadline, and
//! every failure a reason.

mod call;
mod failure;
mod link;
mod pool;
mod settings;

pub use self::call::StoreShard;
pub use self::failure::CallFailure;
pub use self::link::MemberLink;
pub use self::pool::{CallPermit, Members};
pub use self::settings::{CallSettings, Urgency};
