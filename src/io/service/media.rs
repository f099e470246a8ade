// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bodies that last: the response of a media operation, and a request body that can be stopped.

use std::{
    error::Error,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::failure::Call;
use crate::wire::{ServiceError, ServiceErrorKind};

/// The body of a media operation's response, in pieces as they arrive. Dropping it closes the
/// connection, and with it the request body when there is one.
#[derive(Debug)]
pub struct MediaResponse {
    response: reqwest::Response,
    call: Call,
    /// Dropped to stop the request body.
    stop: Option<Stop>,
}

impl MediaResponse {
    pub(super) fn new(response: reqwest::Response, call: Call, stop: Option<Stop>) -> Self {
        Self { response, call, stop }
    }

    /// The next piece; `None` at the end. Safe to cancel.
    ///
    /// # Errors
    /// [`ServiceErrorKind::Cut`] when the connection broke before the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ServiceError> {
        let chunk = self.response.chunk().await;
        if !matches!(chunk, Ok(Some(_))) {
            self.stop = None;
        }
        chunk.map_err(|error| {
            let kind = ServiceErrorKind::Cut;
            ServiceError { kind, ..self.call.transport(&error) }
        })
    }
}

/// Stops a request body when it is dropped.
pub(super) type Stop = oneshot::Sender<std::convert::Infallible>;

/// A request body with a way to stop it. Some services answer as a whole and then keep reading:
/// nobody would be there to take note of what is sent on.
pub(super) fn stoppable<B>(body: B) -> (reqwest::Body, Stop)
where
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (stop, stopped) = oneshot::channel();
    (reqwest::Body::wrap(Stoppable { body: Box::pin(body), stopped }), stop)
}

struct Stoppable<B> {
    body: Pin<Box<B>>,
    stopped: oneshot::Receiver<std::convert::Infallible>,
}

impl<B> Body for Stoppable<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // An error, not an end: the service must not take for whole what was cut here.
        if pin!(&mut self.stopped).poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the response is over".into())));
        }
        self.body.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
