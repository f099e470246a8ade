// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where one fragment ends and the next begins, as one pure decision per frame.
//!
//! *age*: from the frame that the open fragment was cut at to this one. *all*: every declared track has a frame in
//! the open fragment (4011). *ahead*: the frame is later than all of the open fragment (4004). The
//! first row that fits decides.
//!
//! | frame | condition | decision |
//! | --- | --- | --- |
//! | any | no fragment is open | [`Cut::First`] |
//! | any | its offset does not fit 16 bits, forward | [`Cut::Limit`] |
//! | any | the fragment would pass 49 MB; 45 MB when ahead | [`Cut::Limit`] |
//! | any | 19 s or more after its earliest frame, ahead | [`Cut::Limit`] |
//! | lead, key | age at least the shortest length, all, ahead | [`Cut::Here`] |
//! | lead, key | age at least the shortest length, all, not ahead | [`Cut::Overlap`] |
//! | no lead | age at least the shortest length and `fragment_duration`, all, ahead | [`Cut::Here`] |
//! | any | else | [`Cut::No`] |
//!
//! The *lead* is the first video track that is not intra-only: fragments start at its key frames.
//! The shortest length is 1 s; without key-frame fragmentation `fragment_duration` if longer.

use std::time::Duration;

use super::{
    config::{Config, limit},
    timeline::duration_ticks,
};
use crate::time::TimestampScale;

/// Where a cut is preferred when it is about size, so that a B-frame is not the first.
const SOFT_BYTES: usize = limit::FRAGMENT_BYTES / 10 * 9;

/// Nanoseconds that a fragment with frames from before its cut has left for the next key frame.
const ROOM: u64 = 4_000_000_000;

/// The lengths that matter, in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Between two cuts at the lead's key frames.
    pub(super) shortest: u64,
    /// Between two cuts without lead.
    pub(super) fragment: u64,
    /// When a key frame is asked for and a silent track is given up.
    pub(super) max: u64,
    /// When a cut is made anyway.
    pub(super) limit: u64,
    /// Between two requests for a key frame.
    pub(super) key_retry: u64,
    /// No cut ever before this.
    pub(super) min: u64,
    /// How far before its cut a fragment may begin with frames that waited.
    pub(super) window: u64,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let ticks = |duration: Duration| duration_ticks(duration, config.scale);
        let min = ticks(limit::MIN_CUT);
        let fragment = ticks(config.fragment_duration).max(min).min(Self::limit(config.scale));
        Self {
            shortest: if config.key_frame_fragmentation { min } else { fragment },
            fragment,
            max: ticks(config.max_fragment_duration).clamp(min, Self::limit(config.scale)),
            limit: Self::limit(config.scale),
            key_retry: ticks(limit::KEY_UNIT_RETRY),
            min,
            window: Self::limit(config.scale)
                .saturating_sub(ROOM / config.scale.as_nanos())
                .min(i16::MAX as u64),
        }
    }

    fn limit(scale: TimestampScale) -> u64 {
        (limit::CUT.as_nanos() as u64 / scale.as_nanos()).max(1)
    }
}

/// What a frame is to the fragmenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// No track leads; every frame may start a fragment.
    Free,
    /// Of the lead, not a key frame.
    LeadDelta,
    /// Of the lead, a key frame.
    LeadKey,
    /// Of another track than the lead.
    Other,
}

/// What is known of the open fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenState {
    /// Its cluster timestamp.
    pub(super) start: u64,
    /// The frame it was cut at.
    pub(super) cut: u64,
    /// Its earliest frame.
    pub(super) earliest: u64,
    /// Its latest frame.
    pub(super) latest: u64,
    /// Payload bytes and headers so far.
    pub(super) bytes: usize,
    /// Every declared track has a frame.
    pub(super) all: bool,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// There is nothing to cut: the frame starts the first fragment.
    First,
    /// Cut before this frame once the other tracks are there.
    Here,
    /// Cut before this frame now: the service takes no more in this fragment.
    Limit,
    /// The frame belongs to the open fragment.
    No,
    /// A cut would be due, but other tracks ran ahead: only a new session could start here.
    Overlap,
}

