//! Accepting connections within bounds: so many in all, so many of one client, and none that stays mute.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tokio_util::sync::PollSemaphore;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::debug;

use super::ListenerLimits;
use super::accept::{Acceptor, Connection};

/// Bytes with which every HTTP/2 client begins, under TLS or not: who sent as many is no mute.
const PREFACE_BYTES: usize = 24;
/// How long to wait after the system refused to accept, for want of file descriptors mostly.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Connections of each client.
type PerClient = Arc<Mutex<HashMap<IpAddr, u32>>>;

/// The stream of accepted connections, for [`super::serve`].
#[derive(Debug)]
pub struct Incoming {
    listener: Acceptor,
    limits: ListenerLimits,
    permits: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
    per_client: PerClient,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// Accepts from a listener that is bound already.
    pub fn new(listener: impl Into<Acceptor>, limits: &ListenerLimits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.connections as usize));
        Self {
            listener: listener.into(),
            limits: *limits,
            permits: PollSemaphore::new(permits),
            permit: None,
            per_client: PerClient::default(),
            pause: None,
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Stream for Incoming {
    type Item = io::Result<LimitedStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            if this.permit.is_none() {
                this.permit = ready!(this.permits.poll_acquire(context));
            }
            let (stream, peer) = match ready!(this.listener.poll_accept(context)) {
                Ok(accepted) => accepted,
                Err(error) => {
                    // The listener itself is fine: the connection went away, or the process is out of descriptors.
                    debug!(%error, "accepting a connection");
                    this.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                    continue;
                }
            };
            let Some(place) =
                Place::take(&this.per_client, client_of(peer.ip()), this.limits.connections_per_client)
            else {
                debug!(%peer, limit = this.limits.connections_per_client, "too many connections of one client");
                continue;
            };
            let deadline = Instant::now() + *this.limits.handshake_timeout;
            let ends =
                TcpConnectInfo { local_addr: this.listener.local_addr().ok(), remote_addr: Some(peer) };
            return Poll::Ready(Some(Ok(LimitedStream {
                stream,
                ends,
                mute: Some(Mute { received: 0, deadline: Box::pin(tokio::time::sleep_until(deadline)) }),
                _place: place,
                _permit: this.permit.take(),
            })));
        }
    }
}

/// Who counts as one client: an IPv4 address, or the /64 that one IPv6 subscriber has to himself.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// One of a client's places, given back when dropped.
#[derive(Debug)]
struct Place {
    client: IpAddr,
    per_client: PerClient,
}

impl Place {
    fn take(per_client: &PerClient, client: IpAddr, limit: u32) -> Option<Self> {
        let mut counts = per_client.lock();
        let count = counts.entry(client).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Self { client, per_client: Arc::clone(per_client) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.per_client.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[derive(Debug)]
struct Mute {
    received: usize,
    deadline: Pin<Box<Sleep>>,
}

/// An accepted connection that keeps its places until it ends.
pub struct LimitedStream {
    stream: Box<dyn Connection>,
    ends: TcpConnectInfo,
    /// Until the client said something.
    mute: Option<Mute>,
    _place: Place,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connected for LimitedStream {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.ends.clone()
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if let Some(mute) = &mut this.mute {
            mute.received += buffer.filled().len() - before;
            if mute.received >= PREFACE_BYTES {
                this.mute = None;
            } else if mute.deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client did not begin to speak",
                )));
            }
        }
        read
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_is_one_client() {
        let client = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), client("2001:db8:1:2:ffff::1"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
    }

    #[test]
    fn places_are_given_back() {
        let per_client = PerClient::default();
        let client = IpAddr::from([10, 0, 0, 1]);
        let first = Place::take(&per_client, client, 2).unwrap();
        let _second = Place::take(&per_client, client, 2).unwrap();
        assert!(Place::take(&per_client, client, 2).is_none());
        assert!(Place::take(&per_client, IpAddr::from([10, 0, 0, 2]), 2).is_some());
        drop(first);
        assert!(Place::take(&per_client, client, 2).is_some());
        drop(_second);
        assert!(per_client.lock().is_empty());
    }
}
