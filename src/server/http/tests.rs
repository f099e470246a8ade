// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the server writes, call by call: no socket can join or split it on the way.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    runtime,
};

use super::*;
use crate::{
    ids::TrackNumber,
    mkv::writer::{
        DocumentHeader, cluster_start, document_header, end_of_fragment, simple_block_header,
    },
    server::{config::Config, drain, store::StreamMeta},
    time::{Timestamp, TimestampScale},
    track::{Track, TrackKind, VideoFormat},
};

type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

/// Keeps every write apart.
struct Recorder {
    inner: DuplexStream,
    writes: Writes,
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = polled {
            let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
            writes.push(buf[..n].to_vec());
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Three fragments of one block each, the last one ended by its tag.
fn document() -> Vec<u8> {
    let track = Track {
        number: TrackNumber(1),
        kind: TrackKind::Video(VideoFormat::default()),
        codec_id: "V_TEST".to_owned(),
        codec_private: None,
        name: None,
        default_duration_ns: None,
    };
    let mut out = BytesMut::new();
    out.extend_from_slice(&document_header(&DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks: &[track],
        application: "test",
        segment_uuid: [1; 16],
    }));
    for ticks in [1000, 3000, 5000] {
        out.extend_from_slice(&cluster_start(ticks));
        simple_block_header(&mut out, TrackNumber(1), 0, true, 4);
        out.extend_from_slice(b"data");
    }
    out.extend_from_slice(&end_of_fragment());
    out.to_vec()
}

/// What the server writes while a client sends `request` and reads to the end.
fn writes_for(request: &[u8], stop: &[u8]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let (_switch, drain) = drain::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let service =
            Service::new(Config::new(dir.path()), "http://test".to_owned(), drain).unwrap();
        let arn = "arn:aws:kinesisvideo:us-west-2:1:stream/cam/5".parse().unwrap();
        let meta = StreamMeta {
            retention_hours: 1,
            ..StreamMeta::new("cam".parse().unwrap(), arn, Timestamp::default())
        };
        service.store.create_stream(meta).await.unwrap();
        let (near, mut far) = duplex(1 << 20);
        let writes = Writes::default();
        let recorder = Recorder { inner: near, writes: Arc::clone(&writes) };
        let serving = tokio::spawn(serve_connection(recorder, service));
        far.write_all(request).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(stop) {
            assert_ne!(
                far.read_buf(&mut seen).await.unwrap(),
                0,
                "{}",
                String::from_utf8_lossy(&seen)
            );
        }
        drop(far);
        serving.await.unwrap();
        std::mem::take(&mut *writes.lock().unwrap_or_else(PoisonError::into_inner))
    })
}

fn put_media(more: &str, document: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /putMedia HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
         x-amzn-stream-name: cam\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n{more}\r\n"
    )
    .into_bytes();
    if !document.is_empty() {
        request.extend(format!("{:x}\r\n", document.len()).bytes());
        request.extend_from_slice(document);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

/// AWS's Java producer hands what one read of its socket gave to its ack parser, so that acks
/// which share a write, or an ack in two writes, break it.
#[test]
fn one_ack_is_one_chunk_is_one_write() {
    let writes = writes_for(&put_media("", &document()), b"0\r\n\r\n");
    let texts: Vec<_> = writes.iter().map(|write| String::from_utf8_lossy(write)).collect();
    let (head, rest) = texts.split_first().unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{texts:?}");
    let (end, acks) = rest.split_last().unwrap();
    assert_eq!(end, "0\r\n\r\n");
    assert_eq!(acks.len(), 9, "{texts:?}");
    for ack in acks {
        let (size, rest) = ack.split_once("\r\n").unwrap();
        let line = rest.strip_suffix("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16).unwrap(), line.len(), "{ack}");
        assert!(line.starts_with("{\"EventType\"") && line.ends_with("}\n"), "{ack}");
        assert_eq!(line.matches('\n').count(), 1, "{ack}");
    }
}

#[test]
fn continue_comes_before_the_answer() {
    let request = put_media("expect: 100-continue\r\n", b"");
    let writes = writes_for(&request, b"0\r\n\r\n").concat();
    let text = String::from_utf8_lossy(&writes);
    assert!(text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{text}");
}
