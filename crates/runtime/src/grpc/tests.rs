//! A real server with the health service, and clients that behave and that do not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::transport::{ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::testing::{Authority, authority};
use super::*;
use crate::tls::{ClientTls, IdentityFiles, ServerTls};

const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<Result<(), ServeError>>,
}

async fn start(limits: ListenerLimits, tls: Option<ServerTlsConfig>) -> Running {
    let incoming = Incoming::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), &limits);
    let address = incoming.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let router = server(&limits, tls).unwrap().add_service(health).add_service(reflection(&[]));
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(router, incoming, stop.clone(), Duration::from_millis(300)));
    Running { address, stop, server }
}

async fn check(address: SocketAddr, tls: Option<ClientTlsConfig>) -> Result<(), String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{}", address.port())).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.map(drop).map_err(|status| status.to_string())
}

/// Waits until the other side closes the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server closes it");
}

#[tokio::test]
async fn plain_text_is_served() {
    let running = start(ListenerLimits::default(), None).await;
    check(running.address, None).await.unwrap();
    running.stop.cancel();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn tls_is_served_to_those_who_trust_the_authority() {
    let Authority { folder } = authority();
    let path = |name: &str| folder.path().join(name);
    let tls = ServerTls { certificate: path("server.pem"), key: path("server.key"), client_ca: None };
    let running = start(ListenerLimits::default(), Some(tls.load(PATIENCE).unwrap())).await;
    let trusting = |ca: &str| ClientTls { ca: Some(path(ca)), identity: None }.load(PATIENCE).unwrap();
    check(running.address, Some(trusting("ca.pem"))).await.unwrap();
    check(running.address, Some(trusting("other-ca.pem"))).await.unwrap_err();
    check(running.address, None).await.unwrap_err();
}

#[tokio::test]
async fn mutual_tls_keeps_strangers_out() {
    let Authority { folder } = authority();
    let path = |name: &str| folder.path().join(name);
    let tls = ServerTls {
        certificate: path("server.pem"),
        key: path("server.key"),
        client_ca: Some(path("ca.pem")),
    };
    let running = start(ListenerLimits::default(), Some(tls.load(PATIENCE).unwrap())).await;
    let identity = IdentityFiles { certificate: path("client.pem"), key: path("client.key") };
    let known = ClientTls { ca: Some(path("ca.pem")), identity: Some(identity) };
    check(running.address, Some(known.load(PATIENCE).unwrap())).await.unwrap();
    let stranger = ClientTls { ca: Some(path("ca.pem")), identity: None };
    check(running.address, Some(stranger.load(PATIENCE).unwrap())).await.unwrap_err();
}

#[tokio::test]
async fn mute_connections_are_closed() {
    let limits =
        ListenerLimits { handshake_timeout: Period(Duration::from_millis(200)), ..ListenerLimits::default() };
    let plain = start(limits, None).await;
    closed(TcpStream::connect(plain.address).await.unwrap()).await;
    let mut half = TcpStream::connect(plain.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2").await.unwrap();
    closed(half).await;

    let Authority { folder } = authority();
    let path = |name: &str| folder.path().join(name);
    let tls = ServerTls { certificate: path("server.pem"), key: path("server.key"), client_ca: None };
    let encrypted = start(limits, Some(tls.load(PATIENCE).unwrap())).await;
    closed(TcpStream::connect(encrypted.address).await.unwrap()).await;
    // Enough bytes not to be mute, and a handshake that never ends.
    let mut endless = TcpStream::connect(encrypted.address).await.unwrap();
    endless.write_all(&[&[0x16, 3, 1, 0x20, 0][..], &[1; 64]].concat()).await.unwrap();
    closed(endless).await;
}

#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let limits = ListenerLimits { connections_per_client: 2, ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    let _second = TcpStream::connect(running.address).await.unwrap();
    closed(TcpStream::connect(running.address).await.unwrap()).await;
    // A place that becomes free is given again.
    drop(first);
    let again = async {
        while check(running.address, None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the freed place is given again");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let limits = ListenerLimits { connections: 1, ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    let waiting = tokio::spawn(check(running.address, None));
    drop(first);
    tokio::time::timeout(PATIENCE, waiting).await.expect("its turn comes").unwrap().unwrap();
}

#[tokio::test]
async fn stopping_cuts_off_calls_that_do_not_end() {
    let running = start(ListenerLimits::default(), None).await;
    let channel =
        Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("the present state");
    running.stop.cancel();
    tokio::time::timeout(PATIENCE, running.server).await.expect("the grace ends").unwrap().unwrap();
}

#[test]
fn limits_of_zero_are_refused() {
    assert_eq!(ListenerLimits::default().check(), Ok(()));
    let limits: ListenerLimits = toml::from_str("connections = 0").unwrap();
    assert_eq!(limits.check(), Err("connections = 0: at least 1".into()));
    let limits: ListenerLimits = toml::from_str("keepalive_timeout = '0s'").unwrap();
    assert!(limits.check().is_err());
    assert!(toml::from_str::<ListenerLimits>("conections = 1").is_err());
}
