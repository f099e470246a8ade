// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a GetMedia starts: from a selector to the number that its first fragment follows.
//!
//! | selector | first fragment |
//! | --- | --- |
//! | NOW | the newest one in progress, from its first byte; else the next to begin |
//! | EARLIEST | the lowest number kept |
//! | FRAGMENT_NUMBER, CONTINUATION_TOKEN | the one after it, kept or still to come |
//! | PRODUCER_TIMESTAMP, SERVER_TIMESTAMP | the one that contains the time; in a gap the next later one |
//!
//! A number that this service never gives out is answered with error 4000; one whose fragment has
//! expired is not: whoever resumes late goes on with what is left.

use crate::{
    ids::FragmentNumber,
    io::clock,
    server::{
        relay::{Live, Phase},
        store::{Number, StoreError, TimeKind},
    },
    time::Timestamp,
    wire::get_media::StartSelector,
};

use super::Reading;

impl Reading {
    /// The number before the first fragment; `None` when there is nothing to start with for too
    /// long.
    ///
    /// # Errors
    /// The number that is none of ours.
    pub(super) async fn start(
        &self,
        selector: &StartSelector,
    ) -> Result<Option<Number>, FragmentNumber> {
        match selector {
            StartSelector::Now => Ok(Some(self.newest())),
            StartSelector::Earliest => Ok(Some(Number::MIN)),
            StartSelector::FragmentNumber(number) => after(number).map(Some),
            StartSelector::ContinuationToken(token) => match token.as_str().parse() {
                Ok(number) => after(&number).map(Some),
                Err(_) => Err(Number::MIN.to_fragment_number()),
            },
            StartSelector::ProducerTimestamp(time) => Ok(self.at(TimeKind::Producer, *time).await),
            StartSelector::ServerTimestamp(time) => Ok(self.at(TimeKind::Server, *time).await),
        }
    }

    fn newest(&self) -> Number {
        let live = self.hub.live();
        let growing = live.iter().rev().find(|live| live.phase() == Phase::Growing);
        match growing {
            Some(live) => live.number.before(),
            None => {
                let stored = self.service.store.highest(&self.stream).unwrap_or_else(|error| {
                    tracing::error!(%error, "the newest stored fragment is not known");
                    None
                });
                self.hub.last().max(stored).unwrap_or(Number::MIN)
            }
        }
    }

    async fn at(&self, kind: TimeKind, time: Timestamp) -> Option<Number> {
        let find = || {
            self.containing(kind, time).map_err(|error| {
                tracing::error!(%error, "GetMedia ends");
            })
        };
        self.wait_for(find).await.map(|number| number.before())
    }

    /// The fragment that contains `time`, or the next later one that there is.
    fn containing(&self, kind: TimeKind, time: Timestamp) -> Result<Option<Number>, StoreError> {
        // Live ones first: what leaves between the two looks is stored by then.
        let live = self.hub.live();
        let stored = self.service.store.first_containing(&self.stream, time, kind)?;
        if let Some(stored) = stored.filter(|stored| kind.of(stored) <= time) {
            return Ok(Some(stored.number));
        }
        let now = clock::wall();
        if let Some(live) = live.iter().find(|live| covers(live, kind, time, now)) {
            return Ok(Some(live.number));
        }
        let later = live.iter().map(|live| (time_of(live, kind), live.number));
        let later = later.chain(stored.map(|stored| (kind.of(&stored), stored.number)));
        Ok(later.filter(|(start, _)| *start > time).min().map(|(_, number)| number))
    }
}

fn after(number: &FragmentNumber) -> Result<Number, FragmentNumber> {
    let parsed = Number::parse(number);
    if parsed.is_ours() { Ok(parsed) } else { Err(number.clone()) }
}

fn time_of(live: &Live, kind: TimeKind) -> Timestamp {
    match kind {
        TimeKind::Producer => live.start.producer,
        TimeKind::Server => live.start.server,
    }
}

/// Whether a live fragment contains `time`. One in progress reaches up to now.
fn covers(live: &Live, kind: TimeKind, time: Timestamp, now: Timestamp) -> bool {
    let start = time_of(live, kind);
    let reach = match live.phase() {
        Phase::Growing => now,
        Phase::Complete { length_ms } => kind.end(start, length_ms),
        Phase::Cut => return false,
    };
    start <= time && time <= reach
}
