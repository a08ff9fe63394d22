//! An HTTP/2 client without manners: it leaves windows shut, sends half of its requests, holds
//! connections that it does not use, and does so from any address of 127.0.0.0/8.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use rustix::process::setpriority_process;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::transport::{Channel, Endpoint};

use crate::failure::{Context, Failure, Result};
use crate::wait;

/// Streams that the client opens without waiting for the server's leave.
const STREAMS: usize = 128;
/// HTTP/2's own window, for attackers that read.
pub const USUAL_WINDOW: u32 = 65_535;

/// How much nicer attackers are to the processors than the servers and honest clients that share
/// them: what the attackers themselves compute is to be no part of what is measured.
pub const NICENESS: i32 = 10;

/// Threads of attackers, of a low priority. What runs on them ends with this value.
pub struct Attackers(Option<Runtime>);

impl Attackers {
    /// Starts the threads, of which there are two.
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("attacker")
            .on_thread_start(|| {
                setpriority_process(None, NICENESS).expect("a thread may lower its own priority");
            })
            .enable_all()
            .build()
            .context("the attackers' threads")?;
        Ok(Self(Some(runtime)))
    }

    /// Begins an attack that goes on beside the others until they all end.
    pub fn spawn(&self, attack: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(attack);
        }
    }

    /// Begins an attack that comes back after a pause, whenever it has ended or failed.
    pub fn come_back<A: Future + Send + 'static>(
        &self,
        pause: Duration,
        attack: impl Fn() -> A + Send + 'static,
    ) {
        self.spawn(async move {
            loop {
                let _ = attack().await;
                sleep(pause).await;
            }
        });
    }

    /// Ends all attacks. Their connections are closed when this returns.
    pub async fn end(mut self) -> Result<()> {
        let runtime = self.0.take();
        let stopping = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(wait::LIMIT);
            }
        });
        stopping.await.context("the end of the attackers")
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A gRPC channel from a chosen loopback address, for attackers with manners. It belongs to the
/// threads that make it.
pub fn channel(from: IpAddr, url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned()).context(url)?;
    Ok(endpoint.local_address(Some(from)).connect_lazy())
}

/// The loopback address 127.`network`.`host`.1: each `network` is a /16, each pair a /24 of its
/// own.
pub fn loopback(network: u8, host: u8) -> IpAddr {
    IpAddr::from([127, network, host, 1])
}

/// Connects from a chosen loopback address and says nothing.
pub async fn tcp(from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("a socket")?;
    socket.bind(SocketAddr::new(from, 0)).context(from)?;
    socket.connect(to).await.context(to)
}

/// One HTTP/2 connection.
pub struct Attacker {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Attacker {
    /// Connects with the usual window.
    pub async fn connect(from: IpAddr, to: SocketAddr) -> Result<Self> {
        Self::connect_with_window(from, to, USUAL_WINDOW).await
    }

    /// Connects; no stream may bring more than `window` bytes before they are asked for.
    pub async fn connect_with_window(from: IpAddr, to: SocketAddr, window: u32) -> Result<Self> {
        let stream = tcp(from, to).await?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_max_send_streams(STREAMS)
            .handshake(stream)
            .await
            .context("the HTTP/2 preface")?;
        // It answers SETTINGS and PING, so that the server sees a live client.
        Ok(Self { requests, connection: tokio::spawn(connection) })
    }

    /// Sends the headers of a call, such as `/dac.v1.MemberService/GetMember`, and leaves its body
    /// open.
    pub async fn begin(&mut self, path: &str) -> Result<Call> {
        let request = Request::post(format!("http://attacker{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .context(path)?;
        let mut requests = timeout(wait::LIMIT, self.requests.clone().ready())
            .await
            .context("the server lets no stream begin")?
            .context(path)?;
        let (answer, body) = requests.send_request(request, false).context(path)?;
        Ok(Call { answer, body })
    }

    /// Makes a whole unary call and leaves its answer where it is.
    pub async fn call(&mut self, path: &str, request: &impl Message) -> Result<Call> {
        let mut call = self.begin(path).await?;
        call.send(framed(request), true)?;
        Ok(call)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }

    /// Waits until the server closes the connection, `limit` at most.
    pub async fn closed(&mut self, limit: Duration) -> Result<()> {
        match timeout(limit, &mut self.connection).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::new(format!("the server kept the connection for {limit:?}"))),
        }
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A call that an attacker began.
pub struct Call {
    answer: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Call {
    /// Sends bytes of the body, more or less of a message as they may be.
    pub fn send(&mut self, bytes: Bytes, is_last: bool) -> Result<()> {
        self.body.send_data(bytes, is_last).context("a body")
    }

    /// The head of the answer, and its body, of which nothing was read.
    pub async fn head(self) -> Result<Response<RecvStream>> {
        timeout(wait::LIMIT, self.answer).await.context("no answer came")?.context("the call was reset")
    }

    /// The gRPC status with which the server ended the call.
    pub async fn status(self) -> Result<tonic::Code> {
        let mut response = self.head().await?;
        if let Some(status) = grpc_status(response.headers()) {
            return Ok(status);
        }
        let body = response.body_mut();
        while let Some(bytes) = timeout(wait::LIMIT, body.data()).await.context("no answer came")? {
            let bytes = bytes.context("an answer")?;
            body.flow_control().release_capacity(bytes.len()).context("a window")?;
        }
        let trailers = timeout(wait::LIMIT, body.trailers()).await.context("no trailers came")?;
        let trailers = trailers.context("the call was reset")?.context("an answer without trailers")?;
        grpc_status(&trailers).context("trailers without a status")
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<tonic::Code> {
    let status = headers.get("grpc-status")?;
    Some(tonic::Code::from_bytes(status.as_bytes()))
}

/// A message as gRPC frames it.
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = announced(u32::try_from(length).expect("a small message"));
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

/// The head of a frame that announces so many bytes, for bodies that never bring them.
pub fn announced(bytes: u32) -> BytesMut {
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(bytes);
    head
}

/// Bytes of memory that a process has.
pub fn resident_bytes(process: u32) -> Result<u64> {
    memory(process, "VmRSS:")
}

/// The most memory that a process has had since [`forget_peak`].
pub fn peak_bytes(process: u32) -> Result<u64> {
    memory(process, "VmHWM:")
}

/// From now on a process's peak is counted anew.
pub fn forget_peak(process: u32) -> Result<()> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, "5").context(&path)
}

fn memory(process: u32, entry: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).context(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(entry)).context(entry)?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context(line)?;
    Ok(kibibytes << 10)
}
