// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kvs-server process, the AWS SDK's clients for it, and PutMedia, which the SDK does not know.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use aws_sdk_kinesisvideo as control;
use aws_sdk_kinesisvideo::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_kinesisvideoarchivedmedia as archived;
use aws_sdk_kinesisvideomedia as media;
use tempfile::TempDir;

/// When the media of [`upload`] begins, in ms since the epoch.
pub const START_MS: u64 = 1_795_352_474_250;

/// A server process with a data folder of its own; killed when dropped.
pub struct Server {
    child: Child,
    url: String,
    _dir: TempDir,
}

impl Server {
    /// Starts the binary that KVS_SERVER names. With `keys`, requests must be signed.
    pub fn start(keys: Option<&str>) -> Self {
        let binary = std::env::var_os("KVS_SERVER").expect("KVS_SERVER names the server to test");
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary);
        command.args(["--listen", "127.0.0.1:0", "--consumer-idle", "0.5", "--log", "warn"]);
        command.arg("--data-dir").arg(dir.path().join("data")).stdout(Stdio::piped());
        if let Some(keys) = keys {
            let file = dir.path().join("keys");
            std::fs::write(&file, keys).unwrap();
            command.arg("--credentials").arg(file);
        }
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        assert!(url.starts_with("http://"), "no URL in its first line: {url:?}");
        Self { child, url, _dir: dir }
    }

    /// The URL that it printed.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the configuration of one of the SDK's clients; they have no type in common.
macro_rules! config {
    ($service:ident, $url:expr, $key:expr, $secret:expr) => {
        $service::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-west-2"))
            .endpoint_url($url)
            .credentials_provider(Credentials::new($key, $secret, None, None, "test"))
            .http_client(http_client())
            .retry_config($service::config::retry::RetryConfig::disabled())
            .build()
    };
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

/// The control plane's client.
pub fn control(url: &str, key: &str, secret: &str) -> control::Client {
    control::Client::from_conf(config!(control, url, key, secret))
}

/// GetMedia's client.
pub fn media(url: &str) -> media::Client {
    media::Client::from_conf(config!(media, url, "any", "any"))
}

/// The client of ListFragments and GetMediaForFragmentList.
pub fn archived(url: &str) -> archived::Client {
    archived::Client::from_conf(config!(archived, url, "any", "any"))
}

/// Four seconds of video by ffmpeg, one Cluster per two seconds, through PutMedia; gives the
/// numbers of the two fragments that were persisted.
pub fn upload(url: &str, stream: &str) -> Vec<String> {
    let address = url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let start = format!("{}.{:03}", START_MS / 1000, START_MS % 1000);
    write!(
        socket,
        "POST /putMedia HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\
         x-amzn-stream-name: {stream}\r\nx-amzn-fragment-timecode-type: RELATIVE\r\n\
         x-amzn-producer-start-timestamp: {start}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let matroska = matroska();
    for piece in matroska.chunks(1000) {
        write!(socket, "{:x}\r\n", piece.len()).unwrap();
        socket.write_all(piece).unwrap();
        socket.write_all(b"\r\n").unwrap();
    }
    socket.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let persisted = answer.lines().filter(|line| line.contains("\"PERSISTED\""));
    let number = |line: &str| {
        let (_, rest) = line.split_once("\"FragmentNumber\":\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let numbers: Vec<_> = persisted.map(number).collect();
    assert_eq!(numbers.len(), 2, "{answer}");
    numbers
}

fn matroska() -> Vec<u8> {
    let options = "-v error -f lavfi -i testsrc=size=160x120:rate=15:duration=4 -c:v libx264 \
                   -pix_fmt yuv420p -g 30 -keyint_min 30 -sc_threshold 0 -bf 0 -f matroska \
                   -cluster_time_limit 5000 -";
    let output = Command::new("ffmpeg").args(options.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// How often `needle` occurs.
pub fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}
