// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of the media paths share: small uploads, and a service without sockets.

use std::{
    fs,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::{
    body::ReplyBody,
    config::{Config, Limits},
    drain::{self, DrainSwitch},
    get_media, put_media,
    service::Service,
    store::{Stream, StreamMeta},
};
use crate::{
    ebml::SizeWidth,
    ids::{StreamRef, TrackNumber},
    io::clock,
    mkv::{
        Event, EventKind, Reader, SimpleTag,
        writer::{
            DocumentHeader, cluster_start, document_header, end_of_fragment, simple_block_header,
            tags,
        },
    },
    time::{Timestamp, TimestampScale},
    track::{Track, TrackKind, VideoFormat},
    wire::{
        ack::{AckEvent, AckParser},
        control::GetMediaInput,
        get_media::{ChunkTags, StartSelector},
        put_media::{PutMediaHead, TimecodeType},
    },
};

/// No test waits longer than this for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// EBML header to Tracks of a session with tracks 1 to `tracks`.
pub(super) fn header(tracks: u64) -> Bytes {
    let tracks: Vec<_> = (1..=tracks)
        .map(|number| Track {
            number: TrackNumber(number),
            kind: TrackKind::Video(VideoFormat { width: 16, height: 16 }),
            codec_id: "V_TEST".to_owned(),
            codec_private: None,
            name: None,
            default_duration_ns: None,
        })
        .collect();
    document_header(&DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks: &tracks,
        application: "test",
        segment_uuid: [1; 16],
    })
}

/// A block whose payload is `len` bytes that depend on track and offset.
pub(super) fn block(track: u64, offset: i16, len: usize) -> Bytes {
    let mut out = BytesMut::new();
    simple_block_header(&mut out, TrackNumber(track), offset, offset == 0, len);
    out.extend((0..len).map(|at| (at as i64 ^ i64::from(offset) ^ track as i64) as u8));
    out.freeze()
}

/// A Cluster of one track with a block at each offset.
pub(super) fn cluster(ticks: u64, offsets: &[i16]) -> Bytes {
    let blocks = offsets.iter().map(|&offset| block(1, offset, 40));
    [cluster_start(ticks)].into_iter().chain(blocks).collect::<Vec<_>>().concat().into()
}

/// Producer tags as AWS's SDK writes them.
pub(super) fn metadata(pairs: &[(&str, &str)]) -> Bytes {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| SimpleTag { name: (*name).into(), value: (*value).into() })
        .collect();
    tags(&pairs, SizeWidth::Minimal)
}

pub(super) fn end_tag() -> Bytes {
    end_of_fragment()
}

/// A service on a folder of its own, with one stream.
pub(super) struct World {
    pub(super) service: Arc<Service>,
    pub(super) stream: Stream,
    pub(super) switch: DrainSwitch,
    dir: tempfile::TempDir,
}

impl World {
    pub(super) async fn new(retention_hours: u32, change: impl FnOnce(&mut Limits)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        change(&mut config.limits);
        let (switch, drain) = drain::channel();
        let service = Service::new(config, "http://test".into(), drain).unwrap();
        let arn = "arn:aws:kinesisvideo:us-west-2:000000000000:stream/cam/1".parse().unwrap();
        let mut meta = StreamMeta::new("cam".parse().unwrap(), arn, clock::wall());
        meta.retention_hours = retention_hours;
        let stream = service.store.create_stream(meta).await.unwrap();
        Self { service, stream, switch, dir }
    }

    /// Flips a bit in the last byte of the stream's only segment file.
    pub(super) fn corrupt_last_byte(&self) {
        let folder = self.dir.path().join("streams").join(format!("{:016x}", self.stream.id()));
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let path = files.into_iter().find(|p| p.extension().is_some_and(|e| e == "seg")).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 0x20;
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn put(&self) -> Producer {
        self.try_put(TimecodeType::Absolute, None).unwrap()
    }

    pub(super) fn try_put(
        &self,
        timecode_type: TimecodeType,
        start: Option<Timestamp>,
    ) -> Result<Producer, &'static str> {
        let stream = StreamRef::Name("cam".parse().unwrap());
        let head = PutMediaHead { stream, timecode_type, start, acks: true };
        let opened = put_media::open(&self.service, &head).map_err(|error| error.code)?;
        let (body, receiver) = mpsc::unbounded_channel();
        let acks = opened.run(TestBody(receiver));
        Ok(Producer { body: Some(body), acks, parser: AckParser::default() })
    }

