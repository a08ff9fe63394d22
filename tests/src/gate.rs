//! A gate in front of a server: its address stays while the server comes and goes, and it can be shut, held or made to babble.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::{Context, Result};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passed on to a server.
    Open(SocketAddr),
    /// Cut at once: the server is down.
    Shut,
    /// Taken and never answered: the server hangs.
    Silent,
    /// Answered with bytes that mean nothing.
    Babble,
}

/// A gate; a change of mode cuts what is connected.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Gate {
    /// A gate on a free port of this machine, shut.
    pub async fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
        let address = listener.local_addr().context("the port")?;
        let (mode, watched) = watch::channel(Mode::Shut);
        let connections = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(client, watched.clone()));
                }
            }
        });
        Ok(Self { address, mode, connections, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a URL without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that were made to it so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Changes its mode.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, mut mode: watch::Receiver<Mode>) {
    let now = *mode.borrow_and_update();
    let changed = mode.changed();
    tokio::select! {
        () = treat(client, now) => {}
        _ = changed => {}
    }
}

async fn treat(mut client: TcpStream, mode: Mode) {
    match mode {
        Mode::Shut => {}
        Mode::Open(server) => {
            if let Ok(mut server) = TcpStream::connect(server).await {
                // Either side may go away at any time: that is what gates are for.
                let _ = copy_bidirectional(&mut client, &mut server).await;
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
