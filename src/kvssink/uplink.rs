// SPDX-License-Identifier: MIT OR Apache-2.0
//! The producer behind one mutex: pads push into it, bodies pull from it, the driver serves it.
//!
//! Every method that calls the producer ends in [`Uplink::settle`], which does what the producer's
//! law asks for: actions and events go to the driver, waiting bodies and pads are woken. A frame
//! costs one lock and, while nobody waits, no wake-up.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{caps::media_type, epoch::Epoch, memory::Held};
use crate::{
    io::clock,
    producer::{
        Action, Config, DropCause, Event, InputFrame, PadId, Persistence, Producer, PushOutcome,
        SessionId, Stats, TrackDescription, Transmit,
    },
    time::{Monotonic, Timestamp},
    wire::{ServiceError, ack::AckEvent},
};

/// See the module.
pub(super) struct Uplink {
    core: Mutex<Core>,
    /// Pads wait here for PLAYING or room, state changes for the end.
    changed: Condvar,
    /// The driver waits here.
    work: Notify,
    time: TimeBase,
}

/// How running time becomes producer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeBase {
    /// Wall clock; running time stands still in PAUSED, so the mapping is made anew after it.
    Live,
    /// Wall clock of the start, kept over pauses.
    Recorded,
    /// Running time zero is at this time.
    StartingAt(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Pads block.
    Paused,
    Playing,
    /// Pads are sent away; what was accepted is delivered.
    Stopped,
}

struct Core {
    producer: Producer,
    phase: Phase,
    /// Nothing further can be sent.
    failed: bool,
    /// Everything is accounted for.
    drained: bool,
    /// The driver is telling what it took from `notices`.
    telling: bool,
    epoch: Option<Epoch>,
    waiting_pads: usize,
    waiting_bodies: Vec<Waker>,
    actions: Vec<Action>,
    notices: Vec<Notice>,
    /// When the driver wakes up by itself.
    armed: Option<Monotonic>,
    dropped: BTreeMap<DropCause, Drops>,
    media_types: BTreeMap<PadId, &'static str>,
}

/// Frames and bytes dropped for one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drops {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

/// The producer's counts, and drops by cause.
pub(super) type Statistics = (Stats, BTreeMap<DropCause, Drops>);

/// A frame as a pad has it.
pub(super) struct Incoming<'a> {
    /// Running time of its PTS; `None` without PTS.
    pub(super) running_ns: Option<i64>,
    pub(super) duration: Option<Duration>,
    pub(super) key: bool,
    pub(super) held: &'a Held<'a>,
}

/// Why a pad may not push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// An error was reported; nothing is sent any more.
    Failed,
    /// The pad is flushing or the element is stopping.
    Flushing,
}

/// What the application or upstream should know.
pub(super) enum Notice {
    /// The service accepted a session's request.
    Connected(SessionId),
    /// The producer's.
    Event(Event),
}

/// What the driver has to do next.
pub(super) struct Work {
    pub(super) actions: Vec<Action>,
    pub(super) notices: Vec<Notice>,
    /// When to look again at the latest.
    pub(super) due: Option<Monotonic>,
}

