//! A JSON-RPC endpoint on a real socket whose answers a test prescribes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answer to a request.
pub(crate) enum Say {
    /// A well-formed result.
    Result(Value),
    /// A well-formed error.
    Error(Value),
    /// An answer with this status and this body, which need not be JSON.
    Body(u16, Vec<u8>),
    /// A refusal with this status, and with this header unless it is empty.
    Limit(u16, &'static str),
    /// These bytes over and over, without end.
    Endless(Vec<u8>),
    /// A blank now and then, without end.
    Drip,
    /// No answer at all.
    Silence,
}

type Script = dyn Fn(&str, &Value) -> Say + Send + Sync;

/// Serves until the runtime ends; returns the URL.
pub(crate) async fn serve(script: impl Fn(&str, &Value) -> Say + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script: Arc<Script> = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Some tests close the connection early, so an error here is expected.
            tokio::spawn(answer(stream, script.clone()));
        }
    });
    url
}

async fn answer(mut stream: TcpStream, script: Arc<Script>) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    let method = request["method"].as_str().unwrap_or_default();
    let envelope = |name: &str, value: Value| {
        serde_json::to_vec(&json!({ "jsonrpc": "2.0", "id": request["id"], name: value })).unwrap()
    };
    let (status, body) = match script(method, &request["params"]) {
        Say::Result(value) => (200, envelope("result", value)),
        Say::Error(value) => (200, envelope("error", value)),
        Say::Body(status, body) => (status, body),
        Say::Limit(status, header) => {
            let head =
                format!("HTTP/1.1 {status} Said\r\n{header}content-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            return stream.shutdown().await;
        }
        Say::Endless(piece) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&piece).await?;
            }
        }
        Say::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Say::Silence => return std::future::pending().await,
    };
    let head =
        format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await?;
        bytes.extend_from_slice(&piece[..length]);
        let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|end| &bytes[end + 4..]);
        if let Some(Ok(request)) = body.map(serde_json::from_slice) {
            return Ok(request);
        }
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
