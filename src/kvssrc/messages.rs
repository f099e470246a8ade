// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the consumer says, as bus messages. Fields: see the element's manual in [`super`].
//!
//! Trouble that is being dealt with is a WARNING, an end that was not asked for is an ERROR. Each
//! says what happened, why, and what to do.

use std::time::Duration;

use gst::prelude::*;

use super::{KvsSrc, imp::CAT};
use crate::{
    consumer::{Completeness, EndCause, Failure, FragmentEnd, Notice},
    ids::{ContinuationToken, FragmentNumber},
    time::Timestamp,
    wire::{ServiceError, ServiceErrorKind},
};

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn post(element: &KvsSrc, structure: gst::Structure) {
    let message = gst::message::Element::builder(structure).src(element).build();
    // Fails only when nobody has a bus, so nobody asked.
    let _ = element.post_message(message);
}

fn warn(element: &KvsSrc, code: impl MessageErrorDomain, text: &str, details: gst::Structure) {
    gst::warning!(CAT, obj = element, "{text}");
    post(element, details.clone());
    let kind = gst::ElementMessageType::Warning;
    element.message_full_with_details(kind, code, Some(text), None, "", "", 0, details);
}

fn fail(element: &KvsSrc, code: impl MessageErrorDomain, text: &str, details: gst::Structure) {
    gst::error!(CAT, obj = element, "{text}");
    let kind = gst::ElementMessageType::Error;
    element.message_full_with_details(kind, code, Some(text), None, "", "", 0, details);
}

/// A fragment has been pushed.
pub(super) fn fragment(element: &KvsSrc, end: &FragmentEnd) {
    let mut tags = gst::Structure::builder("tags");
    for tag in &end.tags {
        // Names and values come from the producer: only what a structure can hold is passed on.
        let clean = |text: &str| !text.contains('\0');
        if is_field_name(&tag.name) && clean(&tag.value) {
            tags = tags.field(tag.name.as_str(), tag.value.as_str());
        }
    }
    let head = &end.head;
    let fields = gst::Structure::builder("kvs-fragment")
        .field_if_some("fragment-number", head.number.as_ref().map(FragmentNumber::as_str))
        .field_if_some("continuation-token", end.token.as_ref().map(ContinuationToken::as_str))
        .field_if_some("server-timestamp", head.server.map(Timestamp::as_nanos))
        .field_if_some("producer-timestamp", head.producer.map(Timestamp::as_nanos))
        .field_if_some("millis-behind-now", end.behind_now.map(millis))
        .field("frames", end.counts.frames)
        .field("repeats", end.counts.repeats)
        .field("dropped", end.counts.unplaced)
        .field("complete", end.completeness == Completeness::Whole)
        .field("tags", tags.build());
    let fields = fields.build();
    gst::debug!(CAT, obj = element, "{fields}");
    post(element, fields);
}

/// Field names that a structure can be printed and parsed with.
fn is_field_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+".contains(&b))
}

/// Something an operator wants to know.
pub(super) fn notice(element: &KvsSrc, notice: &Notice) {
    match notice {
        Notice::Corrupt(corrupt) => {
            let number = corrupt.number.as_ref().map(FragmentNumber::as_str);
            let fields = gst::Structure::builder("kvs-corrupt")
                .field_if_some("fragment-number", number)
                .field("cause", corrupt.cause.to_string())
                .build();
            let text = format!(
                "{corrupt}. What cannot be read of it is skipped and reading goes on; check the \
                 producer that wrote it"
            );
            warn(element, gst::StreamError::Demux, &text, fields);
        }
        Notice::Cut { number, frames } => cut(element, number.as_ref(), *frames),
        Notice::Missing { deleted } => missing(element, *deleted),
        Notice::PlaceLost => {
            let fields = gst::Structure::new_empty("kvs-place-lost");
            let text = "the service does not have the place any more where reading should go on; \
                        it goes on with the oldest fragment that is left. Raise the stream's \
                        retention, or read faster";
            warn(element, gst::ResourceError::Read, text, fields);
        }
        Notice::Retry { error, delay, failures } => retry(element, error, *delay, *failures),
        Notice::Silence(timeout) => {
            let fields =
                gst::Structure::builder("kvs-silence").field("timeout-ms", millis(*timeout));
            gst::info!(CAT, obj = element, "no media for {timeout:?}");
            post(element, fields.build());
        }
    }
}

fn cut(element: &KvsSrc, number: Option<&FragmentNumber>, frames: u64) {
    let fields = gst::Structure::builder("kvs-cut")
        .field_if_some("fragment-number", number.map(FragmentNumber::as_str))
        .field("frames", frames)
        .build();
    let which = number.map_or("of unknown number", FragmentNumber::as_str);
    let text = format!(
        "the response ended inside fragment {which}, after {frames} new frames; the fragment is \
         read again. If this repeats, check the network and whether its producer was cut"
    );
    warn(element, gst::ResourceError::Read, &text, fields);
}

fn missing(element: &KvsSrc, deleted: bool) {
    let fields = gst::Structure::builder("kvs-missing").field("deleted", deleted).build();
    let what = if deleted { "was deleted while it was being read" } else { "does not exist" };
    let text = format!(
        "the stream {what}. Waiting for it; check stream-name, aws-region and endpoint, or set \
         on-missing to error or eos"
    );
    warn(element, gst::ResourceError::NotFound, &text, fields);
}