impl Uplink {
    /// An uplink whose pads block until [`Self::play`].
    pub(super) fn new(config: Config, time: TimeBase) -> Self {
        let core = Core {
            producer: Producer::new(config),
            phase: Phase::Paused,
            failed: false,
            drained: false,
            telling: false,
            epoch: None,
            waiting_pads: 0,
            waiting_bodies: Vec::new(),
            actions: Vec::new(),
            notices: Vec::new(),
            media_types: BTreeMap::new(),
            armed: None,
            dropped: BTreeMap::new(),
        };
        Self { core: Mutex::new(core), changed: Condvar::new(), work: Notify::new(), time }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the producer and settles.
    fn with<R>(&self, call: impl FnOnce(&mut Producer, Monotonic) -> R) -> R {
        let mut core = self.lock();
        let result = call(&mut core.producer, clock::monotonic());
        self.settle(&mut core);
        result
    }

    /// Fulfils the producer's law after a call that may have made something to send.
    fn settle(&self, core: &mut Core) {
        for body in core.waiting_bodies.drain(..) {
            body.wake();
        }
        self.settle_pulled(core);
    }

    /// Fulfils the producer's law after a body asked for bytes: waking another body then would
    /// make two of them wake each other for ever.
    fn settle_pulled(&self, core: &mut Core) {
        while let Some(action) = core.producer.poll_action() {
            core.actions.push(action);
        }
        while let Some(event) = core.producer.poll_event() {
            core.note(&event);
            core.notices.push(Notice::Event(event));
        }
        if core.waiting_pads > 0 && core.producer.has_room() {
            self.changed.notify_all();
        }
        let due = core.producer.next_timeout();
        let earlier = due.is_some_and(|due| core.armed.is_none_or(|armed| due < armed));
        if earlier {
            core.armed = due;
        }
        if earlier || !core.actions.is_empty() || !core.notices.is_empty() {
            self.work.notify_one();
        }
    }

    // -- pads

    /// A new pad; `None` when the service takes no more tracks.
    pub(super) fn add_pad(&self) -> Option<PadId> {
        self.with(|producer, now| producer.add_pad(now))
    }

    pub(super) fn remove_pad(&self, pad: PadId) {
        self.with(|producer, now| producer.remove_pad(now, pad));
    }

    pub(super) fn set_track(&self, pad: PadId, track: TrackDescription) {
        self.lock().media_types.insert(pad, media_type(&track));
        self.with(|producer, now| producer.set_track(now, pad, track));
    }

    pub(super) fn end_of_stream(&self, pad: PadId) {
        self.with(|producer, now| producer.end_of_stream(now, pad));
    }

    /// FLUSH_STOP: running time starts anew.
    pub(super) fn flush(&self, pad: PadId) {
        self.lock().epoch = None;
        self.with(|producer, now| producer.flush(now, pad));
    }

    /// A GAP event: the pad has no frame before this running time.
    pub(super) fn gap(&self, pad: PadId, until_running_ns: i64) {
        let epoch = self.lock().epoch;
        if let Some(epoch) = epoch {
            let until = epoch.time(until_running_ns);
            self.with(|producer, now| producer.gap(now, pad, until));
        }
    }

    /// One frame; waits in PAUSED and while there is no room. `running_time` gives the current
    /// running time; it is asked once per mapping of time.
    pub(super) fn push(
        &self,
        pad: PadId,
        frame: &Incoming<'_>,
        flushing: &AtomicBool,
        running_time: impl Fn() -> Option<u64>,
    ) -> Result<PushOutcome, Refused> {
        let mut core = self.lock();
        loop {
            if flushing.load(SeqCst) || core.phase == Phase::Stopped {
                return Err(Refused::Flushing);
            }
            if core.failed {
                return Err(Refused::Failed);
            }
            if core.phase == Phase::Playing {
                let now = clock::monotonic();
                let epoch = *core
                    .epoch
                    .get_or_insert_with(|| self.time.epoch(now, running_time(), frame.running_ns));
                let outcome = core.producer.push_frame(now, pad, &frame.mapped(&epoch, now));
                core.drained &= outcome != PushOutcome::Accepted;
                self.settle(&mut core);
                if outcome != PushOutcome::Full {
                    return Ok(outcome);
                }
            }
            core.waiting_pads += 1;
            core = self.changed.wait(core).unwrap_or_else(PoisonError::into_inner);
            core.waiting_pads -= 1;
        }
    }

    /// Lets pads look again: one of them is flushing.
    pub(super) fn recheck_pads(&self) {
        let _core = self.lock();
        self.changed.notify_all();
    }

    // -- state changes

    pub(super) fn play(&self) {
        let mut core = self.lock();
        core.phase = Phase::Playing;
        if self.time == TimeBase::Live {
            core.epoch = None;
        }
        self.changed.notify_all();
    }

    pub(super) fn pause(&self) {
        self.lock().phase = Phase::Paused;
    }

    /// Sends the pads away and begins to deliver the rest.
    pub(super) fn stop(&self) {
        self.lock().phase = Phase::Stopped;
        self.changed.notify_all();
        self.with(|producer, now| producer.stop(now));
    }

    /// Waits until it is done; false when that took longer than `limit`.
    pub(super) fn wait_done(&self, limit: Duration) -> bool {
        let core = self.lock();
        let waited = self.changed.wait_timeout_while(core, limit, |core| !core.is_done());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_done()
    }

    pub(super) fn stats(&self) -> Statistics {
        let core = self.lock();
        (core.producer.stats(), core.dropped.clone())
    }

    // -- driver

    /// Resolves when there is work, possibly without any.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// What there is to do now.
    pub(super) fn take_work(&self) -> Work {
        let mut core = self.lock();
        let now = clock::monotonic();
        if core.producer.next_timeout().is_some_and(|due| due <= now) {
            core.producer.handle_timeout(now);
            self.settle(&mut core);
        }
        core.armed = core.producer.next_timeout();
        core.telling = !core.notices.is_empty();
        Work {
            actions: std::mem::take(&mut core.actions),
            notices: std::mem::take(&mut core.notices),
            due: core.armed,
        }
    }

    /// Everything that was taken was told.
    pub(super) fn set_told(&self) {
        self.lock().telling = false;
        self.changed.notify_all();
    }

    /// The driver is gone: nobody waits for it any more.
    pub(super) fn abandon(&self) {
        let mut core = self.lock();
        (core.failed, core.drained, core.telling) = (true, true, false);
        core.notices.clear();
        self.changed.notify_all();
    }

    /// The element has stopped, everything is accounted for, and was told.
    pub(super) fn is_done(&self) -> bool {
        self.lock().is_done()
    }

    /// Media types of the pads, as CreateStream takes them.
    pub(super) fn media_type(&self) -> String {
        self.lock().media_types.values().copied().collect::<Vec<_>>().join(",")
    }

    /// Whether the element has stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().phase == Phase::Stopped
    }

