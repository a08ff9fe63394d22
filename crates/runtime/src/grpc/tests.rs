//! A real server with a service of large answers, with clients that behave and clients that do not.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use dac_proto::v1;
use dac_proto::v1::member_service_client::MemberServiceClient;
use dac_proto::v1::member_service_server::{MemberService, MemberServiceServer};
use h2::client::{ResponseFuture, SendRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb;

use super::limits::MEMORY_PER_CLIENT_MIN;
use super::testing::{Authority, authority};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config::Period;
use crate::monitor;
use crate::tls::{ClientTls, IdentityFiles, ListenerTls, Renewals, ServerTls};

const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<Result<(), ServeError>>,
}

/// Answers with this many bytes.
struct Large(usize);

#[tonic::async_trait]
impl MemberService for Large {
    async fn get_member(
        &self,
        _: tonic::Request<v1::GetMemberRequest>,
    ) -> Result<tonic::Response<v1::GetMemberResponse>, tonic::Status> {
        let version = "x".repeat(self.0);
        Ok(tonic::Response::new(v1::GetMemberResponse { version, ..v1::GetMemberResponse::default() }))
    }
}

const MEMBERS: &str = "dac.v1.MemberService";
const GET_MEMBER: &str = "/dac.v1.MemberService/GetMember";
/// The bytes of an answer: several make up a client's share of memory.
const ANSWER_BYTES: usize = 300 << 10;

async fn start(limits: ListenerLimits, tls: Option<ListenerTls>) -> Running {
    let stop = CancellationToken::new();
    let port = Port::new("test", &[MEMBERS], &limits, CallTimes::default(), stop.clone());
    let incoming = Incoming::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), &port);
    let address = incoming.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let router = server(&port)
        .add_service(MemberServiceServer::new(Large(ANSWER_BYTES)))
        .add_service(health)
        .add_service(reflection(&port, &[dac_proto::FILE_DESCRIPTOR_SET]))
        .add_service(reflection_alpha(&port, &[dac_proto::FILE_DESCRIPTOR_SET]));
    let server = tokio::spawn(serve(router, incoming, tls, Duration::from_millis(300)));
    Running { address, stop, server }
}

/// An HTTP/2 client that may break the rules.
struct Rude {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Rude {
    async fn connect(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) =
            h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    async fn call(
        &mut self,
        path: &str,
        body: Bytes,
        is_whole: bool,
    ) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let request = http::Request::post(format!("http://test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (answer, mut stream) = requests.send_request(request, false).unwrap();
        stream.send_data(body, is_whole).unwrap();
        (answer, stream)
    }

    /// Waits until the server closes the connection.
    async fn closed(self) {
        tokio::time::timeout(PATIENCE, self.connection).await.expect("the server closes it").unwrap().ok();
    }
}

/// The head of a message that announces a length, and as many bytes of the message as are sent.
fn message(announced: u32, sent: usize) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(announced);
    body.put_bytes(0, sent);
    body.freeze()
}

async fn status(answer: ResponseFuture) -> tonic::Code {
    let response = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
    let header = response.headers().get("grpc-status").expect("an answer without a body").clone();
    tonic::Code::from_bytes(header.as_bytes())
}

async fn get_member(address: SocketAddr) -> Result<usize, tonic::Status> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let answer = MemberServiceClient::new(channel).get_member(v1::GetMemberRequest {}).await?;
    Ok(answer.into_inner().version.len())
}

/// A listener's TLS that is never renewed.
fn listener(tls: &ServerTls) -> ListenerTls {
    Renewals::default().listener("test", tls, PATIENCE).unwrap()
}

async fn check(address: SocketAddr, tls: Option<ClientTlsConfig>) -> Result<(), String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{}", address.port())).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    ask(endpoint.connect().await.map_err(|error| error.to_string())?).await
}

