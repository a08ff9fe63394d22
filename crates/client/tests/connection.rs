//! The errors that a client reports when a connection fails, tested with real servers that do, or
//! demand, something else than the client expects.

#[path = "support/authority.rs"]
mod authority;

use std::net::SocketAddr;

use authority::Authority;
use dac_client::{AggregatorClient, AggregatorError, ConnectionCause, Dialer, EndpointPolicy, MemberFault};
use dac_proto::v1;
use dac_proto::v1::aggregator_service_server::{AggregatorService, AggregatorServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Router;
use tonic::transport::{Certificate, ClientTlsConfig, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A service without methods: a client that gets an answer from it is connected.
struct Silent;

#[tonic::async_trait]
impl AggregatorService for Silent {
    async fn get_aggregator(
        &self,
        _: Request<v1::GetAggregatorRequest>,
    ) -> Result<Response<v1::GetAggregatorResponse>, Status> {
        Err(Status::unimplemented("nothing to say"))
    }
}

fn certificate(authority: &Authority) -> Certificate {
    Certificate::from_pem(authority.pem())
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn plain() -> Router {
    Server::builder().add_service(AggregatorServiceServer::new(Silent))
}

fn tls(config: ServerTlsConfig) -> Router {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Server::builder().tls_config(config).unwrap().add_service(AggregatorServiceServer::new(Silent))
}

/// Calls a method and returns the fault that the connection has.
async fn told(scheme: &str, address: SocketAddr, tls: ClientTlsConfig) -> MemberFault {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let url = format!("{scheme}://localhost:{}", address.port()).parse().unwrap();
    let dialer = Dialer::new(EndpointPolicy::AllowPrivate).tls(tls);
    match AggregatorClient::new(url, dialer).describe().await {
        Err(AggregatorError::Unreachable(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_told_from_one_that_is_not_there() {
    // The third authority has the name of the first one and another key, like one that was made
    // anew.
    let [ours, other, renewed] = ["ours", "other", "ours"].map(Authority::new);
    let trusting = |authority: &Authority| ClientTlsConfig::new().ca_certificate(certificate(authority));
    let server = |name, expired| tls(ServerTlsConfig::new().identity(ours.identity(name, expired)));
    for (expected, router, authority) in [
        (ConnectionCause::ServerAuthority, server("localhost", false), &other),
        (ConnectionCause::ServerAuthority, server("localhost", false), &renewed),
        (ConnectionCause::ServerExpired, server("localhost", true), &ours),
        (ConnectionCause::ServerName, server("elsewhere.example", false), &ours),
        (ConnectionCause::NotTls, plain(), &ours),
    ] {
        let fault = told("https", serve(router).await, trusting(authority)).await;
        assert_eq!(fault.cause(), Some(expected), "{fault}");
        assert!(fault.to_string().starts_with(&format!("unreachable: {expected} (")), "{fault}");
        assert!(expected.is_tls() && !expected.concerns_client_certificate());
    }

    // The client speaks plain text to a server that expects TLS.
    let fault = told("http", serve(server("localhost", false)).await, ClientTlsConfig::new()).await;
    assert!(matches!(fault.cause(), Some(ConnectionCause::NotHttp2 | ConnectionCause::BrokenOff)), "{fault}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let fault = told("https", nobody, trusting(&ours)).await;
    assert_eq!(fault.cause(), Some(ConnectionCause::Refused), "{fault}");

    // If everything is right, the server answers.
    let url = format!("https://localhost:{}", serve(server("localhost", false)).await.port());
    let dialer = Dialer::new(EndpointPolicy::AllowPrivate).tls(trusting(&ours));
    let heard = AggregatorClient::new(url.parse().unwrap(), dialer).describe().await.unwrap_err();
    assert!(heard.to_string().contains("nothing to say"), "{heard}");
}

/// In TLS 1.3 the alert comes after the handshake, and may be lost with the connection. The error
/// then says that a client certificate may be missing.
#[tokio::test]
async fn a_client_certificate_that_is_missing_or_foreign_is_named() {
    let [servers, clients] = ["servers", "clients"].map(Authority::new);
    let config = || {
        ServerTlsConfig::new()
            .identity(servers.identity("localhost", false))
            .client_ca_root(certificate(&clients))
    };
    let trusting = || ClientTlsConfig::new().ca_certificate(certificate(&servers));
    for (told_apart, shown) in [
        (ConnectionCause::NoClientCertificate, trusting()),
        (ConnectionCause::ClientAuthority, trusting().identity(servers.identity("stranger", false))),
        (ConnectionCause::ClientExpired, trusting().identity(clients.identity("late", true))),
    ] {
        let fault = told("https", serve(tls(config())).await, shown).await;
        let cause = fault.cause().unwrap_or_else(|| panic!("{fault}"));
        assert!(cause == told_apart || cause == ConnectionCause::BrokenOff, "{cause:?}: {fault}");
        assert!(cause.concerns_client_certificate() && fault.to_string().contains("client certificate"));
    }
}
