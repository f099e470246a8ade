// SPDX-License-Identifier: MIT OR Apache-2.0
//! The producer's events out, as bus messages; and the `stats` property.
//!
//! Trouble that is being dealt with is a WARNING. An ERROR means that nothing further is sent, or
//! that media which was accepted did not arrive. Each says what happened, why, and what to do.

use std::time::Duration;

use gst::{glib, prelude::*};

use super::{
    KvsSink,
    imp::CAT,
    uplink::{Drops, Statistics},
};
use crate::{
    ids::FragmentNumber,
    producer::{Drained, DropCause, SessionId, Warning},
    wire::{ServiceError, ServiceErrorKind, ack::AckEvent, error_id},
};

/// The name of the property and of its structure.
pub(super) const STATS: &str = "stats";

pub(super) fn stats_param_spec() -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>(STATS)
        .nick("stats")
        .blurb("Frames, bytes and fragments by what became of them")
        .read_only()
        .build()
}

/// The value of the `stats` property.
pub(super) fn stats((stats, dropped): &Statistics) -> glib::Value {
    let mut causes = gst::Structure::builder("dropped");
    for (cause, drops) in dropped {
        causes = causes.field(cause_nick(*cause), drops.frames);
    }
    gst::Structure::builder(STATS)
        .field("accepted-frames", stats.accepted_frames)
        .field("accepted-bytes", stats.accepted_bytes)
        .field("persisted-frames", stats.persisted_frames)
        .field("persisted-fragments", stats.persisted_fragments)
        .field("spooled-frames", stats.spooled_frames)
        .field("spooled-fragments", stats.spooled_fragments as u64)
        .field("spooled-bytes", stats.spooled_bytes as u64)
        .field("transmitted-bytes", stats.transmitted_bytes)
        .field("dropped-frames", stats.dropped_frames)
        .field("dropped-by-cause", causes.build())
        .field("sessions", stats.sessions)
        .field("reconnects", stats.sessions.saturating_sub(1))
        .field("failures", stats.failures)
        .build()
        .to_value()
}

/// A cause as structures name it.
fn cause_nick(cause: DropCause) -> &'static str {
    match cause {
        DropCause::BeforeKeyFrame => "before-key-frame",
        DropCause::FrameTooLarge => "frame-too-large",
        DropCause::Full => "full",
        DropCause::Late => "late",
        DropCause::NoCaps => "no-caps",
        DropCause::Rejected(_) => "rejected",
        DropCause::Stopped => "stopped",
        DropCause::TrackAbsent => "track-absent",
    }
}

/// What to do about a cause.
fn cause_remedy(cause: DropCause) -> &'static str {
    match cause {
        DropCause::BeforeKeyFrame => "let the stream begin with a key frame",
        DropCause::FrameTooLarge => "lower the bit rate: a fragment holds 50 MB at the most",
        DropCause::Full => {
            "the service takes media slower than it comes: lower the bit rate, raise \
             storage-size, or set on-full=block"
        }
        DropCause::Late => "the timestamps of this track jump back: check the source, or remux",
        DropCause::NoCaps => "insert a parser before kvssink",
        DropCause::Rejected(_) => "see the service's error id",
        DropCause::Stopped => "see the error that was posted before",
        DropCause::TrackAbsent => "the tracks must start and run together",
    }
}

fn post(element: &KvsSink, structure: gst::Structure) {
    let message = gst::message::Element::builder(structure).src(element).build();
    // Fails only when nobody has a bus, so nobody asked.
    let _ = element.post_message(message);
}

/// A session's request was accepted.
pub(super) fn connected(element: &KvsSink, session: SessionId) {
    gst::info!(CAT, obj = element, "session {session} is connected");
    let fields = gst::Structure::builder("kvs-connected").field("session", session.to_string());
    post(element, fields.build());
}

