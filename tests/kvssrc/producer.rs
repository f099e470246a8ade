// SPDX-License-Identifier: MIT OR Apache-2.0
//! A producer over a raw socket, and the server it sends to.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc::{Receiver, channel},
};

use gstkvs::{
    server::{Config, Limits, Running, Server},
    track::Track,
};
use tempfile::TempDir;

use super::{media, reader::DEADLINE};

/// A server with its folder.
pub struct Peer {
    running: Option<Running>,
    _folder: TempDir,
}

impl Peer {
    pub fn start(change: impl FnOnce(&mut Limits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path());
        change(&mut config.limits);
        Self { running: Some(Server::start(config).unwrap()), _folder: folder }
    }

    pub fn url(&self) -> String {
        self.running.as_ref().unwrap().url().to_owned()
    }

    /// Makes the stream "camera".
    pub fn create(&self) {
        let body = r#"{"StreamName":"camera","DataRetentionInHours":24}"#;
        let (status, text) = self.post("/createStream", body);
        assert_eq!(status, 200, "{text}");
    }

    pub fn delete(&self) {
        let (status, text) = self.post("/describeStream", r#"{"StreamName":"camera"}"#);
        assert_eq!(status, 200, "{text}");
        let info: serde_json::Value = serde_json::from_str(&text).unwrap();
        let arn = info["StreamInfo"]["StreamARN"].as_str().unwrap();
        let (status, text) = self.post("/deleteStream", &format!(r#"{{"StreamARN":"{arn}"}}"#));
        assert_eq!(status, 200, "{text}");
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address()).unwrap();
        let length = body.len();
        write!(
            socket,
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn address(&self) -> String {
        self.url().trim_start_matches("http://").to_owned()
    }

    pub fn producer(&self, tracks: &[Track]) -> Producer {
        Producer::open(&self.address(), tracks)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let running = self.running.take().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { running.shutdown().await });
    }
}

/// A PutMedia session.
pub struct Producer {
    socket: TcpStream,
    /// Event type and fragment timecode; closed when the response is over.
    acks: Receiver<(String, u64)>,
    tracks: Vec<Track>,
}

impl Producer {
    fn open(address: &str, tracks: &[Track]) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        write!(
            socket,
            "POST /putMedia HTTP/1.1\r\nHost: x\r\nx-amzn-stream-name: camera\r\n\
             x-amzn-fragment-timecode-type: ABSOLUTE\r\nx-amzn-producer-start-timestamp: 1711124585.823\r\n\
             x-amzn-fragment-acknowledgment-required: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .unwrap();
        let (send, acks) = channel();
        let lines = BufReader::new(socket.try_clone().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(ack) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
                let Some(event) = ack["EventType"].as_str() else { continue };
                let timecode = ack["FragmentTimecode"].as_u64().unwrap_or(0);
                if send.send((event.to_owned(), timecode)).is_err() {
                    break;
                }
            }
        });
        let mut producer = Self { socket, acks, tracks: tracks.to_vec() };
        producer.send(&media::header(tracks));
        producer
    }

    /// Sends bytes as one HTTP chunk. A session that is over takes them silently, as TCP does.
    pub fn send(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        let _ = self.socket.write_all(&chunk);
    }

    /// Sends fragment `n` and says that it is complete.
    pub fn send_fragment(&mut self, n: u64) {
        let mut bytes = media::cluster(n, &self.tracks);
        bytes.extend_from_slice(&gstkvs::mkv::writer::end_of_fragment());
        self.send(&bytes);
    }

    /// Waits until fragment `n` is stored; false when the session ended instead.
    pub fn is_persisted(&self, n: u64) -> bool {
        let timecode = media::EPOCH_MS + n * 1000;
        loop {
            match self.acks.recv_timeout(DEADLINE) {
                Ok((event, at)) if event == "PERSISTED" && at == timecode => return true,
                Ok((event, _)) if event == "ERROR" => return false,
                Ok(_) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(error) => panic!("fragment {n} is not persisted: {error}"),
            }
        }
    }

    /// Sends a fragment and waits until it is stored.
    pub fn store(&mut self, n: u64) {
        self.send_fragment(n);
        assert!(self.is_persisted(n));
    }
}

impl Drop for Producer {
    /// The connection breaks.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
