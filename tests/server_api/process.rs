// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kvs-server` as a process: options, logs, signals.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};

use crate::{
    client::{DEADLINE, call, put_media},
    media,
};

fn kvs_server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KVS_SERVER_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> Output {
    kvs_server().args(args).output().unwrap()
}

/// A server process; killed when dropped.
struct Process {
    child: Child,
    addr: SocketAddr,
    logs: BufReader<ChildStderr>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        Self::spawn(kvs_server(), args)
    }

    fn spawn(mut command: Command, args: &[&str]) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("http://").and_then(|addr| addr.parse().ok());
        let logs = BufReader::new(child.stderr.take().unwrap());
        let addr = addr.unwrap_or_else(|| panic!("no URL in its first line: {line:?}"));
        Self { child, addr, logs }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Reads logs until one has this message.
    fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.logs.read_line(&mut line).unwrap(), 0, "no log \"{message}\"");
            let entry: Value = serde_json::from_str(&line).unwrap();
            if entry["fields"]["message"] == message {
                return entry;
            }
        }
    }

    /// Exit status and the remaining logs.
    fn end(mut self) -> (Option<i32>, String) {
        let (sender, ended) = mpsc::channel();
        let mut logs = String::new();
        let pid = self.child.id().to_string();
        let watchdog = thread::spawn(move || {
            if ended.recv_timeout(DEADLINE).is_err() {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        self.logs.read_to_string(&mut logs).unwrap();
        let status = self.child.wait().unwrap();
        let _ = sender.send(());
        watchdog.join().unwrap();
        (status.code(), logs)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_documents_every_option() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let options: Vec<_> = help.lines().filter(|line| line.trim_start().starts_with("--")).collect();
    assert!(options.len() > 20, "{help}");
    for option in [
        "--listen",
        "--data-dir",
        "--public-url",
        "--region",
        "--account-id",
        "--credentials",
        "--allow-unsigned",
        "--session-length",
        "--consumer-idle",
        "--memory-buffer-age",
        "--log-format",
        "--drain-deadline",
        "--max-connections",
    ] {
        let at = help.lines().position(|line| line.trim_start().starts_with(option));
        let text = at.and_then(|at| help.lines().nth(at + 1)).unwrap_or_default();
        assert!(text.trim().len() > 5, "{option} is not explained in\n{help}");
    }
}

#[test]
fn wrong_options_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let absent = format!("{path}/absent");
    for (args, complaint) in [
        (vec!["--listen", "0.0.0.0:0"], "--allow-unsigned"),
        (vec!["--account-id", "12"], "12 digits"),
        (vec!["--credentials", &absent], "absent"),
        (vec!["--session-length", "soon"], "write seconds"),
        (vec!["--log", "gstkvs=loud"], "--log"),
    ] {
        let output = run(&[vec!["--data-dir", path], args.clone()].concat());
        assert!(!output.status.success(), "{args:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(complaint), "{args:?}: {error}");
    }
}

#[test]
fn sigterm_finishes_the_open_fragment_and_exits_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let mut process = Process::start(&["--data-dir", path]);
    let members = json!({"StreamName": "cam", "DataRetentionInHours": 1});
    assert_eq!(call(process.addr, "/createStream", &members).status, 200);
    let mut producer = put_media(process.addr, "cam", "");
    assert_eq!(producer.head().0, 200);
    producer.send_chunk(&media::header());
    producer.send_chunk(&media::fragment(media::START_MS, 1));
    assert_eq!(producer.ack().unwrap()["EventType"], "BUFFERING");

    process.signal("-TERM");
    process.wait_for("draining");
    assert!(std::net::TcpStream::connect(process.addr).is_err(), "it still accepts");
    producer.send_chunk(&media::end());
    let kinds: Vec<_> = std::iter::from_fn(|| producer.ack())
        .map(|ack| ack["EventType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["RECEIVED", "PERSISTED"]);
    let (status, logs) = process.end();
    assert_eq!(status, Some(0), "{logs}");

    // What was acknowledged is there for the next server.
    let process = Process::start(&["--data-dir", path]);
    let members = json!({"StreamName": "cam", "FragmentSelector": {
        "FragmentSelectorType": "PRODUCER_TIMESTAMP",
        "TimestampRange": {"StartTimestamp": 0, "EndTimestamp": 4e9}}});
    let listed = call(process.addr, "/listFragments", &members).json();
    assert_eq!(listed["Fragments"].as_array().unwrap().len(), 1);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&["--data-dir", dir.path().to_str().unwrap()]);
    let members = json!({"StreamName": "cam", "DataRetentionInHours": 1});
    assert_eq!(call(process.addr, "/createStream", &members).status, 200);
    let mut producer = put_media(process.addr, "cam", "");
    assert_eq!(producer.head().0, 200);
    producer.send_chunk(&media::header());
    producer.send_chunk(&media::fragment(media::START_MS, 1));
    assert_eq!(producer.ack().unwrap()["EventType"], "BUFFERING");
    process.signal("-INT");
    process.wait_for("draining");
    process.signal("-INT");
    let (status, logs) = process.end();
    assert_eq!(status, Some(1), "{logs}");
    assert!(logs.contains("second signal"), "{logs}");
}

/// Connections take file descriptors, and so does the store.
#[test]
fn connections_leave_the_store_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kvs-server")]);
    let process = Process::spawn(shell, &["--data-dir", dir.path().to_str().unwrap()]);
    let members = json!({"StreamName": "cam", "DataRetentionInHours": 1});
    assert_eq!(call(process.addr, "/createStream", &members).status, 200);
    let mut producer = put_media(process.addr, "cam", "");
    assert_eq!(producer.head().0, 200);
    let crowd: Vec<_> =
        (0..120).map(|_| std::net::TcpStream::connect(process.addr).unwrap()).collect();
    producer.send_chunk(&media::header());
    producer.send_chunk(&media::fragment(media::START_MS, 1));
    producer.finish();
    let last = std::iter::from_fn(|| producer.ack()).last().unwrap();
    assert_eq!(last["EventType"], "PERSISTED");
    drop(crowd);
    assert_eq!(call(process.addr, "/listStreams", &json!({})).status, 200);
}

#[test]
fn secrets_stay_out_of_the_logs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, "AKIDVISIBLE hidden-secret-of-akid\n").unwrap();
    let data = dir.path().join("data");
    let process = Process::start(&[
        "--data-dir",
        data.to_str().unwrap(),
        "--log",
        "trace",
        "--credentials",
        file.to_str().unwrap(),
    ]);
    let answer = call(process.addr, "/listStreams", &json!({}));
    assert_eq!(answer.status, 403);
    process.signal("-TERM");
    let (status, logs) = process.end();
    assert_eq!(status, Some(0));
    assert!(logs.contains("MissingAuthenticationTokenException"), "{logs}");
    assert!(!logs.contains("hidden-secret"));
}
