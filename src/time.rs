// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every clock and unit of the project, and the one rounding rule between them.
//!
//! | type | epoch | unit | who reads the clock |
//! | --- | --- | --- | --- |
//! | [`Timestamp`] | Unix epoch, UTC | ns | `io::clock`, or the media itself |
//! | [`Monotonic`] | arbitrary, per process | ns | `io::clock` |
//! | ticks (`u64`) | Unix epoch or session start | [`TimestampScale`] | nobody: derived |
//!
//! A frame's producer time is computed once in nanoseconds and rounded **once**, half up, to the
//! nearest tick ([`TimestampScale::to_ticks`]). Nothing else in the project rounds media time.

use std::{
    fmt,
    num::NonZeroU64,
    ops::{Add, Sub},
    time::Duration,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An absolute time: nanoseconds since the Unix epoch, UTC. Range 1970 to 2554.
///
/// Producer timestamps and server timestamps are both of this type. `Display` prints RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// From milliseconds since the Unix epoch; `None` past the year 2554.
    pub const fn from_millis(ms: u64) -> Option<Self> {
        match ms.checked_mul(1_000_000) {
            Some(ns) => Some(Self(ns)),
            None => None,
        }
    }

    /// From seconds since the Unix epoch as JSON numbers carry them; `None` when negative, not
    /// finite or out of range. Rounded to the nearest microsecond, which is what an `f64` tells apart
    /// until the year 2106.
    pub fn from_secs_f64(secs: f64) -> Option<Self> {
        let micros = (secs * 1e6).round();
        ((0.0..1.8e16).contains(&micros)).then(|| Self(micros as u64 * 1000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The same time in whole milliseconds, rounded down: the precision in which the service tells
    /// and compares times.
    pub const fn floor_to_millis(self) -> Self {
        Self(self.0 - self.0 % 1_000_000)
    }

    /// Seconds since the Unix epoch, as JSON members carry times.
    pub fn as_secs_f64(self) -> f64 {
        self.as_millis() as f64 / 1e3
    }

    /// `<seconds>.<milliseconds>`, zero-padded to three decimals: the form of the service's
    /// timestamp tags and of `x-amzn-producer-start-timestamp`.
    pub fn to_decimal_seconds(self) -> String {
        let ms = self.as_millis();
        format!("{}.{:03}", ms / 1000, ms % 1000)
    }

    /// Reads what users write and what the wire carries: ISO 8601 with an offset
    /// (`2026-01-01T00:00:00Z`) or decimal seconds since the epoch, up to nanoseconds.
    ///
    /// # Errors
    /// [`ParseTimestampError`] names the text and both accepted forms.
    pub fn parse(text: &str) -> Result<Self, ParseTimestampError> {
        let text = text.trim();
        Self::parse_decimal(text)
            .or_else(|| Self::parse_iso(text))
            .ok_or_else(|| ParseTimestampError(text.chars().take(64).collect()))
    }

    fn parse_decimal(text: &str) -> Option<Self> {
        let (secs, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if secs.is_empty() || !digits(secs) || !digits(fraction) {
            return None;
        }
        let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let secs = secs.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
        secs.checked_add(nanos.parse().ok()?).map(Self)
    }

    fn parse_iso(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(parsed.unix_timestamp_nanos()).ok().map(Self)
    }

    /// The time `delta` later; `None` on overflow.
    pub fn checked_add(self, delta: Duration) -> Option<Self> {
        self.0.checked_add(u64::try_from(delta.as_nanos()).ok()?).map(Self)
    }

    /// The time `delta` earlier, or the epoch.
    pub fn saturating_sub(self, delta: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(delta.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How much later `self` is than `earlier`; zero when it is not later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .ok()
            .and_then(|t| t.format(&Rfc3339).ok())
        {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ns", self.0),
        }
    }
}

/// The text is no timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no timestamp: write ISO 8601 with an offset (2026-01-01T00:00:00Z) or seconds \
     since the epoch (1767225600.123)"
)]
pub struct ParseTimestampError(String);

/// A reading of a clock that never goes back: nanoseconds since an arbitrary start.
///
/// The machines of layer 2 take it as an argument and never read a clock themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// From nanoseconds since the clock's start.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How much later `self` is than `earlier`; zero when it is not later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, delta: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delta.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Monotonic {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

/// Nanoseconds per tick of a Matroska segment (`TimestampScale`, RFC 9559 5.1.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimestampScale(NonZeroU64);

impl TimestampScale {
    /// One millisecond: Matroska's default and ours.
    pub const MILLISECOND: Self = Self(NonZeroU64::new(1_000_000).unwrap());

    /// One hour. With no tick longer than that, any number of ticks in nanoseconds fits an `i128`,
    /// and so do sums of such times.
    pub const MAX: Self = Self(NonZeroU64::new(3_600_000_000_000).unwrap());

    /// From nanoseconds per tick; `None` for zero and for more than [`Self::MAX`].
    pub const fn from_nanos(ns: u64) -> Option<Self> {
        match NonZeroU64::new(ns) {
            Some(ns) if ns.get() <= Self::MAX.as_nanos() => Some(Self(ns)),
            _ => None,
        }
    }

    /// Nanoseconds per tick.
    pub const fn as_nanos(self) -> u64 {
        self.0.get()
    }

    /// The tick nearest to `time`, half up. **The project's one rounding of media time.**
    pub const fn to_ticks(self, time: Timestamp) -> u64 {
        let scale = self.0.get();
        time.0 / scale + (time.0 % scale >= scale.div_ceil(2)) as u64
    }

    /// The time of `ticks`; `None` on overflow.
    pub const fn to_timestamp(self, ticks: u64) -> Option<Timestamp> {
        match ticks.checked_mul(self.0.get()) {
            Some(ns) => Some(Timestamp(ns)),
            None => None,
        }
    }

    /// The length of `ticks`; `None` on overflow.
    pub const fn to_duration(self, ticks: u64) -> Option<Duration> {
        match ticks.checked_mul(self.0.get()) {
            Some(ns) => Some(Duration::from_nanos(ns)),
            None => None,
        }
    }
}

impl Default for TimestampScale {
    fn default() -> Self {
        Self::MILLISECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_up_to_the_nearest_tick() {
        let ms = TimestampScale::MILLISECOND;
        for (ns, ticks) in [(0, 0), (499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2)] {
            assert_eq!(ms.to_ticks(Timestamp::from_nanos(ns)), ticks, "{ns} ns");
        }
        let odd = TimestampScale::from_nanos(3).unwrap();
        assert_eq!(odd.to_ticks(Timestamp::from_nanos(4)), 1);
        assert_eq!(odd.to_ticks(Timestamp::from_nanos(5)), 2);
    }

    #[test]
    fn reads_iso_and_decimal_seconds() {
        let expect = Timestamp::from_nanos(1_767_225_600_123_000_000);
        for text in ["1767225600.123", "2026-01-01T00:00:00.123Z", "2026-01-01T01:00:00.123+01:00"]
        {
            assert_eq!(Timestamp::parse(text), Ok(expect), "{text}");
        }
        assert_eq!(Timestamp::parse("7"), Ok(Timestamp::from_nanos(7_000_000_000)));
        for text in ["", ".5", "yesterday", "-1", "1e9", "99999999999999999999"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_padded_milliseconds() {
        let time = Timestamp::from_nanos(1_795_352_474_008_999_999);
        assert_eq!(time.to_decimal_seconds(), "1795352474.008");
        assert_eq!(
            Timestamp::parse(&time.to_decimal_seconds()).unwrap().as_millis(),
            1_795_352_474_008
        );
    }

    #[test]
    fn json_seconds_survive_to_the_millisecond() {
        for ms in [0, 1, 1_767_225_600_123, 4_102_444_800_999] {
            let time = Timestamp::from_millis(ms).unwrap();
            assert_eq!(Timestamp::from_secs_f64(time.as_secs_f64()), Some(time));
        }
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(Timestamp::from_secs_f64(bad), None);
        }
    }
}
