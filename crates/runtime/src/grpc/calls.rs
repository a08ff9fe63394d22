//! The layer around all services of a port: the deadlines of calls, the memory of their requests
//! and answers, and an answer for clients that call the wrong port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dac_proto::reason::Reason;
use tokio::time::sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Extensions, Request, Response};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};

use super::body::{AnswerBody, RequestBody};
use super::methods::{Kind, method};
use super::port::{Call, Port};

/// The services that every port has.
const COMMON_SERVICES: &[&str] = &[
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Adds [`Calls`] around services.
#[derive(Clone, Debug)]
pub struct CallsLayer(pub(super) Port);

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, port: self.0.clone() }
    }
}

/// Services that stay within a port's limits.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    inner: S,
    port: Port,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let path = request.uri().path();
        if let Some(status) = wrong_port(&self.port, path) {
            return Box::pin(async move { Ok(status.into_http()) });
        }
        let call = match self.port.begin(peer(request.extensions()), method(path)) {
            Ok(call) => Arc::new(call),
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        let requested = Arc::clone(&call);
        let request = request.map(|body| Body::new(RequestBody::new(body, requested)));
        Box::pin(answer(self.inner.call(request), call))
    }
}

/// Awaits an answer, until the call's deadline, or until the shorter deadline for the request if
/// that has not arrived.
async fn answer(
    answering: impl Future<Output = Result<Response<Body>, Infallible>>,
    call: Arc<Call>,
) -> Result<Response<Body>, Infallible> {
    let (times, arrival) = (call.port().times(), *call.port().limits().request_timeout);
    let limit = match call.method().kind {
        Kind::Upload => times.upload + times.call,
        _ if call.method().is_slow => times.upload + times.call,
        _ => times.call,
    };
    let response = tokio::select! {
        biased;
        Ok(response) = answering => response,
        status = too_late(&call, arrival.min(limit), limit) => return Ok(status.into_http()),
    };
    Ok(response.map(|body| Body::new(AnswerBody::new(body, call))))
}

async fn too_late(call: &Call, arrival: Duration, limit: Duration) -> Status {
    sleep(arrival).await;
    if !call.has_arrived() {
        return Reason::TimedOut.status(format!("the request did not come within {arrival:?}"));
    }
    sleep(limit.saturating_sub(arrival)).await;
    Reason::TimedOut.status(format!("the call took longer than {limit:?}"))
}

/// The address that a request comes from, which the transport knows with and without TLS.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let tcp = extensions.get::<TcpConnectInfo>();
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    tcp.or(tls)?.remote_addr()
}

/// The answer for a client that calls a service of another port.
fn wrong_port(port: &Port, path: &str) -> Option<Status> {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if port.services().contains(&service) || COMMON_SERVICES.contains(&service) {
        return None;
    }
    let has = port.services().join(" and ");
    Some(Status::unimplemented(format!("this port does not have {}, but {has}", printable(service))))
}

/// The beginning of a name that a stranger chose, with only printable characters.
fn printable(name: &str) -> String {
    const LETTERS: usize = 100;
    name.chars().take(LETTERS).map(|letter| if letter.is_ascii_graphic() { letter } else { '?' }).collect()
}
