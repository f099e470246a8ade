// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the next GetMedia session starts, and which fragments were read already.
//!
//! | position | next session starts | a fragment is passed over when |
//! | --- | --- | --- |
//! | nothing read yet | at the caller's selector | it is the one the selector says to start after |
//! | inside the first fragment | where it began | its number is lower |
//! | after whole fragments | after the last: its token, else its number | its number is not higher |
//! | the service lost our place | EARLIEST | its number is not higher |
//! | the stream did not exist | EARLIEST: all of it is new | never |
//!
//! Whether the service's tokens mean "from here" or "after here" does not matter, because a
//! fragment that comes again is passed over. Numbers start anew when a stream is deleted and made
//! again; therefore a fragment that the service received *later* than our place is never passed
//! over, whatever its number.

use crate::{
    consumer::{Completeness, FragmentEnd, FragmentHead},
    ids::{ContinuationToken, FragmentNumber},
    time::Timestamp,
    wire::get_media::StartSelector,
};

/// The place in the stream. See the module.
#[derive(Clone, Debug)]
pub struct Cursor {
    start: StartSelector,
    place: Place,
    /// The service does not know our place any more.
    lost: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Start,
    /// Whole fragments were read; this is the last one.
    After {
        head: FragmentHead,
        token: Option<ContinuationToken>,
    },
    /// The first fragment has begun.
    Within(FragmentHead),
}

impl Cursor {
    /// Starts at `start`.
    pub fn new(start: StartSelector) -> Self {
        Self { start, place: Place::Start, lost: false }
    }

    /// Where the next session starts.
    pub fn selector(&self) -> StartSelector {
        if self.lost {
            return StartSelector::Earliest;
        }
        match &self.place {
            Place::After { token: Some(token), .. } => {
                StartSelector::ContinuationToken(token.clone())
            }
            Place::After { head: FragmentHead { number: Some(number), .. }, .. } => {
                StartSelector::FragmentNumber(number.clone())
            }
            // "Now" would be a later fragment by the time of the next session.
            Place::Within(FragmentHead { server: Some(server), .. })
                if self.start == StartSelector::Now =>
            {
                StartSelector::ServerTimestamp(*server)
            }
            Place::After { .. } | Place::Start | Place::Within(_) => self.start.clone(),
        }
    }

    /// Whether a fragment is new, as far as its head tells.
    pub fn wants(&self, head: &FragmentHead) -> bool {
        let Some(number) = &head.number else { return true };
        let (passed, place) = match &self.place {
            Place::Start => return !self.is_excluded_start(number),
            Place::After { head: last, .. } => {
                (last.number.as_ref().is_some_and(|last| number <= last), last)
            }
            Place::Within(first) => {
                (first.number.as_ref().is_some_and(|first| number < first), first)
            }
        };
        !passed || matches!((head.server, place.server), (Some(this), Some(last)) if this > last)
    }

    /// The selector says to start after this fragment, and the service gave it all the same.
    fn is_excluded_start(&self, number: &FragmentNumber) -> bool {
        match &self.start {
            StartSelector::FragmentNumber(after) => number <= after,
            StartSelector::ContinuationToken(token) => number.as_str() == token.as_str(),
            StartSelector::Earliest
            | StartSelector::Now
            | StartSelector::ProducerTimestamp(_)
            | StartSelector::ServerTimestamp(_) => false,
        }
    }

    /// A wanted fragment has begun.
    pub fn fragment_started(&mut self, head: &FragmentHead) {
        self.lost = false;
        if let Place::Start | Place::Within(_) = self.place {
            self.place = Place::Within(head.clone());
        }
    }

    /// A wanted fragment is over. A cut one is read again; a corrupt one is not, for it would come
    /// again as it is.
    pub fn fragment_ended(&mut self, end: &FragmentEnd) {
        let passed = match end.completeness {
            Completeness::Corrupt | Completeness::Whole => true,
            Completeness::Cut => false,
        };
        if passed && (end.head.number.is_some() || end.token.is_some()) {
            self.place = Place::After { head: end.head.clone(), token: end.token.clone() };
        }
    }

    /// The stream does not exist: whatever comes later is a new stream, new from its first byte.
    pub fn stream_missing(&mut self) {
        if self.start == StartSelector::Now || !matches!(self.place, Place::Start) {
            *self = Self::new(StartSelector::Earliest);
        }
    }

    /// The service refused our place. False when that was the caller's own selector, so that
    /// asking again cannot help.
    pub fn place_refused(&mut self) -> bool {
        let ours = !self.lost && !matches!(self.place, Place::Start);
        self.lost |= ours;
        ours
    }

    /// The token of the last whole fragment: what to store in order to go on from here later.
    pub fn token(&self) -> Option<&ContinuationToken> {
        match &self.place {
            Place::After { token, .. } => token.as_ref(),
            Place::Start | Place::Within(_) => None,
        }
    }
}

