// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server is told before it starts, and the checks that need no network.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::auth::CredentialsTable;

/// Everything a server is told. `Config::new(data_dir)` is a server for tests and for one's own
/// machine: loopback, a free port, unsigned requests accepted, the service's limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that holds all streams. Created when missing; one server at a time.
    pub data_dir: PathBuf,
    /// The base URL that `GetDataEndpoint` gives out; the bound address when unset.
    pub public_url: Option<String>,
    /// The region inside the ARNs.
    pub region: String,
    /// The account inside the ARNs: 12 digits.
    pub account_id: String,
    /// The access keys that may sign requests. Unset: requests are not verified.
    pub credentials: Option<CredentialsTable>,
    /// Listen beyond loopback although nothing verifies who calls.
    pub allow_unsigned: bool,
    /// Threads that serve requests; as many as there are processors when unset.
    pub worker_threads: Option<usize>,
    /// What the server refuses, and when it ends what it has begun.
    pub limits: Limits,
}

/// Limits and times. The defaults are the service's own where it documents one
/// (KVS developer guide, "Limits").
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections served at once; further ones wait in the listener's queue.
    pub max_connections: usize,
    /// Bytes of one request head; a longer one is answered 431.
    pub max_header_bytes: usize,
    /// How long a request head may take, and a connection may idle between requests.
    pub header_timeout: Duration,
    /// How long the body of a JSON request may take.
    pub body_timeout: Duration,
    /// How long a peer may refuse to take any byte before its connection is cut.
    pub write_timeout: Duration,
    /// How long one PutMedia or GetMedia may last.
    pub session_length: Duration,
    /// A PutMedia without any byte for this long is ended.
    pub producer_idle: Duration,
    /// Silence between two IDLE acknowledgements.
    pub idle_ack_interval: Duration,
    /// A GetMedia without any new fragment for this long is ended.
    pub consumer_idle: Duration,
    /// PutMedia sessions of one stream at once; a rotating producer needs two.
    pub producers_per_stream: usize,
    /// Streams in the account.
    pub max_streams: usize,
    /// Bytes of one fragment.
    pub max_fragment_bytes: usize,
    /// Length of one fragment.
    pub max_fragment_duration: Duration,
    /// Tracks of one session.
    pub max_tracks: usize,
    /// Bytes of each stream without retention that stay readable.
    pub memory_buffer_bytes: usize,
    /// For how long they stay readable.
    pub memory_buffer_age: Duration,
    /// How long a shutdown waits for open fragments.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(120),
            session_length: Duration::from_secs(45 * 60),
            producer_idle: Duration::from_secs(30),
            idle_ack_interval: Duration::from_secs(5),
            consumer_idle: Duration::from_secs(3),
            producers_per_stream: 2,
            max_streams: 10_000,
            max_fragment_bytes: 50_000_000,
            max_fragment_duration: Duration::from_secs(20),
            max_tracks: 3,
            memory_buffer_bytes: 200_000_000,
            memory_buffer_age: Duration::from_secs(5 * 60),
            drain_deadline: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// A server on loopback with a free port and the service's limits.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: data_dir.into(),
            public_url: None,
            region: "us-west-2".to_owned(),
            account_id: "000000000000".to_owned(),
            credentials: None,
            allow_unsigned: false,
            worker_threads: None,
            limits: Limits::default(),
        }
    }

    /// # Errors
    /// `InvalidInput` names the option and what it should be.
    pub(crate) fn validate(&self) -> io::Result<()> {
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if self.account_id.len() != 12 || !digits(&self.account_id) {
            return refuse(format!("account id \"{}\": write 12 digits", self.account_id));
        }
        let region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.region.is_empty() || self.region.len() > 64 || !self.region.bytes().all(region) {
            return refuse(format!("region \"{}\": write one like us-west-2", self.region));
        }
        if !self.listen.ip().is_loopback() && self.credentials.is_none() && !self.allow_unsigned {
            return refuse(format!(
                "{} is reachable by others and no credentials are given: give --credentials FILE, \
                 or listen on 127.0.0.1, or accept everybody with --allow-unsigned",
                self.listen
            ));
        }
        self.public_url.as_deref().map_or(Ok(()), validate_url)
    }

    /// The base URL of a server that listens on `bound`.
    pub(crate) fn base_url(&self, bound: SocketAddr) -> String {
        if let Some(url) = &self.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        if bound.ip().is_unspecified() {
            tracing::warn!(
                "clients on other machines cannot upload to http://{bound}: give the address by \
                 which they reach this server with --public-url"
            );
        }
        format!("http://{bound}")
    }

    /// The partition of the configured region, as it stands in ARNs.
    pub(crate) fn partition(&self) -> &'static str {
        const PREFIXES: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("eusc-", "aws-eusc"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
        ];
        let found = PREFIXES.iter().find(|(prefix, _)| self.region.starts_with(prefix));
        found.map_or("aws", |(_, partition)| partition)
    }
}

fn validate_url(url: &str) -> io::Result<()> {
    let parsed = url.parse::<http::Uri>().ok();
    let valid = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path_and_query().is_none_or(|path| path == "/")
    });
    if valid { Ok(()) } else { refuse(format!("public url \"{url}\": write http://host:port")) }
}

fn refuse<T>(message: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_serve_strangers_unsigned() {
        let mut config = Config::new("/nowhere");
        assert!(config.validate().is_ok());
        config.listen = "0.0.0.0:8080".parse().unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--credentials"), "{error}");
        config.allow_unsigned = true;
        assert!(config.validate().is_ok());
    }

    #[test]
    fn checks_account_region_and_url() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::new("/nowhere");
            change(&mut config);
            config.validate()
        };
        assert!(with(|c| c.account_id = "12".into()).is_err());
        assert!(with(|c| c.region = "US West".into()).is_err());
        for bad in ["host:80", "ftp://host", "http://host/path", "http://"] {
            let mut config = Config::new("/nowhere");
            config.public_url = Some(bad.to_owned());
            assert!(config.validate().is_err(), "{bad}");
        }
        assert!(with(|c| c.public_url = Some("https://kvs.example:8443/".into())).is_ok());
    }

    #[test]
    fn base_url_is_the_public_one_or_the_bound_address() {
        let bound = "127.0.0.1:4567".parse().unwrap();
        let mut config = Config::new("/nowhere");
        assert_eq!(config.base_url(bound), "http://127.0.0.1:4567");
        config.public_url = Some("https://kvs.example/".into());
        assert_eq!(config.base_url(bound), "https://kvs.example");
    }

    #[test]
    fn partition_follows_the_region() {
        let partition =
            |region: &str| Config { region: region.into(), ..Config::new("/nowhere") }.partition();
        assert_eq!(partition("us-west-2"), "aws");
        assert_eq!(partition("cn-north-1"), "aws-cn");
        assert_eq!(partition("us-gov-east-1"), "aws-us-gov");
        assert_eq!(partition("us-isob-east-1"), "aws-iso-b");
    }
}
