//! turmoil's network behind the traits with which production code accepts and opens connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use dac_client::{Dialer, EndpointPolicy, Network};
use dac_runtime::grpc::{Accept, Acceptor, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace;

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send>>;

/// Opens a listener on the host whose code calls this.
pub(crate) async fn listen(port: u16) -> io::Result<Acceptor> {
    let listener = TcpListener::bind((IpAddr::from([0, 0, 0, 0]), port)).await?;
    Ok(Acceptor::new(Listener { listener: Arc::new(listener), accepting: None }))
}

/// A listener of turmoil, for production code that polls for connections.
struct Listener {
    listener: Arc<TcpListener>,
    /// The pending accept. turmoil has no poll function for it.
    accepting: Option<Accepting>,
}

impl Accept for Listener {
    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Connection>, SocketAddr)>> {
        let listener = &self.listener;
        let accepting = self.accepting.get_or_insert_with(|| {
            let listener = Arc::clone(listener);
            Box::pin(async move { listener.accept().await })
        });
        let accepted = ready!(accepting.as_mut().poll(context));
        self.accepting = None;
        Poll::Ready(accepted.map(|(stream, peer)| (Box::new(Traced(stream)) as Box<dyn Connection>, peer)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The network from one simulated host to the others.
#[derive(Clone, Copy, Debug)]
struct Simulated;

#[async_trait]
impl Network for Simulated {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![(turmoil::lookup(host), port).into()])
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn dac_client::Connection>> {
        Ok(Box::new(Traced(TcpStream::connect(address).await?)))
    }
}

/// Returns a dialer that connects over the simulated network.
pub(crate) fn dialer() -> Dialer {
    Dialer::new(EndpointPolicy::AllowPrivate)
        .connect_timeout(Duration::from_millis(700))
        .network(Arc::new(Simulated))
}

/// A connection that adds all arriving bytes to the trace.
struct Traced(TcpStream);

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.0).poll_read(context, buffer));
        let arrived = buffer.filled().get(before..).unwrap_or_default();
        let ends = format!("{:?} {:?}", self.0.local_addr().ok(), self.0.peer_addr().ok());
        trace::event("read", &[ends.as_bytes(), arrived, &[u8::from(read.is_ok())]]);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Traced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