/// Whether `time` is at or past the end of what was asked for.
pub(super) fn is_past(end: Option<Timestamp>, time: Timestamp) -> bool {
    end.is_some_and(|end| time >= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> FragmentNumber {
        text.parse().unwrap()
    }

    fn head(text: &str, server_ms: u64) -> FragmentHead {
        FragmentHead {
            number: Some(number(text)),
            server: Timestamp::from_millis(server_ms),
            producer: None,
        }
    }

    fn end(text: &str, server_ms: u64, token: Option<&str>, how: Completeness) -> FragmentEnd {
        FragmentEnd {
            head: head(text, server_ms),
            token: token.map(|t| t.parse().unwrap()),
            completeness: how,
            ..FragmentEnd::default()
        }
    }

    #[test]
    fn goes_on_after_the_last_whole_fragment() {
        let mut cursor = Cursor::new(StartSelector::Earliest);
        cursor.fragment_started(&head("5", 100));
        cursor.fragment_ended(&end("5", 100, Some("t5"), Completeness::Whole));
        assert_eq!(cursor.selector(), StartSelector::ContinuationToken("t5".parse().unwrap()));
        assert!(!cursor.wants(&head("5", 100)), "an inclusive token repeats the fragment");
        assert!(!cursor.wants(&head("4", 50)));
        assert!(cursor.wants(&head("6", 150)));
        cursor.fragment_ended(&end("6", 150, None, Completeness::Whole));
        assert_eq!(cursor.selector(), StartSelector::FragmentNumber(number("6")));
    }

    #[test]
    fn a_cut_fragment_is_read_again_and_a_corrupt_one_is_not() {
        let mut cursor = Cursor::new(StartSelector::Earliest);
        cursor.fragment_ended(&end("5", 100, Some("t5"), Completeness::Whole));
        cursor.fragment_started(&head("6", 150));
        cursor.fragment_ended(&end("6", 150, None, Completeness::Cut));
        assert_eq!(cursor.selector(), StartSelector::ContinuationToken("t5".parse().unwrap()));
        assert!(cursor.wants(&head("6", 150)));
        cursor.fragment_ended(&end("6", 150, None, Completeness::Corrupt));
        assert_eq!(cursor.selector(), StartSelector::FragmentNumber(number("6")));
    }

    #[test]
    fn now_that_was_cut_in_its_first_fragment_returns_to_it() {
        let mut cursor = Cursor::new(StartSelector::Now);
        assert_eq!(cursor.selector(), StartSelector::Now);
        cursor.fragment_started(&head("7", 1234));
        let server = Timestamp::from_millis(1234).unwrap();
        assert_eq!(cursor.selector(), StartSelector::ServerTimestamp(server));
        assert!(cursor.wants(&head("7", 1234)) && !cursor.wants(&head("6", 1234)));
    }

    #[test]
    fn a_start_after_a_fragment_does_not_take_that_fragment() {
        let cursor = Cursor::new(StartSelector::FragmentNumber(number("8")));
        assert!(!cursor.wants(&head("8", 1)) && cursor.wants(&head("9", 1)));
        let cursor = Cursor::new(StartSelector::ContinuationToken("8".parse().unwrap()));
        assert!(!cursor.wants(&head("8", 1)) && cursor.wants(&head("7", 1)));
    }

    #[test]
    fn a_stream_made_anew_is_read_from_its_start() {
        for (start, read, expect) in [
            (StartSelector::Now, false, StartSelector::Earliest),
            (StartSelector::FragmentNumber(number("3")), true, StartSelector::Earliest),
            (
                StartSelector::FragmentNumber(number("3")),
                false,
                StartSelector::FragmentNumber(number("3")),
            ),
        ] {
            let mut cursor = Cursor::new(start);
            if read {
                cursor.fragment_ended(&end("9", 100, None, Completeness::Whole));
            }
            cursor.stream_missing();
            assert_eq!(cursor.selector(), expect);
        }
    }

    #[test]
    fn a_lower_number_that_came_later_is_new() {
        let mut cursor = Cursor::new(StartSelector::Earliest);
        cursor.fragment_ended(&end("900", 5000, None, Completeness::Whole));
        assert!(cursor.wants(&head("1", 9000)));
        assert!(!cursor.wants(&head("1", 5000)));
    }

    #[test]
    fn a_refused_place_falls_back_once_to_what_is_left() {
        let mut cursor = Cursor::new(StartSelector::Now);
        assert!(!cursor.place_refused(), "the caller's selector");
        cursor.fragment_ended(&end("5", 100, None, Completeness::Whole));
        assert!(cursor.place_refused());
        assert_eq!(cursor.selector(), StartSelector::Earliest);
        assert!(!cursor.wants(&head("5", 100)));
        assert!(!cursor.place_refused(), "not even EARLIEST");
        cursor.fragment_started(&head("8", 300));
        assert_eq!(cursor.selector(), StartSelector::FragmentNumber(number("5")));
    }
}
