//! The services of a member, as gRPC asks for them: wire to domain, domain to wire, and a reason with every failure.

mod dispersal;
mod member;
mod renewal;
mod retrieval;

pub use dispersal::Dispersal;
pub use member::Members;
pub use retrieval::Retrieval;

use std::net::IpAddr;

use dac_proto::reason::Reason;
use tonic::{Request, Status};

use crate::limits::{ClientKey, RateLimited};

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

/// Whom a request comes from: TLS or not, the transport knows.
fn client_of<T>(request: &Request<T>) -> ClientKey {
    let address: Option<IpAddr> = request.remote_addr().map(|address| address.ip());
    ClientKey::from(address)
}
