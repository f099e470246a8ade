// SPDX-License-Identifier: MIT OR Apache-2.0
//! One session after another until every fragment is safe: open, roll back, rotate, drain.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | something unsent, no session | open one at the first fragment that is not safe |
//! | the head changes, or the session is old | it retires at the cut; the next one overlaps it, and sends when all of it is being read |
//! | it fails, or an answer is overdue | warning, back-off, then a new one from the first fragment not safe |
//! | a retiring one fails | the sending one is given up too: order before speed |
//! | the response ends early, nothing unsafe | nothing, until there is something to send |
//! | ERROR ack: fragment never accepted | it is reported as dropped; a new session goes on after it |
//! | ERROR ack without timecode | replay once; the second time the fragment being read is the one |
//! | ERROR ack: any other | as a failure |
//! | ConnectionLimitExceeded beside a retiring session | never overlap again; wait for its end |
//! | the request itself is refused, or the stream cannot be had | error; nothing further is sent |

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    Env,
    api::{Action, Drained, DropCause, Event, SessionId, Transmit, Warning},
    config::{Config, Persistence},
    in_flight::Stage,
    session::{Orders, Session, State},
    spool::{self, Seq, Spool},
};
use crate::{
    retry::Backoff,
    time::Monotonic,
    wire::{
        ServiceError, ServiceErrorKind,
        ack::AckEvent,
        error_id::{self, RetryClass},
    },
};

/// Requests at the same time, those included that were given up and whose end was not said yet.
const MAX_REQUESTS: usize = 4;
/// A response that does not end this long after the body is given up.
const END_GRACE: Duration = Duration::from_secs(5);
/// Repeated staleness doubles the patience up to this factor: a slow link needs it to get anywhere.
const MAX_PATIENCE_FACTOR: u32 = 16;
/// Shortest time between two warnings of a trouble that lasts.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Frames may come.
    No,
    /// All was taken in; the end is announced by this time at the latest.
    Until(Monotonic),
    /// The end was announced.
    Done,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Delivery {
    sessions: Vec<Session>,
    next_id: u64,
    backoff: Backoff,
    random: fastrand::Rng,
    retry_at: Option<Monotonic>,
    /// The last try failed.
    fresh: bool,
    /// Two sessions at a time were refused once.
    alone: bool,
    failed: bool,
    drain: Drain,
    patience_factor: u32,
    last_warning: Option<Monotonic>,
    /// The fragment an ERROR ack without timecode was about, and its id.
    suspect: Option<(Seq, u32)>,
}

