//! Protects this process from its callers: limits the bytes of uploads in flight, the turns of
//! renewals, and each client's share of retrieval.

mod callers;
mod renewals;
mod uploads;

pub use callers::{Caller, Deliverers, Group};
pub use dac_runtime::clients::{ClientKey, ClientLimits, ClientRates, RateLimited, StreamPermit};
pub use renewals::{RenewalTurn, Renewals};
pub use uploads::{Busy, Order, UploadLimits, UploadPermit, UploadTurn, Uploads};
