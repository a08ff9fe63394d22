//! Calls to members: one connection a member, shared by all batches; a bounded number of calls at
//! once, in all and to each, at which rollups take turns; every call with a deadline, and every
//! failure with a reason.

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
