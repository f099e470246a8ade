// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors in AWS's form: a status, `x-amzn-ErrorType`, and `{"Message": ...}`.
//!
//! Source: protocol notes of the KVS API, "CommonErrors" and the error lists of each operation.
//! Authorization failures answer 403 as the service does, not the 401 of its model.

use std::{fmt, io};

use http::StatusCode;

use super::store::StoreError;

/// Why a request is refused. `Display` is the message the client reads; it names the cause and,
/// where there is one, the remedy. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The HTTP status of the answer.
    pub(crate) status: StatusCode,
    /// The exception's name, as clients match it.
    pub(crate) code: &'static str,
    /// For a human.
    pub(crate) message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A member is missing, malformed or out of range.
    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgumentException", message)
    }

    /// The resource ARN is of the wrong form.
    pub(crate) fn invalid_resource_format(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidResourceFormatException", message)
    }

    /// The request body is no JSON.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SerializationException", message)
    }

    /// No such stream, or it is being deleted.
    pub(crate) fn not_found(what: impl fmt::Display) -> Self {
        let message = format!("The requested stream is not found or not active: {what}");
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// The name is taken, or the stream is being changed.
    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ResourceInUseException", message)
    }

    /// `CurrentVersion` is not the stream's version.
    pub(crate) fn version_mismatch(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "VersionMismatchException", message)
    }

    /// More than 50 tags.
    pub(crate) fn too_many_tags(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "TagsPerResourceExceededLimitException", message)
    }

    /// The account holds as many streams as it may.
    pub(crate) fn stream_limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "AccountStreamLimitExceededException", message)
    }

    /// Too many connections to this stream.
    pub(crate) fn connection_limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ConnectionLimitExceededException", message)
    }

    /// The request carries no signature where one is needed.
    pub(crate) fn missing_token() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token: this server wants requests signed with AWS Signature \
             Version 4",
        )
    }

    /// The signature is there but cannot be read.
    pub(crate) fn incomplete_signature(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "IncompleteSignatureException", message)
    }

    /// The access key is not known here.
    pub(crate) fn unknown_key() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    }

    /// The signature is wrong or too old.
    pub(crate) fn invalid_signature(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "InvalidSignatureException", message)
    }

    /// The request body is larger than any valid one.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!("the request body is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "InvalidArgumentException", message)
    }

    /// The request body did not arrive in time or was cut.
    pub(crate) fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeoutException",
            "the request body did not arrive",
        )
    }

    /// The server failed. The cause goes to the log, not to the client.
    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "internal failure");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalFailure",
            "The request processing has failed because of an internal failure.",
        )
    }

    /// The server is going away.
    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The server is shutting down; try again.",
        )
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ApiError {}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::unavailable(),
            StoreError::Exists => Self::in_use("A stream of this name exists already."),
            StoreError::NoStream => Self::not_found("it was deleted"),
            StoreError::Corrupt { .. }
            | StoreError::Index(_)
            | StoreError::Io(_)
            | StoreError::Locked(_)
            | StoreError::Metadata(_) => Self::internal(error),
        }
    }
}

impl From<io::Error> for ApiError {
    fn from(error: io::Error) -> Self {
        Self::internal(error)
    }
}
