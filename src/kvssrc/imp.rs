// SPDX-License-Identifier: MIT OR Apache-2.0
//! The element's glue: properties, states, the streaming thread, queries and events.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gst::{glib, prelude::*, subclass::prelude::*};
use tokio::task::AbortHandle;

use super::{
    driver, messages,
    queue::{Popped, Queue},
    settings::{self, Plan, Settings},
    streamer::{Context, Stop, Streamer},
};
use crate::{
    consumer::FragmentEnd, ids::ContinuationToken, io::runtime, wire::get_media::StartSelector,
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("kvssrc", gst::DebugColorFlags::empty(), Some("KVS source"))
});

const CURRENT_TOKEN: &str = "current-continuation-token";

/// How long the streaming thread may take to notice that it should stop before what blocks it
/// downstream is flushed.
const STOP_PATIENCE: Duration = Duration::from_millis(200);

/// The element.
#[derive(Default)]
pub struct KvsSrc {
    settings: Mutex<Settings>,
    /// Where a later run could go on.
    token: Mutex<Option<ContinuationToken>>,
    /// From READY to PAUSED until back.
    run: Mutex<Option<Run>>,
}

/// What exists between READY and PAUSED.
struct Run {
    queue: Arc<Queue>,
    task: gst::Task,
    streamer: Arc<Mutex<Streamer>>,
    /// `Some` until the driver is started.
    plan: Option<Plan>,
    driver: Option<AbortHandle>,
    live: bool,
    latency: gst::ClockTime,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source pad of the element; not yet active, not yet added.
pub(super) fn source_pad(template: &gst::PadTemplate, name: &str) -> gst::Pad {
    gst::Pad::builder_from_template(template)
        .name(name)
        .query_function(|pad, parent, query| {
            KvsSrc::catch_panic_pad_function(
                parent,
                || false,
                |this| this.query_source(pad, parent, query),
            )
        })
        .event_function(|_, parent, event| {
            KvsSrc::catch_panic_pad_function(parent, || false, |_| takes_upstream(&event))
        })
        .build()
}

/// Whether an upstream event is served; nothing here can seek.
fn takes_upstream(event: &gst::Event) -> bool {
    use gst::EventType as Type;

    matches!(event.type_(), Type::Latency | Type::Qos | Type::Reconfigure)
}

/// A fragment has been pushed: notes where a later run could go on.
pub(super) fn set_token(element: &super::KvsSrc, end: &FragmentEnd) {
    if let Some(token) = &end.token {
        *lock(&element.imp().token) = Some(token.clone());
        element.notify(CURRENT_TOKEN);
    }
}

#[glib::object_subclass]
impl ObjectSubclass for KvsSrc {
    const NAME: &'static str = "GstRsKvsSrc";
    type Type = super::KvsSrc;
    type ParentType = gst::Element;
}

impl ObjectImpl for KvsSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let token = glib::ParamSpecString::builder(CURRENT_TOKEN)
                .nick(CURRENT_TOKEN)
                .blurb(
                    "Continuation token of the last fragment that was pushed as a whole: store it \
                     to go on from there later",
                )
                .read_only()
                .build();
            let mut specs = settings::param_specs();
            specs.push(token);
            specs.sort_by(|a, b| a.name().cmp(b.name()));
            specs
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !lock(&self.settings).set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "property {} cannot be set", pspec.name());
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == CURRENT_TOKEN {
            return lock(&self.token).as_ref().map(ContinuationToken::as_str).to_value();
        }
        let value = lock(&self.settings).get(pspec.name());
        value.unwrap_or_else(|| pspec.default_value().clone())
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_element_flags(gst::ElementFlags::SOURCE);
    }
}

impl GstObjectImpl for KvsSrc {}

impl ElementImpl for KvsSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Kinesis Video Streams source",
                "Source/Network",
                "Reads encoded video, audio and data of an Amazon Kinesis Video Stream",
                "The gst-plugin-kvs authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(super::caps::templates);
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.start().map_err(|error| self.refuse(error))?,
            gst::StateChange::PausedToReady => self.close(),
            _ => {}
        }
        let done = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if done.is_err() => {
                self.close();
                self.stop();
            }
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        let done = done?;
        match transition {
            gst::StateChange::PausedToPlaying => {
                self.play().map_err(|error| self.refuse(error))?;
                Ok(done)
            }
            gst::StateChange::ReadyToPaused | gst::StateChange::PlayingToPaused => {
                Ok(if self.pause() { gst::StateChangeSuccess::NoPreroll } else { done })
            }
            _ => Ok(done),
        }
    }

    fn send_event(&self, event: gst::Event) -> bool {
        if event.type_() != gst::EventType::Eos {
            return self.parent_send_event(event);
        }
        let mut run = lock(&self.run);
        let Some(run) = run.as_mut() else { return false };
        gst::debug!(CAT, imp = self, "asked to end");
        run.queue.finish();
        run.plan = None;
        true
    }
}

impl KvsSrc {
    fn refuse(&self, error: gst::ErrorMessage) -> gst::StateChangeError {
        gst::error!(CAT, imp = self, "{error}");
        self.post_error_message(error);
        gst::StateChangeError
    }

