// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TCP relay in front of a server that keeps the bodies of the PutMedia requests it passes on.
//! It reads HTTP with a few lines of its own, so that no code of the project judges itself.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

/// The relay. Its threads end with the connections and the test process.
pub(crate) struct Recorder {
    listener: TcpListener,
}

/// The recorded bodies, in the order in which their requests ended.
pub(crate) struct Bodies(mpsc::Receiver<Vec<u8>>);

impl Bodies {
    /// The next body; fails the test when none comes.
    pub(crate) fn next(&self) -> Vec<u8> {
        self.0.recv_timeout(Duration::from_secs(20)).expect("no PutMedia request was recorded")
    }
}

impl Recorder {
    pub(crate) fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// What the server must give out as its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Relays every connection to `server` from now on.
    pub(crate) fn relay_to(self, server: SocketAddr) -> Bodies {
        let (send, bodies) = mpsc::channel();
        thread::spawn(move || {
            for client in self.listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(server).unwrap();
                let (back_from, back_to) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pass_on(back_from, back_to, &mut Vec::new()));
                let send = send.clone();
                thread::spawn(move || {
                    let mut request = Vec::new();
                    pass_on(client, server, &mut request);
                    if request.starts_with(b"POST /putMedia") {
                        let _ = send.send(body(&request));
                    }
                });
            }
        });
        Bodies(bodies)
    }
}

/// Copies until the end of `from`, keeping what passed in `kept`.
fn pass_on(mut from: TcpStream, mut to: TcpStream, kept: &mut Vec<u8>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The body of one request with `transfer-encoding: chunked`.
fn body(request: &[u8]) -> Vec<u8> {
    let line_end = |at: usize| at + request[at..].windows(2).position(|w| w == b"\r\n").unwrap();
    let head = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (mut body, mut at) = (Vec::new(), head);
    loop {
        let end = line_end(at);
        let size = std::str::from_utf8(&request[at..end]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&request[end + 2..end + 2 + size]);
        at = end + 2 + size + 2;
    }
}
