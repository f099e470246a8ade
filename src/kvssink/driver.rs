// SPDX-License-Identifier: MIT OR Apache-2.0
//! Does what the producer asks for: one task per element, and one per PutMedia session, all on the
//! shared runtime.
//!
//! The driver task opens and aborts sessions, keeps the producer's timer, and tells the application
//! and upstream what happened. It ends when the element has stopped and everything is accounted
//! for. No task waits for the application: messages go out from the runtime's blocking threads.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use gst::{glib, prelude::*, subclass::prelude::*};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    KvsSink,
    body::Body,
    imp::CAT,
    messages,
    settings::Settings,
    uplink::{Drops, Notice, Uplink},
};
use crate::{
    ids::{StreamName, StreamRef},
    io::{Service, clock, runtime},
    producer::{Action, Event, SessionId, Warning},
    time::Timestamp,
    wire::{
        ServiceError, ServiceErrorKind,
        ack::AckParser,
        control::{ApiName, CreateStreamInput, StreamInfo, StreamStatus},
        put_media::{PutMediaHead, TimecodeType},
    },
};

/// Starts the driver. It uses the network when the producer has something to send.
///
/// # Errors
/// When a property names no service, or the system gives no threads.
pub(super) fn start(
    element: &KvsSink,
    uplink: Arc<Uplink>,
    settings: &Settings,
) -> Result<(), gst::ErrorMessage> {
    let name = settings.stream()?;
    let service = settings.connection.service().map_err(|error| {
        gst::error_msg!(gst::ResourceError::Settings, ["{error}; check the element's properties"])
    })?;
    let runtime = runtime::handle().map_err(|error| {
        gst::error_msg!(gst::ResourceError::NoSpaceLeft, ["cannot start threads: {error}"])
    })?;
    let remote = Remote {
        service,
        stream: StreamRef::Name(name.clone()),
        name,
        settings: settings.clone(),
        prepared: AtomicBool::new(false),
    };
    runtime.spawn(run(element.downgrade(), uplink, Arc::new(remote)));
    Ok(())
}

/// The stream at the service, and how it is to be used.
struct Remote {
    service: Service,
    stream: StreamRef,
    name: StreamName,
    settings: Settings,
    /// The stream is known to exist.
    prepared: AtomicBool,
}

/// What [`Action::OpenSession`] says.
struct Order {
    id: SessionId,
    start: Timestamp,
    acks: bool,
    fresh: bool,
}

async fn run(element: glib::WeakRef<KvsSink>, uplink: Arc<Uplink>, remote: Arc<Remote>) {
    let mut sessions: HashMap<SessionId, JoinHandle<()>> = HashMap::new();
    let _guard = Abandon(Arc::clone(&uplink));
    loop {
        let work = uplink.take_work();
        for action in work.actions {
            match action {
                Action::AbortSession(id) => {
                    sessions.remove(&id).inspect(JoinHandle::abort);
                }
                Action::OpenSession { id, start, acks, fresh } => {
                    sessions.retain(|_, task| !task.is_finished());
                    let order = Order { id, start, acks, fresh };
                    let (uplink, remote) = (Arc::clone(&uplink), Arc::clone(&remote));
                    sessions.insert(id, tokio::spawn(session(order, uplink, remote)));
                }
            }
        }
        if !work.notices.is_empty() {
            let (element, told) = (element.clone(), Arc::clone(&uplink));
            let tell = move || {
                if let Some(element) = element.upgrade() {
                    work.notices.iter().for_each(|notice| tell(&element, &told, notice));
                }
            };
            // Fails when a handler of the application panicked; that is reported by the panic.
            let _ = tokio::task::spawn_blocking(tell).await;
            uplink.set_told();
        }
        if uplink.is_done() {
            break;
        }
        match work.due {
            Some(due) => drop(timeout(due - clock::monotonic(), uplink.work()).await),
            None => uplink.work().await,
        }
    }
    sessions.values().for_each(JoinHandle::abort);
}

/// Lets go of those who wait for a driver that panicked.
struct Abandon(Arc<Uplink>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.0.is_done() {
            self.0.abandon();
        }
    }
}

