//! What protects this process from its callers: bytes of uploads in flight, and each client's share of retrieval.

mod clients;
mod uploads;

pub use clients::{ClientKey, ClientLimits, ClientRates, RateLimited, StreamPermit};
pub use uploads::{Busy, UploadLimits, UploadPermit, Uploads};
