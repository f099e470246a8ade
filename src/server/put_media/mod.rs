// SPDX-License-Identifier: MIT OR Apache-2.0
//! PutMedia: a producer's body in, acks out, fragments to the relay and to the store.
//!
//! [`open`] takes a producer's place; [`Opened::run`] lets a task of its own do the work, so that
//! acks flow while the body is still being sent. The task ends, and with it the response, at the end of the
//! body, at a fault, at silence, at the end of the session, or when the server drains; always
//! after every complete fragment has been stored and acked. What was in progress then is cut:
//! neither stored nor acked any further.

mod acks;
mod ingest;
mod timers;

use std::{collections::VecDeque, fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use self::{
    acks::AckBody,
    ingest::{Fault, Ingest, Step},
    timers::{Due, Timers},
};
use super::{
    body::ReplyBody,
    error::ApiError,
    relay::{Completed, Session, Start},
    service::Service,
    store::{StoreError, Stored, Stream},
};
use crate::{
    io::clock,
    wire::{
        ack::{self, AckEvent},
        error_id,
        put_media::PutMediaHead,
    },
};

/// Bytes on their way to the store before the producer has to wait.
const MAX_STORING_BYTES: u64 = 64 << 20;
/// Fragments on their way to the store before the producer has to wait.
const MAX_STORING: usize = 256;

/// Takes a producer's place.
///
/// # Errors
/// 404 when there is no such stream, ConnectionLimitExceededException when all places are taken.
pub(crate) fn open(service: &Arc<Service>, head: &PutMediaHead) -> Result<Opened, ApiError> {
    let stream = service.stream(&head.stream)?;
    let (now, limits) = (clock::monotonic(), &service.config.limits);
    let session = service
        .relay
        .hub(&stream)
        .open_session(limits.producers_per_stream, now)
        .map_err(|error| ApiError::connection_limit(error.to_string()))?;
    let (sender, acks) = acks::channel();
    let upload = Upload {
        ingest: Ingest::new(limits, head.timecode_type, head.start.unwrap_or_default()),
        timers: Timers::new(limits, now),
        service: service.clone(),
        stream,
        session,
        storing: Storing::default(),
        acks: sender,
        acks_wanted: head.acks,
    };
    Ok(Opened { upload, acks })
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// All is said.
    Clean,
    /// An ERROR ack has to be sent.
    Fault(Fault),
}

impl End {
    fn fault(id: u32, reason: impl fmt::Display) -> Self {
        Self::Fault(Fault { id, timecode: None, reason: reason.to_string() })
    }
}

/// Whether to go on with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

/// A session.
struct Upload {
    ingest: Ingest,
    timers: Timers,
    service: Arc<Service>,
    stream: Stream,
    session: Session,
    storing: Storing,
    acks: mpsc::Sender<Bytes>,
    acks_wanted: bool,
}

/// An [`Upload`] and the response that will carry its acks.
pub(crate) struct Opened {
    upload: Upload,
    acks: AckBody,
}

impl Opened {
    /// Receives `body` in a task of its own and gives the body of the response.
    pub(crate) fn run<B>(self, body: B) -> ReplyBody
    where
        B: Body<Data = Bytes, Error: fmt::Display + Send> + Send + Unpin + 'static,
    {
        tokio::spawn(self.upload.receive_all(body));
        self.acks.map_err(|never| match never {}).boxed_unsync()
    }
}

impl Upload {
    async fn receive_all<B>(mut self, mut body: B)
    where
        B: Body<Data = Bytes, Error: fmt::Display + Send> + Send + Unpin + 'static,
    {
        let end = match self.receive(&mut body).await {
            Ok(end) => end,
            Err(error) => End::fault(5001, error),
        };
        let number = self.session.open().map(|live| live.number.to_fragment_number());
        let timecode = self.session.open().map(|live| live.start.timecode);
        self.session.cut();
        let end = match self.store_rest().await {
            Err(error) if matches!(end, End::Clean) => End::fault(5001, error),
            _ => end,
        };
        if let End::Fault(fault) = end {
            let name = self.stream.meta().name.clone();
            tracing::warn!(stream = %name, id = fault.id, reason = fault.reason, "PutMedia ended");
            let known = fault.timecode.is_none() || fault.timecode == timecode;
            self.send(&AckEvent::Error {
                timecode: fault.timecode.or(timecode),
                number: number.filter(|_| known),
                id: fault.id,
                code: error_id::find(fault.id).map_or("", |entry| entry.name).to_owned(),
            })
            .await;
        }
    }

    /// Receives until the session is over. Fails when a fragment cannot be stored.
    async fn receive<B>(&mut self, body: &mut B) -> Result<End, StoreError>
    where
        B: Body<Data = Bytes, Error: fmt::Display + Send> + Send + Unpin + 'static,
    {
        let mut drain = self.service.drain.clone();
        let stream = self.stream.clone();
        let deleted = stream.deleted();
        tokio::pin!(deleted);
        loop {
            if drain.is_requested() && self.session.open().is_none() {
                return Ok(End::Clean);
            }
            let wait = self.timers.next() - clock::monotonic();
            tokio::select! {
                () = &mut deleted => return Ok(End::fault(4008, "the stream was deleted")),
                stored = self.storing.next() => self.stored(stored?).await,
                frame = body.frame(), if !self.storing.is_full() => match frame {
                    None => return self.finish().await,
                    Some(Err(error)) => return Ok(End::fault(4000, error)),
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        if let Some(end) = self.data(data).await {
                            return Ok(end);
                        }
                    }
                },
                () = self.session.replaced() => {
                    return Ok(End::fault(4000, "silent, and another producer took its place"));
                }
                () = drain.requested(), if !drain.is_requested() => {}
                () = tokio::time::sleep(wait) => {
                    if let Some(end) = self.time().await {
                        return Ok(end);
                    }
                }
            }
        }
    }

    async fn data(&mut self, data: Bytes) -> Option<End> {
        let now = clock::monotonic();
        self.timers.heard(now);
        self.session.heard(now);
        let (steps, result) = self.ingest.push(data);
        match self.perform(steps).await {
            Flow::End => Some(End::Clean),
            Flow::GoOn => result.err().map(End::Fault),
        }
    }

    async fn finish(&mut self) -> Result<End, StoreError> {
        let (steps, result) = self.ingest.finish();
        self.perform(steps).await;
        Ok(result.map_or_else(End::Fault, |()| End::Clean))
    }

    async fn time(&mut self) -> Option<End> {
        match self.timers.due(clock::monotonic())? {
            Due::IdleAck => {
                self.acknowledge(AckEvent::Idle { timecode: None }).await;
                None
            }
            Due::Silent if self.session.open().is_some() => {
                Some(End::fault(4000, "silent inside a fragment"))
            }
            Due::Silent => Some(End::Clean),
            Due::SessionEnd => Some(End::fault(4003, "the session has lasted long enough")),
        }
    }

    /// Performs steps; when the server drains, only up to the end of the fragment in progress.
    async fn perform(&mut self, steps: Vec<Step>) -> Flow {
        for step in steps {
            match step {
                Step::Begin { timecode, producer, head } => {
                    // Consumers are told milliseconds and select by what they were told.
                    let server = clock::wall().floor_to_millis();
                    let producer = producer.floor_to_millis();
                    let start = Start { server, producer, timecode, head };
                    let number = self.session.begin(start).number.to_fragment_number();
                    self.acknowledge(AckEvent::Buffering { timecode, number }).await;
                }
                Step::Data(piece) => self.session.push(piece),
                Step::Complete { length_ms } => {
                    let Some(mut completed) = self.session.complete(length_ms) else { continue };
                    let timecode = completed.meta.timecode;
                    let number = completed.meta.number.to_fragment_number();
                    let pieces = std::mem::take(&mut completed.pieces);
                    let future = self.service.store.append(&self.stream, completed.meta, pieces);
                    self.storing.push(completed, Box::pin(future));
                    self.acknowledge(AckEvent::Received { timecode, number }).await;
                    if self.service.drain.is_requested() {
                        return Flow::End;
                    }
                }
            }
        }
        Flow::GoOn
    }

    /// Waits for all complete fragments.
    async fn store_rest(&mut self) -> Result<(), StoreError> {
        while !self.storing.is_empty() {
            let stored = self.storing.next().await?;
            self.stored(stored).await;
        }
        Ok(())
    }

    async fn stored(&mut self, (completed, stored): (Completed, Stored)) {
        let (timecode, number) = (completed.meta.timecode, completed.meta.number);
        drop(completed);
        if stored == Stored::Durable {
            let number = number.to_fragment_number();
            self.acknowledge(AckEvent::Persisted { timecode, number }).await;
        }
    }

    /// Sends an ack, unless the producer wants none.
    async fn acknowledge(&mut self, event: AckEvent) {
        if self.acks_wanted {
            self.send(&event).await;
        }
    }

    async fn send(&mut self, event: &AckEvent) {
        // A producer that has gone needs no ack; its body says so soon.
        drop(self.acks.send(ack::encode(event).into()).await);
    }
}

type StoreFuture = Pin<Box<dyn Future<Output = Result<Stored, StoreError>> + Send>>;

/// Fragments on their way to the store, in order.
#[derive(Default)]
struct Storing {
    queue: VecDeque<(Completed, StoreFuture)>,
    bytes: u64,
}

impl Storing {
    fn push(&mut self, completed: Completed, future: StoreFuture) {
        self.bytes += completed.meta.size();
        self.queue.push_back((completed, future));
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes > MAX_STORING_BYTES || self.queue.len() >= MAX_STORING
    }

    /// The first one, when it is stored. Never resolves when there is none. Cancel-safe.
    async fn next(&mut self) -> Result<(Completed, Stored), StoreError> {
        let Some((_, future)) = self.queue.front_mut() else {
            return std::future::pending().await;
        };
        let stored = future.await;
        // The future has resolved, so the pair leaves the queue in any case.
        let Some((completed, _)) = self.queue.pop_front() else {
            return Err(StoreError::Closed);
        };
        self.bytes -= completed.meta.size();
        Ok((completed, stored?))
    }
}

#[cfg(test)]
mod tests;
