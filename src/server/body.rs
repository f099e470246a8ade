// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two bodies of a call: what a client sends, and what it is answered.
//!
//! A request body that is dropped before its end is read on and thrown away for a while
//! ([`DRAIN_TIME`]): a socket closed with unread bytes resets the connection, and the reset
//! overtakes the answer.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use super::error::ApiError;

/// How long the rest of a request is read after it was answered.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What goes wrong in the middle of an answer: the connection is cut without a last chunk.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// The body of an answer.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is there at once.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ReplyBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is sent piece by piece; an error cuts the connection. The sender learns that the
/// client has gone when nobody receives any more.
pub(crate) fn channel(pieces_ahead: usize) -> (mpsc::Sender<Result<Bytes, BodyError>>, ReplyBody) {
    let (sender, receiver) = mpsc::channel(pieces_ahead);
    (sender, ChannelBody(receiver).boxed_unsync())
}

struct ChannelBody(mpsc::Receiver<Result<Bytes, BodyError>>);

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|result| result.map(Frame::data)))
    }
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// `None` once it has been handed to the drain.
    incoming: Option<Incoming>,
    /// What [`Self::begin`] read ahead.
    ahead: Option<Result<Frame<Bytes>, hyper::Error>>,
    /// The client waits for `100 Continue` before it sends anything.
    withheld: bool,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, expects_continue: bool) -> Self {
        let ended = incoming.is_end_stream();
        Self { incoming: Some(incoming), ahead: None, withheld: expects_continue, ended }
    }

    /// Asks for the body before the answer is given, because hyper sends `100 Continue` only if
    /// somebody polls the body while no answer has begun.
    pub(crate) async fn begin(&mut self) {
        if self.ended || self.ahead.is_some() {
            return;
        }
        self.withheld = false;
        if let Some(incoming) = &mut self.incoming {
            let first = std::future::poll_fn(|cx| {
                Poll::Ready(match Pin::new(&mut *incoming).poll_frame(cx) {
                    Poll::Ready(frame) => Some(frame),
                    Poll::Pending => None,
                })
            });
            match first.await {
                Some(Some(frame)) => self.ahead = Some(frame),
                Some(None) => self.ended = true,
                // The connection's task has to see the demand before it sees the answer.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// The whole body, when it is at most `limit` bytes and arrives within `time`.
    pub(crate) async fn collect(mut self, limit: usize, time: Duration) -> Result<Bytes, ApiError> {
        let read = async {
            let mut first = Bytes::new();
            let mut rest = BytesMut::new();
            while let Some(frame) = self.frame().await {
                let frame = frame.map_err(|_| ApiError::body_timeout())?;
                let Ok(data) = frame.into_data() else { continue };
                if first.len() + rest.len() + data.len() > limit {
                    return Err(ApiError::body_too_large(limit));
                }
                if first.is_empty() {
                    first = data;
                } else {
                    rest.extend_from_slice(&data);
                }
            }
            if rest.is_empty() {
                return Ok(first);
            }
            Ok([first, rest.freeze()].concat().into())
        };
        timeout(time, read).await.unwrap_or_else(|_| Err(ApiError::body_timeout()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(frame));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.withheld = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ahead.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(mut rest) = self.incoming.take() else { return };
        // A client that waits for `100 Continue` sends nothing; asking would make it send.
        if self.ended || self.withheld {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(DRAIN_TIME, async move {
                while let Some(Ok(_)) = rest.frame().await {}
            }));
        }
    }
}
