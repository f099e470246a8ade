// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who signed a request: verification of AWS Signature Version 4.
//!
//! The signed headers are taken literally as the client lists them, because the clients of this
//! API do not agree on what they sign:
//!
//! | client | payload hash in the canonical request | `Host` |
//! | --- | --- | --- |
//! | boto3, AWS SDKs, JSON calls | SHA-256 of the body | with port |
//! | C and C++ producers, PutMedia | SHA-256 of nothing | without port |
//! | Java producer, PutMedia | `UNSIGNED-PAYLOAD` | without port |
//! | AWS SDK for Java v1, PutMedia | `STREAMING-AWS4-HMAC-SHA256-PAYLOAD` | with port |
//!
//! So every plausible pair of host and payload hash is tried; each is bound to the same secret.
//! The session token is not verified: temporary credentials are issued elsewhere.
//! Source: AWS General Reference, "Signature Version 4 signing process".

mod authorization;
mod canonical;
mod table;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::{HeaderMap, HeaderName, request::Parts};

use self::{
    authorization::Authorization,
    canonical::{EMPTY_HASH, sha256_hex},
};
use super::error::ApiError;
use crate::time::Timestamp;

pub use table::{CredentialsTable, ParseCredentialsError};

/// How far the clocks of client and server may be apart.
const CLOCK_WINDOW: Duration = Duration::from_secs(5 * 60);
const SERVICE: &str = "kinesisvideo";
const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// What is known of the body when the signature is verified.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It is still arriving.
    Streaming,
}

/// Verifies `request` at time `now` and gives back the access key that signed it.
///
/// # Errors
/// The 403 answers of AWS: no signature, an unreadable one, an unknown key, a wrong signature, or
/// one made outside the clock window.
pub(crate) fn verify<'t>(
    table: &'t CredentialsTable,
    request: &Parts,
    payload: Payload<'_>,
    now: Timestamp,
) -> Result<&'t str, ApiError> {
    let header =
        request.headers.get(http::header::AUTHORIZATION).ok_or_else(ApiError::missing_token)?;
    let header = header.to_str().map_err(|_| unreadable("Authorization is not ASCII"))?;
    let authorization = Authorization::parse(header).map_err(unreadable)?;
    let (key_id, secret) =
        table.find(authorization.access_key).ok_or_else(ApiError::unknown_key)?;
    let amz_date = signed_date(&request.headers)?;
    let signed_at = parse_amz_date(amz_date)
        .ok_or_else(|| unreadable("X-Amz-Date is not of the form YYYYMMDD'T'HHMMSS'Z'"))?;
    check_scope(&authorization, amz_date)?;
    check_clock(amz_date, signed_at, now)?;

    let signed_time = UNIX_EPOCH + Duration::from_nanos(signed_at.as_nanos());
    let matches = Candidates::of(request, payload)?.any(|host, hash| {
        expected_signature(secret, &authorization, request, amz_date, signed_time, host, hash)
            .is_some_and(|expected| equal(expected.as_bytes(), authorization.signature.as_bytes()))
    });
    if matches {
        return Ok(key_id);
    }
    Err(ApiError::invalid_signature(
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method.",
    ))
}

/// The hosts and payload hashes that the client may have signed.
struct Candidates {
    hosts: Vec<String>,
    hashes: Vec<String>,
}

impl Candidates {
    fn of(request: &Parts, payload: Payload<'_>) -> Result<Self, ApiError> {
        let host = match request.headers.get(http::header::HOST) {
            Some(host) => host.to_str().map_err(|_| unreadable("Host is not ASCII"))?.trim(),
            None => request.uri.authority().map_or("", |authority| authority.as_str()),
        };
        let mut hosts = vec![host.to_owned()];
        if let Some((name, port)) = host.rsplit_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
        {
            hosts.push(name.to_owned());
        } else if let Some(port) = request.uri.port() {
            hosts.push(format!("{host}:{port}"));
        }

        let mut hashes = Vec::with_capacity(4);
        if let Some(declared) = request.headers.get(CONTENT_HASH).and_then(|h| h.to_str().ok()) {
            hashes.push(declared.trim().to_owned());
        }
        match payload {
            // A finite body must be what was signed: the client knew it.
            Payload::Whole(body) => {
                let actual = sha256_hex(body);
                hashes.retain(|declared| *declared == actual || *declared == "UNSIGNED-PAYLOAD");
                hashes.push(actual);
            }
            Payload::Streaming => {
                hashes.push(EMPTY_HASH.to_owned());
                hashes.push("UNSIGNED-PAYLOAD".to_owned());
            }
        }
        Ok(Self { hosts, hashes })
    }

    fn any(&self, matches: impl Fn(&str, &str) -> bool) -> bool {
        self.hosts.iter().any(|host| self.hashes.iter().any(|hash| matches(host, hash)))
    }
}

fn expected_signature(
    secret: &str,
    authorization: &Authorization<'_>,
    request: &Parts,
    amz_date: &str,
    signed_time: SystemTime,
    host: &str,
    payload_hash: &str,
) -> Option<String> {
    let canonical = canonical::request(request, &authorization.signed_headers, host, payload_hash)?;
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{amz_date}\n{}/{}/{}/aws4_request\n{}",
        authorization.date,
        authorization.region,
        authorization.service,
        sha256_hex(canonical.as_bytes())
    );
    let key =
        generate_signing_key(secret, signed_time, authorization.region, authorization.service);
    Some(calculate_signature(key, to_sign.as_bytes()))
}

fn signed_date(headers: &HeaderMap) -> Result<&str, ApiError> {
    let date = headers.get(AMZ_DATE).ok_or_else(|| unreadable("X-Amz-Date is missing"))?;
    date.to_str().map(str::trim).map_err(|_| unreadable("X-Amz-Date is not ASCII"))
}

fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let (hour, minute, second) = (clock.get(..2)?, clock.get(2..4)?, clock.get(4..)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

fn check_scope(authorization: &Authorization<'_>, amz_date: &str) -> Result<(), ApiError> {
    if authorization.service != SERVICE {
        return Err(ApiError::invalid_signature(format!(
            "Credential should be scoped to correct service: '{SERVICE}'."
        )));
    }
    if !amz_date.starts_with(authorization.date) {
        return Err(ApiError::invalid_signature(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{}' != '{amz_date}'.",
            authorization.date
        )));
    }
    Ok(())
}

fn check_clock(amz_date: &str, signed_at: Timestamp, now: Timestamp) -> Result<(), ApiError> {
    let complaint = if now.saturating_since(signed_at) > CLOCK_WINDOW {
        "Signature expired"
    } else if signed_at.saturating_since(now) > CLOCK_WINDOW {
        "Signature not yet current"
    } else {
        return Ok(());
    };
    Err(ApiError::invalid_signature(format!(
        "{complaint}: {amz_date} is more than 5 minutes away from the server's time {now}; set \
         the clock of the client."
    )))
}

fn unreadable(message: impl Into<String>) -> ApiError {
    ApiError::incomplete_signature(message)
}

/// Compares without telling by its duration where the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests;
