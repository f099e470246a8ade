// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssrc's own properties, and what they mean together.
//!
//! The connection's properties are in `crate::connection`. All of them are taken over when the
//! element goes from READY to PAUSED; only credentials count later.

use std::{str::FromStr, time::Duration};

use gst::{glib, prelude::*};

use super::{Policy, StartSelector};
use crate::{
    connection::{self, Connection},
    consumer,
    ids::{StreamName, StreamRef},
    io::{Service, clock},
    time::Timestamp,
    wire::get_media,
};

/// The properties' values. Units stand in the names.
#[derive(Clone, Default)]
pub(super) struct Settings {
    connection: Connection,
    own: Own,
}

#[derive(Clone)]
struct Own {
    continuation_token: Option<String>,
    end_timestamp: Option<String>,
    fragment_number: Option<String>,
    latency_ms: u32,
    num_fragments: u64,
    on_missing: Policy,
    on_silence: Policy,
    silence_timeout_ms: u32,
    start_selector: StartSelector,
    start_timestamp: Option<String>,
    stream_name: Option<String>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            continuation_token: None,
            end_timestamp: None,
            fragment_number: None,
            latency_ms: 1000,
            num_fragments: 0,
            on_missing: Policy::default(),
            on_silence: Policy::default(),
            silence_timeout_ms: 3000,
            start_selector: StartSelector::default(),
            start_timestamp: None,
            stream_name: None,
        }
    }
}

/// What a run of the element does; fixed while it lasts.
pub(super) struct Plan {
    pub(super) service: Service,
    pub(super) stream: StreamRef,
    pub(super) consumer: consumer::Config,
    pub(super) live: bool,
    pub(super) latency: gst::ClockTime,
}

/// All properties that can be set, in the order of gst-inspect.
pub(super) fn param_specs() -> Vec<glib::ParamSpec> {
    let default = Own::default();
    let text = |name: &str, blurb: &str| {
        glib::ParamSpecString::builder(name).nick(name).blurb(blurb).mutable_ready().build()
    };
    let millis = |name: &str, blurb: &str, min: u32, default: u32| {
        glib::ParamSpecUInt::builder(name)
            .nick(name)
            .blurb(blurb)
            .minimum(min)
            .default_value(default)
            .mutable_ready()
            .build()
    };
    let policy = |name: &str, blurb: &str, default| {
        glib::ParamSpecEnum::builder_with_default::<Policy>(name, default)
            .nick(name)
            .blurb(blurb)
            .mutable_ready()
            .build()
    };
    let own = [
        text(
            "continuation-token",
            "Where to start, with start-selector=continuation-token: a value that \
             current-continuation-token or a kvs-fragment message had",
        ),
        text(
            "end-timestamp",
            "Producer time at which to end, ISO 8601 or seconds since the epoch; frames at it and \
             later are not read",
        ),
        text(
            "fragment-number",
            "Fragment after which to start, with start-selector=fragment-number",
        ),
        millis("latency", "Latency to report when live, in milliseconds", 0, default.latency_ms),
        glib::ParamSpecUInt64::builder("num-fragments")
            .nick("num-fragments")
            .blurb("Whole fragments with media after which to end; 0: no end")
            .default_value(default.num_fragments)
            .mutable_ready()
            .build(),
        policy("on-missing", "What to do when the stream does not exist", default.on_missing),
        policy(
            "on-silence",
            "What to do when no media came for silence-timeout",
            default.on_silence,
        ),
        millis(
            "silence-timeout",
            "How long no media is silence, in milliseconds",
            1,
            default.silence_timeout_ms,
        ),
        glib::ParamSpecEnum::builder_with_default::<StartSelector>(
            "start-selector",
            default.start_selector,
        )
        .nick("start-selector")
        .blurb("Where to start; live with now, not live with all others")
        .mutable_ready()
        .build(),
        text(
            "start-timestamp",
            "When to start, with start-selector=server-timestamp or producer-timestamp: ISO 8601 \
             or seconds since the epoch",
        ),
        text("stream-name", "Name of the KVS stream: 1 to 256 characters of a-z A-Z 0-9 _ . -"),
    ];
    let mut specs: Vec<_> = own.into_iter().chain(connection::param_specs()).collect();
    specs.sort_by(|a, b| a.name().cmp(b.name()));
    specs
}

