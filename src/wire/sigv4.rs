// SPDX-License-Identifier: MIT OR Apache-2.0
//! AWS Signature Version 4 for the service name `kinesisvideo`: a request and keys in, headers out.
//!
//! Pure: the time is an argument. PutMedia is signed as if its body were empty, which is what the
//! service expects of a stream (PIC `AwsV4Signer.c`); every other body is hashed.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::time::Timestamp;

/// The service name inside every signature.
pub const SERVICE: &str = "kinesisvideo";

/// Keys that sign requests. `Debug` shows none of the secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Names the keys; no secret.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// Goes with keys that expire.
    pub session_token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Keys {
    /// `text` without the secrets, which the service's own error texts may quote.
    pub fn redact(&self, text: &str) -> String {
        let secrets = [Some(&self.secret_key), self.session_token.as_ref()];
        secrets
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "(secret)"))
    }
}

/// What the signature covers of the body.
#[derive(Clone, Copy, Debug)]
pub enum SignedBody<'a> {
    /// All of it.
    Bytes(&'a [u8]),
    /// A stream: nothing of it.
    Stream,
}

/// A request that cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SignError(String);

impl SignError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Signs a request: adds `x-amz-date`, `authorization` and, with temporary keys,
/// `x-amz-security-token` to `headers`. Covers all headers that are there, and the host of `uri`.
///
/// # Errors
/// [`SignError`] when a header is no text, or the keys contain what no header can.
pub fn sign_request(
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    body: SignedBody<'_>,
    keys: &Keys,
    region: &str,
    time: Timestamp,
) -> Result<(), SignError> {
    let identity = Credentials::new(
        keys.access_key.as_str(),
        keys.secret_key.as_str(),
        keys.session_token.clone(),
        None,
        "kvs",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(UNIX_EPOCH + Duration::from_nanos(time.as_nanos()))
        .settings(SigningSettings::default())
        .build()
        .map_err(SignError::new)?
        .into();
    let body = match body {
        SignedBody::Bytes(bytes) => SignableBody::Bytes(bytes),
        SignedBody::Stream => SignableBody::Bytes(b""),
    };
    let pairs = headers
        .iter()
        .map(|(name, value)| value.to_str().map(|value| (name.as_str(), value)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(SignError::new)?;
    let uri = uri.to_string();
    let request = SignableRequest::new(method.as_str(), uri, pairs.into_iter(), body)
        .map_err(SignError::new)?;
    let (instructions, _) = sign(request, &params).map_err(SignError::new)?.into_parts();
    for header in instructions.into_parts().0 {
        let mut value = HeaderValue::from_str(header.value()).map_err(SignError::new)?;
        value.set_sensitive(header.sensitive());
        headers.insert(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(session_token: Option<&str>) -> Keys {
        Keys {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(Into::into),
        }
    }

    fn signed(body: SignedBody<'_>, token: Option<&str>) -> HeaderMap {
        let uri = Uri::from_static("http://127.0.0.1:8080/putMedia");
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-stream-name", HeaderValue::from_static("cam"));
        let time = Timestamp::from_millis(1_440_938_160_000).unwrap();
        sign_request(&Method::POST, &uri, &mut headers, body, &keys(token), "us-east-1", time)
            .unwrap();
        headers
    }

    #[test]
    fn signs_like_the_reference() {
        let headers = signed(SignedBody::Stream, None);
        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        // Computed with the algorithm of the SigV4 documentation in Python's hmac and hashlib.
        assert_eq!(
            headers["authorization"].to_str().unwrap(),
            "AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/us-east-1/kinesisvideo/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amzn-stream-name, \
             Signature=a2ff72dcdb7fd0413bea90c68a398641b772a9f11b731aef4126e28092bbdb4e"
        );
    }

    #[test]
    fn a_stream_is_signed_as_an_empty_body() {
        let stream = signed(SignedBody::Stream, None);
        assert_eq!(stream, signed(SignedBody::Bytes(b""), None));
        assert_ne!(stream, signed(SignedBody::Bytes(b"{}"), None));
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let headers = signed(SignedBody::Stream, Some("TOKEN"));
        assert_eq!(headers["x-amz-security-token"], "TOKEN");
        assert!(headers["x-amz-security-token"].is_sensitive());
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains(";x-amz-security-token;"), "{authorization}");
    }

    #[test]
    fn keys_are_not_printed() {
        let text = format!("{:?}", keys(Some("TOKEN")));
        assert!(text.contains("AKIDEXAMPLE") && !text.contains("TOKEN"), "{text}");
        assert!(!text.contains("wJalr"), "{text}");
        assert_eq!(
            keys(Some("TOKEN")).redact("x-amz-security-token:TOKEN;"),
            "x-amz-security-token:(secret);"
        );
        assert_eq!(keys(Some("")).redact("ab"), "ab");
    }

    #[test]
    fn keys_with_line_breaks_are_an_error_not_a_panic() {
        let mut bad = keys(None);
        bad.access_key = "AKID\n".into();
        let uri = Uri::from_static("https://example.com/x");
        let time = Timestamp::default();
        let body = SignedBody::Bytes(b"");
        let mut headers = HeaderMap::new();
        assert!(sign_request(&Method::POST, &uri, &mut headers, body, &bad, "r", time).is_err());
    }
}
