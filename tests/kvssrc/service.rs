// SPDX-License-Identifier: MIT OR Apache-2.0
//! A service that answers GetMedia by a script, over a raw socket.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// What the service does with a request.
#[derive(Clone)]
pub enum Reply {
    /// 200 and this body, as a whole.
    Body(Vec<u8>),
    /// 200 and this much of a body, then the connection breaks.
    Cut(Vec<u8>),
    /// 200 and this much of a body, then nothing until the client goes away.
    Hold(Vec<u8>),
    /// A failure in AWS's form.
    Status(u16, &'static str),
}

#[derive(Default)]
struct State {
    endpoint: VecDeque<Reply>,
    media: VecDeque<Reply>,
    requests: Vec<String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

/// The service. Its threads end with the process.
pub struct Service {
    shared: Arc<Shared>,
    port: u16,
}

impl Service {
    /// Answers GetMedia by `media`, then by holding the connection; GetDataEndpoint with itself.
    pub fn new(media: impl IntoIterator<Item = Reply>) -> Self {
        Self::with_endpoint([], media)
    }

    /// As `new`, but GetDataEndpoint is answered by `endpoint` first.
    pub fn with_endpoint(
        endpoint: impl IntoIterator<Item = Reply>,
        media: impl IntoIterator<Item = Reply>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.state.lock().unwrap();
            state.endpoint.extend(endpoint);
            state.media.extend(media);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(socket, &shared, port));
            }
        });
        Self { shared, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds to the script.
    pub fn then(&self, reply: Reply) {
        self.shared.state.lock().unwrap().media.push_back(reply);
    }

    /// The bodies of the first `count` GetMedia requests; waits for them.
    pub fn wait_for_media(&self, count: usize) -> Vec<String> {
        let state = self.shared.state.lock().unwrap();
        let few = |state: &mut State| media(&state.requests).len() < count;
        let longest = Duration::from_secs(20);
        let (state, timeout) = self.shared.asked.wait_timeout_while(state, longest, few).unwrap();
        assert!(!timeout.timed_out(), "{count} requests expected: {:?}", state.requests);
        media(&state.requests)
    }

    /// How often GetDataEndpoint was asked.
    pub fn endpoint_requests(&self) -> usize {
        let state = self.shared.state.lock().unwrap();
        state.requests.iter().filter(|request| request.starts_with("/getDataEndpoint")).count()
    }
}

fn media(requests: &[String]) -> Vec<String> {
    requests.iter().filter_map(|r| r.strip_prefix("/getMedia ")).map(str::to_owned).collect()
}

fn serve(socket: TcpStream, shared: &Shared, port: u16) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    while let Some((path, body)) = read_request(&mut reader) {
        let reply = {
            let mut state = shared.state.lock().unwrap();
            state.requests.push(format!("{path} {body}"));
            shared.asked.notify_all();
            if path == "/getDataEndpoint" {
                state.endpoint.pop_front().unwrap_or_else(|| endpoint(port))
            } else {
                state.media.pop_front().unwrap_or(Reply::Hold(Vec::new()))
            }
        };
        if answer(&socket, reply).is_none() {
            break;
        }
    }
    let _ = socket.shutdown(std::net::Shutdown::Both);
}

fn endpoint(port: u16) -> Reply {
    Reply::Body(format!("{{\"DataEndpoint\":\"http://127.0.0.1:{port}\"}}").into_bytes())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&len| len > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|&len| len > 0)?;
        if header == "\r\n" {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).ok()?))
}

/// `None` when the connection is over.
fn answer(mut socket: &TcpStream, reply: Reply) -> Option<()> {
    let chunk = |body: &[u8]| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: video/webm\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut out = head.to_vec();
        if !body.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        }
        out
    };
    match reply {
        Reply::Body(body) => {
            let length = body.len();
            socket
                .write_all(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
                )
                .ok()?;
            socket.write_all(&body).ok()
        }
        Reply::Cut(body) => {
            socket.write_all(&chunk(&body)).ok()?;
            None
        }
        Reply::Hold(body) => {
            socket.write_all(&chunk(&body)).ok()?;
            // Until the client closes.
            let _ = socket.read(&mut [0]);
            None
        }
        Reply::Status(status, name) => {
            let body = format!("{{\"Message\":\"scripted {name}\"}}");
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nx-amzn-ErrorType: {name}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            );
            socket.write_all(head.as_bytes()).ok()
        }
    }
}