    /// Takes over the settings and starts the streaming thread, and the driver unless live.
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let plan = settings.plan()?;
        let (live, latency) = (plan.live, plan.latency);
        gst::info!(CAT, imp = self, "reading {} from {:?}", plan.stream, plan.consumer.start);
        let range_start = match plan.consumer.start {
            StartSelector::ProducerTimestamp(start) => Some(start),
            _ => None,
        };
        let streamer = Arc::new(Mutex::new(Streamer::new(Context {
            stream: plan.stream.to_string(),
            live,
            range_start,
            range_end: plan.consumer.end,
        })));
        *lock(&self.token) = None;
        // A live element streams in PLAYING only.
        let queue = Arc::new(Queue::new(live));
        let task = self.streaming_task(&queue, &streamer);
        let mut run = Run { queue, task, streamer, plan: Some(plan), driver: None, live, latency };
        if !live {
            run.start_driver()?;
        }
        run.task.start().map_err(|error| {
            gst::error_msg!(gst::ResourceError::NoSpaceLeft, ("no streaming thread: {error}"))
        })?;
        *lock(&self.run) = Some(run);
        Ok(())
    }

    fn streaming_task(&self, queue: &Arc<Queue>, streamer: &Arc<Mutex<Streamer>>) -> gst::Task {
        let (queue, streamer) = (Arc::clone(queue), Arc::clone(streamer));
        let element = self.obj().downgrade();
        gst::Task::builder(move |task| {
            let Some(element) = element.upgrade() else { return };
            if element.imp().stream(&queue, &streamer).is_err() {
                queue.close();
                // Not `pause`, which would undo a stop that has just been asked for. Fails never.
                let _ = task.stop();
            }
        })
        .build()
    }

    /// One turn of the streaming thread.
    fn stream(&self, queue: &Queue, streamer: &Mutex<Streamer>) -> Result<(), Stop> {
        let popped = queue.pop();
        let mut streamer = lock(streamer);
        let result = match popped {
            Popped::Batch(outputs) => streamer.take(&self.obj(), queue, outputs),
            Popped::Closed => Err(Stop::Closed),
            Popped::Finished => {
                streamer.end(&self.obj(), None);
                Err(Stop::End)
            }
        };
        match &result {
            Err(Stop::Flow(gst::FlowError::Flushing)) | Err(Stop::Closed | Stop::End) | Ok(()) => {}
            Err(Stop::Flow(gst::FlowError::Eos)) => {
                gst::info!(CAT, imp = self, "downstream takes no more");
                streamer.end(&self.obj(), None);
            }
            Err(Stop::Flow(error)) => {
                messages::flow(&self.obj(), *error);
                streamer.end(&self.obj(), None);
            }
        }
        result
    }

    /// To PLAYING. A live element connects now.
    fn play(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(run) = lock(&self.run).as_mut() {
            run.queue.set_paused(false);
            run.start_driver()?;
        }
        Ok(())
    }

    /// To PAUSED. Says whether the element is live and therefore has nothing to preroll with.
    fn pause(&self) -> bool {
        let run = lock(&self.run);
        let Some(run) = run.as_ref().filter(|run| run.live) else { return false };
        run.queue.set_paused(true);
        true
    }

    /// Begins the stop: no further frame is pushed.
    fn close(&self) {
        if let Some(run) = lock(&self.run).as_mut() {
            run.queue.close();
            run.plan = None;
            if let Some(driver) = run.driver.take() {
                driver.abort();
            }
        }
    }

    /// Ends the streaming thread and takes the pads away.
    fn stop(&self) {
        let Some(run) = lock(&self.run).take() else { return };
        let pads = self.obj().src_pads();
        let blocked = !run.queue.wait_idle(STOP_PATIENCE);
        if blocked {
            gst::debug!(CAT, imp = self, "flushing what blocks the streaming thread");
            for pad in &pads {
                if let Some(peer) = pad.peer() {
                    peer.send_event(gst::event::FlushStart::new());
                }
            }
        }
        // Both fail only for a task that was never started.
        let _ = run.task.stop();
        let _ = run.task.join();
        if blocked {
            for peer in pads.iter().filter_map(gst::Pad::peer) {
                peer.send_event(gst::event::FlushStop::new(true));
            }
        }
        lock(&run.streamer).remove_pads(&self.obj());
    }

    fn query_source(
        &self,
        pad: &gst::Pad,
        parent: Option<&gst::Object>,
        query: &mut gst::QueryRef,
    ) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                let run = lock(&self.run);
                let Some(run) = run.as_ref() else { return false };
                let least = if run.live { run.latency } else { gst::ClockTime::ZERO };
                query.set(run.live, least, gst::ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Seeking(query) => {
                query.set(
                    false,
                    gst::GenericFormattedValue::none_for_format(query.format()),
                    gst::GenericFormattedValue::none_for_format(query.format()),
                );
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        }
    }
}

impl Run {
    fn start_driver(&mut self) -> Result<(), gst::ErrorMessage> {
        let Some(Plan { service, stream, consumer, .. }) = self.plan.take() else { return Ok(()) };
        let runtime = runtime::handle().map_err(|error| {
            gst::error_msg!(gst::ResourceError::NoSpaceLeft, ("cannot start threads: {error}"))
        })?;
        let driver = driver::run(service, stream, consumer, Arc::clone(&self.queue));
        self.driver = Some(runtime.spawn(driver).abort_handle());
        Ok(())
    }
}