impl Delivery {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            sessions: Vec::new(),
            next_id: 0,
            backoff: Backoff::new(config.seed),
            random: fastrand::Rng::with_seed(config.seed.wrapping_add(1)),
            retry_at: None,
            fresh: false,
            alone: false,
            failed: false,
            drain: Drain::No,
            patience_factor: 1,
            last_warning: None,
            suspect: None,
        }
    }

    /// Nothing further will be sent.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// No session sends: a new frame may call for one.
    pub(super) fn idle(&self) -> bool {
        !self.sessions.iter().any(|session| session.state == State::Sending)
    }

    /// Everything was taken in.
    pub(super) fn begin_drain(&mut self, env: &Env<'_>) {
        if self.drain == Drain::No {
            self.drain = Drain::Until(env.now + env.config.drain_timeout);
        }
    }

    /// Frames come again.
    pub(super) fn cancel_drain(&mut self) {
        self.drain = Drain::No;
    }

    /// Opens, replaces and ends sessions as the table says.
    pub(super) fn plan(&mut self, env: &mut Env<'_>) {
        for session in &mut self.sessions {
            if session.live() && session.outdated(env.spool) {
                give_up(session, env);
            }
        }
        self.retry_at = self.retry_at.filter(|&at| at > env.now);
        let due = !self.failed && self.drain != Drain::Done && self.retry_at.is_none();
        let first = self.first_uncovered(env.spool);
        if let Some(sending) = self.sessions.iter_mut().find(|s| s.state == State::Sending) {
            if first.is_none_or(|first| first >= sending.next) {
                return self.check_drained(env);
            }
            give_up(sending, env);
        }
        // The one given up may have covered fragments, all later ones.
        let live = self.sessions.iter().filter(|session| session.live()).count();
        let room = live < if self.alone { 1 } else { 2 } && self.sessions.len() < MAX_REQUESTS;
        match first {
            Some(first) if due && room => self.open(env, first),
            _ => self.check_drained(env),
        }
    }

    /// The first fragment that is neither settled nor on its way.
    fn first_uncovered(&self, spool: &Spool) -> Option<Seq> {
        let covered = |seq| self.sessions.iter().any(|s| s.live() && s.in_flight.contains(seq));
        let mut unsettled = spool.iter().filter(|(_, fragment)| !fragment.settled());
        unsettled.find(|&(seq, _)| !covered(seq)).map(|(seq, _)| seq)
    }

    fn open(&mut self, env: &mut Env<'_>, first: Seq) {
        let Some(fragment) = env.spool.get(first) else { return };
        self.next_id += 1;
        let id = SessionId(self.next_id);
        let uuid = self.random.u128(..).to_be_bytes();
        self.sessions.push(Session::new(id, fragment.head.id, uuid, first, env.now));
        env.out.stats.sessions += 1;
        env.out.action(Action::OpenSession {
            id,
            start: spool::timestamp(env.config.scale, fragment.ticks),
            acks: env.config.persistence != Persistence::SessionEnd,
            fresh: self.fresh,
        });
    }

    pub(super) fn transmit(
        &mut self,
        env: &mut Env<'_>,
        id: SessionId,
        out: &mut VecDeque<Bytes>,
    ) -> Transmit {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return Transmit::Abort;
        };
        if session.live() && session.outdated(env.spool) {
            give_up(session, env);
        }
        if !session.live() {
            return Transmit::Abort;
        }
        let until_end = env.config.persistence == Persistence::SessionEnd;
        if !until_end && !self.may_begin(id) {
            return Transmit::Wait;
        }
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return Transmit::Abort;
        };
        let crowded = until_end && env.spool.pinned() > env.config.storage_bytes / 4;
        let orders = Orders {
            now: env.now,
            config: env.config,
            draining: self.drain != Drain::No,
            rotate: crowded || env.now - session.opened >= env.config.session_age,
            until_end,
        };
        let before = session.state;
        let (outcome, bytes) = session.transmit(&orders, env.spool, out);
        env.out.stats.transmitted_bytes += bytes as u64;
        if session.state != before {
            self.plan(env);
        }
        outcome
    }

    /// Whether a session may send: its first fragment waits until the service has begun to read
    /// every fragment of the sessions before it. Requests race each other, and the service numbers
    /// fragments, and relays them to consumers, as they come.
    fn may_begin(&self, id: SessionId) -> bool {
        let earlier = self.sessions.iter().take_while(|session| session.id != id);
        let session = self.sessions.iter().find(|session| session.id == id);
        session.is_some_and(Session::begun)
            || earlier.filter(|session| session.live()).all(|s| s.in_flight.all_read())
    }

    pub(super) fn started(&mut self, env: &mut Env<'_>, id: SessionId) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) {
            session.heard = env.now;
            if env.config.persistence == Persistence::SessionEnd {
                self.succeeded();
            }
        }
    }

    fn succeeded(&mut self) {
        self.backoff.succeed();
        self.fresh = false;
        self.patience_factor = 1;
        self.last_warning = None;
        self.suspect = None;
    }

    /// Handles an ack; gives the error id when it made a fragment be dropped.
    pub(super) fn ack(&mut self, env: &mut Env<'_>, id: SessionId, ack: AckEvent) -> Option<u32> {
        let session = self.sessions.iter_mut().find(|session| session.id == id)?;
        session.heard = env.now;
        let safe = match &ack {
            AckEvent::Buffering { timecode, .. } => {
                session.in_flight.reach(*timecode, Stage::Buffering);
                None
            }
            AckEvent::Received { timecode, .. } => {
                session.in_flight.reach(*timecode, Stage::Received);
                let enough = env.config.persistence == Persistence::Received;
                session.in_flight.find(*timecode).filter(|_| enough)
            }
            AckEvent::Persisted { timecode, .. } => {
                session.in_flight.reach(*timecode, Stage::Received);
                session.in_flight.find(*timecode)
            }
            AckEvent::Error { .. } | AckEvent::Idle { .. } => None,
        };
        if let Some(sent) = safe.filter(|sent| sent.complete) {
            env.spool.persisted(sent.seq, env.out);
            session.in_flight.retain(|seq| env.spool.get(seq).is_some_and(|f| !f.settled()));
            self.succeeded();
        }
        let mut rejected = None;
        if let AckEvent::Error { timecode, id: error, code, .. } = &ack {
            rejected = Some(*error);
            self.error_ack(env, id, *timecode, *error, code);
        }
        if !matches!(ack, AckEvent::Idle { .. }) {
            env.out.event(Event::FragmentAck { session: id, ack });
        }
        self.plan(env);
        rejected
    }

    /// The service ends the session over an error. See the module.
    fn error_ack(
        &mut self,
        env: &mut Env<'_>,
        id: SessionId,
        timecode: Option<u64>,
        error: u32,
        code: &str,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return;
        };
        if !session.live() {
            return;
        }
        let named = timecode.and_then(|ticks| session.in_flight.find(ticks));
        let about = named.or_else(|| session.in_flight.reading());
        give_up(session, env);
        if let Some(about) = about
            && error_id::retry_class(error) == RetryClass::SkipFragment
        {
            let again = self.suspect.replace((about.seq, error)) == Some((about.seq, error));
            if named.is_some() || again {
                self.suspect = None;
                env.spool.drop_fragment(about.seq, DropCause::Rejected(error), env.out);
            }
        }
        let meaning = error_id::find(error).map_or("an error unknown here", |entry| entry.meaning);
        let error = ServiceError {
            operation: "PutMedia",
            kind: ServiceErrorKind::Server,
            code: Some(code.to_owned()),
            message: format!("the service ended the session with error {error}: {meaning}"),
        };
        self.fail(env, error);
    }

    /// A session failed: tries again later, or gives up.
    fn fail(&mut self, env: &mut Env<'_>, error: ServiceError) {
        env.out.stats.failures += 1;
        env.out.stats.last_failure = Some(env.now);
        self.fresh = true;
        if self.failed {
            return;
        }
        if !env.config.restart_on_error || self.is_final(&error) {
            self.failed = true;
            for session in self.sessions.iter_mut().filter(|session| session.live()) {
                give_up(session, env);
            }
            env.out.event(Event::Error(error));
            return;
        }
        let retry_in = self.backoff.fail();
        self.retry_at = Some(self.retry_at.unwrap_or(env.now).max(env.now + retry_in));
        if self.last_warning.is_none_or(|at| env.now - at >= WARN_EVERY) {
            self.last_warning = Some(env.now);
            env.out.event(Event::Warning(Warning::Disconnected { error, retry_in }));
        }
    }

    /// Whether trying again cannot help. A stream that PutMedia does not find may have been
    /// deleted: the next try describes it, and creates it where that is allowed.
    fn is_final(&self, error: &ServiceError) -> bool {
        match error.kind {
            ServiceErrorKind::NotFound => error.operation == "DescribeStream",
            kind => !kind.is_transient(),
        }
    }

    pub(super) fn ended(
        &mut self,
        env: &mut Env<'_>,
        id: SessionId,
        result: Result<(), ServiceError>,
    ) {
        let Some(at) = self.sessions.iter().position(|session| session.id == id) else { return };
        let mut session = self.sessions.remove(at);
        if session.live() {
            let was = session.state;
            let settled = session.settled(env.spool);
            session.kill(env.spool);
            let ended = matches!(was, State::Ended(_));
            let safe_by_end = env.config.persistence == Persistence::SessionEnd && ended;
            match result {
                Ok(()) if safe_by_end => {
                    for sent in session.in_flight.iter().filter(|sent| sent.complete) {
                        env.spool.persisted(sent.seq, env.out);
                    }
                    self.succeeded();
                }
                // All is safe: whether the connection was closed nicely does not matter.
                _ if settled && (ended || result.is_ok()) => {}
                Err(error) if self.crowded_out(&error) => {
                    self.alone = true;
                    self.retry_at = Some(env.now + self.backoff.fail());
                }
                Err(error) => self.fail(env, error),
                Ok(()) => self.fail(env, ended_early()),
            }
        }
        self.plan(env);
    }

    /// Refused because the predecessor is still there.
    fn crowded_out(&self, error: &ServiceError) -> bool {
        error.kind == ServiceErrorKind::ConnectionLimit
            && !self.alone
            && self.sessions.iter().any(Session::live)
    }

    fn patience(&self, config: &Config) -> Option<Duration> {
        let patience = config.connection_staleness;
        (!patience.is_zero()).then(|| patience.saturating_mul(self.patience_factor))
    }

    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        let patience = self.patience(env.config);
        let acks = env.config.persistence != Persistence::SessionEnd;
        let overdue = |session: &Session| {
            patience.and_then(|p| session.overdue_at(p, acks)).is_some_and(|at| at <= env.now)
        };
        if let Some(session) = self.sessions.iter_mut().find(|s| s.live() && overdue(s)) {
            give_up(session, env);
            self.patience_factor = (self.patience_factor * 2).min(MAX_PATIENCE_FACTOR);
            let quiet = patience.unwrap_or_default();
            self.fail(env, stale(quiet));
        }
        for session in &mut self.sessions {
            if ended_at(session).is_some_and(|at| at + END_GRACE <= env.now)
                && session.settled(env.spool)
            {
                give_up(session, env);
            }
        }
        if let Drain::Until(at) = self.drain
            && at <= env.now
        {
            for session in self.sessions.iter_mut().filter(|session| session.live()) {
                give_up(session, env);
            }
            self.drained(env);
        }
        self.plan(env);
    }

    /// Announces the end when there is nothing left to wait for.
    fn check_drained(&mut self, env: &mut Env<'_>) {
        let over =
            self.failed || (env.spool.unsettled() == 0 && !self.sessions.iter().any(Session::live));
        if matches!(self.drain, Drain::Until(_)) && over {
            self.drained(env);
        }
    }

    fn drained(&mut self, env: &mut Env<'_>) {
        self.drain = Drain::Done;
        env.out.report_drops(env.now, true);
        env.out.event(Event::Drained(Drained {
            undelivered_frames: env.spool.frames(),
            dropped_frames: env.out.stats.dropped_frames,
        }));
    }

    pub(super) fn next_timeout(&self, config: &Config, spool: &Spool) -> Option<Monotonic> {
        let patience = self.patience(config);
        let live = self.sessions.iter().filter(|session| session.live());
        let acks = config.persistence != Persistence::SessionEnd;
        let overdue = live.clone().filter_map(|s| s.overdue_at(patience?, acks)).min();
        let grace = live
            .filter_map(|session| Some((session, ended_at(session)? + END_GRACE)))
            .filter(|(session, _)| session.settled(spool))
            .map(|(_, at)| at)
            .min();
        let retry = self.retry_at.filter(|_| !self.failed);
        let drain = match self.drain {
            Drain::Until(at) => Some(at),
            Drain::No | Drain::Done => None,
        };
        [overdue, grace, retry, drain].into_iter().flatten().min()
    }

    pub(super) fn check_invariants(&self, spool: &Spool) {
        let sending = self.sessions.iter().filter(|s| s.state == State::Sending).count();
        assert!(sending <= 1, "one session sends");
        let live = self.sessions.iter().filter(|s| s.live()).count();
        assert!(live <= 2 && self.sessions.len() <= MAX_REQUESTS, "{live} sessions");
        for session in &self.sessions {
            let seqs: Vec<_> = session.in_flight.iter().map(|sent| sent.seq).collect();
            assert!(seqs.is_sorted(), "{seqs:?}");
            if let Some(seq) = session.midway() {
                assert!(spool.get(seq).is_some(), "the fragment being sent is kept");
            }
        }
    }
}

fn ended_at(session: &Session) -> Option<Monotonic> {
    match session.state {
        State::Ended(at) => Some(at),
        State::Sending | State::Retiring | State::Dead => None,
    }
}

fn give_up(session: &mut Session, env: &mut Env<'_>) {
    session.kill(env.spool);
    env.out.action(Action::AbortSession(session.id));
}

fn ended_early() -> ServiceError {
    ServiceError {
        operation: "PutMedia",
        kind: ServiceErrorKind::Cut,
        code: None,
        message: "the service ended the session before everything was safe".to_owned(),
    }
}

fn stale(quiet: Duration) -> ServiceError {
    ServiceError {
        operation: "PutMedia",
        kind: ServiceErrorKind::Timeout,
        code: None,
        message: format!(
            "no answer about a fragment for {} s (connection-staleness)",
            quiet.as_secs()
        ),
    }
}