impl Settings {
    /// Takes over a property's new value; false when there is no such property. glib has checked
    /// its type and range.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        fn take<'v, T: glib::value::FromValue<'v>>(to: &mut T, value: &'v glib::Value) {
            if let Ok(value) = value.get() {
                *to = value;
            }
        }
        let own = &mut self.own;
        match name {
            "continuation-token" => own.continuation_token = non_empty(value),
            "end-timestamp" => own.end_timestamp = non_empty(value),
            "fragment-number" => own.fragment_number = non_empty(value),
            "latency" => take(&mut own.latency_ms, value),
            "num-fragments" => take(&mut own.num_fragments, value),
            "on-missing" => take(&mut own.on_missing, value),
            "on-silence" => take(&mut own.on_silence, value),
            "silence-timeout" => take(&mut own.silence_timeout_ms, value),
            "start-selector" => take(&mut own.start_selector, value),
            "start-timestamp" => own.start_timestamp = non_empty(value),
            "stream-name" => own.stream_name = non_empty(value),
            _ => return self.connection.set(name, value),
        }
        true
    }

    /// A property's value; `None` when there is no such property.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        let own = &self.own;
        Some(match name {
            "continuation-token" => own.continuation_token.to_value(),
            "end-timestamp" => own.end_timestamp.to_value(),
            "fragment-number" => own.fragment_number.to_value(),
            "latency" => own.latency_ms.to_value(),
            "num-fragments" => own.num_fragments.to_value(),
            "on-missing" => own.on_missing.to_value(),
            "on-silence" => own.on_silence.to_value(),
            "silence-timeout" => own.silence_timeout_ms.to_value(),
            "start-selector" => own.start_selector.to_value(),
            "start-timestamp" => own.start_timestamp.to_value(),
            "stream-name" => own.stream_name.to_value(),
            _ => return self.connection.get(name),
        })
    }

    /// What the values together mean. No network is used.
    ///
    /// # Errors
    /// Which property is missing or wrong.
    pub(super) fn plan(&self) -> Result<Plan, gst::ErrorMessage> {
        let own = &self.own;
        let stream: StreamName = required("stream-name", own.stream_name.as_deref(), "")?;
        let service = self.connection.service().map_err(|error| {
            let text = format!("{error}; check the element's properties");
            gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
        })?;
        let start = self.start()?;
        let end: Option<Timestamp> = optional("end-timestamp", own.end_timestamp.as_deref())?;
        if let (get_media::StartSelector::ProducerTimestamp(start), Some(end)) = (&start, end)
            && *start >= end
        {
            let text = format!("end-timestamp {end} is not after start-timestamp {start}");
            return Err(gst::error_msg!(gst::ResourceError::Settings, ("{text}")));
        }
        Ok(Plan {
            service,
            stream: StreamRef::Name(stream),
            live: start == get_media::StartSelector::Now,
            latency: gst::ClockTime::from_mseconds(own.latency_ms.into()),
            consumer: consumer::Config {
                start,
                end,
                num_fragments: Some(own.num_fragments).filter(|&count| count > 0),
                on_missing: own.on_missing.into(),
                on_silence: own.on_silence.into(),
                silence_timeout: Duration::from_millis(own.silence_timeout_ms.into()),
                seed: clock::wall().as_nanos(),
            },
        })
    }

    fn start(&self) -> Result<get_media::StartSelector, gst::ErrorMessage> {
        use get_media::StartSelector as Wire;

        let own = &self.own;
        let needed = |nick| format!(" with start-selector={nick}");
        let time =
            |nick| required("start-timestamp", own.start_timestamp.as_deref(), &needed(nick));
        Ok(match own.start_selector {
            StartSelector::Now => Wire::Now,
            StartSelector::Earliest => Wire::Earliest,
            StartSelector::FragmentNumber => Wire::FragmentNumber(required(
                "fragment-number",
                own.fragment_number.as_deref(),
                &needed("fragment-number"),
            )?),
            StartSelector::ServerTimestamp => Wire::ServerTimestamp(time("server-timestamp")?),
            StartSelector::ProducerTimestamp => {
                Wire::ProducerTimestamp(time("producer-timestamp")?)
            }
            StartSelector::ContinuationToken => Wire::ContinuationToken(required(
                "continuation-token",
                own.continuation_token.as_deref(),
                &needed("continuation-token"),
            )?),
        })
    }
}

impl From<Policy> for consumer::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Wait => Self::Wait,
            Policy::Error => Self::Error,
            Policy::Eos => Self::End,
        }
    }
}

/// A string property's value; the empty string means "not set".
fn non_empty(value: &glib::Value) -> Option<String> {
    value.get::<Option<String>>().ok().flatten().filter(|text| !text.is_empty())
}

/// Text of a property that can be read as what it should be.
trait Parse: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

impl Parse for Timestamp {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }
}

impl<T: FromStr<Err = crate::ids::ParseIdError>> Parse for T {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: T::Err| error.to_string())
    }
}

fn optional<T: Parse>(
    name: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, gst::ErrorMessage> {
    text.map(T::parse).transpose().map_err(|error| {
        gst::error_msg!(gst::ResourceError::Settings, ("property {name}: {error}"))
    })
}

fn required<T: Parse>(
    name: &'static str,
    text: Option<&str>,
    when: &str,
) -> Result<T, gst::ErrorMessage> {
    optional(name, text)?.ok_or_else(|| {
        let text = format!("property {name} is not set: it is needed{when}");
        gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
    })
}
