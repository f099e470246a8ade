// SPDX-License-Identifier: MIT OR Apache-2.0
//! Glue: properties, request pads and state changes of kvssink. Decides nothing about media.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gst::{glib, prelude::*, subclass::prelude::*};

use super::{
    caps::PadKind,
    driver, messages,
    pad::{self, Input, Route},
    settings::{self, Settings},
    uplink::{Statistics, Uplink},
};
use crate::{
    connection::Connection,
    producer::{PadId, limit},
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("kvssink", gst::DebugColorFlags::empty(), Some("KVS sink"))
});

/// READY to NULL waits so much longer than the drain itself may take, for its last messages.
const DRAIN_SLACK: Duration = Duration::from_secs(1);

/// The element. No two of its mutexes are locked together.
#[derive(Default)]
pub struct KvsSink {
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

/// What runs. Pads live as long as they are requested, uplinks from READY to NULL.
#[derive(Default)]
struct State {
    pads: Vec<(gst::Pad, Arc<Input>)>,
    /// In PAUSED and PLAYING: where frames go.
    running: Option<Arc<Uplink>>,
    /// Stopped, and perhaps still delivering.
    stopped: Vec<Arc<Uplink>>,
    /// Of the last EOS event: what the EOS message carries.
    eos: Option<gst::Seqnum>,
    /// Of the last one that ended.
    last_stats: Statistics,
}

impl KvsSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what the EOS message will carry.
    pub(super) fn note_eos(&self, seqnum: gst::Seqnum) {
        self.state().eos = Some(seqnum);
    }

    /// The seqnum for an EOS message.
    pub(super) fn eos_seqnum(&self) -> gst::Seqnum {
        self.state().eos.unwrap_or_else(gst::Seqnum::next)
    }

    /// The pad that the producer knows under this id.
    pub(super) fn pad(&self, id: PadId) -> Option<gst::Pad> {
        let pads = self.state().pads.clone();
        let found = pads.into_iter().find(|(_, input)| input.route().is_some_and(|r| r.pad == id));
        found.map(|(pad, _)| pad)
    }

    /// NULL to READY: what is wrong with the properties alone.
    fn check(&self) -> Result<(), gst::ErrorMessage> {
        self.settings().check()
    }

    /// READY to PAUSED: takes the settings over, starts the driver. No network before frames come.
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let uplink = Arc::new(Uplink::new(settings.producer_config(), settings.time_base()));
        let mut pads = self.state().pads.clone();
        pads.sort_by_key(|(pad, input)| (input.kind(), pad.name()));
        for (_, input) in &pads {
            let route = uplink.add_pad().map(|pad| Route { uplink: Arc::clone(&uplink), pad });
            input.connect(route);
        }
        driver::start(&self.obj(), Arc::clone(&uplink), &settings)?;
        let mut state = self.state();
        state.eos = None;
        state.running = Some(uplink);
        Ok(())
    }

    /// PAUSED to READY: sends the pads away and lets the driver deliver the rest.
    fn stop(&self) {
        let Some(uplink) = self.state().running.take() else { return };
        uplink.stop();
        let mut state = self.state();
        state.last_stats = uplink.stats();
        state.stopped.retain(|uplink| !uplink.is_done());
        state.stopped.push(uplink);
    }

    /// READY to NULL: waits for what is being delivered. Each drain ends by its own deadline.
    fn wait_drained(&self) {
        let limit = Duration::from_secs(u64::from(self.settings().stop_stream_timeout_s));
        let stopped = std::mem::take(&mut self.state().stopped);
        for uplink in stopped {
            if !uplink.wait_done(limit.saturating_add(DRAIN_SLACK)) {
                gst::warning!(CAT, imp = self, "gave up waiting for the end of the upload");
            }
            let stats = uplink.stats();
            self.state().last_stats = stats;
        }
    }

    /// Of what runs, else of what ran last.
    fn stats(&self) -> Statistics {
        let state = self.state();
        let last = state.running.as_ref().or_else(|| state.stopped.last()).cloned();
        last.map_or_else(|| state.last_stats.clone(), |uplink| uplink.stats())
    }

    fn running(&self) -> Option<Arc<Uplink>> {
        self.state().running.clone()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for KvsSink {
    const NAME: &'static str = "GstRsKvsSink";
    type Type = super::KvsSink;
    type ParentType = gst::Element;
}

impl ObjectImpl for KvsSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static SPECS: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let mut specs = settings::param_specs();
            specs.push(messages::stats_param_spec());
            specs
        });
        &SPECS
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_element_flags(gst::ElementFlags::SINK);
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        let name = spec.name();
        if !Connection::is_live(name) && self.running().is_some() {
            gst::warning!(CAT, imp = self, "{name} counts from the next start: set it in READY");
        }
        self.settings().set(name, value);
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        if spec.name() == messages::STATS {
            return messages::stats(&self.stats());
        }
        self.settings().get(spec.name()).unwrap_or_else(|| spec.default_value().clone())
    }
}

impl GstObjectImpl for KvsSink {}

impl ElementImpl for KvsSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Kinesis Video Streams sink",
                "Sink/Video/Network",
                env!("CARGO_PKG_DESCRIPTION"),
                "gst-plugin-kvs authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            [PadKind::Audio, PadKind::Video]
                .into_iter()
                .filter_map(|kind| {
                    gst::PadTemplate::new(
                        kind.template_name(),
                        gst::PadDirection::Sink,
                        gst::PadPresence::Request,
                        &kind.template_caps(),
                    )
                    .ok()
                })
                .collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let kind = PadKind::of_template(template.name_template())?;
        let taken: Vec<_> = self.obj().pads().iter().map(|pad| pad.name()).collect();
        if taken.len() >= limit::TRACKS {
            gst::error!(CAT, imp = self, "the service takes {} tracks at most", limit::TRACKS);
            return None;
        }
        let name = kind.pad_name(name, |name| taken.iter().any(|taken| taken == name))?;
        let (pad, input) = pad::build(template, &name, kind);
        if let Some(uplink) = self.running() {
            input.connect(Some(Route { pad: uplink.add_pad()?, uplink }));
            pad.set_active(true).ok()?;
        }
        self.state().pads.push((pad.clone(), input));
        self.obj().add_pad(&pad).ok()?;
        Some(pad)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let found = {
            let mut state = self.state();
            let at = state.pads.iter().position(|(known, _)| known == pad);
            at.map(|at| state.pads.remove(at).1)
        };
        let Some(input) = found else { return };
        input.start_flush();
        // Neither fails for a pad of ours.
        let _ = pad.set_active(false);
        if let Some(Route { uplink, pad }) = input.route() {
            uplink.remove_pad(pad);
        }
        let _ = self.obj().remove_pad(pad);
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let before = match transition {
            gst::StateChange::NullToReady => self.check(),
            gst::StateChange::ReadyToPaused => self.start(),
            gst::StateChange::PausedToReady => {
                self.stop();
                Ok(())
            }
            _ => Ok(()),
        };
        before.map_err(|error| {
            self.post_error_message(error);
            gst::StateChangeError
        })?;
        let result = self.parent_change_state(transition);
        if result.is_err() && transition == gst::StateChange::ReadyToPaused {
            self.stop();
        }
        let result = result?;
        match transition {
            gst::StateChange::PausedToPlaying => self.running().inspect(|uplink| uplink.play()),
            gst::StateChange::PlayingToPaused => self.running().inspect(|uplink| uplink.pause()),
            gst::StateChange::ReadyToNull => {
                self.wait_drained();
                None
            }
            _ => None,
        };
        Ok(result)
    }
}
