//! An attack on listeners that use TLS: handshakes that are held open half-way, and bytes that are
//! no TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_runtime::descriptors::Descriptors;
use dac_tests::attacker::{Attackers, loopback, tcp};
use dac_tests::configuration::{API, RETRIEVAL, Tls};
use dac_tests::network::{NetworkTls, Plan};
use dac_tests::pki::Authority;
use dac_tests::{Context, Result, rpc};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::honest::{Honest, Memory, ask_both};
use super::listeners::under_way;
use super::{MIB, address, alone, network};

/// A client whose connection was closed comes again after this: beside the handshakes that are held
/// there is a flood of new ones, each of which would cost the server a signature.
const AGAIN: Duration = Duration::from_millis(500);
/// With what every HTTP/2 connection begins, where there is no TLS.
const PLAIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_do_not_end_close_no_listener() -> Result<()> {
    /// From each address, of which each way to begin has eight.
    const CONNECTIONS: usize = 64;
    dac_tests::install_tls_provider();
    let _alone = alone().await;
    Descriptors::default().and("connections of attackers", 8_000_u32).check()?;
    let folder = TempDir::new()?;
    let servers = Authority::new(folder.path(), "servers")?;
    let tls = NetworkTls {
        dispersal: servers.listener("dispersal", None)?,
        retrieval: servers.listener("retrieval", None)?,
        aggregator: servers.listener("aggregator", None)?,
        towards_members: Tls { identity: None, authority: Some(servers.certificate()) },
    };
    let network = network(Plan { tls, ..Plan::default() }).await?;
    let to = [address(&network.members[0].service, RETRIEVAL), address(&network.aggregator, API)];
    let call = async |_: u64| {
        ask_both(servers.channel(to[0].port(), None)?, servers.channel(to[1].port(), None)?).await
    };
    let mut honest = Honest::caller("GetMember and GetAggregator over new connections with TLS");
    honest.without(&call).await?;

    let memory = Memory::of([&network.aggregator, &network.members[0].service])?;
    let hello = client_hello(&servers).await?;
    let ways = [hello.slice(..hello.len() / 2), hello, Bytes::from_static(PLAIN)];
    let (attackers, begun) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    for to in to {
        for (way, bytes) in (0_u8..).zip(&ways) {
            for place in 0..8 * CONNECTIONS {
                let from = loopback(70 + way, u8::try_from(place / CONNECTIONS)?);
                let (bytes, begun) = (bytes.clone(), Arc::clone(&begun));
                attackers.come_back(AGAIN, move || hold(from, to, bytes.clone(), Arc::clone(&begun)));
            }
        }
    }
    under_way(&begun, 3_000).await?;
    honest.under(&call).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(&call).await?;
    println!("{} handshakes were begun", begun.load(Ordering::Relaxed));
    honest.verdict("3072 connections with half a TLS handshake or none", grown, 96 * MIB);
    Ok(())
}

/// The first bytes that a client of this authority's servers sends.
async fn client_hello(servers: &Authority) -> Result<Bytes> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
    let channel = servers.channel(listener.local_addr()?.port(), None)?;
    let client = tokio::spawn(rpc::member(channel));
    let (mut stream, _) = listener.accept().await.context("a client")?;
    // A record tells its length in the last two of its first five bytes.
    let mut hello = vec![0; 5];
    stream.read_exact(&mut hello).await?;
    let length = u16::from_be_bytes([hello[3], hello[4]]);
    hello.resize(5 + usize::from(length), 0);
    stream.read_exact(&mut hello[5..]).await?;
    client.abort();
    Ok(hello.into())
}

/// Sends these bytes and no more, and takes what comes until the server closes the connection.
async fn hold(from: IpAddr, to: SocketAddr, bytes: Bytes, begun: Arc<AtomicU64>) -> Result<()> {
    let mut stream = tcp(from, to).await?;
    stream.write_all(&bytes).await?;
    begun.fetch_add(1, Ordering::Relaxed);
    let mut answer = [0; 4096];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}
