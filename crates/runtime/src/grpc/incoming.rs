//! Accepts connections within a port's limits, and closes those whose clients send nothing, read
//! nothing, or lost their place to another client.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval, sleep, sleep_until};
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::accept::{Acceptor, Connection};
use super::port::{Cause, Place, Port};

/// The bytes with which every HTTP/2 client begins, with or without TLS. A client that sent as many
/// is not mute.
const PREFACE_BYTES: usize = 24;
/// How long to wait after the system refused to accept a connection, mostly for lack of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often connections are checked for clients that do not read.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The most connections that are refused in a row before other tasks get their turn.
const REFUSALS_IN_A_ROW: u32 = 64;

/// The stream of accepted connections, for [`super::serve`].
#[derive(Debug)]
pub struct Incoming {
    listener: Acceptor,
    port: Port,
    /// How long a connection may live, if that is limited.
    age_max: Option<Duration>,
    pause: Option<Pin<Box<Sleep>>>,
    looks: Option<Interval>,
}

impl Incoming {
    /// Accepts connections from a bound listener.
    pub fn new(listener: impl Into<Acceptor>, port: &Port) -> Self {
        Self { listener: listener.into(), port: port.clone(), age_max: None, pause: None, looks: None }
    }

    /// Ends each connection at this age, even in the middle of a request. It is meant for protocols
    /// whose requests have no limits of their own.
    #[must_use]
    pub fn with_age_max(mut self, age_max: Duration) -> Self {
        self.age_max = Some(age_max);
        self
    }

    pub(super) const fn port(&self) -> &Port {
        &self.port
    }

    /// The address on which it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the next connection that has a place.
    pub(crate) fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<LimitedStream> {
        let looks = self.looks.get_or_insert_with(|| {
            let mut looks = interval(LOOK_INTERVAL);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        while looks.poll_tick(context).is_ready() {
            self.port.look_after();
        }
        for _ in 0..REFUSALS_IN_A_ROW {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let (stream, peer) = match ready!(self.listener.poll_accept(context)) {
                Ok(accepted) => accepted,
                Err(error) => {
                    // The listener itself works: the connection went away, or the process is out of
                    // descriptors.
                    self.port.accept_failed(&error);
                    self.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                    continue;
                }
            };
            if let Some(place) = self.port.enter(peer) {
                let ends =
                    TcpConnectInfo { local_addr: self.listener.local_addr().ok(), remote_addr: Some(peer) };
                return Poll::Ready(LimitedStream::new(stream, ends, place, self.age_max));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Stream for Incoming {
    type Item = io::Result<LimitedStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(context).map(|stream| Some(Ok(stream)))
    }
}

#[derive(Debug)]
struct Mute {
    received: usize,
    deadline: Pin<Box<Sleep>>,
}

/// An accepted connection that keeps its place until it ends.
pub struct LimitedStream {
    stream: Box<dyn Connection>,
    ends: TcpConnectInfo,
    /// The time limit for the client's first bytes; `None` once they came.
    mute: Option<Mute>,
    /// The time limit while the client's side takes no bytes.
    stalled: Option<Pin<Box<Sleep>>>,
    old: Option<Pin<Box<Sleep>>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    place: Place,
}

impl LimitedStream {
    fn new(
        stream: Box<dyn Connection>,
        ends: TcpConnectInfo,
        place: Place,
        age_max: Option<Duration>,
    ) -> Self {
        let deadline = Instant::now() + *place.port().limits().handshake_timeout;
        Self {
            stream,
            ends,
            mute: Some(Mute { received: 0, deadline: Box::pin(sleep_until(deadline)) }),
            stalled: None,
            old: age_max.map(|age| Box::pin(sleep(age))),
            closed: Box::pin(place.close().clone().cancelled_owned()),
            place,
        }
    }

    /// The address of the client that opened it.
    pub(crate) const fn peer(&self) -> SocketAddr {
        self.place.peer()
    }

    /// Fails if the connection must end.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection lost its place"));
        }
        if self.old.as_mut().is_some_and(|old| old.as_mut().poll(context).is_ready()) {
            self.old = None;
            return Err(self.gives_up(Cause::Age, "the connection lived as long as it may"));
        }
        Ok(())
    }

    fn gives_up(&self, cause: Cause, why: &'static str) -> io::Error {
        self.place.port().gave_up(cause, self.place.peer());
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    /// Notes for how long the client's side has taken nothing.
    fn watch_write<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = *self.place.port().limits().write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(self.gives_up(Cause::Unread, "the client takes no bytes")))
    }
}

impl fmt::Debug for LimitedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("LimitedStream").field(&self.place.peer()).finish()
    }
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
        this.check(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if let Some(mute) = &mut this.mute {
            mute.received += buffer.filled().len() - before;
            if mute.received >= PREFACE_BYTES {
                this.mute = None;
            } else if mute.deadline.as_mut().poll(context).is_ready() {
                this.mute = None;
                return Poll::Ready(Err(this.gives_up(Cause::Mute, "the client did not begin to speak")));
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
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(context, written)
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
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
