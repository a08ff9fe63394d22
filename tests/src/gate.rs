//! A gate is a TCP proxy before a server. Its address stays the same while the server restarts, and
//! it can be shut, hang or answer junk. What passes an open gate is subject to its weather: delays,
//! stalls, cut connections, or one direction alone cut.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::{Context, Failure, Result};

/// The ports from which those of servers are chosen. They are below those that Linux gives to
/// outgoing connections (`net.ipv4.ip_local_port_range`).
const SERVER_PORTS: Range<u16> = 18_000..32_000;
/// The largest number of bytes that pass at once.
const PIECE_BYTES: usize = 16 << 10;

/// How a gate treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It passes them on to a server.
    Open(SocketAddr),
    /// It closes them at once, as if the server were down.
    Shut,
    /// It accepts them and never answers, as if the server hung.
    Silent,
    /// It answers with meaningless bytes.
    Babble,
}

/// The faults of the network behind a gate. Changes apply to open connections, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Weather {
    /// The delay of each piece, in either direction.
    pub delay: Duration,
    /// How many of a thousand pieces are lost and sent again after [`Weather::stall`].
    pub stalls_per_mille: u32,
    /// The delay of a lost piece.
    pub stall: Duration,
    /// How many of a thousand pieces end their connection.
    pub resets_per_mille: u32,
    /// Whether the direction from client to server is cut; data waits meanwhile.
    pub cut_to_server: bool,
    /// Whether the direction from server to client is cut; data waits meanwhile.
    pub cut_to_client: bool,
    /// The seed that decides which pieces are affected.
    pub seed: u64,
}

impl Weather {
    /// No faults.
    pub const CALM: Self = Self {
        delay: Duration::ZERO,
        stalls_per_mille: 0,
        stall: Duration::ZERO,
        resets_per_mille: 0,
        cut_to_server: false,
        cut_to_client: false,
        seed: 0,
    };
}

/// A direction of a connection through a gate.
#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    const fn is_cut(self, weather: &Weather) -> bool {
        match self {
            Self::ToServer => weather.cut_to_server,
            Self::ToClient => weather.cut_to_client,
        }
    }
}

/// A gate. A change of its mode closes open connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    weather: watch::Sender<Weather>,
    /// The server to which the gate was open last.
    server: Mutex<Option<SocketAddr>>,
    connections: Arc<AtomicU64>,
    /// The proxy's task; `None` for a bare gate, where clients reach the server directly.
    task: Option<JoinHandle<()>>,
}

impl Gate {
    /// Makes a shut gate on a free port of this machine.
    pub async fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
        let address = listener.local_addr().context("the port")?;
        let (mode, watched) = watch::channel(Mode::Shut);
        let (weather, felt) = watch::channel(Weather::CALM);
        let connections = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(client, watched.clone(), felt.clone(), number));
                }
            }
        });
        Ok(Self { address, mode, weather, server: Mutex::default(), connections, task: Some(task) })
    }

    /// Reserves a port without a proxy: the server itself is to listen on it, and its network has
    /// no faults. Measurements use it, because a proxy would be part of the figures.
    pub async fn bare() -> Result<Self> {
        let address = port_of_a_server().await?;
        let (mode, weather) = (watch::Sender::new(Mode::Open(address)), watch::Sender::new(Weather::CALM));
        Ok(Self { address, mode, weather, server: Mutex::default(), connections: Arc::default(), task: None })
    }

    /// Returns the gate's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the gate's URL without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of connections made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Changes the mode.
    pub fn set(&self, mode: Mode) {
        if let Mode::Open(server) = mode {
            *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        }
        self.mode.send_replace(mode);
    }

    /// Opens the gate to the last server; does nothing if it was never open.
    pub fn reopen(&self) {
        let server = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = server {
            self.set(Mode::Open(server));
        }
    }

    /// Changes the weather without closing connections.
    pub fn set_weather(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

/// Returns a port on which no process listens and which no outgoing connection of this machine will
/// take first. With hundreds of connections, a port that the system chose is soon taken again.
async fn port_of_a_server() -> Result<SocketAddr> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::rng().random()));
    for _ in SERVER_PORTS {
        let place = NEXT.fetch_add(1, Ordering::Relaxed) % (SERVER_PORTS.end - SERVER_PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], SERVER_PORTS.start + place));
        if TcpListener::bind(address).await.is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new(format!("all of the ports {SERVER_PORTS:?} are taken")))
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn serve(
    client: TcpStream,
    mut mode: watch::Receiver<Mode>,
    weather: watch::Receiver<Weather>,
    number: u64,
) {
    let now = *mode.borrow_and_update();
    let changed = mode.changed();
    tokio::select! {
        () = treat(client, now, weather, number) => {}
        _ = changed => {}
    }
}

/// Passes bytes on in both directions, with the weather's faults, until either side closes.
async fn relay(client: TcpStream, server: TcpStream, weather: watch::Receiver<Weather>, number: u64) {
    // Small messages are sent at once, not collected.
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, Direction::ToServer, weather.clone(), number * 2) => {}
        () = pump(from_server, to_client, Direction::ToClient, weather.clone(), number * 2 + 1) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut weather: watch::Receiver<Weather>,
    stream: u64,
) {
    let mut dice = StdRng::seed_from_u64(weather.borrow().seed.wrapping_add(stream));
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 {
            return;
        }
        let now = *weather.borrow();
        let stalled = dice.random_range(0..1000) < now.stalls_per_mille;
        let late = if stalled { now.delay + now.stall } else { now.delay };
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        if dice.random_range(0..1000) < now.resets_per_mille
            || weather.wait_for(|weather| !direction.is_cut(weather)).await.is_err()
            || to.write_all(&piece[..length]).await.is_err()
        {
            return;
        }
    }
}

async fn treat(mut client: TcpStream, mode: Mode, weather: watch::Receiver<Weather>, number: u64) {
    match mode {
        Mode::Shut => {}
        Mode::Open(server) => {
            if let Ok(server) = TcpStream::connect(server).await {
                relay(client, server, weather, number).await;
            }
        }
        Mode::Silent => {
            let mut sink = [0; 4096];
            while client.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        }
        Mode::Babble => {
            let _ = client.write_all(&[0x2a; 512]).await;
            let mut sink = [0; 4096];
            let _ = client.read(&mut sink).await;
        }
    }
}
