// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssink's own properties: one table for specs, defaults, reading and writing.
//!
//! A row names its field once; the default is the field's value in [`Settings::default`]. The
//! connection's properties are in `crate::connection`. All of them are taken over when the element
//! goes from READY to PAUSED; only credentials count later.

use std::{sync::LazyLock, time::Duration};

use gst::{
    glib::{
        self, HasParamSpec,
        translate::{FromGlib, IntoGlib},
    },
    prelude::*,
};

use super::{OnFull, StreamingType, uplink::TimeBase};
use crate::{
    connection::{self, Connection},
    ids::StreamName,
    io::clock,
    producer::{self, Persistence},
    time::{Timestamp, TimestampScale},
};

/// The properties' values. Units stand in the names.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) connection: Connection,
    pub(super) allow_create_stream: bool,
    pub(super) connection_staleness_s: u32,
    pub(super) file_start_time_s: u64,
    pub(super) fragment_acks: bool,
    pub(super) fragment_duration_ms: u32,
    pub(super) key_frame_fragmentation: bool,
    pub(super) max_fragment_duration_ms: u32,
    pub(super) on_full: OnFull,
    pub(super) restart_on_error: bool,
    pub(super) retention_period_h: u32,
    pub(super) stop_stream_timeout_s: u32,
    pub(super) storage_size_mib: u32,
    pub(super) stream_name: Option<String>,
    pub(super) streaming_type: StreamingType,
    pub(super) timecode_scale_ms: u32,
}

impl Default for Settings {
    /// AWS's values where the property is AWS's.
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            allow_create_stream: true,
            connection_staleness_s: 60,
            file_start_time_s: 0,
            fragment_acks: true,
            fragment_duration_ms: 2000,
            key_frame_fragmentation: true,
            max_fragment_duration_ms: 10_000,
            on_full: OnFull::default(),
            restart_on_error: true,
            retention_period_h: 2,
            stop_stream_timeout_s: 120,
            storage_size_mib: 128,
            stream_name: Some("DEFAULT_STREAM".to_owned()),
            streaming_type: StreamingType::default(),
            timecode_scale_ms: 1,
        }
    }
}

type Read = Box<dyn Fn(&Settings) -> glib::Value + Send + Sync>;
type Write = Box<dyn Fn(&mut Settings, &glib::Value) + Send + Sync>;

/// One property.
struct Row {
    spec: glib::ParamSpec,
    read: Read,
    write: Write,
}

/// A field of [`Settings`], for reading and for writing.
struct Field<T>(fn(&Settings) -> &T, fn(&mut Settings) -> &mut T);

/// Names a field once for [`Field`].
macro_rules! field {
    ($name:ident) => {
        Field(|settings| &settings.$name, |settings| &mut settings.$name)
    };
}

impl<T> Field<T>
where
    T: Clone + ToValue + for<'a> glib::value::FromValue<'a> + 'static,
{
    fn default(&self) -> T {
        (self.0)(&Settings::default()).clone()
    }

    fn row(self, spec: glib::ParamSpec) -> Row {
        let Self(read, write) = self;
        Row {
            spec,
            read: Box::new(move |settings| read(settings).to_value()),
            // glib has checked the value's type and range before it calls us.
            write: Box::new(move |settings, value| {
                if let Ok(value) = value.get::<T>() {
                    *write(settings) = value;
                }
            }),
        }
    }
}

fn boolean(name: &str, blurb: &str, field: Field<bool>) -> Row {
    let spec = glib::ParamSpecBoolean::builder(name)
        .nick(name)
        .blurb(blurb)
        .default_value(field.default())
        .mutable_ready()
        .build();
    field.row(spec)
}

fn uint(name: &str, blurb: &str, (min, max): (u32, u32), field: Field<u32>) -> Row {
    let spec = glib::ParamSpecUInt::builder(name)
        .nick(name)
        .blurb(blurb)
        .minimum(min)
        .maximum(max)
        .default_value(field.default())
        .mutable_ready()
        .build();
    field.row(spec)
}

fn choice<E>(name: &str, blurb: &str, field: Field<E>) -> Row
where
    E: Clone + HasParamSpec<ParamSpec = glib::ParamSpecEnum> + ToValue,
    E: StaticType + FromGlib<i32> + IntoGlib<GlibType = i32>,
    E: for<'a> glib::value::FromValue<'a> + 'static,
{
    let spec = glib::ParamSpecEnum::builder_with_default::<E>(name, field.default())
        .nick(name)
        .blurb(blurb)
        .mutable_ready()
        .build();
    field.row(spec)
}

fn file_start_time() -> Row {
    let field: Field<u64> = field!(file_start_time_s);
    let spec = glib::ParamSpecUInt64::builder("file-start-time")
        .nick("file-start-time")
        .blurb(
            "Producer time of running time zero in offline mode, in seconds since the epoch; \
             0: the wall clock at the start",
        )
        // The end of 2553 in seconds: what nanoseconds in 64 bits can say.
        .maximum(18_400_000_000)
        .default_value(field.default())
        .mutable_ready()
        .build();
    field.row(spec)
}

