//! A JSON-RPC endpoint of L1 that passes on the answers of an honest one, except those that a test
//! replaces.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::failure::{Context, Result};

/// A function of a method, its parameters and the honest answer. It returns the false answer, or
/// `None` to pass on the honest one.
type Lie = dyn Fn(&str, &Value, &Value) -> Option<Value> + Send + Sync;

/// A proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct L1Proxy {
    address: SocketAddr,
    lies: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl L1Proxy {
    /// Starts a proxy on a free port of this machine for the server at `server`.
    pub async fn start(
        server: SocketAddr,
        lie: impl Fn(&str, &Value, &Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
        let address = listener.local_addr().context("the port")?;
        let lies = Arc::<AtomicU64>::default();
        let (lie, told): (Arc<Lie>, _) = (Arc::new(lie), Arc::clone(&lies));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (lie, told) = (Arc::clone(&lie), Arc::clone(&told));
                // A client may close its connection at any time.
                tokio::spawn(async move { serve(client, server, &*lie, &told).await.ok() });
            }
        });
        Ok(Self { address, lies, task })
    }

    /// Returns the proxy's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of false answers so far.
    pub fn lies(&self) -> u64 {
        self.lies.load(Ordering::SeqCst)
    }
}

impl Drop for L1Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    lie: &Lie,
    lies: &AtomicU64,
) -> std::io::Result<()> {
    let request = read_request(&mut client).await?;
    let mut upstream = TcpStream::connect(server).await?;
    write(&mut upstream, &format!("POST / HTTP/1.1\r\nhost: {server}\r\n"), &request).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    let body = body(&answer).ok_or(std::io::ErrorKind::InvalidData)?;
    let mut answer: Value = serde_json::from_slice(body)?;
    let request: Value = serde_json::from_slice(&request)?;
    let method = request["method"].as_str().unwrap_or_default();
    if let Some(result) = lie(method, &request["params"], &answer["result"]) {
        if result != answer["result"] {
            lies.fetch_add(1, Ordering::SeqCst);
        }
        answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
    }
    write(&mut client, "HTTP/1.1 200 OK\r\n", &serde_json::to_vec(&answer)?).await
}

async fn write(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "{head}content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

fn body(message: &[u8]) -> Option<&[u8]> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(&message[end + 4..])
}

/// Reads the body of a request, which is one JSON document.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = vec![0; 16 << 10];
        let length = stream.read(&mut piece).await?;
        bytes.extend_from_slice(&piece[..length]);
        if let Some(body) = body(&bytes)
            && serde_json::from_slice::<Value>(body).is_ok()
        {
            return Ok(body.to_vec());
        }
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
