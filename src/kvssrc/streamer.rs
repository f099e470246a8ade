// SPDX-License-Identifier: MIT OR Apache-2.0
//! The streaming thread's side: the consumer's outputs into pads, events, buffers and messages.

use std::time::Duration;

use gst::prelude::*;
use gst_base::UniqueFlowCombiner;

use super::{KvsSrc, caps, imp, messages, queue::Queue};
use crate::{
    consumer::{EndCause, FragmentEnd, FragmentStart, Output},
    frame::Frame,
    time::Timestamp,
    track::{Track, TrackKind},
};

/// Pads of one run. A stream has 3 tracks; one that changes their kinds all the time is no stream.
const MAX_PADS: usize = 64;

/// What a run of the element needs to know.
pub(super) struct Context {
    /// Stands in the stream ids.
    pub(super) stream: String,
    pub(super) live: bool,
    /// Stream time zero, when it is not the first fragment's time.
    pub(super) range_start: Option<Timestamp>,
    pub(super) range_end: Option<Timestamp>,
}

/// The pads, and where the stream is.
pub(super) struct Streamer {
    context: Context,
    group: gst::GroupId,
    pads: Vec<TrackPad>,
    flows: UniqueFlowCombiner,
    /// Pads made so far: video, audio, data.
    made: [u32; 3],
    /// Announced tracks whose pads wait for the segment.
    announced: Vec<Track>,
    segment: Option<Segment>,
    no_more_pads: bool,
}

struct TrackPad {
    pad: gst::Pad,
    track: Track,
    kind: Kind,
    frame_duration: Option<Duration>,
    discont: bool,
    /// It had a frame in the running fragment.
    active: bool,
    /// Another track of another kind has its number now.
    retired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Video,
    Audio,
    Data,
}

struct Segment {
    event: gst::FormattedSegment<gst::ClockTime>,
    /// End of the latest frame, at least the latest fragment's start.
    reached: gst::ClockTime,
    /// Start of the running fragment.
    fragment: gst::ClockTime,
}

/// Why the streaming thread stops.
pub(super) enum Stop {
    /// Downstream does not take more.
    Flow(gst::FlowError),
    /// Everything there is has been pushed.
    End,
    /// The element is being stopped.
    Closed,
}

impl From<&TrackKind> for Kind {
    fn from(kind: &TrackKind) -> Self {
        match kind {
            TrackKind::Audio(_) => Self::Audio,
            TrackKind::Data(_) => Self::Data,
            TrackKind::Video(_) => Self::Video,
        }
    }
}

impl Kind {
    fn template(self) -> &'static str {
        match self {
            Self::Video => "video_%u",
            Self::Audio => "audio_%u",
            Self::Data => "data_%u",
        }
    }

    fn pad_name(self, number: u32) -> String {
        self.template().replace("%u", &number.to_string())
    }
}

fn clock_time(time: Timestamp) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(time.as_nanos().min(u64::MAX - 1))
}

