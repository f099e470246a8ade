// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server as a program: options, logs and signals around `gstkvs::server`.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, ValueEnum};
use gstkvs::server::{Config, CredentialsTable, Limits, Server, raise_descriptor_limit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A local server with the API of Amazon Kinesis Video Streams.
///
/// Serves the control plane and all media operations under one base URL, which is printed on
/// standard output once the server accepts connections. Logs go to standard error. SIGTERM and
/// SIGINT drain: no new connections, open fragments are finished and acknowledged, the store is
/// flushed, exit status 0. A second signal ends the server at once.
#[derive(Debug, Parser)]
#[command(version, name = "kvs-server")]
struct Options {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "KVS_SERVER_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Folder that holds all streams; created when missing, used by one server at a time
    #[arg(long, env = "KVS_SERVER_DATA_DIR", value_name = "DIR", default_value = "kvs-data")]
    data_dir: PathBuf,

    /// Base URL that GetDataEndpoint gives to clients, if they reach this server by another
    /// address than the bound one [default: http:// and the bound address]
    #[arg(long, env = "KVS_SERVER_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,

    /// Region in the ARNs of streams
    #[arg(long, env = "KVS_SERVER_REGION", value_name = "NAME", default_value = "us-west-2")]
    region: String,

    /// Account in the ARNs of streams, 12 digits
    #[arg(long, env = "KVS_SERVER_ACCOUNT_ID", value_name = "ID", default_value = "000000000000")]
    account_id: String,

    /// File of the access keys that may call: "ACCESS-KEY-ID SECRET-KEY" per line, or profiles
    /// as in ~/.aws/credentials. Every request must then be signed with one of them (AWS
    /// Signature Version 4). Without it, requests are not verified
    #[arg(long, env = "KVS_SERVER_CREDENTIALS", value_name = "FILE")]
    credentials: Option<PathBuf>,

    /// Listen on an address that others can reach although no credentials are given: whoever
    /// reaches the port can then read and delete every stream
    #[arg(long)]
    allow_unsigned: bool,

    /// Form of the logs
    #[arg(long, env = "KVS_SERVER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also per module ("info,gstkvs=debug")
    #[arg(long, env = "KVS_SERVER_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// Threads that serve requests [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    times: TimeOptions,

    #[command(flatten)]
    limits: LimitOptions,
}

/// Options that are lengths of time.
#[derive(Args, Debug)]
#[command(next_help_heading = "Times, in seconds (fractions are allowed)")]
struct TimeOptions {
    /// A PutMedia or GetMedia session is ended after this
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2700")]
    session_length: Duration,

    /// A PutMedia that sends nothing for this long is ended
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    producer_idle: Duration,

    /// A PutMedia that sends nothing gets an IDLE acknowledgement this often
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    idle_ack_interval: Duration,

    /// A GetMedia for which no new fragment comes for this long is ended
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    consumer_idle: Duration,

    /// Longest fragment
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "20")]
    max_fragment_duration: Duration,

    /// How long fragments of streams without retention stay readable
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "300")]
    memory_buffer_age: Duration,

    /// A request head must arrive, and an idle connection be used again, within this
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    header_timeout: Duration,

    /// The body of a JSON request must arrive within this
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    body_timeout: Duration,

    /// A client that takes no byte of an answer for this long is cut off
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    write_timeout: Duration,

    /// Longest wait for open fragments when the server is told to end
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    drain_deadline: Duration,
}

/// Options that are counts.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
struct LimitOptions {
    /// Connections served at once; further ones wait. Never more than the limit of open files
    /// (ulimit -n) leaves
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_connections)]
    max_connections: usize,

    /// PutMedia sessions of one stream at once; a producer that renews its session needs two
    #[arg(long, value_name = "N", default_value_t = Limits::default().producers_per_stream)]
    producers_per_stream: usize,

    /// Streams
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_streams)]
    max_streams: usize,

    /// Tracks of one PutMedia session
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_tracks)]
    max_tracks: usize,

    /// Bytes of one fragment
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_fragment_bytes)]
    max_fragment_bytes: usize,

    /// Bytes of each stream without retention that stay readable
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().memory_buffer_bytes)]
    memory_buffer_bytes: usize,

    /// Bytes of one request head
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_header_bytes)]
    max_header_bytes: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One line per event, for people
    Text,
    /// One JSON object per line, for machines
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    duration.ok_or_else(|| "write seconds, such as 30 or 0.5".to_owned())
}

impl Options {
    fn into_config(self) -> io::Result<Config> {
        let (times, limits) = (self.times, self.limits);
        Ok(Config {
            listen: self.listen,
            public_url: self.public_url,
            region: self.region,
            account_id: self.account_id,
            credentials: self.credentials.as_deref().map(CredentialsTable::read).transpose()?,
            allow_unsigned: self.allow_unsigned,
            worker_threads: self.threads,
            limits: Limits {
                max_connections: limits.max_connections,
                max_header_bytes: limits.max_header_bytes,
                header_timeout: times.header_timeout,
                body_timeout: times.body_timeout,
                write_timeout: times.write_timeout,
                session_length: times.session_length,
                producer_idle: times.producer_idle,
                idle_ack_interval: times.idle_ack_interval,
                consumer_idle: times.consumer_idle,
                producers_per_stream: limits.producers_per_stream,
                max_streams: limits.max_streams,
                max_fragment_bytes: limits.max_fragment_bytes,
                max_fragment_duration: times.max_fragment_duration,
                max_tracks: limits.max_tracks,
                memory_buffer_bytes: limits.memory_buffer_bytes,
                memory_buffer_age: times.memory_buffer_age,
                drain_deadline: times.drain_deadline,
            },
            ..Config::new(self.data_dir)
        })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = start_logs(&options) {
        eprintln!("kvs-server: --log {}: {error}", options.log);
        return ExitCode::from(2);
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kvs-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_logs(options: &Options) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&options.log)?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match options.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
}

fn run(options: Options) -> io::Result<()> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let running = Server::start(options.into_config()?)?;
        // Nobody has to read it.
        let _ = writeln!(io::stdout(), "{}", running.url());
        tracing::info!(url = running.url(), address = %running.local_addr(), "serving");
        let name = first(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "ending");
        tokio::select! {
            () = running.shutdown() => {
                tracing::info!("ended");
                Ok(())
            }
            name = first(&mut terminate, &mut interrupt) => {
                Err(io::Error::other(format!("ended by a second signal, {name}")))
            }
        }
    })
}

async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
