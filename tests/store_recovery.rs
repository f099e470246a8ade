// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kill -9` in the middle of uploads, again and again in one data folder: what was acked
//! PERSISTED is there with its bytes, and what else is there is newer and whole.
//!
//! `KVS_TEST_KILLS` sets how often the server is killed.
#![cfg(feature = "server")]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::BytesMut;
use gstkvs::{
    ids::{StreamRef, TrackNumber},
    io::clock,
    mkv::writer::{DocumentHeader, cluster_start, document_header, simple_block_header},
    server::store::{Number, Store, StoreConfig},
    time::TimestampScale,
    track::{Track, TrackKind, VideoFormat},
    wire::ack::{AckEvent, AckParser},
};

const STREAMS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(20);

/// Timecode and number of what was acked PERSISTED.
type Persisted = Vec<(u64, Number)>;

/// A server process; killed when dropped.
struct Process {
    child: Child,
    addr: SocketAddr,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kvs-server"))
            .args(["--listen", "127.0.0.1:0", "--log", "error", "--data-dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("http://").expect("the URL").parse().unwrap();
        Self { child, addr }
    }

    /// SIGKILL, and gone.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(addr: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    write!(socket, "POST {path} HTTP/1.1\r\nHost: {addr}\r\n{headers}\r\n").unwrap();
    socket
}

fn create_stream(addr: SocketAddr, name: &str) {
    let json = format!(r#"{{"StreamName":"{name}","DataRetentionInHours":1}}"#);
    let headers = format!("Connection: close\r\nContent-Length: {}\r\n", json.len());
    let mut socket = connect(addr, "/createStream", &headers);
    socket.write_all(json.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn header() -> Vec<u8> {
    let track = Track {
        number: TrackNumber(1),
        kind: TrackKind::Video(VideoFormat { width: 16, height: 16 }),
        codec_id: "V_TEST".to_owned(),
        codec_private: None,
        name: None,
        default_duration_ns: None,
    };
    let header = DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks: &[track],
        application: "test",
        segment_uuid: [7; 16],
    };
    document_header(&header).to_vec()
}

/// The Cluster of a timecode: some blocks of random bytes, always the same.
fn cluster(timecode: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(timecode);
    let mut out = BytesMut::from(&cluster_start(timecode)[..]);
    for offset in 0..random.i16(1..20) {
        let mut payload = vec![0; random.usize(1..12_000)];
        random.fill(&mut payload);
        simple_block_header(&mut out, TrackNumber(1), offset, offset == 0, payload.len());
        out.extend_from_slice(&payload);
    }
    out.to_vec()
}

/// Uploads fragments until the server is gone; gives what was acked PERSISTED.
fn upload(addr: SocketAddr, stream: &str, first: u64, acked: &mpsc::Sender<()>) -> Persisted {
    let headers = format!(
        "Transfer-Encoding: chunked\r\nx-amzn-stream-name: {stream}\r\n\
         x-amzn-fragment-timecode-type: ABSOLUTE\r\n"
    );
    let mut socket = connect(addr, "/putMedia", &headers);
    let acks = BufReader::new(socket.try_clone().unwrap());
    let acked = acked.clone();
    let reader = thread::spawn(move || read_acks(acks, &acked));
    let mut send = |bytes: &[u8]| {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        socket.write_all(&chunk)
    };
    let mut sent = send(&header());
    for timecode in (first..).step_by(100) {
        if sent.is_err() {
            break;
        }
        sent = send(&cluster(timecode));
    }
    reader.join().unwrap()
}

fn read_acks(mut lines: BufReader<TcpStream>, acked: &mpsc::Sender<()>) -> Persisted {
    let (mut persisted, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(read) if read > 0 && line.ends_with('\n') => {}
            _ => return persisted,
        }
        let mut parser = AckParser::default();
        parser.push(line.as_bytes());
        match parser.pull() {
            Ok(Some(AckEvent::Persisted { timecode, number })) => {
                persisted.push((timecode, Number::parse(&number)));
                let _ = acked.send(());
            }
            Ok(Some(AckEvent::Error { id, code, .. })) => panic!("refused: {id} {code}"),
            _ => {}
        }
    }
}

/// All of a stream: number to timecode. Every fragment is checked against what was sent.
fn stored(store: &Store, name: &str) -> BTreeMap<Number, u64> {
    let stream = store.stream(&StreamRef::Name(name.parse().unwrap())).expect(name);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut found, mut last) = (BTreeMap::new(), Number::MIN);
    while let Some(meta) = store.next_after(&stream, last).unwrap() {
        last = meta.number;
        let read = runtime.block_on(store.read_fragment(&stream, last)).unwrap().unwrap();
        let expect = [header(), cluster(meta.timecode)].concat();
        assert!(read.pieces.concat() == expect, "fragment {last} has other bytes");
        found.insert(last, meta.timecode);
    }
    found
}

#[test]
fn what_was_persisted_survives_kill_minus_nine() {
    let kills = env::var("KVS_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(9);
    let names: Vec<_> = (0..STREAMS).map(|n| format!("cam-{n}")).collect();
    let mut before: Vec<BTreeMap<Number, u64>> = vec![BTreeMap::new(); STREAMS];
    let mut total = 0;
    for round in 0..kills {
        let server = Process::start(dir.path());
        let addr = server.addr;
        if round == 0 {
            names.iter().for_each(|name| create_stream(addr, name));
        }
        let (acked, acks) = mpsc::channel();
        let uploads: Vec<_> = names
            .iter()
            .map(|name| {
                let (name, acked) = (name.clone(), acked.clone());
                thread::spawn(move || upload(addr, &name, 100_000_000 * (round + 1), &acked))
            })
            .collect();
        // Any moment between the first fragments and some hundred later.
        for _ in 0..random.usize(1..150) {
            acks.recv_timeout(DEADLINE).expect("a PERSISTED ack");
        }
        server.kill();
        let persisted: Vec<Persisted> = uploads.into_iter().map(|u| u.join().unwrap()).collect();

        let store = Store::open(dir.path(), StoreConfig::default(), clock::wall()).unwrap();
        for ((name, persisted), before) in names.iter().zip(&persisted).zip(&mut before) {
            let found = stored(&store, name);
            let mut expect = before.clone();
            expect.extend(persisted.iter().map(|&(timecode, number)| (number, timecode)));
            let newest = expect.last_key_value().map_or(Number::MIN, |(number, _)| *number);
            let up_to: BTreeMap<_, _> = found.range(..=newest).map(|(n, t)| (*n, *t)).collect();
            assert_eq!(up_to, expect, "round {round}, {name}");
            total += persisted.len();
            *before = found;
        }
    }
    println!("{kills} kills, {total} fragments acked PERSISTED, none lost");
    assert!(total >= kills as usize);
}