    // -- sessions

    pub(super) fn set_persistence(&self, persistence: Persistence) {
        self.with(|producer, now| producer.set_persistence(now, persistence));
    }

    pub(super) fn session_started(&self, session: SessionId) {
        self.lock().notices.push(Notice::Connected(session));
        self.with(|producer, now| producer.session_started(now, session));
    }

    pub(super) fn handle_ack(&self, session: SessionId, ack: AckEvent) {
        self.with(|producer, now| producer.handle_ack(now, session, ack));
    }

    pub(super) fn session_ended(&self, session: SessionId, result: Result<(), ServiceError>) {
        self.with(|producer, now| producer.session_ended(now, session, result));
    }

    /// The next bytes of a session's body. [`Transmit::Wait`] keeps the waker, if there is one.
    pub(super) fn transmit(
        &self,
        session: SessionId,
        out: &mut VecDeque<Bytes>,
        waker: Option<&Waker>,
    ) -> Transmit {
        let mut core = self.lock();
        let transmit = core.producer.poll_transmit(clock::monotonic(), session, out);
        self.settle_pulled(&mut core);
        if transmit == Transmit::Wait {
            core.waiting_bodies.extend(waker.cloned());
        }
        transmit
    }
}

impl Core {
    fn is_done(&self) -> bool {
        self.phase == Phase::Stopped && self.drained && self.notices.is_empty() && !self.telling
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Dropped { cause, frames, bytes } => {
                let drops = self.dropped.entry(*cause).or_default();
                drops.frames += frames;
                drops.bytes += bytes;
            }
            Event::Drained(_) => self.drained = true,
            Event::Error(_) => self.failed = true,
            _ => {}
        }
    }
}

impl TimeBase {
    /// The mapping for a first frame. Without a clock, the frame happens now.
    fn epoch(self, now: Monotonic, running: Option<u64>, frame: Option<i64>) -> Epoch {
        let frame = frame.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
        let running = running.unwrap_or(frame);
        match self {
            Self::Live | Self::Recorded => Epoch::at_wall(clock::wall(), now, running),
            Self::StartingAt(zero) => Epoch::starting_at(zero, now, running),
        }
    }
}

impl Incoming<'_> {
    fn mapped(&self, epoch: &Epoch, now: Monotonic) -> InputFrame<'_> {
        InputFrame {
            time: self.running_ns.map(|running_ns| epoch.time(running_ns)),
            arrival: epoch.arrival(now),
            duration: self.duration,
            key: self.key,
            payload: self.held.payload(),
            pinned: self.held.pinned_bytes(),
        }
    }
}
