// SPDX-License-Identifier: MIT OR Apache-2.0
//! One request pad: GStreamer's events, queries and buffers in, tracks and frames out.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    caps::{self, PadKind},
    imp::KvsSink,
    memory::Held,
    uplink::{Incoming, Refused, Uplink},
};
use crate::producer::PadId;

type Flow = Result<gst::FlowSuccess, gst::FlowError>;
type Segment = gst::FormattedSegment<gst::ClockTime>;

/// What a pad remembers between buffers.
pub(super) struct Input {
    kind: PadKind,
    /// Between FLUSH_START and FLUSH_STOP, and from release on.
    flushing: AtomicBool,
    /// Where frames go, from READY to PAUSED on.
    route: Mutex<Option<Route>>,
    /// Locked by the streaming thread while it pushes, and so by no other thread.
    stream: Mutex<Stream>,
}

/// An uplink, and which of its pads this is.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) uplink: Arc<Uplink>,
    pub(super) pad: PadId,
}

#[derive(Default)]
struct Stream {
    segment: Option<Segment>,
    eos: bool,
}

/// A pad of the element with its functions.
pub(super) fn build(
    template: &gst::PadTemplate,
    name: &str,
    kind: PadKind,
) -> (gst::Pad, Arc<Input>) {
    let input = Arc::new(Input {
        kind,
        flushing: AtomicBool::new(false),
        route: Mutex::default(),
        stream: Mutex::default(),
    });
    let (chain, list) = (Arc::clone(&input), Arc::clone(&input));
    let (event, query) = (Arc::clone(&input), Arc::clone(&input));
    let fail = || Err(gst::FlowError::Error);
    let pad = gst::Pad::builder_from_template(template)
        .name(name)
        .chain_function(move |_pad, parent, buffer| {
            KvsSink::catch_panic_pad_function(parent, fail, |element| chain.chain(element, &buffer))
        })
        .chain_list_function(move |_pad, parent, buffers| {
            KvsSink::catch_panic_pad_function(parent, fail, |element| {
                let mut buffers = buffers.iter();
                buffers.try_fold(gst::FlowSuccess::Ok, |_, buffer| list.chain(element, buffer))
            })
        })
        .event_function(move |pad, parent, content| {
            let fail = || false;
            KvsSink::catch_panic_pad_function(parent, fail, |element| {
                event.event(element, pad, content)
            })
        })
        .query_function(move |pad, parent, content| {
            let fail = || false;
            KvsSink::catch_panic_pad_function(parent, fail, |element| {
                query.query(element, pad, content)
            })
        })
        .build();
    (pad, input)
}

impl Input {
    /// Video first: the order in which tracks are numbered.
    pub(super) fn kind(&self) -> PadKind {
        self.kind
    }

    /// Sends frames to another uplink, or nowhere. The pad must not be streaming.
    pub(super) fn connect(&self, route: Option<Route>) {
        *self.stream() = Stream::default();
        *self.lock_route() = route;
        self.flushing.store(false, SeqCst);
    }

    /// Lets a blocked streaming thread go, and no other in.
    pub(super) fn start_flush(&self) {
        self.flushing.store(true, SeqCst);
        if let Some(route) = self.route() {
            route.uplink.recheck_pads();
        }
    }

    pub(super) fn route(&self) -> Option<Route> {
        self.lock_route().clone()
    }

