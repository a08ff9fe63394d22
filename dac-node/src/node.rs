//! A running node: a member or one of its readers. [`crate::member`] and [`crate::reader`] start
//! it.

use std::net::SocketAddr;
use std::sync::Arc;

use dac_proto::v1::dispersal_service_server::DispersalServiceServer;
use dac_proto::v1::member_service_server::MemberServiceServer;
use dac_proto::v1::retrieval_service_server::RetrievalServiceServer;
use dac_runtime::grpc::{CallTimes, SMALL_REQUEST_MAX_BYTES};
use dac_runtime::service::{Listener, Service, ServiceError};
use dac_types::limits::MESSAGE_MAX_BYTES;
use serde::Serialize;

use crate::context::Context;
use crate::grpc::{Dispersal, Members, Retrieval};

/// The names of the services, which health checks can name too.
pub(crate) const DISPERSAL: &str = "dac.v1.DispersalService";
pub(crate) const RETRIEVAL: &str = "dac.v1.RetrievalService";
pub(crate) const MEMBERS: &str = "dac.v1.MemberService";

/// The addresses on which a running node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The address of DispersalService. A reader has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersal: Option<SocketAddr>,
    /// The address of RetrievalService and MemberService.
    pub retrieval: SocketAddr,
    /// The address of `/metrics` and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

/// A running member or reader.
pub struct Node {
    context: Arc<Context>,
    service: Service,
    addresses: Addresses,
}

impl Node {
    /// Makes the node of a service whose listeners are served.
    pub(crate) fn new(context: Arc<Context>, service: Service, addresses: Addresses) -> Self {
        tracing::info!(
            dispersal = addresses.dispersal.map(tracing::field::display), retrieval = %addresses.retrieval,
            metrics = addresses.metrics.map(tracing::field::display), key = %context.identity.public_key, "serving"
        );
        Self { context, service, addresses }
    }

    /// Returns the addresses that it listens on.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns what the handlers share.
    pub const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Returns when a server or a background task ended by itself, which should not happen. Without
    /// that part a member would promise what it no longer does, so the process must be stopped and
    /// started again.
    pub async fn failed(&mut self) -> ServiceError {
        let error = self.service.failed().await;
        tracing::error!(%error, "a part of this process has failed");
        error
    }

    /// Takes no new uploads, lets calls under way finish, and closes the store.
    pub async fn stop(self) {
        self.service.stop(self.context.store.upkeep.close()).await;
    }
}

/// Serves DispersalService and MemberService.
pub(crate) fn serve_dispersal(
    service: &mut Service,
    context: &Arc<Context>,
    listener: Listener,
) -> Result<SocketAddr, ServiceError> {
    let dispersal = DispersalServiceServer::new(Dispersal::new(Arc::clone(context)))
        .max_decoding_message_size(MESSAGE_MAX_BYTES);
    service.listen("dispersal", &[DISPERSAL, MEMBERS], times(context), listener, |server| {
        server.add_service(dispersal).add_service(members(context))
    })
}

/// Serves RetrievalService and MemberService.
pub(crate) fn serve_retrieval(
    service: &mut Service,
    context: &Arc<Context>,
    listener: Listener,
) -> Result<SocketAddr, ServiceError> {
    let retrieval = RetrievalServiceServer::new(Retrieval::new(Arc::clone(context)))
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES);
    service.listen("retrieval", &[RETRIEVAL, MEMBERS], times(context), listener, |server| {
        server.add_service(retrieval).add_service(members(context))
    })
}

fn members(context: &Arc<Context>) -> MemberServiceServer<Members> {
    MemberServiceServer::new(Members::new(Arc::clone(context)))
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}

/// Returns the time limits of calls. StoreShard and SignRenewal have shorter limits of their own,
/// with reasons of their own.
fn times(context: &Context) -> CallTimes {
    CallTimes { call: context.settings.call_timeout, upload: context.settings.upload_timeout }
}