/// Decides for a frame of `ticks` and `bytes`. See the module's table.
pub(super) fn decide(
    rules: &Rules,
    open: Option<OpenState>,
    role: Role,
    ticks: u64,
    bytes: usize,
) -> Cut {
    let Some(open) = open else { return Cut::First };
    let age = ticks.saturating_sub(open.cut);
    let ahead = ticks > open.latest;
    let size = open.bytes.saturating_add(bytes);
    let full = size > limit::FRAGMENT_BYTES || (ahead && size > SOFT_BYTES);
    let span = ticks.saturating_sub(open.earliest);
    let offset = ticks.saturating_sub(open.start);
    if offset > i16::MAX as u64 || full || (ahead && span >= rules.limit) {
        return Cut::Limit;
    }
    let due = match role {
        Role::Free => age >= rules.fragment,
        Role::LeadKey => age >= rules.shortest,
        Role::LeadDelta | Role::Other => false,
    };
    match (due && open.all, ahead, role) {
        (true, true, _) => Cut::Here,
        (true, false, Role::LeadKey) => Cut::Overlap,
        _ => Cut::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_as_the_table_says() {
        use Cut::{First, Here, Limit, No, Overlap};
        use Role::{Free, LeadDelta, LeadKey, Other};
        let rules = Rules::new(&Config::default());
        let by_duration =
            Rules::new(&Config { key_frame_fragmentation: false, ..Config::default() });
        assert_eq!(decide(&rules, None, LeadDelta, 5, 1), First);
        // rules, role, age, latest age, bytes so far, all tracks there, decision
        for (line, (rules, role, age, latest, bytes, all, expect)) in [
            (rules, LeadKey, 999, 900, 0, true, No),
            (rules, LeadKey, 1000, 999, 0, true, Here),
            (rules, LeadKey, 1000, 999, 0, false, No),
            (rules, LeadKey, 1000, 1000, 0, true, Overlap),
            (rules, LeadDelta, 18_999, 18_900, 0, true, No),
            (rules, LeadDelta, 19_000, 18_900, 0, true, Limit),
            (rules, LeadDelta, 19_000, 19_100, 0, true, No),
            (rules, Other, 5000, 4900, 0, true, No),
            (rules, Other, 19_000, 18_900, 0, false, Limit),
            (rules, Other, 40_000, 50_000, 0, true, Limit),
            (rules, Free, 1999, 1900, 0, true, No),
            (rules, Free, 2000, 1900, 0, true, Here),
            (rules, Free, 2000, 2000, 0, true, No),
            (rules, Free, 2000, 1900, 0, false, No),
            (rules, LeadDelta, 10, 5, SOFT_BYTES, true, Limit),
            (rules, LeadDelta, 10, 15, SOFT_BYTES, true, No),
            (rules, LeadDelta, 10, 15, limit::FRAGMENT_BYTES, true, Limit),
            (by_duration, LeadKey, 1999, 1900, 0, true, No),
            (by_duration, LeadKey, 2000, 1900, 0, true, Here),
        ]
        .into_iter()
        .enumerate()
        {
            let start = 1_000_000;
            let open = OpenState {
                start,
                cut: start,
                earliest: start,
                latest: start + latest,
                bytes,
                all,
            };
            let cut = decide(&rules, Some(open), role, start + age, 1);
            assert_eq!(cut, expect, "line {line}: {role:?} at {age}");
        }
        let open =
            OpenState { start: 100, cut: 100, earliest: 100, latest: 200, bytes: 0, all: true };
        assert_eq!(decide(&rules, Some(open), LeadKey, 50, 1), No);
        let open =
            OpenState { start: 100, cut: 5000, earliest: 100, latest: 200, bytes: 0, all: true };
        assert_eq!(decide(&rules, Some(open), Other, 19_099, 1), No);
        assert_eq!(decide(&rules, Some(open), Other, 19_100, 1), Limit);
    }

    #[test]
    fn lengths_stay_within_what_the_service_takes() {
        let long = Duration::from_secs(3600);
        let config =
            Config { fragment_duration: long, max_fragment_duration: long, ..Config::default() };
        let rules = Rules::new(&config);
        assert_eq!((rules.fragment, rules.max, rules.limit), (19_000, 19_000, 19_000));
        let config = Config {
            fragment_duration: Duration::ZERO,
            max_fragment_duration: Duration::ZERO,
            ..Config::default()
        };
        let rules = Rules::new(&config);
        assert_eq!((rules.shortest, rules.fragment, rules.max), (1000, 1000, 1000));
    }
}