impl Streamer {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            group: gst::GroupId::next(),
            pads: Vec::new(),
            flows: UniqueFlowCombiner::new(),
            made: [0; 3],
            announced: Vec::new(),
            segment: None,
            no_more_pads: false,
        }
    }

    /// Takes a batch; between two frames asks `queue` whether to go on.
    pub(super) fn take(
        &mut self,
        element: &KvsSrc,
        queue: &Queue,
        outputs: Vec<Output>,
    ) -> Result<(), Stop> {
        for output in outputs {
            if !queue.proceed() {
                return Err(Stop::Closed);
            }
            match output {
                Output::End(cause) => {
                    self.end(element, Some(cause));
                    return Err(Stop::End);
                }
                Output::Failed(failure) => {
                    messages::failure(element, &failure);
                    self.push_all(gst::event::Eos::new);
                    return Err(Stop::End);
                }
                Output::FragmentEnd(end) => self.end_fragment(element, &end),
                Output::FragmentStart(start) => self.begin_fragment(element, &start)?,
                Output::Frame(frame) => self.push(frame).map_err(Stop::Flow)?,
                Output::Notice(notice) => messages::notice(element, &notice),
                Output::Track(track) => self.announced.push(track),
                // The driver's business.
                Output::Close | Output::Open { .. } => {}
            }
        }
        Ok(())
    }

    /// Ends the stream: EOS on every pad, or an error when there is none.
    pub(super) fn end(&mut self, element: &KvsSrc, cause: Option<EndCause>) {
        if self.pads.is_empty() {
            messages::ended_empty(element, cause);
        }
        self.push_all(gst::event::Eos::new);
    }

    fn push_all(&self, event: impl Fn() -> gst::Event) {
        for track in self.pads.iter().filter(|track| !track.retired) {
            track.pad.push_event(event());
        }
    }

    /// Takes the pads off the element.
    pub(super) fn remove_pads(&mut self, element: &KvsSrc) {
        for track in self.pads.drain(..) {
            // Fails only when the application has removed it.
            let _ = element.remove_pad(&track.pad);
        }
    }

    fn begin_fragment(&mut self, element: &KvsSrc, start: &FragmentStart) -> Result<(), Stop> {
        let time = clock_time(start.start);
        self.place_segment(element, time);
        for track in std::mem::take(&mut self.announced) {
            self.announce(element, track);
        }
        if self.pads.len() > MAX_PADS {
            messages::too_many_tracks(element, MAX_PADS);
            self.push_all(gst::event::Eos::new);
            return Err(Stop::End);
        }
        if !std::mem::replace(&mut self.no_more_pads, true) {
            element.no_more_pads();
        }
        for track in &mut self.pads {
            track.discont |= start.discont;
            track.active = false;
        }
        Ok(())
    }

    /// Begins a segment when there is none that holds `time`.
    fn place_segment(&mut self, element: &KvsSrc, time: gst::ClockTime) {
        let base = match &mut self.segment {
            Some(segment) if Some(time) >= segment.event.start() => {
                segment.fragment = time;
                segment.reached = segment.reached.max(time);
                return;
            }
            Some(segment) => segment.event.to_running_time(segment.reached),
            None if self.context.live => element.current_running_time(),
            None => None,
        };
        let zero = self.context.range_start.map_or(time, clock_time);
        let mut event = gst::FormattedSegment::<gst::ClockTime>::new();
        event.set_start(time);
        event.set_time(time.saturating_sub(zero));
        event.set_position(time);
        event.set_base(base.unwrap_or(gst::ClockTime::ZERO));
        event.set_stop(self.context.range_end.map(clock_time).filter(|stop| *stop > time));
        self.push_all(|| gst::event::Segment::new(&event));
        self.segment = Some(Segment { event, reached: time, fragment: time });
    }

    /// A track is new, or its description changed.
    fn announce(&mut self, element: &KvsSrc, track: Track) {
        let kind = Kind::from(&track.kind);
        let caps = caps::from_track(&track);
        let same_number =
            |known: &&mut TrackPad| !known.retired && known.track.number == track.number;
        if let Some(known) = self.pads.iter_mut().find(same_number) {
            if known.kind == kind {
                if known.pad.current_caps().as_ref() != Some(&caps) {
                    known.pad.push_event(gst::event::Caps::new(&caps));
                }
                known.frame_duration = caps::frame_duration(&track);
                known.track = track;
                return;
            }
            known.retired = true;
            self.flows.remove_pad(&known.pad);
            known.pad.push_event(gst::event::Eos::new());
        }
        self.add_pad(element, track, kind, &caps);
    }

    fn add_pad(&mut self, element: &KvsSrc, track: Track, kind: Kind, caps: &gst::Caps) {
        let Some(template) = element.pad_template(kind.template()) else { return };
        let made = &mut self.made[kind as usize];
        let name = kind.pad_name(*made);
        *made += 1;
        let pad = imp::source_pad(&template, &name);
        // Fails only for pads of other activation modes.
        let _ = pad.set_active(true);
        let stream_id = format!("{}/{name}", self.context.stream);
        let mut stream_start = gst::event::StreamStart::builder(&stream_id).group_id(self.group);
        if kind == Kind::Data {
            stream_start = stream_start.flags(gst::StreamFlags::SPARSE);
        }
        pad.push_event(stream_start.build());
        pad.push_event(gst::event::Caps::new(caps));
        if let Some(segment) = &self.segment {
            pad.push_event(gst::event::Segment::new(&segment.event));
        }
        self.flows.add_pad(&pad);
        // Fails only when a pad of this name is there, and each name is given once.
        let _ = element.add_pad(&pad);
        let frame_duration = caps::frame_duration(&track);
        self.pads.push(TrackPad {
            pad,
            track,
            kind,
            frame_duration,
            discont: true,
            active: false,
            retired: false,
        });
    }

    fn push(&mut self, frame: Frame) -> Result<(), gst::FlowError> {
        let of_frame = |pad: &&mut TrackPad| !pad.retired && pad.track.number == frame.track;
        // Every frame's track was announced before its fragment began.
        let Some(track) = self.pads.iter_mut().find(of_frame) else { return Ok(()) };
        let pts = clock_time(frame.pts);
        let duration = frame.duration.or(track.frame_duration);
        let duration = duration.and_then(|duration| gst::ClockTime::try_from(duration).ok());
        let mut buffer = gst::Buffer::from_slice(frame.data);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_duration(duration);
            if track.kind == Kind::Video && !frame.key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            if std::mem::take(&mut track.discont) {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        track.active = true;
        if let Some(segment) = &mut self.segment {
            let end = pts.saturating_add(duration.unwrap_or(gst::ClockTime::ZERO));
            segment.reached = segment.reached.max(end);
        }
        let flow = track.pad.push(buffer);
        self.flows.update_pad_flow(&track.pad, flow).map(drop)
    }

    fn end_fragment(&mut self, element: &KvsSrc, end: &FragmentEnd) {
        if let Some(segment) = &self.segment
            && segment.reached > segment.fragment
        {
            let silent = self.pads.iter().filter(|track| !track.active && !track.retired);
            for track in silent {
                let duration = segment.reached - segment.fragment;
                let gap = gst::event::Gap::builder(segment.fragment).duration(duration).build();
                track.pad.push_event(gap);
            }
        }
        imp::set_token(element, end);
        messages::fragment(element, end);
    }
}