    fn lock_route(&self) -> MutexGuard<'_, Option<Route>> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chain(&self, element: &KvsSink, buffer: &gst::BufferRef) -> Flow {
        let Route { uplink, pad } = self.route().ok_or(gst::FlowError::Flushing)?;
        let stream = self.stream();
        if stream.eos {
            return Err(gst::FlowError::Eos);
        }
        if buffer.size() == 0 {
            return Ok(gst::FlowSuccess::Ok);
        }
        let held = Held::new(buffer).map_err(|error| {
            gst::element_imp_error!(
                element,
                gst::ResourceError::Read,
                ("A buffer cannot be read: {error}. Insert an element that copies to system memory")
            );
            gst::FlowError::Error
        })?;
        let frame = Incoming {
            running_ns: stream.running_ns(buffer.pts()),
            duration: buffer.duration().map(Duration::from),
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            held: &held,
        };
        let running_time = || element.obj().current_running_time().map(gst::ClockTime::nseconds);
        match uplink.push(pad, &frame, &self.flushing, running_time) {
            Ok(_) => Ok(gst::FlowSuccess::Ok),
            Err(Refused::Failed) => Err(gst::FlowError::Error),
            Err(Refused::Flushing) => Err(gst::FlowError::Flushing),
        }
    }

    fn event(&self, element: &KvsSink, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;

        match event.view() {
            EventView::Caps(caps) => return self.set_caps(element, pad, caps.caps()),
            EventView::Eos(_) => {
                self.stream().eos = true;
                element.note_eos(event.seqnum());
                self.tell(|route| route.uplink.end_of_stream(route.pad));
            }
            EventView::FlushStart(_) => self.start_flush(),
            EventView::FlushStop(flush) => {
                *self.stream() = Stream::default();
                self.flushing.store(false, SeqCst);
                self.tell(|route| route.uplink.flush(route.pad));
                if flush.resets_time() {
                    let message = gst::message::ResetTime::builder(gst::ClockTime::ZERO)
                        .src(&*element.obj())
                        .build();
                    element.post_message(message);
                }
            }
            EventView::Gap(gap) => {
                let (start, duration) = gap.get();
                let end = start + duration.unwrap_or_default();
                if let Some(end) = self.stream().running_ns(Some(end)) {
                    self.tell(|route| route.uplink.gap(route.pad, end));
                }
            }
            EventView::Segment(segment) => return self.set_segment(element, segment.segment()),
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*element.obj()), event)
    }

    fn tell(&self, message: impl FnOnce(&Route)) {
        if let Some(route) = self.route() {
            message(&route);
        }
    }

    fn set_caps(&self, element: &KvsSink, pad: &gst::Pad, caps: &gst::CapsRef) -> bool {
        match caps::track(caps) {
            Ok(track) => {
                self.tell(|route| route.uplink.set_track(route.pad, track));
                true
            }
            Err(error) => {
                gst::element_imp_error!(
                    element,
                    gst::StreamError::Format,
                    ("{}: {error}", pad.name()),
                    ["caps: {caps:?}"]
                );
                false
            }
        }
    }

    fn set_segment(&self, element: &KvsSink, segment: &gst::Segment) -> bool {
        match segment.downcast_ref::<gst::ClockTime>() {
            Some(segment) => {
                self.stream().segment = Some(segment.clone());
                true
            }
            None => {
                gst::element_imp_error!(
                    element,
                    gst::StreamError::Format,
                    ("Media must come with a time segment: insert a parser before kvssink"),
                    ["segment format: {:?}", segment.format()]
                );
                false
            }
        }
    }

    fn query(&self, element: &KvsSink, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;

        match query.view_mut() {
            // Wrong caps must arrive as an event, or nobody could tell what is wrong with them.
            QueryViewMut::AcceptCaps(accept) => {
                accept.set_result(true);
                true
            }
            QueryViewMut::Caps(caps) => {
                let accepted = self.kind.accepted_caps();
                let result = caps.filter().map_or_else(
                    || accepted.clone(),
                    |filter| {
                        let filter = filter.to_owned();
                        filter.intersect_with_mode(accepted, gst::CapsIntersectMode::First)
                    },
                );
                caps.set_result(&result);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*element.obj()), query),
        }
    }
}

impl Stream {
    fn running_ns(&self, position: Option<gst::ClockTime>) -> Option<i64> {
        let running = self.segment.as_ref()?.to_running_time_full(position?)?;
        let ns = i64::try_from(running.abs().nseconds()).ok()?;
        Some(if running.is_negative() { -ns } else { ns })
    }
}
