// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a call to the service failed, and what kind of failure that is for retry decisions.

/// A failed call. `Display` is one line: operation, cause, and what to do where that is known.
/// Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}{}", .code.as_deref().map(|c| format!(" ({c})")).unwrap_or_default())]
pub struct ServiceError {
    /// The API operation, such as `PutMedia`.
    pub operation: &'static str,
    /// What to decide by.
    pub kind: ServiceErrorKind,
    /// The service's error type, such as `ResourceNotFoundException`, when it answered with one.
    pub code: Option<String>,
    /// Cause and remedy for a human.
    pub message: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceErrorKind {
    /// Too many connections to this stream.
    ConnectionLimit,
    /// No credentials were found, or they could not be fetched.
    Credentials,
    /// The connection broke after it was established.
    Cut,
    /// The resource exists already, or is being changed.
    InUse,
    /// The request is wrong; repeating it cannot help.
    Invalid,
    /// Signature or permission refused (401, 403).
    NotAuthorized,
    /// No such stream (404).
    NotFound,
    /// The answer is not what the API promises.
    Protocol,
    /// The service failed (5xx).
    Server,
    /// Asked to slow down.
    Throttled,
    /// No answer in time.
    Timeout,
    /// Name resolution, connect or TLS handshake failed.
    Unreachable,
}

impl ServiceErrorKind {
    /// Whether the same call may succeed later without anybody changing anything, or with
    /// credentials that were refreshed in the meantime.
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::Invalid | Self::NotFound)
    }
}