fn retry(element: &KvsSrc, error: &ServiceError, delay: Duration, failures: u32) {
    let fields = gst::Structure::builder("kvs-retry")
        .field("error", error.to_string())
        .field("kind", format!("{:?}", error.kind))
        .field("failures", failures)
        .field("delay-ms", millis(delay))
        .build();
    let text = format!("{error}. {}; next try in {delay:.1?}", remedy(error.kind));
    warn(element, code(error.kind), &text, fields);
}

/// The end, although nothing was asked to end.
pub(super) fn failure(element: &KvsSrc, failure: &Failure) {
    match failure {
        Failure::Missing(error) => {
            let fields = gst::Structure::builder("kvs-missing").field("deleted", false).build();
            let text = format!("{error}. {}", remedy(ServiceErrorKind::NotFound));
            fail(element, gst::ResourceError::NotFound, &text, fields);
        }
        Failure::Refused(error) => {
            let fields = gst::Structure::builder("kvs-retry")
                .field("error", error.to_string())
                .field("kind", format!("{:?}", error.kind))
                .build();
            let text = format!("{error}. {}", remedy(error.kind));
            fail(element, code(error.kind), &text, fields);
        }
        Failure::Silence(timeout) => {
            let fields =
                gst::Structure::builder("kvs-silence").field("timeout-ms", millis(*timeout));
            let text = format!(
                "no media for {timeout:?}. Check the producer, raise silence-timeout, or set \
                 on-silence to wait or eos"
            );
            fail(element, gst::ResourceError::Read, &text, fields.build());
        }
    }
}

/// The end came before there was a pad to send EOS through.
pub(super) fn ended_empty(element: &KvsSrc, cause: Option<EndCause>) {
    let why = match cause {
        Some(EndCause::EndTimestamp) => "the stream has no media before end-timestamp",
        Some(EndCause::Missing) => "the stream does not exist",
        Some(EndCause::NumFragments) => "the fragments that were asked for hold no media",
        Some(EndCause::Silence) => "no media came within silence-timeout",
        None => "it was asked to end before any media came",
    };
    let text = format!(
        "nothing to play: {why}. Check stream-name, start-selector and the producer; an end of \
         stream needs at least one pad"
    );
    let fields = gst::Structure::new_empty("kvs-ended-empty");
    fail(element, gst::StreamError::Failed, &text, fields);
}

fn code(kind: ServiceErrorKind) -> gst::ResourceError {
    use gst::ResourceError as Resource;

    match kind {
        ServiceErrorKind::Credentials | ServiceErrorKind::NotAuthorized => Resource::NotAuthorized,
        ServiceErrorKind::ConnectionLimit | ServiceErrorKind::InUse => Resource::Busy,
        ServiceErrorKind::Invalid => Resource::Settings,
        ServiceErrorKind::NotFound => Resource::NotFound,
        ServiceErrorKind::Timeout | ServiceErrorKind::Unreachable => Resource::OpenRead,
        ServiceErrorKind::Cut
        | ServiceErrorKind::Protocol
        | ServiceErrorKind::Server
        | ServiceErrorKind::Throttled => Resource::Read,
    }
}

fn remedy(kind: ServiceErrorKind) -> &'static str {
    match kind {
        ServiceErrorKind::ConnectionLimit => {
            "Close other readers of this stream: the service allows three"
        }
        ServiceErrorKind::Credentials => {
            "Set access-key and secret-key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        ServiceErrorKind::Cut => "Check the network if this happens often",
        ServiceErrorKind::InUse => "The stream is being changed: wait until it is active",
        ServiceErrorKind::Invalid => {
            "Check start-selector and its value, stream-name, aws-region and endpoint"
        }
        ServiceErrorKind::NotAuthorized => {
            "Check access-key, secret-key and session-token, their permissions, and this \
             machine's clock"
        }
        ServiceErrorKind::NotFound => "Check stream-name, aws-region and endpoint",
        ServiceErrorKind::Protocol => "Check that endpoint is a Kinesis Video Streams service",
        ServiceErrorKind::Server | ServiceErrorKind::Throttled => {
            "The service is in trouble or asks to slow down"
        }
        ServiceErrorKind::Timeout | ServiceErrorKind::Unreachable => {
            "Check the network, endpoint and aws-region"
        }
    }
}

/// Downstream refuses buffers.
pub(super) fn flow(element: &KvsSrc, error: gst::FlowError) {
    let why = match error {
        gst::FlowError::NotLinked => "no pad is linked: link one, or let decodebin do it",
        gst::FlowError::NotNegotiated => {
            "downstream does not take the caps: insert a parser, or see which pad failed"
        }
        _ => "see the error of the element downstream",
    };
    let fields = gst::Structure::builder("kvs-flow").field("flow", format!("{error:?}")).build();
    fail(
        element,
        gst::StreamError::Failed,
        &format!("streaming stopped ({error:?}): {why}"),
        fields,
    );
}

/// The stream makes up new tracks without end.
pub(super) fn too_many_tracks(element: &KvsSrc, most: usize) {
    let fields = gst::Structure::new_empty("kvs-too-many-tracks");
    let text = format!("the stream had more than {most} different tracks: check its producer");
    fail(element, gst::StreamError::Demux, &text, fields);
}
