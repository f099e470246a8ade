// SPDX-License-Identifier: MIT OR Apache-2.0
//! The response of PutMedia: one ack is one HTTP chunk is one write.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

/// Acks that wait for a client that does not read; then its upload waits too.
const WAITING_ACKS: usize = 1024;

/// The body of the response. It ends when the session has.
#[derive(Debug)]
pub(crate) struct AckBody {
    acks: mpsc::Receiver<Bytes>,
    /// An ack was given out and nothing since.
    gave: bool,
}

pub(super) fn channel() -> (mpsc::Sender<Bytes>, AckBody) {
    let (sender, acks) = mpsc::channel(WAITING_ACKS);
    (sender, AckBody { acks, gave: false })
}

impl Body for AckBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // hyper gathers frames until one is not ready, then writes. Several AWS clients parse
        // what one read of the socket gives, so every ack has to be written by itself.
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.acks.poll_recv(cx);
        self.gave = matches!(polled, Poll::Ready(Some(_)));
        polled.map(|ack| ack.map(|ack| Ok(Frame::data(ack))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_ready_after_each_ack() {
        let (sender, mut body) = channel();
        for ack in ["a", "b"] {
            sender.try_send(Bytes::from(ack)).unwrap();
        }
        drop(sender);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut seen = Vec::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => seen.push(frame.into_data().unwrap()),
                Poll::Pending => seen.push(Bytes::new()),
                Poll::Ready(_) => break,
            }
        }
        assert_eq!(seen, ["a", "", "b", ""]);
    }
}
