//! The gRPC services of a member. They convert between wire and domain types and give a reason with
//! every failure.

mod dispersal;
mod member;
mod renewal;
mod retrieval;
mod room;

pub use dispersal::Dispersal;
pub use member::Members;
pub use retrieval::Retrieval;

use dac_proto::reason::Reason;
use tonic::{Request, Status};

use crate::limits::{Caller, ClientKey, RateLimited};
use crate::verify::work_reason;
use dac_runtime::workers::WorkError;

/// The time after which a client should ask again if no processor was free.
const WORK_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Returns the name of a call's outcome in the metrics.
fn outcome<T>(result: &Result<T, Status>) -> &'static str {
    match result {
        Ok(_) => "OK",
        Err(status) => Reason::of(status).map_or("OTHER", Reason::as_str),
    }
}

fn limited(error: RateLimited) -> Status {
    Reason::RateLimited.status_with_retry(error.to_string(), error.retry_after)
}

/// Returns the address of the caller, and whether it showed a client certificate. Listeners either
/// demand client certificates or do not ask for them.
fn caller_of<T>(request: &Request<T>) -> Caller {
    Caller { client: ClientKey::of(request), has_certificate: request.peer_certs().is_some() }
}

/// Returns the status that a caller gets for work that was not done.
fn work_status(error: WorkError) -> Status {
    let reason = work_reason(error);
    match error.is_retryable() {
        true => reason.status_with_retry(error.to_string(), WORK_RETRY),
        false => reason.status(error.to_string()),
    }
}
