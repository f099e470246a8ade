// SPDX-License-Identifier: MIT OR Apache-2.0
//! The canonical request: the bytes that a client and its verifier both hash.

use std::fmt::Write as _;

use http::{HeaderName, request::Parts};
use sha2::{Digest, Sha256};

/// SHA-256 of nothing, in hex.
pub(super) const EMPTY_HASH: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The canonical request over exactly `signed_headers`, with `host` in place of the received one.
/// `None` when a signed header did not arrive, so that nothing can match.
pub(super) fn request(
    request: &Parts,
    signed_headers: &[&str],
    host: &str,
    payload_hash: &str,
) -> Option<String> {
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        request.uri.path(),
        canonical_query(request.uri.query().unwrap_or(""))
    );
    for name in signed_headers {
        if *name == "host" {
            let _ = writeln!(text, "host:{host}");
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut values = request.headers.get_all(&name).iter().peekable();
        values.peek()?;
        let _ = write!(text, "{name}:");
        for (n, value) in values.enumerate() {
            if n > 0 {
                text.push(',');
            }
            push_collapsed(&mut text, value.to_str().ok()?);
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{}\n{payload_hash}", signed_headers.join(";"));
    Some(text)
}

/// Trims, and turns every run of blanks into one.
fn push_collapsed(text: &mut String, value: &str) {
    for (n, word) in value.split_ascii_whitespace().enumerate() {
        if n > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
}

/// Parameters sorted by name and value; they travel percent-encoded already.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        assert_eq!(sha256_hex(b""), EMPTY_HASH);
        assert!(sha256_hex(b"abc").starts_with("ba7816bf8f01cfea414140de5dae2223"));
    }

    #[test]
    fn takes_headers_literally_and_collapses_blanks() {
        let (parts, ()) = http::Request::post("http://host:1/path?b=2&a=1&b=1")
            .header("X-Amz-Date", "  20260101T000000Z ")
            .header("User-Agent", "one   two")
            .body(())
            .unwrap()
            .into_parts();
        let text = request(&parts, &["host", "user-agent", "x-amz-date"], "host", "H").unwrap();
        assert_eq!(
            text,
            "POST\n/path\na=1&b=1&b=2\nhost:host\nuser-agent:one two\n\
             x-amz-date:20260101T000000Z\n\nhost;user-agent;x-amz-date\nH"
        );
        assert_eq!(request(&parts, &["host", "x-absent"], "host", "H"), None);
    }
}