fn stream_name() -> Row {
    let field: Field<Option<String>> = field!(stream_name);
    let spec = glib::ParamSpecString::builder("stream-name")
        .nick("stream-name")
        .blurb("Name of the KVS stream: 1 to 256 characters of a-z A-Z 0-9 _ . -")
        .default_value(field.default().as_deref())
        .mutable_ready()
        .build();
    field.row(spec)
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    vec![
        boolean(
            "allow-create-stream",
            "Create the stream when it does not exist",
            field!(allow_create_stream),
        ),
        uint(
            "connection-staleness",
            "Reconnect when no ack came for so long while media was sent, in seconds; 0: never",
            (0, u32::MAX),
            field!(connection_staleness_s),
        ),
        file_start_time(),
        boolean(
            "fragment-acks",
            "Ask the service to acknowledge fragments; without, delivery is known only at the end",
            field!(fragment_acks),
        ),
        uint(
            "fragment-duration",
            "Fragment length where key frames do not decide it, in milliseconds",
            (1000, 20_000),
            field!(fragment_duration_ms),
        ),
        boolean(
            "key-frame-fragmentation",
            "Begin a fragment at each key frame; otherwise at the first one after fragment-duration",
            field!(key_frame_fragmentation),
        ),
        uint(
            "max-fragment-duration",
            "Ask upstream for a key frame when a fragment gets so long, in milliseconds",
            (1000, 19_000),
            field!(max_fragment_duration_ms),
        ),
        choice(
            "on-full",
            "What to do when storage-size is used up by media that is not persisted",
            field!(on_full),
        ),
        boolean(
            "restart-on-error",
            "Reconnect after errors and send again what was not persisted; otherwise stop",
            field!(restart_on_error),
        ),
        uint(
            "retention-period",
            "Retention of a stream that is created, in hours",
            (0, 87_600),
            field!(retention_period_h),
        ),
        uint(
            "stop-stream-timeout",
            "Longest wait for the last acknowledgement at EOS and stop, in seconds",
            (0, u32::MAX),
            field!(stop_stream_timeout_s),
        ),
        uint(
            "storage-size",
            "Memory for media that is not persisted yet, in MiB",
            (1, 10_240),
            field!(storage_size_mib),
        ),
        stream_name(),
        choice(
            "streaming-type",
            "realtime and near-realtime never block upstream, offline does",
            field!(streaming_type),
        ),
        uint(
            "timecode-scale",
            "Matroska timecode scale, in milliseconds",
            (1, 100),
            field!(timecode_scale_ms),
        ),
    ]
});

/// All properties that can be set, in the order of gst-inspect.
pub(super) fn param_specs() -> Vec<glib::ParamSpec> {
    let own = TABLE.iter().map(|row| row.spec.clone());
    let mut specs: Vec<_> = own.chain(connection::param_specs()).collect();
    specs.sort_by(|a, b| a.name().cmp(b.name()));
    specs
}

impl Settings {
    /// What is wrong with the values together, or cannot be said by a range.
    pub(super) fn check(&self) -> Result<(), gst::ErrorMessage> {
        self.stream().map(drop)
    }

    /// The stream to produce for.
    pub(super) fn stream(&self) -> Result<StreamName, gst::ErrorMessage> {
        let name = self.stream_name.as_deref().unwrap_or_default();
        name.parse().map_err(|error| {
            gst::error_msg!(gst::ResourceError::Settings, ["property stream-name: {error}"])
        })
    }

    /// What the producer is told.
    pub(super) fn producer_config(&self) -> producer::Config {
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let scale_ns = u64::from(self.timecode_scale_ms) * 1_000_000;
        producer::Config {
            scale: TimestampScale::from_nanos(scale_ns).unwrap_or_default(),
            key_frame_fragmentation: self.key_frame_fragmentation,
            fragment_duration: millis(self.fragment_duration_ms),
            max_fragment_duration: millis(self.max_fragment_duration_ms),
            on_full: self.when_full(),
            storage_bytes: usize::try_from(u64::from(self.storage_size_mib) << 20)
                .unwrap_or(usize::MAX),
            persistence: self.persistence(self.retention_period_h),
            restart_on_error: self.restart_on_error,
            connection_staleness: seconds(self.connection_staleness_s),
            drain_timeout: seconds(self.stop_stream_timeout_s),
            seed: clock::wall().as_nanos(),
            ..producer::Config::default()
        }
    }

    fn when_full(&self) -> producer::OnFull {
        match (self.on_full, self.streaming_type) {
            (OnFull::Auto, StreamingType::Offline) | (OnFull::Block, _) => producer::OnFull::Block,
            (OnFull::Auto, _) | (OnFull::DropOldest, _) => producer::OnFull::DropOldest,
            (OnFull::DropNewest, _) => producer::OnFull::DropNewest,
        }
    }

    /// What makes a fragment safe in a stream of this retention.
    pub(super) fn persistence(&self, retention_h: u32) -> Persistence {
        match (self.fragment_acks, retention_h) {
            (false, _) => Persistence::SessionEnd,
            (true, 0) => Persistence::Received,
            (true, _) => Persistence::Persisted,
        }
    }

    /// How running time becomes producer time.
    pub(super) fn time_base(&self) -> TimeBase {
        match (self.streaming_type, self.file_start_time_s) {
            (StreamingType::Offline, 0) => TimeBase::Recorded,
            (StreamingType::Offline, s) => {
                TimeBase::StartingAt(Timestamp::from_nanos(s.saturating_mul(1_000_000_000)))
            }
            _ => TimeBase::Live,
        }
    }

    /// Takes over a property's new value; false when there is no such property.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        if self.connection.set(name, value) {
            return true;
        }
        let row = TABLE.iter().find(|row| row.spec.name() == name);
        row.inspect(|row| (row.write)(self, value)).is_some()
    }

    /// A property's value; `None` when there is no such property.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        let row = TABLE.iter().find(|row| row.spec.name() == name);
        row.map(|row| (row.read)(self)).or_else(|| self.connection.get(name))
    }
}
