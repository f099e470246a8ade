// SPDX-License-Identifier: MIT OR Apache-2.0
//! An HTTP client that hides nothing: blocking sockets, deadlines, one call per read.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use gstkvs::server::{Config, Running, Server};
use serde_json::Value;
use tempfile::TempDir;

/// No answer of the server takes longer in these tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server and its data folder.
pub(crate) struct Fixture {
    pub(crate) server: Running,
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        change(&mut config);
        Self { server: Server::start(config).unwrap(), dir }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// One JSON call.
    pub(crate) fn call(&self, path: &str, members: Value) -> Answer {
        call(self.addr(), path, &members)
    }

    /// A call that succeeds.
    pub(crate) fn ok(&self, path: &str, members: Value) -> Value {
        let answer = self.call(path, members.clone());
        assert_eq!(answer.status, 200, "{path} {members}: {}", answer.text());
        answer.json()
    }

    /// A call that fails; gives status and error type.
    pub(crate) fn err(&self, path: &str, members: Value) -> (u16, String) {
        let answer = self.call(path, members.clone());
        assert_ne!(answer.status, 200, "{path} {members}");
        let message = answer.json()["Message"].as_str().map(str::to_owned);
        assert!(message.is_some_and(|m| !m.is_empty()), "{path}: {}", answer.text());
        (answer.status, answer.header("x-amzn-errortype").unwrap_or_default().to_owned())
    }

    /// A stream; gives its ARN.
    pub(crate) fn create(&self, name: &str, retention_hours: u32) -> String {
        let members =
            serde_json::json!({"StreamName": name, "DataRetentionInHours": retention_hours});
        self.ok("/createStream", members)["StreamARN"].as_str().unwrap().to_owned()
    }
}

/// One whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

pub(crate) fn call(addr: SocketAddr, path: &str, members: &Value) -> Answer {
    let body = members.to_string();
    let mut raw = Raw::connect(addr);
    raw.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    raw.answer()
}

/// One connection.
pub(crate) struct Raw {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Raw {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        let reader = BufReader::new(socket.try_clone().unwrap());
        Self { socket, reader }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    /// One chunk of a chunked body.
    pub(crate) fn try_send_chunk(&mut self, data: &[u8]) -> io::Result<()> {
        let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
        chunk.extend_from_slice(data);
        chunk.extend_from_slice(b"\r\n");
        self.socket.write_all(&chunk)
    }

    pub(crate) fn send_chunk(&mut self, data: &[u8]) {
        self.try_send_chunk(data).unwrap();
    }

    /// The end of a chunked body.
    pub(crate) fn finish(&mut self) {
        self.send("0\r\n\r\n");
    }

    /// Says that nothing more will be sent, on the level of TCP.
    pub(crate) fn shut_write(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// What a single `recv` gives.
    pub(crate) fn recv(&mut self) -> Vec<u8> {
        let buffered = self.reader.buffer().to_vec();
        if !buffered.is_empty() {
            self.reader.consume(buffered.len());
            return buffered;
        }
        let mut piece = vec![0; 64 * 1024];
        let n = self.socket.read(&mut piece).unwrap();
        piece.truncate(n);
        piece
    }

    /// Whether anything arrives within `time`.
    pub(crate) fn readable_within(&mut self, time: Duration) -> bool {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let arrived = self.reader.fill_buf().is_ok();
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        arrived
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Status and headers.
    pub(crate) fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let status_line = self.line();
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return (status, headers);
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a chunked answer; empty at its end.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        assert_eq!(chunk.split_off(size), b"\r\n");
        chunk
    }

    /// The next chunk as one acknowledgement; `None` at the end of the answer.
    pub(crate) fn ack(&mut self) -> Option<Value> {
        let chunk = self.chunk();
        (!chunk.is_empty()).then(|| serde_json::from_slice(&chunk).unwrap())
    }

    /// A whole answer, however it is framed.
    pub(crate) fn answer(&mut self) -> Answer {
        let (status, headers) = self.head();
        let mut answer = Answer { status, headers, body: Vec::new() };
        match answer.header("content-length").map(|n| n.parse::<usize>().unwrap()) {
            Some(length) => {
                answer.body.resize(length, 0);
                self.reader.read_exact(&mut answer.body).unwrap();
            }
            None => loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend(chunk);
            },
        }
        answer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }
}

/// Sends what a producer sends before its media.
pub(crate) fn put_media(addr: SocketAddr, stream: &str, more: &str) -> Raw {
    let mut raw = Raw::connect(addr);
    raw.send(&format!(
        "POST /putMedia HTTP/1.1\r\nHost: {addr}\r\nTransfer-Encoding: chunked\r\n\
         x-amzn-stream-name: {stream}\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n{more}\r\n"
    ));
    raw
}