/// What the service said about a fragment.
pub(super) fn fragment_ack(element: &KvsSink, session: SessionId, ack: &AckEvent) {
    gst::debug!(CAT, obj = element, "session {session}: {ack:?}");
    let (event, timecode, number) = match ack {
        AckEvent::Buffering { timecode, number } => ("BUFFERING", Some(timecode), Some(number)),
        AckEvent::Error { timecode, number, .. } => ("ERROR", timecode.as_ref(), number.as_ref()),
        AckEvent::Idle { timecode } => ("IDLE", timecode.as_ref(), None),
        AckEvent::Persisted { timecode, number } => ("PERSISTED", Some(timecode), Some(number)),
        AckEvent::Received { timecode, number } => ("RECEIVED", Some(timecode), Some(number)),
    };
    let mut fields = gst::Structure::builder("kvs-fragment-ack")
        .field("session", session.to_string())
        .field("event-type", event)
        .field_if_some("timecode", timecode)
        .field_if_some("fragment-number", number.map(FragmentNumber::as_str));
    if let AckEvent::Error { id, code, .. } = ack {
        let meaning = error_id::find(*id).map(|entry| entry.meaning);
        fields = fields
            .field("error-id", id)
            .field("error-code", code)
            .field_if_some("meaning", meaning);
    }
    post(element, fields.build());
}

/// Frames were dropped.
pub(super) fn dropped(element: &KvsSink, cause: DropCause, drops: Drops) {
    let Drops { frames, bytes } = drops;
    let mut fields = gst::Structure::builder("kvs-dropped")
        .field("cause", cause_nick(cause))
        .field("frames", frames)
        .field("bytes", bytes);
    if let DropCause::Rejected(id) = cause {
        fields = fields.field("error-id", id);
    }
    let fields = fields.build();
    post(element, fields.clone());
    let text = format!("{frames} frames dropped ({bytes} bytes): {cause}; {}", cause_remedy(cause));
    match cause {
        DropCause::Full => warn(element, gst::ResourceError::NoSpaceLeft, &text, fields),
        _ => warn(element, gst::StreamError::Failed, &text, fields),
    }
}

/// Posts a WARNING.
fn warn(element: &KvsSink, code: impl MessageErrorDomain, text: &str, details: gst::Structure) {
    gst::warning!(CAT, obj = element, "{text}");
    let kind = gst::ElementMessageType::Warning;
    element.message_full_with_details(kind, code, Some(text), None, "", "", 0, details);
}

/// Posts an ERROR.
fn fail(element: &KvsSink, code: impl MessageErrorDomain, text: &str, details: gst::Structure) {
    gst::error!(CAT, obj = element, "{text}");
    let kind = gst::ElementMessageType::Error;
    element.message_full_with_details(kind, code, Some(text), None, "", "", 0, details);
}

/// Trouble that is being dealt with. `pad` is the name of the pad it is about, if any.
pub(super) fn warning(element: &KvsSink, warning: &Warning, pad: &str) {
    let (code, text) = match warning {
        Warning::Disconnected { error, retry_in } => {
            return disconnected(element, error, *retry_in);
        }
        Warning::AheadOfClock => (
            gst::StreamError::Failed,
            "media comes faster than real time although streaming-type is realtime: set \
             streaming-type=offline for files, or pace the source"
                .to_owned(),
        ),
        Warning::NoKeyFrame(_) => (
            gst::StreamError::Encode,
            format!(
                "{pad}: no key frame came in time and a fragment was cut without one. It cannot \
                 be played on its own: let the encoder make a key frame every 2 to 10 seconds"
            ),
        ),
        Warning::TimeStep { back, .. } => (
            gst::StreamError::Failed,
            format!(
                "{pad}: timestamps jumped back by {back:?}; a new session goes on from there. \
                 Check the source's clock and timestamps"
            ),
        ),
        Warning::TrackSilent(_) => (
            gst::StreamError::Failed,
            format!(
                "{pad}: no frame came for a whole fragment; the upload goes on without this track \
                 until it comes back. Check its source"
            ),
        ),
    };
    let fields = gst::Structure::builder("kvs-warning").field("pad", pad).build();
    warn(element, code, &text, fields);
}

