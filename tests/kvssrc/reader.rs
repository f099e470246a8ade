// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pipeline around kvssrc that notes what comes out of it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use gst::prelude::*;

/// No test waits longer than this for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// One buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Got {
    pub pad: String,
    pub pts: u64,
    pub duration: Option<u64>,
    pub flags: gst::BufferFlags,
    pub data: Vec<u8>,
    /// Running time in its segment.
    pub running: Option<u64>,
}

impl Got {
    /// Kind of track as its usual number, PTS in ms, payload.
    pub fn plain(&self) -> (u64, u64, Vec<u8>) {
        let track =
            ["video", "audio", "data"].iter().position(|k| self.pad.starts_with(k)).unwrap();
        (track as u64 + 1, self.pts / 1_000_000, self.data.clone())
    }
}

#[derive(Default)]
struct Log {
    buffers: Mutex<Vec<Got>>,
    came: Condvar,
}

/// The pipeline. Stops when dropped.
pub struct Reader {
    pub pipeline: gst::Pipeline,
    pub source: gst::Element,
    log: Arc<Log>,
}

pub fn init() {
    gst::init().unwrap();
    gstkvs::plugin_register_static().unwrap();
}

/// Sets a property from its text; enums by nick.
pub fn set(element: &gst::Element, properties: &[(&str, &str)]) {
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
}

impl Reader {
    /// Not started. Every pad gets a fakesink; `sync` makes them wait for the clock.
    pub fn new(url: &str, properties: &[(&str, &str)]) -> Self {
        init();
        let source = gst::ElementFactory::make("kvssrc").name("source").build().unwrap();
        set(&source, &[("endpoint", url), ("stream-name", "camera")]);
        set(&source, properties);
        let pipeline = gst::Pipeline::new();
        pipeline.add(&source).unwrap();
        let log = Arc::new(Log::default());
        let (weak, noting) = (pipeline.downgrade(), Arc::clone(&log));
        source.connect_pad_added(move |_, pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            let sink = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .property("async", false)
                .build()
                .unwrap();
            pipeline.add(&sink).unwrap();
            pad.link(&sink.static_pad("sink").unwrap()).unwrap();
            sink.sync_state_with_parent().unwrap();
            let log = Arc::clone(&noting);
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                log.note(pad, info.buffer().unwrap());
                gst::PadProbeReturn::Ok
            });
        });
        Self { pipeline, source, log }
    }

    /// As `new`, and to PLAYING.
    pub fn play(url: &str, properties: &[(&str, &str)]) -> Self {
        let reader = Self::new(url, properties);
        reader.pipeline.set_state(gst::State::Playing).unwrap();
        reader
    }

    pub fn bus(&self) -> gst::Bus {
        self.pipeline.bus().unwrap()
    }

    /// What came so far.
    pub fn buffers(&self) -> Vec<Got> {
        self.log.buffers.lock().unwrap().clone()
    }

    /// What came so far, as `Got::plain`.
    pub fn frames(&self) -> Vec<(u64, u64, Vec<u8>)> {
        self.buffers().iter().map(Got::plain).collect()
    }

    /// Waits for the `count`th buffer.
    pub fn wait_for(&self, count: usize) {
        let few = |buffers: &mut Vec<Got>| buffers.len() < count;
        let buffers = self.log.buffers.lock().unwrap();
        let waited = self.log.came.wait_timeout_while(buffers, DEADLINE, few).unwrap();
        assert!(!waited.1.timed_out(), "{count} buffers expected, {} came", waited.0.len());
    }

    /// The next message that `wanted` takes. EOS and ERROR end the wait.
    pub fn message(&self, wanted: impl Fn(&gst::Message) -> bool) -> gst::Message {
        let clock = gst::ClockTime::try_from(DEADLINE).unwrap();
        loop {
            let message = self.bus().timed_pop(clock).expect("a message within the deadline");
            if wanted(&message) {
                return message;
            }
            let end = matches!(message.type_(), gst::MessageType::Eos | gst::MessageType::Error);
            assert!(!end, "{message:?} came instead");
        }
    }

    /// The next element message of this name.
    pub fn element_message(&self, name: &str) -> gst::Structure {
        let wanted = |message: &gst::Message| {
            message.type_() == gst::MessageType::Element
                && message.structure().is_some_and(|s| s.name() == name)
        };
        self.message(wanted).structure().unwrap().to_owned()
    }

    /// The text of the next WARNING or ERROR, and the name of its details.
    pub fn trouble(&self, type_: gst::MessageType) -> (String, String) {
        let message = self.message(|message| message.type_() == type_);
        let (error, details) = match message.view() {
            gst::MessageView::Warning(m) => (m.error(), m.details().map(|d| d.name().to_string())),
            gst::MessageView::Error(m) => (m.error(), m.details().map(|d| d.name().to_string())),
            other => panic!("{other:?}"),
        };
        (error.message().to_owned(), details.unwrap_or_default())
    }

    pub fn wait_for_eos(&self) {
        self.message(|message| message.type_() == gst::MessageType::Eos);
    }

    /// To NULL. The sinks go, as a later run gets its own.
    pub fn stop(&self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
        for sink in self.pipeline.iterate_sinks().into_iter().flatten().collect::<Vec<_>>() {
            self.pipeline.remove(&sink).unwrap();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Log {
    fn note(&self, pad: &gst::Pad, buffer: &gst::Buffer) {
        let segment = pad.sticky_event::<gst::event::Segment>(0).expect("a segment comes first");
        let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap().clone();
        let got = Got {
            pad: pad.name().into(),
            pts: buffer.pts().expect("every buffer has a PTS").nseconds(),
            duration: buffer.duration().map(gst::ClockTime::nseconds),
            flags: buffer.flags(),
            data: buffer.map_readable().unwrap().to_vec(),
            running: segment.to_running_time(buffer.pts()).map(gst::ClockTime::nseconds),
        };
        self.buffers.lock().unwrap().push(got);
        self.came.notify_all();
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(data: &[u8]) -> String {
    gst::glib::compute_checksum_for_data(gst::glib::ChecksumType::Sha256, data).unwrap().to_string()
}
