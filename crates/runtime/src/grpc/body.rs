//! Bodies of requests and answers, counted as they pass through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dac_proto::reason::Reason;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use super::methods::Kind;
use super::port::{Call, Unread};

/// The bytes before a message: a compression flag and the message's length.
const HEAD_BYTES: usize = 5;

/// Detects the end of a request's first message.
#[derive(Debug, Default)]
struct FirstMessage {
    head: [u8; HEAD_BYTES],
    received: usize,
}

impl FirstMessage {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(head) = self.head.get_mut(self.received..) {
            let known = head.len().min(bytes.len());
            head[..known].copy_from_slice(&bytes[..known]);
        }
        self.received = self.received.saturating_add(bytes.len());
    }

    /// The message's length with its head, once it is known.
    fn length(&self) -> Option<usize> {
        let [_, length @ ..] = self.head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        (self.received >= HEAD_BYTES).then_some(length)
    }

    fn is_whole(&self) -> bool {
        self.length().is_some_and(|length| self.received - HEAD_BYTES >= length)
    }
}

/// A request's body as it arrives.
pub(super) struct RequestBody {
    body: Body,
    call: Arc<Call>,
    first: FirstMessage,
    has_arrived: bool,
}

impl RequestBody {
    pub(super) fn new(body: Body, call: Arc<Call>) -> Self {
        Self { body, call, first: FirstMessage::default(), has_arrived: false }
    }

    fn received(&mut self, bytes: &[u8]) -> Result<(), Status> {
        self.first.push(bytes);
        let limit = self.call.method().request_max_bytes;
        if !self.has_arrived
            && let Some(length) = self.first.length().filter(|length| *length > limit)
        {
            let message =
                format!("a request of this method has at most {limit} bytes, this one has {length}");
            // The status that a service itself would return for this.
            return Err(Status::out_of_range(message));
        }
        self.call.received(self.first.received)?;
        if self.first.is_whole() {
            self.arrived();
        }
        Ok(())
    }

    fn arrived(&mut self) {
        if !std::mem::replace(&mut self.has_arrived, true) {
            self.call.arrived();
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref()
                    && let Err(status) = self.received(bytes)
                {
                    return Poll::Ready(Some(Err(status)));
                }
            }
            // Complete or not, no more of the request will come.
            Poll::Ready(None) => self.arrived(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer, with the record that the client has not read it. The transport drops both
/// when it has written the piece.
struct Piece {
    bytes: Bytes,
    _unread: Unread,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// When an answer ends before its service ends it.
enum End {
    /// It never ends early.
    Never,
    /// It ends when the process is about to stop, because nothing should wait for an answer without
    /// an end.
    Stopping(Pin<Box<WaitForCancellationFutureOwned>>),
    /// It ends when the process is about to stop, or after a time.
    StoppingOrLate(Pin<Box<WaitForCancellationFutureOwned>>, Pin<Box<Sleep>>),
}

impl End {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let (stopping, late) = match self {
            Self::Never => return Poll::Pending,
            Self::Stopping(stopping) => (stopping, None),
            Self::StoppingOrLate(stopping, late) => (stopping, Some(late)),
        };
        if stopping.as_mut().poll(context).is_ready() {
            return Poll::Ready(Reason::ShuttingDown.status("this process is stopping"));
        }
        match late.map(|late| late.as_mut().poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(Reason::TimedOut.status("the call took too long")),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

/// An answer's body as it goes out.
pub(super) struct AnswerBody {
    body: Body,
    call: Arc<Call>,
    end: End,
    has_ended: bool,
}

impl AnswerBody {
    pub(super) fn new(body: Body, call: Arc<Call>) -> Self {
        let port = call.port();
        let stopping = || Box::pin(port.stop().clone().cancelled_owned());
        let (kept, end) = match call.method().kind {
            Kind::Unary | Kind::Upload => (0, End::Never),
            // The reserved memory stays, because one more piece is being made all the time.
            Kind::Download => (call.method().answer_bytes, End::Never),
            Kind::Watch => (call.method().answer_bytes, End::Stopping(stopping())),
            Kind::Conversation => {
                let late = Box::pin(tokio::time::sleep(port.times().call));
                (call.method().answer_bytes, End::StoppingOrLate(stopping(), late))
            }
        };
        call.answered(kept);
        Self { body, call, end, has_ended: false }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame.map_data(|bytes| {
                if bytes.is_empty() {
                    return bytes;
                }
                let unread = this.call.hand_over(bytes.len());
                Bytes::from_owner(Piece { bytes, _unread: unread })
            })))),
            Poll::Pending => this
                .end
                .poll(context)
                .map(|status| {
                    this.has_ended = true;
                    let mut trailers = HeaderMap::new();
                    status.add_header(&mut trailers)?;
                    Ok(Frame::trailers(trailers))
                })
                .map(Some),
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_ends_where_its_head_says() {
        let message = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 1], b"d"].concat();
        for size in 1..=message.len() {
            let mut first = FirstMessage::default();
            for piece in message.chunks(size) {
                let before = first.received;
                first.push(piece);
                assert_eq!(first.length(), (before + piece.len() >= 5).then_some(3), "pieces of {size}");
                assert_eq!(first.is_whole(), before + piece.len() >= 8, "pieces of {size}");
            }
        }
        let mut empty = FirstMessage::default();
        empty.push(&[0; 5]);
        assert!(empty.is_whole());
    }
}
