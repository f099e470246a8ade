// SPDX-License-Identifier: MIT OR Apache-2.0
//! The body of one PutMedia request, pulled straight from the producer.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Sleep, sleep};

use super::uplink::Uplink;
use crate::producer::{SessionId, Transmit};

/// Bodies that were given bytes just now wait so long before they look for more: frames that come
/// thick and fast share a wake-up and a write; those that come slowly are sent at once.
const MODERATION: Duration = Duration::from_millis(1);
/// More than this is a write of its own: whoever got it asks for more at once.
const FULL_BATCH: usize = 64 * 1024;

/// See the module. Ends, waits and fails as the producer says.
pub(super) struct Body {
    uplink: Arc<Uplink>,
    session: SessionId,
    pieces: VecDeque<Bytes>,
    /// Bytes that the producer gave at once the last time.
    batch: usize,
    /// Runs from when bytes were handed over to when the next wake-up may be asked for.
    quiet: Option<Pin<Box<Sleep>>>,
    sent: bool,
}

/// The producer gave the session up.
#[derive(Debug, thiserror::Error)]
#[error("the session was given up")]
pub(super) struct GivenUp;

impl Body {
    pub(super) fn new(uplink: Arc<Uplink>, session: SessionId) -> Self {
        Self { uplink, session, pieces: VecDeque::new(), batch: 0, quiet: None, sent: false }
    }

    /// Ready when the time since the last bytes is long enough.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.sent) {
            self.quiet = Some(Box::pin(sleep(MODERATION)));
        }
        if let Some(quiet) = &mut self.quiet {
            ready!(quiet.as_mut().poll(context));
            self.quiet = None;
        }
        Poll::Ready(())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let this = &mut *self;
        let mut waker = None;
        loop {
            if let Some(piece) = this.pieces.pop_front() {
                this.sent = true;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            // Else small frames that come faster than they are written would get a write each, and
            // the pads would wait for the lock.
            if this.batch < FULL_BATCH {
                ready!(this.poll_quiet(context));
            }
            match this.uplink.transmit(this.session, &mut this.pieces, waker) {
                Transmit::Abort => return Poll::Ready(Some(Err(GivenUp))),
                Transmit::Data => this.batch = this.pieces.iter().map(Bytes::len).sum(),
                Transmit::End => return Poll::Ready(None),
                Transmit::Wait if waker.is_some() => return Poll::Pending,
                Transmit::Wait => {
                    ready!(this.poll_quiet(context));
                    waker = Some(context.waker());
                }
            }
        }
    }
}
