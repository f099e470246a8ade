// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a request to the operation it names, and from its result to the answer.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE, request::Parts};

use super::{
    body::{ReplyBody, RequestBody, full},
    service::Service,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What the service says to a path that names no operation.
const UNKNOWN_OPERATION: &str = "<AccessDeniedException><Message>Unable to determine \
    service/operation name to be authorized</Message></AccessDeniedException>";

/// Answers one request. Every answer carries a request id, which the log carries too.
pub(super) async fn answer(
    _service: &Arc<Service>,
    head: Parts,
    _body: RequestBody,
) -> Response<ReplyBody> {
    let id = request_id();
    tracing::info!(%id, method = %head.method, path = head.uri.path(), "no such operation");
    let mut reply = unknown_operation();
    if let Ok(value) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert(REQUEST_ID, value);
    }
    reply
}

/// A random UUID, as AWS's request ids are.
fn request_id() -> String {
    let random = fastrand::u128(..) & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{random:032x}");
    let part = |range| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

fn unknown_operation() -> Response<ReplyBody> {
    let mut reply = Response::new(full(UNKNOWN_OPERATION));
    *reply.status_mut() = StatusCode::FORBIDDEN;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    reply
}
