// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetMedia: fragments out, each a Matroska document of its own.
//!
//! ```text
//! head (EBML header, Segment, Info, Tracks, ...)   producer's bytes
//! Tags: number, server time, producer time         ours
//! Cluster, and what followed it                    producer's bytes
//! Tags: how far behind, continuation token         ours
//! ```
//!
//! Fragments come strictly in the order of their numbers; one in progress is passed on while it
//! arrives, whole blocks at a time. The response ends at a fragment's border when nothing has come
//! for a while, when it has lasted for as long as one may, or when the server drains. It ends
//! inside a fragment, without the tail tags that make one complete, when the fragment's producer
//! was cut or fell silent, or the stream was deleted.

mod body;
mod start;
pub(super) mod tags;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;

use self::{
    body::{MediaBody, Out},
    tags::Failure,
};
use super::{
    body::ReplyBody,
    error::ApiError,
    relay::{Hub, Live, Next, Phase},
    service::Service,
    store::{FragmentMeta, Number, Stream},
};
use crate::{
    io::clock,
    wire::{control::GetMediaInput, get_media::StartSelector},
};

/// GetMedia: a body that follows the stream from where `input` says.
///
/// # Errors
/// 404 when there is no such stream.
pub(crate) fn open(service: &Arc<Service>, input: GetMediaInput) -> Result<ReplyBody, ApiError> {
    let stream = service.stream(&input.stream)?;
    let hub = service.relay.hub(&stream);
    let reading = Reading { service: service.clone(), hub, stream };
    let selector = input.start_selector;
    let body = MediaBody::new(|out| async move { reading.follow(&selector, &Sink { out }).await });
    Ok(body.map_err(|never| match never {}).boxed_unsync())
}

/// Whether to go on after a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

/// One consumer.
struct Reading {
    service: Arc<Service>,
    hub: Arc<Hub>,
    stream: Stream,
}

impl Reading {
    async fn follow(&self, selector: &StartSelector, sink: &Sink) {
        let end = clock::monotonic() + self.service.config.limits.session_length;
        let mut position = match self.start(selector).await {
            Ok(Some(position)) => position,
            Ok(None) => return,
            Err(number) => return sink.out.send(tags::failed(number, Failure::NotFound)).await,
        };
        while clock::monotonic() < end {
            let Some(next) = self.next(position).await else { return };
            position = next.number();
            let flow = match next {
                Next::Live(live) => self.pass_on(&live, sink).await,
                Next::Stored(meta) => self.read(&meta, sink).await,
            };
            if flow == Flow::End || self.service.drain.is_requested() {
                return;
            }
        }
    }

    /// The fragment after `position`; `None` when there is none for too long.
    async fn next(&self, position: Number) -> Option<Next> {
        let find = || match self.hub.next_after(&self.service.store, position) {
            Ok(next) => Ok(next),
            Err(error) => {
                tracing::error!(%error, "GetMedia ends");
                Err(())
            }
        };
        self.wait_for(find).await
    }

    /// Looks with `find` now and at every change of the hub, until it finds something, fails, or
    /// nothing is found for too long.
    async fn wait_for<T>(&self, mut find: impl FnMut() -> Result<Option<T>, ()>) -> Option<T> {
        let mut drain = self.service.drain.clone();
        let idle = tokio::time::sleep(self.service.config.limits.consumer_idle);
        tokio::pin!(idle);
        loop {
            // Made before the look, so that no change in between is missed.
            let changed = self.hub.changed();
            if let Some(found) = find().ok()? {
                return Some(found);
            }
            tokio::select! {
                () = changed => {}
                () = &mut idle => return None,
                () = drain.requested() => return None,
                () = self.stream.deleted() => return None,
            }
        }
    }

    /// Passes a fragment on while it arrives.
    async fn pass_on(&self, live: &Live, sink: &Sink) -> Flow {
        let (start, number) = (&live.start, live.number.to_fragment_number());
        sink.out.send(start.head.clone()).await;
        sink.out.send(tags::head(number.clone(), start.server, start.producer)).await;
        let mut sent = 0;
        loop {
            let changed = live.changed();
            let (pieces, phase) = live.body_from(sent);
            if phase == Phase::Cut || self.stream.is_deleted() {
                return Flow::End;
            }
            if pieces.is_empty() {
                if let Phase::Complete { length_ms } = phase {
                    let tail = tags::tail(&number, start.server, length_ms, clock::wall());
                    sink.out.send(tail).await;
                    return Flow::GoOn;
                }
                let idle = self.service.config.limits.consumer_idle;
                tokio::select! {
                    () = changed => {}
                    () = self.stream.deleted() => {}
                    () = tokio::time::sleep(idle) => return Flow::End,
                }
            }
            sent += pieces.len();
            for piece in pieces {
                sink.out.send(piece).await;
            }
        }
    }

    /// Gives out a stored fragment. One that has gone meanwhile is passed over.
    async fn read(&self, meta: &FragmentMeta, sink: &Sink) -> Flow {
        let number = meta.number.to_fragment_number();
        match self.service.store.read_fragment(&self.stream, meta.number).await {
            Ok(Some(found)) => {
                let tags = tags::head(number.clone(), meta.server, meta.producer);
                sink.whole(meta, found.pieces, tags).await;
                let tail = tags::tail(&number, meta.server, meta.length_ms, clock::wall());
                sink.out.send(tail).await;
                Flow::GoOn
            }
            Ok(None) if self.stream.is_deleted() => Flow::End,
            Ok(None) => Flow::GoOn,
            Err(error) => {
                tracing::error!(stream = %self.stream.meta().name, %error, "GetMedia ends");
                sink.out.send(tags::failed(number, Failure::Internal)).await;
                Flow::End
            }
        }
    }
}

/// Where documents go.
struct Sink {
    out: Out,
}

impl Sink {
    /// A whole fragment with `tags` between its head and its body.
    async fn whole(&self, meta: &FragmentMeta, pieces: Vec<Bytes>, tags: Bytes) {
        let mut head_left = usize::try_from(meta.head_len).unwrap_or(usize::MAX);
        let mut tags = Some(tags);
        for mut piece in pieces {
            if head_left > 0 {
                let part = piece.split_to(head_left.min(piece.len()));
                head_left -= part.len();
                self.out.send(part).await;
            }
            if head_left == 0
                && let Some(tags) = tags.take()
            {
                self.out.send(tags).await;
            }
            if !piece.is_empty() {
                self.out.send(piece).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
