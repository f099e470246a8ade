// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client against the server: every call the elements make, signed and verified.
#![cfg(feature = "server")]

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use gstkvs::{
    ids::{FragmentNumber, StreamRef, TrackNumber},
    io::{
        Credentials, MediaResponse, Service, ServiceConfig, clock, credentials::StaticKeys, runtime,
    },
    mkv::{EventKind, Reader, writer},
    server::{Config, Running, Server},
    time::{Timestamp, TimestampScale},
    track::{Track, TrackKind, VideoFormat},
    wire::{
        ServiceErrorKind,
        ack::{AckEvent, AckParser},
        control::{
            ApiName, CreateStreamInput, FragmentSelector, FragmentSelectorType, ListFragmentsInput,
            TimestampRange,
        },
        get_media::{ChunkTags, StartSelector},
        put_media::{PutMediaHead, TimecodeType},
    },
};
use http_body::{Body, Frame};
use tokio::{sync::mpsc, time::timeout};

const SECRET: &str = "a-secret-of-forty-characters-0123456789ab";

/// A request body whose parts come from a channel; it ends when the sender is dropped.
struct Parts(mpsc::Receiver<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

fn run(test: impl Future<Output = ()>) {
    let deadline = Duration::from_secs(20);
    runtime::handle().unwrap().block_on(async { timeout(deadline, test).await.unwrap() });
}

/// A server that verifies signatures, in a folder of its own.
fn server(folder: &tempfile::TempDir) -> Running {
    let credentials = Some(format!("AKID {SECRET}").parse().unwrap());
    Server::start(Config { credentials, ..Config::new(folder.path()) }).unwrap()
}

fn service(server: &Running, secret: &str, session_token: Option<&str>) -> Service {
    let credentials = Credentials::default();
    credentials.set_static(StaticKeys {
        access_key: Some("AKID".into()),
        secret_key: Some(secret.into()),
        session_token: session_token.map(Into::into),
    });
    let endpoint = Some(server.url().to_owned());
    Service::new(ServiceConfig { endpoint, credentials, ..ServiceConfig::default() }).unwrap()
}

fn stream() -> StreamRef {
    StreamRef::Name("cam".parse().unwrap())
}

fn create() -> CreateStreamInput {
    CreateStreamInput {
        device_name: None,
        stream_name: "cam".parse().unwrap(),
        media_type: Some("video/h264".into()),
        kms_key_id: None,
        data_retention_in_hours: Some(2),
        tags: None,
    }
}

fn head() -> PutMediaHead {
    PutMediaHead {
        stream: stream(),
        timecode_type: TimecodeType::Absolute,
        start: None,
        acks: true,
    }
}

/// A session's header, then one fragment of one frame, then what ends it.
fn fragment(ticks: u64, payload: &[u8]) -> Bytes {
    let track = Track {
        number: TrackNumber(1),
        kind: TrackKind::Video(VideoFormat { width: 64, height: 48 }),
        codec_id: "V_MPEG4/ISO/AVC".into(),
        codec_private: None,
        name: None,
        default_duration_ns: None,
    };
    let mut out = BytesMut::new();
    out.extend_from_slice(&writer::document_header(&writer::DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks: &[track],
        application: "test",
        segment_uuid: [1; 16],
    }));
    out.extend_from_slice(&writer::cluster_start(ticks));
    writer::simple_block_header(&mut out, TrackNumber(1), 0, true, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(&writer::end_of_fragment());
    out.freeze()
}

/// Reads acks until the fragment is persisted, then until the response ends.
async fn persisted(mut response: MediaResponse, parts: mpsc::Sender<Bytes>) -> FragmentNumber {
    let (mut acks, mut parts, mut persisted) = (AckParser::default(), Some(parts), None);
    while let Some(piece) = response.chunk().await.unwrap() {
        acks.push(&piece);
        while let Some(event) = acks.pull().unwrap() {
            if let AckEvent::Persisted { number, .. } = event {
                persisted = Some(number);
                parts = None;
            }
        }
    }
    assert!(parts.is_none(), "the response ended before the upload");
    persisted.unwrap()
}

/// Payloads and the service's tags in a response.
async fn read(mut response: MediaResponse) -> (Vec<Bytes>, Vec<ChunkTags>) {
    let (mut reader, mut payloads, mut tags) = (Reader::default(), Vec::new(), Vec::new());
    while let Some(piece) = response.chunk().await.unwrap() {
        reader.push(piece);
        while let Some(event) = reader.pull().unwrap() {
            match event.kind {
                EventKind::Block(block) => payloads.extend(block.frames),
                EventKind::Tags(found) => tags.extend(ChunkTags::parse(&found).unwrap()),
                _ => {}
            }
        }
    }
    reader.finish().unwrap();
    (payloads, tags)
}

#[test]
fn the_whole_job_is_signed_and_understood() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    run(async {
        let service = service(&server, SECRET, Some("a-session-token"));
        let error = service.describe_stream(&stream()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::NotFound, "{error}");
        let arn = service.create_stream(&create()).await.unwrap().stream_arn.unwrap();
        let error = service.create_stream(&create()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::InUse, "{error}");
        let info = service.describe_stream(&StreamRef::Arn(arn.clone())).await.unwrap();
        assert_eq!((info.stream_arn, info.data_retention_in_hours), (Some(arn), Some(2)));

        let now = clock::wall().as_millis();
        let payload = Bytes::from(vec![42; 100_000]);
        let endpoint = service.data_endpoint(&stream(), ApiName::PutMedia).await.unwrap();
        let (parts, body) = mpsc::channel(1);
        parts.send(fragment(now, &payload)).await.unwrap();
        let response = service.put_media(&endpoint, &head(), Parts(body)).await.unwrap();
        let number = persisted(response, parts).await;

        let endpoint = service.data_endpoint(&stream(), ApiName::GetMedia).await.unwrap();
        let response =
            service.get_media(&endpoint, &stream(), &StartSelector::Earliest).await.unwrap();
        let (payloads, tags) = read(response).await;
        assert_eq!(payloads, std::slice::from_ref(&payload));
        let time = Timestamp::from_millis(now).unwrap();
        let [ChunkTags::Head { number: found, producer_time, .. }, ChunkTags::Tail { .. }] =
            tags.as_slice()
        else {
            panic!("{tags:?}");
        };
        assert_eq!((found, *producer_time), (&number, time));

        let endpoint = service.data_endpoint(&stream(), ApiName::ListFragments).await.unwrap();
        let input = ListFragmentsInput {
            stream: stream(),
            max_results: None,
            next_token: None,
            fragment_selector: Some(FragmentSelector {
                fragment_selector_type: FragmentSelectorType::ProducerTimestamp,
                timestamp_range: TimestampRange { start_timestamp: time, end_timestamp: time },
            }),
        };
        let listed = service.list_fragments(&endpoint, &input).await.unwrap().fragments;
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!((&listed[0].fragment_number, listed[0].producer_timestamp), (&number, time));

        let api_name = ApiName::GetMediaForFragmentList;
        let endpoint = service.data_endpoint(&stream(), api_name).await.unwrap();
        let response =
            service.get_media_for_fragment_list(&endpoint, &stream(), vec![number]).await.unwrap();
        assert_eq!(read(response).await.0, [payload]);
    });
}

#[test]
fn wrong_keys_are_told_at_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    run(async {
        service(&server, SECRET, None).create_stream(&create()).await.unwrap();
        let service = service(&server, "another-secret", None);
        let error = service.describe_stream(&stream()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::NotAuthorized, "{error}");
        assert!(error.message.contains("secret-key"), "{error}");
        let start = StartSelector::Now;
        let error = service.get_media(server.url(), &stream(), &start).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::NotAuthorized, "{error}");

        // The upload goes on while the refusal is on its way.
        let (parts, body) = mpsc::channel(1);
        let upload =
            tokio::spawn(
                async move { while parts.send(Bytes::from(vec![0; 65_536])).await.is_ok() {} },
            );
        let error = service.put_media(server.url(), &head(), Parts(body)).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::NotAuthorized, "{error}");
        upload.await.unwrap();
    });
}