fn disconnected(element: &KvsSink, error: &ServiceError, retry_in: Duration) {
    let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
    let fields = gst::Structure::builder("kvs-disconnected")
        .field("error", error.to_string())
        .field("operation", error.operation)
        .field_if_some("code", error.code.as_deref())
        .field("retry-in-ms", retry_in_ms)
        .build();
    post(element, fields.clone());
    let text = format!("{error}. {}; next try in {retry_in_ms} ms", remedy(error.kind));
    warn(element, code(error.kind), &text, fields);
}

/// Nothing further is sent.
pub(super) fn error(element: &KvsSink, error: &ServiceError) {
    let fields = gst::Structure::builder("kvs-error")
        .field("operation", error.operation)
        .field_if_some("code", error.code.as_deref())
        .build();
    let text = format!("{error}. {}", remedy(error.kind));
    fail(element, code(error.kind), &text, fields);
}

/// The code that fits.
fn code(kind: ServiceErrorKind) -> gst::ResourceError {
    use gst::ResourceError as Resource;

    match kind {
        ServiceErrorKind::Credentials | ServiceErrorKind::NotAuthorized => Resource::NotAuthorized,
        ServiceErrorKind::ConnectionLimit | ServiceErrorKind::InUse => Resource::Busy,
        ServiceErrorKind::Invalid => Resource::Settings,
        ServiceErrorKind::NotFound => Resource::NotFound,
        ServiceErrorKind::Timeout | ServiceErrorKind::Unreachable => Resource::OpenWrite,
        ServiceErrorKind::Cut
        | ServiceErrorKind::Protocol
        | ServiceErrorKind::Server
        | ServiceErrorKind::Throttled => Resource::Write,
    }
}

/// What to do about a failure.
fn remedy(kind: ServiceErrorKind) -> &'static str {
    match kind {
        ServiceErrorKind::ConnectionLimit => "Check that no other producer uses this stream",
        ServiceErrorKind::Credentials => {
            "Set access-key and secret-key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        ServiceErrorKind::InUse => "The stream is being changed: wait until it is active",
        ServiceErrorKind::Invalid => "Check stream-name, aws-region and endpoint",
        ServiceErrorKind::NotAuthorized => {
            "Check access-key, secret-key and session-token, their permissions, and this \
             machine's clock"
        }
        ServiceErrorKind::NotFound => {
            "Check stream-name and aws-region, or set allow-create-stream=true"
        }
        ServiceErrorKind::Timeout | ServiceErrorKind::Unreachable => {
            "Check the network, endpoint and aws-region"
        }
        ServiceErrorKind::Cut => "Check the network if this happens often",
        ServiceErrorKind::Protocol => "Check that endpoint is a Kinesis Video Streams service",
        ServiceErrorKind::Server | ServiceErrorKind::Throttled => {
            "The service is in trouble or asks to slow down"
        }
    }
}

/// How the end went: EOS when all pads had ended and nothing was lost, else an error.
pub(super) fn drained(element: &KvsSink, drained: Drained, eos: Option<gst::Seqnum>) {
    let Drained { undelivered_frames, dropped_frames } = drained;
    let fields = gst::Structure::builder("kvs-drained")
        .field("undelivered-frames", undelivered_frames)
        .field("dropped-frames", dropped_frames)
        .build();
    post(element, fields.clone());
    let problem = if undelivered_frames > 0 {
        format!(
            "{undelivered_frames} frames did not reach the service before stop-stream-timeout \
             passed or an error ended the upload: see the warnings before this, check the network, \
             or raise stop-stream-timeout"
        )
    } else if dropped_frames > 0 && eos.is_some() {
        format!("{dropped_frames} frames were dropped on the way: see the warnings before this")
    } else {
        if let Some(seqnum) = eos {
            let message = gst::message::Eos::builder().src(element).seqnum(seqnum).build();
            let _ = element.post_message(message);
        }
        return;
    };
    fail(element, gst::ResourceError::Write, &problem, fields);
}
