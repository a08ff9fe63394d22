//! The monitoring port of a service, if it was started with one.

use std::fs;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::{Context, Result};
use crate::network::Service;

/// The configuration's section of the monitoring port, and its name in the ready file.
pub const LISTENER: &str = "metrics";

/// Returns a change of a configuration that opens a monitoring port on a free port of this machine.
pub fn settings() -> toml::Table {
    let listener = toml::Table::from_iter([("listen".to_owned(), "127.0.0.1:0".into())]);
    toml::Table::from_iter([(LISTENER.to_owned(), listener.into())])
}

/// Returns the address of a running service's monitoring port.
pub fn address(service: &Service) -> Result<SocketAddr> {
    let ready = service.config().with_file_name("ready.json");
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(&ready).context(ready.display())?)?;
    let address = addresses[LISTENER].as_str().context("a monitoring page")?;
    address.parse().context(address)
}

/// Fetches a page, and returns its status and text.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.context(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("asking")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("reading")?;
    let (head, page) = answer.split_once("\r\n\r\n").context("a page")?;
    let status = head.split(' ').nth(1).context("a status")?;
    Ok((status.parse().context(status)?, page.to_owned()))
}

/// Fetches the page of metrics.
pub async fn metrics(address: SocketAddr) -> Result<String> {
    Ok(get(address, "/metrics").await?.1)
}

/// Returns the value of a series on a page of metrics. Its name includes the labels.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
