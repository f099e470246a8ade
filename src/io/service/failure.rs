// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes wrong with a call, in words that say what to do about it.

use std::{error::Error, fmt, time::Duration};

use http::{HeaderMap, StatusCode};
use reqwest::{RequestBuilder, Response, Url};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    io::endpoint::Origin,
    wire::{ServiceError, ServiceErrorKind, sigv4::Keys},
};

/// An answer that is not media is at most a page of 10 000 streams.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Of the service's own text, this much is passed on.
const MAX_MESSAGE_CHARS: usize = 300;

/// One try of one operation: what errors need to know.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: &'static str,
    pub(super) url: Url,
    pub(super) origin: Origin,
    pub(super) timeout: Duration,
    /// What it was signed with, to be kept out of error texts.
    pub(super) keys: Option<Keys>,
}

impl Call {
    /// Sends the request and waits for the response's head.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ServiceError> {
        let sent = timeout(self.timeout, request.send()).await.map_err(|_| self.too_late())?;
        let response = sent.map_err(|error| self.transport(&error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // The status says more than what went wrong with the text behind it.
        let body = self.read_body(response).await.unwrap_or_default();
        Err(self.refused(status, &headers, &body))
    }

    /// Reads a body that is not media.
    pub(super) async fn read_body(&self, mut response: Response) -> Result<Vec<u8>, ServiceError> {
        let read = async {
            let mut body = Vec::new();
            while let Some(piece) =
                response.chunk().await.map_err(|error| self.transport(&error))?
            {
                if body.len() + piece.len() > MAX_BODY_BYTES {
                    return Err(self.protocol(&"the answer is too long"));
                }
                body.extend_from_slice(&piece);
            }
            Ok(body)
        };
        timeout(self.timeout, read).await.map_err(|_| self.too_late())?
    }

    pub(super) fn transport(&self, error: &reqwest::Error) -> ServiceError {
        let (host, origin, cause) = (self.host(), self.origin, cause(error));
        if error.is_connect() {
            let message = format!(
                "cannot connect to {host}: {cause}. Is the service up, and does {origin} name it?"
            );
            return self.error(ServiceErrorKind::Unreachable, message);
        }
        if error.is_timeout() {
            return self.too_late();
        }
        let message = format!(
            "the connection to {host} broke: {cause}. What the service thought of the request is \
             unknown"
        );
        self.error(ServiceErrorKind::Cut, message)
    }

    pub(super) fn protocol(&self, error: &dyn fmt::Display) -> ServiceError {
        let (host, origin) = (self.host(), self.origin);
        let message = format!(
            "{host} does not answer as the service does: {error}. Does {origin} name the service?"
        );
        self.error(ServiceErrorKind::Protocol, message)
    }

    pub(super) fn credentials(&self, error: &dyn fmt::Display) -> ServiceError {
        self.error(ServiceErrorKind::Credentials, error.to_string())
    }

    fn too_late(&self) -> ServiceError {
        let (host, secs) = (self.host(), self.timeout.as_secs_f32());
        let message = format!(
            "no answer from {host} within {secs} s. Is the network up? The property \
             completion-timeout says how long to wait"
        );
        self.error(ServiceErrorKind::Timeout, message)
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ServiceError {
        let parsed: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let code = headers
            .get("x-amzn-errortype")
            .or_else(|| headers.get("x-amz-errortype"))
            .and_then(|value| value.to_str().ok())
            .map(|text| text.split(':').next().unwrap_or_default().to_owned())
            .or_else(|| parsed.code.map(|text| text.rsplit('#').next().unwrap_or_default().into()));
        let kind = kind(code.as_deref().unwrap_or_default(), status);
        let text = parsed.message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let text = self.keys.as_ref().map_or_else(|| text.clone(), |keys| keys.redact(&text));
        let text: String =
            text.lines().next().unwrap_or_default().chars().take(MAX_MESSAGE_CHARS).collect();
        let host = self.host();
        let message = format!("{host} answered {}: {text}{}", status.as_u16(), remedy(kind, &text));
        ServiceError { code, ..self.error(kind, message) }
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    fn error(&self, kind: ServiceErrorKind, message: String) -> ServiceError {
        ServiceError { operation: self.operation, kind, code: None, message }
    }
}

/// The two spellings of an error body.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(alias = "Message")]
    message: Option<String>,
    #[serde(rename = "__type", alias = "code")]
    code: Option<String>,
}

/// The innermost reason: what the system or the TLS library said.
pub(super) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The kind of a refusal: by its name when that is known, else by its status.
fn kind(code: &str, status: StatusCode) -> ServiceErrorKind {
    match code {
        "ConnectionLimitExceededException" => ServiceErrorKind::ConnectionLimit,
        "ClientLimitExceededException" | "Throttling" | "ThrottlingException" => {
            ServiceErrorKind::Throttled
        }
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "NotAuthorizedException"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => ServiceErrorKind::NotAuthorized,
        "ResourceInUseException" => ServiceErrorKind::InUse,
        "ResourceNotFoundException" => ServiceErrorKind::NotFound,
        _ => match status.as_u16() {
            401 | 403 => ServiceErrorKind::NotAuthorized,
            404 => ServiceErrorKind::NotFound,
            408 | 504 | 598 | 599 => ServiceErrorKind::Timeout,
            429 => ServiceErrorKind::Throttled,
            400..500 => ServiceErrorKind::Invalid,
            500..600 => ServiceErrorKind::Server,
            _ => ServiceErrorKind::Protocol,
        },
    }
}

fn remedy(kind: ServiceErrorKind, text: &str) -> &'static str {
    match kind {
        ServiceErrorKind::NotAuthorized
            if text.contains("Signature expired") || text.contains("not yet current") =>
        {
            ". Set the clock of this machine"
        }
        ServiceErrorKind::NotAuthorized => {
            ". Check access-key, secret-key, session-token, aws-region, the permissions of the \
             keys and the clock of this machine"
        }
        ServiceErrorKind::ConnectionLimit => {
            ". Too many others send to this stream or read from it"
        }
        ServiceErrorKind::NotFound => ". Check stream-name, aws-region and endpoint",
        _ => "",
    }
}