async fn ask(channel: Channel) -> Result<(), String> {
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
    let running = start(ListenerLimits::default(), Some(listener(&tls))).await;
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
    let running = start(ListenerLimits::default(), Some(listener(&tls))).await;
    let identity = IdentityFiles { certificate: path("client.pem"), key: path("client.key") };
    let known = ClientTls { ca: Some(path("ca.pem")), identity: Some(identity) };
    check(running.address, Some(known.load(PATIENCE).unwrap())).await.unwrap();
    let stranger = ClientTls { ca: Some(path("ca.pem")), identity: None };
    check(running.address, Some(stranger.load(PATIENCE).unwrap())).await.unwrap_err();
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_open_connections_stay() {
    let (old, new) = (authority(), authority());
    let path = |authority: &Authority, name: &str| authority.folder.path().join(name);
    let tls =
        ServerTls { certificate: path(&old, "server.pem"), key: path(&old, "server.key"), client_ca: None };
    let mut renewals = Renewals::default();
    let tls = renewals.listener("renewed", &tls, PATIENCE).unwrap();
    let running = start(ListenerLimits::default(), Some(tls)).await;
    let trusting = |authority: &Authority| {
        ClientTls { ca: Some(path(authority, "ca.pem")), identity: None }.load(PATIENCE).unwrap()
    };
    let url = format!("https://localhost:{}", running.address.port());
    let endpoint = Endpoint::from_shared(url).unwrap().tls_config(trusting(&old)).unwrap();
    let open = endpoint.connect().await.unwrap();
    ask(open.clone()).await.unwrap();
    for name in ["server.pem", "server.key"] {
        std::fs::copy(path(&new, name), path(&old, name)).unwrap();
    }
    renewals.look(SystemClock.now_unix_seconds(), false);
    check(running.address, Some(trusting(&new))).await.unwrap();
    check(running.address, Some(trusting(&old))).await.unwrap_err();
    ask(open).await.unwrap();
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_what_is_missing() {
    let metrics = monitor::metrics();
    let Authority { folder } = authority();
    let path = |name: &str| folder.path().join(name);
    let tls = ServerTls {
        certificate: path("server.pem"),
        key: path("server.key"),
        client_ca: Some(path("ca.pem")),
    };
    let tls = Renewals::default().listener("counted", &tls, PATIENCE).unwrap();
    let running = start(ListenerLimits::default(), Some(tls)).await;
    let count = |kind: &str| -> u64 {
        let page = metrics.render();
        let series = format!("dac_tls_handshake_failures_total{{listener=\"counted\",kind=\"{kind}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} in {page}")).parse().unwrap()
    };
    for kind in ["no_client_certificate", "client_certificate_refused", "refused_by_client", "not_tls"] {
        assert_eq!(count(kind), 0, "{kind} is there from the start");
    }
    let client = |ca: &str| ClientTls { ca: Some(path(ca)), identity: None }.load(PATIENCE).unwrap();
    let counted = async |kind: &str| {
        let waiting = async {
            while count(kind) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{kind} is counted"));
    };
    check(running.address, Some(client("ca.pem"))).await.unwrap_err();
    counted("no_client_certificate").await;
    check(running.address, Some(client("other-ca.pem"))).await.unwrap_err();
    counted("refused_by_client").await;
    check(running.address, None).await.unwrap_err();
    counted("not_tls").await;
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
    let tls = Renewals::default().listener("test", &tls, *limits.handshake_timeout).unwrap();
    let encrypted = start(limits, Some(tls)).await;
    closed(TcpStream::connect(encrypted.address).await.unwrap()).await;
    // The client sends enough bytes not to be mute, but its handshake never ends.
    let mut endless = TcpStream::connect(encrypted.address).await.unwrap();
    endless.write_all(&[&[0x16, 3, 1, 0x20, 0][..], &[1; 64]].concat()).await.unwrap();
    closed(endless).await;
}

#[tokio::test]
async fn a_client_replaces_its_own_idle_connections() {
    let limits = ListenerLimits { connections_per_client: 2, ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    let _second = TcpStream::connect(running.address).await.unwrap();
    check(running.address, None).await.unwrap();
    closed(first).await;
}

#[tokio::test]
async fn connections_come_at_a_bounded_rate() {
    let limits = ListenerLimits { connections_per_second: 1, ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let mut opened = Vec::new();
    for _ in 0..4 {
        opened.push(Rude::connect(running.address, 65_535).await);
    }
    closed(TcpStream::connect(running.address).await.unwrap()).await;
    let (answer, _body) = opened[0].call(GET_MEMBER, message(0, 0), true).await;
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("those that were let in are served");
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn idle_connections_close_no_port() {
    let limits = ListenerLimits { connections: 4, connections_per_client: 4, ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(Rude::connect(running.address, 65_535).await);
    }
    // Connections with half a request give way to others.
    let mut halves = Vec::new();
    for rude in &mut idle {
        halves.push(rude.call(GET_MEMBER, message(100, 1), false).await);
    }
    check(running.address, None).await.unwrap();
    idle.remove(0).closed().await;
}

#[tokio::test]
async fn half_a_request_ends_in_time() {
    let limits =
        ListenerLimits { request_timeout: Period(Duration::from_millis(200)), ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let mut rude = Rude::connect(running.address, 65_535).await;
    let (answer, _body) = rude.call(GET_MEMBER, message(100, 1), false).await;
    assert_eq!(status(answer).await, tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_request_has_the_size_that_its_method_has() {
    let running = start(ListenerLimits::default(), None).await;
    let mut rude = Rude::connect(running.address, 65_535).await;
    let large = u32::try_from(SMALL_REQUEST_MAX_BYTES).unwrap() + 1;
    let (answer, _body) = rude.call(GET_MEMBER, message(large, 0), false).await;
    assert_eq!(status(answer).await, tonic::Code::OutOfRange);
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_and_close_their_connection() {
    let limits = ListenerLimits {
        write_timeout: Period::from_secs(2),
        memory_per_client: MEMORY_PER_CLIENT_MIN,
        ..ListenerLimits::default()
    };
    let running = start(limits, None).await;
    // With windows of 0 bytes and of 1 byte the answer waits in the server's task and in HTTP/2's
    // own buffers.
    for window in [0, 1] {
        let mut rude = Rude::connect(running.address, window).await;
        let mut answers = Vec::new();
        for _ in 0..10 {
            answers.push(rude.call(GET_MEMBER, message(0, 0), true).await);
        }
        let mut refused = 0;
        let mut unread = Vec::new();
        for (answer, _body) in answers {
            let response = tokio::time::timeout(PATIENCE, answer).await.expect("a head").unwrap();
            refused += usize::from(response.headers().contains_key("grpc-status"));
            // An answer that the client drops is given up and uses no memory any more.
            unread.push(response);
        }
        // 1 MiB has room for three answers of 300 KiB; the fourth was let in while there was room
        // for its head.
        assert!((6..=7).contains(&refused), "window {window}: {refused} of 10 refused");
        rude.closed().await;
        // The memory is freed, and a client that reads is served.
        assert_eq!(get_member(running.address).await.unwrap(), ANSWER_BYTES);
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_its_answer() {
    let limits = ListenerLimits { write_timeout: Period::from_secs(2), ..ListenerLimits::default() };
    let running = start(limits, None).await;
    let mut slow = Rude::connect(running.address, 64 << 10).await;
    let (answer, _body) = slow.call(GET_MEMBER, message(0, 0), true).await;
    let mut body = answer.await.unwrap().into_body();
    let mut received = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        received += data.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert!(received > ANSWER_BYTES, "{received}");
}

#[tokio::test]
async fn who_asks_at_the_wrong_port_is_told() {
    let running = start(ListenerLimits::default(), None).await;
    let channel =
        Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap();
    let mut client = v1::batch_service_client::BatchServiceClient::new(channel);
    let status = client.get_batch(v1::GetBatchRequest { batch: None }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert_eq!(status.message(), "this port does not have dac.v1.BatchService, but dac.v1.MemberService");
}

#[tokio::test]
async fn reflection_names_the_services_that_the_port_has() {
    let running = start(ListenerLimits::default(), None).await;
    let channel =
        Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap();
    macro_rules! listed {
        ($version:ident) => {{
            use pb::$version::server_reflection_client::ServerReflectionClient;
            use pb::$version::server_reflection_request::MessageRequest;
            use pb::$version::server_reflection_response::MessageResponse;
            let request = pb::$version::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let requests = tokio_stream::iter([request]);
            let mut answers = ServerReflectionClient::new(channel.clone())
                .server_reflection_info(requests)
                .await
                .unwrap()
                .into_inner();
            let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
            let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
            list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
        }};
    }
    for (listed, own) in [
        (listed!(v1), "grpc.reflection.v1.ServerReflection"),
        (listed!(v1alpha), "grpc.reflection.v1alpha.ServerReflection"),
    ] {
        let mut listed = listed;
        listed.sort();
        assert_eq!(listed, [MEMBERS, "grpc.health.v1.Health", own]);
    }
}

#[tokio::test]
async fn stopping_ends_what_has_no_end_at_once() {
    let running = start(ListenerLimits::default(), None).await;
    let channel =
        Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("the present state");
    running.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, watch.message()).await.expect("it ends").unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable);
    tokio::time::timeout(PATIENCE, running.server).await.expect("nothing is left").unwrap().unwrap();
}

#[tokio::test]
async fn stopping_cuts_off_calls_that_do_not_end() {
    let running = start(ListenerLimits::default(), None).await;
    let mut rude = Rude::connect(running.address, 65_535).await;
    let _call = rude.call(GET_MEMBER, message(100, 1), false).await;
    // Once the server answers a later call, it has seen this one.
    rude.call(GET_MEMBER, message(0, 0), true).await.0.await.unwrap();
    running.stop.cancel();
    tokio::time::timeout(PATIENCE, running.server).await.expect("the grace ends").unwrap().unwrap();
}

#[test]
fn limits_of_zero_are_refused() {
    assert_eq!(ListenerLimits::default().check(), Ok(()));
    let limits: ListenerLimits = toml::from_str("connections = 0").unwrap();
    assert_eq!(limits.check(), Err("connections = 0: must be from 1 to 100000".into()));
    let limits: ListenerLimits = toml::from_str("keepalive_timeout = '0s'").unwrap();
    assert!(limits.check().is_err());
    assert!(toml::from_str::<ListenerLimits>("conections = 1").is_err());
    for absurd in [
        "memory = '1MiB'",
        "memory_per_client = '1KiB'",
        "memory = '1024TiB'",
        "write_timeout = '3650d'",
        "connections = 4000000000",
    ] {
        assert!(toml::from_str::<ListenerLimits>(absurd).unwrap().check().is_err(), "{absurd}");
    }
}
