// SPDX-License-Identifier: MIT OR Apache-2.0
//! A response body that a future writes into.
//!
//! The future runs when the body is polled, in the connection's own task: it goes no faster than
//! the client reads, and ends with the connection.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

/// Pieces between the future and the connection.
const PIECES: usize = 8;

/// Where the future writes to.
#[derive(Clone, Debug)]
pub(super) struct Out(mpsc::Sender<Bytes>);

impl Out {
    /// Waits until the client has taken enough of what came before.
    pub(super) async fn send(&self, piece: Bytes) {
        // The receiver lives as long as the future: both are fields of the body.
        drop(self.0.send(piece).await);
    }
}

/// The body. It ends when the future does.
pub(super) struct MediaBody {
    pieces: mpsc::Receiver<Bytes>,
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl MediaBody {
    pub(super) fn new<F>(work: impl FnOnce(Out) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(PIECES);
        Self { pieces, work: Some(Box::pin(work(Out(sender)))) }
    }
}

impl fmt::Debug for MediaBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaBody").field("ended", &self.work.is_none()).finish_non_exhaustive()
    }
}

impl Body for MediaBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(Some(piece)) = self.pieces.poll_recv(cx) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
