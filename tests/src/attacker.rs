//! A misbehaving HTTP/2 client: it leaves flow-control windows shut, sends half of its requests,
//! and holds connections that it does not use, from any address of 127.0.0.0/8.

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

/// The number of streams that the client opens without waiting for the server's settings.
const STREAMS: usize = 128;
/// HTTP/2's default flow-control window in bytes, for attackers that read answers.
pub const USUAL_WINDOW: u32 = 65_535;

/// The niceness of attackers. Servers and honest clients share the processors with them, and the
/// attackers' own computation must not be part of what is measured.
pub const NICENESS: i32 = 10;

/// Threads with a low priority, on which attackers run. Dropping this value ends the attacks.
pub struct Attackers(Option<Runtime>);

impl Attackers {
    /// Starts two threads.
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

    /// Starts an attack that runs beside the others until all attacks end.
    pub fn spawn(&self, attack: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(attack);
        }
    }

    /// Starts an attack that is repeated after a pause when it has ended or failed.
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

/// Makes a gRPC channel from a chosen loopback address, for attackers that use gRPC properly. It
/// must be used on the threads that make it.
pub fn channel(from: IpAddr, url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned()).context(url)?;
    Ok(endpoint.local_address(Some(from)).connect_lazy())
}

/// Returns the loopback address 127.`network`.`host`.1: each `network` is a /16, and each pair a
/// /24.
pub fn loopback(network: u8, host: u8) -> IpAddr {
    IpAddr::from([127, network, host, 1])
}

/// Connects from a chosen loopback address and sends nothing.
pub async fn tcp(from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("a socket")?;
    socket.bind(SocketAddr::new(from, 0)).context(from)?;
    socket.connect(to).await.context(to)
}

/// An HTTP/2 connection of an attacker.
pub struct Attacker {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Attacker {
    /// Connects with HTTP/2's default window.
    pub async fn connect(from: IpAddr, to: SocketAddr) -> Result<Self> {
        Self::connect_with_window(from, to, USUAL_WINDOW).await
    }

    /// Connects with a flow-control window of `window` bytes for each stream.
    pub async fn connect_with_window(from: IpAddr, to: SocketAddr, window: u32) -> Result<Self> {
        let stream = tcp(from, to).await?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_max_send_streams(STREAMS)
            .handshake(stream)
            .await
            .context("the HTTP/2 preface")?;
        // The task answers SETTINGS and PING, so that the server sees a live client.
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

    /// Sends a complete unary call and does not read its answer.
    pub async fn call(&mut self, path: &str, request: &impl Message) -> Result<Call> {
        let mut call = self.begin(path).await?;
        call.send(framed(request), true)?;
        Ok(call)
    }

    /// Returns whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }

    /// Waits at most `limit` until the server closes the connection.
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
    /// Sends bytes of the body, which need not be whole messages.
    pub fn send(&mut self, bytes: Bytes, is_last: bool) -> Result<()> {
        self.body.send_data(bytes, is_last).context("a body")
    }

    /// Waits for the head of the answer and returns it with the unread body.
    pub async fn head(self) -> Result<Response<RecvStream>> {
        timeout(wait::LIMIT, self.answer).await.context("no answer came")?.context("the call was reset")
    }

    /// Returns the gRPC status with which the server ended the call.
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

/// Frames a message as gRPC does.
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = announced(u32::try_from(length).expect("a small message"));
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

/// Returns the head of a frame that announces `bytes` bytes, for bodies that never send them.
pub fn announced(bytes: u32) -> BytesMut {
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(bytes);
    head
}

/// Returns the resident memory of a process in bytes.
pub fn resident_bytes(process: u32) -> Result<u64> {
    memory(process, "VmRSS:")
}

/// Returns the most memory that a process has had since [`forget_peak`], in bytes.
pub fn peak_bytes(process: u32) -> Result<u64> {
    memory(process, "VmHWM:")
}

/// Resets a process's peak of memory.
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