    pub(super) fn get(&self, selector: StartSelector) -> Consumer {
        let stream = StreamRef::Name("cam".parse().unwrap());
        let input = GetMediaInput { stream, start_selector: selector };
        let body = get_media::open(&self.service, input).unwrap();
        Consumer { body, reader: Reader::default(), raw: BytesMut::new() }
    }

    /// Uploads fragments that start at these times and waits until all of them are stored.
    pub(super) async fn upload(&self, starts_ms: &[u64]) {
        let mut producer = self.put();
        producer.send(header(1));
        for &start in starts_ms {
            producer.send(cluster(start, &[0, 400, 900]));
        }
        let events = producer.finish().await;
        let errors = events.iter().filter(|event| matches!(event, AckEvent::Error { .. }));
        assert_eq!(errors.count(), 0, "{events:?}");
    }
}

/// A request body that a test writes.
struct TestBody(mpsc::UnboundedReceiver<Result<Bytes, String>>);

impl Body for TestBody {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| data.map(Frame::data)))
    }
}

/// One PutMedia.
pub(super) struct Producer {
    body: Option<mpsc::UnboundedSender<Result<Bytes, String>>>,
    acks: ReplyBody,
    parser: AckParser,
}

impl Producer {
    pub(super) fn send(&self, bytes: Bytes) {
        // A session that has ended takes nothing more, as a socket would.
        drop(self.body.as_ref().unwrap().send(Ok(bytes)));
    }

    /// The connection breaks.
    pub(super) fn cut(&mut self) {
        drop(self.body.take().unwrap().send(Err("connection reset".into())));
    }

    /// The next ack; `None` at the end of the response.
    pub(super) async fn ack(&mut self) -> Option<AckEvent> {
        loop {
            if let Some(event) = self.parser.pull().unwrap() {
                return Some(event);
            }
            let frame = tokio::time::timeout(DEADLINE, self.acks.frame()).await.expect("an ack");
            self.parser.push(&frame?.unwrap().into_data().unwrap());
        }
    }

    /// All acks up to the end of the response.
    pub(super) async fn rest(&mut self) -> Vec<AckEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.ack().await {
            events.push(event);
        }
        events
    }

    /// Ends the body cleanly and gives the remaining acks.
    pub(super) async fn finish(&mut self) -> Vec<AckEvent> {
        self.body = None;
        self.rest().await
    }
}

/// One GetMedia.
pub(super) struct Consumer {
    body: ReplyBody,
    reader: Reader,
    /// All bytes so far.
    pub(super) raw: BytesMut,
}

impl Consumer {
    /// The next Matroska event; `None` at the end of the response.
    pub(super) async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.reader.pull().unwrap() {
                return Some(event);
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.expect("bytes");
            let data = frame?.unwrap().into_data().unwrap();
            self.raw.extend_from_slice(&data);
            self.reader.push(data);
        }
    }

    /// The next tags of the service.
    pub(super) async fn tags(&mut self) -> Option<ChunkTags> {
        while let Some(event) = self.event().await {
            if let EventKind::Tags(tags) = event.kind
                && let Some(tags) = ChunkTags::parse(&tags).unwrap()
            {
                return Some(tags);
            }
        }
        None
    }

    /// Waits for a block and gives its offset.
    pub(super) async fn block(&mut self) -> Option<i16> {
        while let Some(event) = self.event().await {
            if let EventKind::Block(block) = event.kind {
                return Some(block.offset_ticks);
            }
        }
        None
    }

    /// Reads to the end: the Cluster timestamps of the fragments whose tail tags came.
    pub(super) async fn whole_fragments(&mut self) -> Vec<u64> {
        let (mut whole, mut cluster) = (Vec::new(), 0);
        while let Some(event) = self.event().await {
            match event.kind {
                EventKind::ClusterTimestamp(ticks) => cluster = ticks,
                EventKind::Tags(tags) => {
                    if let Some(ChunkTags::Tail { .. }) = ChunkTags::parse(&tags).unwrap() {
                        whole.push(cluster);
                    }
                }
                _ => {}
            }
        }
        whole
    }
}