/// Tells the application and upstream what happened.
fn tell(element: &KvsSink, uplink: &Uplink, notice: &Notice) {
    let imp = element.imp();
    let event = match notice {
        Notice::Connected(session) => return messages::connected(element, *session),
        Notice::Event(event) => event,
    };
    match event {
        Event::Drained(drained) => {
            let eos = (!uplink.is_stopped()).then(|| imp.eos_seqnum());
            messages::drained(element, *drained, eos);
        }
        Event::Dropped { cause, frames, bytes } => {
            messages::dropped(element, *cause, Drops { frames: *frames, bytes: *bytes });
        }
        Event::Error(error) => messages::error(element, error),
        Event::ForceKeyUnit(pad) => {
            if let Some(pad) = imp.pad(*pad) {
                gst::debug!(CAT, obj = pad, "asking upstream for a key frame");
                let event = gst_video::UpstreamForceKeyUnitEvent::builder();
                // Upstream need not know the event; then nothing comes of it.
                pad.push_event(event.all_headers(true).build());
            }
        }
        Event::FragmentAck { session, ack } => messages::fragment_ack(element, *session, ack),
        Event::Warning(warning) => {
            let pad = match warning {
                Warning::NoKeyFrame(pad)
                | Warning::TimeStep { pad, .. }
                | Warning::TrackSilent(pad) => imp.pad(*pad).map(|pad| pad.name()),
                Warning::AheadOfClock | Warning::Disconnected { .. } => None,
            };
            messages::warning(element, warning, pad.as_deref().unwrap_or_default());
        }
    }
}

/// Says exactly once how a session ended, also when its task is aborted or panics.
struct Ending {
    uplink: Arc<Uplink>,
    id: SessionId,
    result: Result<(), ServiceError>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(()));
        self.uplink.session_ended(self.id, result);
    }
}

/// One PutMedia request, from finding its endpoint to the end of its response.
async fn session(order: Order, uplink: Arc<Uplink>, remote: Arc<Remote>) {
    let given_up = Err(failure(ServiceErrorKind::Cut, "the session was given up".to_owned()));
    let mut ending = Ending { uplink: Arc::clone(&uplink), id: order.id, result: given_up };
    let result = remote.upload(&order, &uplink).await;
    if result.is_err() {
        remote.service.forget_data_endpoints();
    }
    ending.result = result;
}

fn failure(kind: ServiceErrorKind, message: String) -> ServiceError {
    ServiceError { operation: "PutMedia", kind, code: None, message }
}

impl Remote {
    async fn upload(&self, order: &Order, uplink: &Arc<Uplink>) -> Result<(), ServiceError> {
        if order.fresh || !self.prepared.load(SeqCst) {
            let retention_h = self.prepare(uplink).await?;
            uplink.set_persistence(self.settings.persistence(retention_h));
            self.prepared.store(true, SeqCst);
        }
        let endpoint = self.service.data_endpoint(&self.stream, ApiName::PutMedia).await?;
        let head = PutMediaHead {
            stream: self.stream.clone(),
            timecode_type: TimecodeType::Absolute,
            start: Some(order.start),
            acks: order.acks,
        };
        let body = Body::new(Arc::clone(uplink), order.id);
        let mut response = self.service.put_media(&endpoint, &head, body).await?;
        uplink.session_started(order.id);
        let mut parser = AckParser::default();
        while let Some(chunk) = response.chunk().await? {
            parser.push(&chunk);
            let protocol = |error| failure(ServiceErrorKind::Protocol, format!("{error}"));
            while let Some(ack) = parser.pull().map_err(protocol)? {
                uplink.handle_ack(order.id, ack);
            }
        }
        Ok(())
    }

    /// Makes sure that the stream exists; returns its retention in hours.
    async fn prepare(&self, uplink: &Uplink) -> Result<u32, ServiceError> {
        let info = match self.service.describe_stream(&self.stream).await {
            Err(error) if error.kind == ServiceErrorKind::NotFound => {
                if !self.settings.allow_create_stream {
                    return Err(error);
                }
                self.create(uplink).await?;
                self.service.describe_stream(&self.stream).await?
            }
            // A producer may well be allowed to upload and not to describe.
            Err(error) if error.kind == ServiceErrorKind::NotAuthorized => StreamInfo::default(),
            info => info?,
        };
        match info.status {
            Some(StreamStatus::Creating | StreamStatus::Deleting) => Err(ServiceError {
                operation: "DescribeStream",
                kind: ServiceErrorKind::InUse,
                code: None,
                message: format!("stream {} is being created or deleted", self.name),
            }),
            _ => Ok(info.data_retention_in_hours.unwrap_or(self.settings.retention_period_h)),
        }
    }

    async fn create(&self, uplink: &Uplink) -> Result<(), ServiceError> {
        let input = CreateStreamInput {
            device_name: None,
            stream_name: self.name.clone(),
            media_type: Some(uplink.media_type()).filter(|text| !text.is_empty()),
            kms_key_id: None,
            data_retention_in_hours: Some(self.settings.retention_period_h),
            tags: None,
        };
        match self.service.create_stream(&input).await {
            // Somebody was faster.
            Err(error) if error.kind == ServiceErrorKind::InUse => Ok(()),
            created => created.map(|_| ()),
        }
    }
}
