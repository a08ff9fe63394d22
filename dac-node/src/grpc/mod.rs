//! The services of a member, as gRPC asks for them: wire to domain, domain to wire, and a reason
//! with every failure.

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

/// When it is worth asking again for work for which no processor was free.
const WORK_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// What the metrics call the outcome of a call.
fn outcome<T>(result: &Result<T, Status>) -> &'static str {
    match result {
        Ok(_) => "OK",
        Err(status) => Reason::of(status).map_or("OTHER", Reason::as_str),
    }
}

fn limited(error: RateLimited) -> Status {
    Reason::RateLimited.status_with_retry(error.to_string(), error.retry_after)
}

/// Who calls, and whether it showed a client certificate, which listeners demand or do not ask for.
fn caller_of<T>(request: &Request<T>) -> Caller {
    Caller { client: ClientKey::of(request), has_certificate: request.peer_certs().is_some() }
}

/// What a caller learns of work that was not done.
fn work_status(error: WorkError) -> Status {
    let reason = work_reason(error);
    match error.is_retryable() {
        true => reason.status_with_retry(error.to_string(), WORK_RETRY),
        false => reason.status(error.to_string()),
    }
}
