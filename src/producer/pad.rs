// SPDX-License-Identifier: MIT OR Apache-2.0
//! One input: its caps, its time, and the frames that wait.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    api::{PadId, Payload, TrackDescription},
    config::limit,
    outbox::Outbox,
    spool,
    timeline::Clock,
};
use crate::{
    ids::TrackNumber,
    producer::api::DropCause,
    time::{Monotonic, Timestamp, TimestampScale},
    track::{Track, TrackKind},
};

/// A frame that waits for its place.
#[derive(Debug)]
pub(super) struct Held {
    /// Its place in the order of arrival of all pads.
    pub(super) order: u64,
    pub(super) since: Monotonic,
    /// Resolved, not shifted.
    pub(super) time: Timestamp,
    pub(super) key: bool,
    pub(super) payload: Bytes,
    pub(super) pinned: usize,
}

impl Held {
    pub(super) fn cost(&self) -> usize {
        spool::cost(&Payload::Share(self.payload.clone()), self.pinned)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pad {
    pub(super) id: PadId,
    pub(super) description: Option<TrackDescription>,
    /// Its track of the current head.
    pub(super) member: Option<TrackNumber>,
    /// Frames up to the next key frame decode to nothing.
    pub(super) needs_key: bool,
    /// When a key frame was asked for because of `needs_key`.
    pub(super) asked: Option<Monotonic>,
    /// Its caps changed since it was a member.
    pub(super) changed: bool,
    /// EOS.
    pub(super) ended: bool,
    /// Released; forgotten when its queue is empty.
    pub(super) gone: bool,
    pub(super) clock: Clock,
    /// Frames that wait, in order.
    pub(super) queue: VecDeque<Held>,
    /// No frame comes before this.
    pub(super) gap_until: Option<u64>,
    /// Latest block in the current head.
    pub(super) latest: Option<u64>,
}

impl Pad {
    pub(super) fn new(id: PadId) -> Self {
        Self {
            id,
            description: None,
            member: None,
            needs_key: false,
            asked: None,
            changed: false,
            ended: false,
            gone: false,
            clock: Clock::default(),
            queue: VecDeque::new(),
            gap_until: None,
            latest: None,
        }
    }

    /// Video whose frames need each other.
    pub(super) fn inter(&self) -> bool {
        self.description
            .as_ref()
            .is_some_and(|d| matches!(d.kind, TrackKind::Video(_)) && !d.intra_only)
    }

    /// A cut waits for it: sparse data is not worth a wait.
    pub(super) fn waited_for(&self) -> bool {
        self.description.as_ref().is_some_and(|d| !matches!(d.kind, TrackKind::Data(_)))
    }

    /// More frames may come.
    pub(super) fn active(&self) -> bool {
        !self.ended && !self.gone
    }

    /// Takes new caps; true when frames after them cannot share a session with frames before.
    pub(super) fn describe(&mut self, description: TrackDescription) -> bool {
        let differs = self.description.as_ref().is_none_or(|old| {
            (&old.kind, &old.codec_id, &old.codec_private, old.intra_only)
                != (
                    &description.kind,
                    &description.codec_id,
                    &description.codec_private,
                    description.intra_only,
                )
        });
        self.clock.default_duration = description.default_duration_ns.map(Duration::from_nanos);
        if differs {
            self.description = Some(description);
            self.leave();
            self.changed = true;
        }
        differs
    }

    /// Its track is not part of the head any more.
    pub(super) fn leave(&mut self) {
        self.member = None;
        self.needs_key = self.inter();
        self.asked = None;
    }

    /// Ticks of the frame at the front of the queue.
    pub(super) fn front_ticks(&self, scale: TimestampScale) -> Option<u64> {
        self.queue.front().map(|held| self.clock.ticks(held.time, scale))
    }

    /// Has a frame or a gap at `ticks` or later.
    pub(super) fn reached(&self, ticks: u64, scale: TimestampScale) -> bool {
        self.gap_until.is_some_and(|until| until >= ticks)
            || self.front_ticks(scale).is_some_and(|front| front >= ticks)
    }

    /// Drops waiting frames from the front while `unfit`; returns what they cost.
    pub(super) fn purge(
        &mut self,
        out: &mut Outbox,
        cause: DropCause,
        mut unfit: impl FnMut(&Self, &Held) -> bool,
    ) -> usize {
        let mut freed = 0;
        while self.queue.front().is_some_and(|held| unfit(self, held)) {
            let Some(held) = self.queue.pop_front() else { break };
            out.lose(cause, 1, held.payload.len() as u64);
            freed += held.cost();
        }
        freed
    }

    /// Whether to ask for a key frame now.
    pub(super) fn ask_for_key(&mut self, now: Monotonic) -> bool {
        let ask = self.asked.is_none_or(|at| now - at >= limit::KEY_UNIT_RETRY);
        if ask {
            self.asked = Some(now);
        }
        ask
    }

    /// Order of kinds in a head.
    pub(super) fn rank(&self) -> u8 {
        match self.description.as_ref().map(|d| &d.kind) {
            Some(TrackKind::Video(_)) => 0,
            Some(TrackKind::Audio(_)) => 1,
            Some(TrackKind::Data(_)) | None => 2,
        }
    }

    /// Its TrackEntry.
    pub(super) fn track(&self, number: TrackNumber) -> Option<Track> {
        self.description.as_ref().map(|d| Track {
            number,
            kind: d.kind.clone(),
            codec_id: d.codec_id.clone(),
            codec_private: d.codec_private.clone(),
            name: d.name.clone(),
            default_duration_ns: d.default_duration_ns,
        })
    }
}
