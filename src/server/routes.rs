// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a request to the operation it names, and from its result to the answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
    request::Parts,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    archived,
    auth::Payload,
    body::{ReplyBody, RequestBody, full},
    control_plane,
    error::ApiError,
    get_media, put_media,
    service::Service,
};
use crate::{
    ids::StreamArn,
    wire::{
        control::{
            CreateStreamInput, DeleteStreamInput, DescribeStreamInput, ErrorBody,
            GET_MEDIA_FOR_FRAGMENT_LIST_PATH, GET_MEDIA_PATH, GetDataEndpointInput,
            ListFragmentsInput, ListStreamsInput, ListTagsForStreamInput, Operation as _,
            PUT_MEDIA_PATH, TagStreamInput, UntagStreamInput, UpdateDataRetentionInput,
            UpdateStreamInput,
        },
        put_media::PutMediaHead,
    },
};

/// More than any valid JSON request: 1000 fragment numbers of 128 digits.
const MAX_JSON: usize = 256 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const MATROSKA: HeaderValue = HeaderValue::from_static("video/webm");

/// What the service says to a path that names no operation.
const UNKNOWN_OPERATION: &str = "<AccessDeniedException><Message>Unable to determine \
    service/operation name to be authorized</Message></AccessDeniedException>";

/// An operation this server performs, named as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    CreateStream,
    DeleteStream,
    DescribeStream,
    GetDataEndpoint,
    GetMedia,
    GetMediaForFragmentList,
    ListFragments,
    ListStreams,
    ListTagsForStream,
    PutMedia,
    TagStream,
    UntagStream,
    UpdateDataRetention,
    UpdateStream,
}

/// Answers one request. Every answer carries a request id, which the log carries too.
pub(super) async fn answer(
    service: &Arc<Service>,
    head: Parts,
    body: RequestBody,
) -> Response<ReplyBody> {
    let id = request_id();
    let mut reply = match Operation::of(&head) {
        Some(operation) => match operation.perform(service, &head, body).await {
            Ok(reply) => {
                tracing::info!(id, ?operation, status = reply.status().as_u16(), "request");
                reply
            }
            Err(error) => {
                let (status, code) = (error.status.as_u16(), error.code);
                tracing::info!(id, ?operation, status, code, message = error.message, "request");
                refusal(operation, &error)
            }
        },
        None => {
            tracing::info!(id, method = %head.method, path = head.uri.path(), "no such operation");
            let xml = HeaderValue::from_static("application/xml");
            respond(StatusCode::FORBIDDEN, xml, full(UNKNOWN_OPERATION))
        }
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert(REQUEST_ID, id);
    }
    reply
}

impl Operation {
    /// By path, also when the target is in absolute form.
    fn of(head: &Parts) -> Option<Self> {
        if head.method != Method::POST {
            return None;
        }
        match head.uri.path() {
            CreateStreamInput::PATH => Some(Self::CreateStream),
            DeleteStreamInput::PATH => Some(Self::DeleteStream),
            DescribeStreamInput::PATH => Some(Self::DescribeStream),
            GET_MEDIA_FOR_FRAGMENT_LIST_PATH => Some(Self::GetMediaForFragmentList),
            GET_MEDIA_PATH => Some(Self::GetMedia),
            GetDataEndpointInput::PATH => Some(Self::GetDataEndpoint),
            ListFragmentsInput::PATH => Some(Self::ListFragments),
            ListStreamsInput::PATH => Some(Self::ListStreams),
            ListTagsForStreamInput::PATH => Some(Self::ListTagsForStream),
            PUT_MEDIA_PATH => Some(Self::PutMedia),
            TagStreamInput::PATH => Some(Self::TagStream),
            UntagStreamInput::PATH => Some(Self::UntagStream),
            UpdateDataRetentionInput::PATH => Some(Self::UpdateDataRetention),
            UpdateStreamInput::PATH => Some(Self::UpdateStream),
            _ => None,
        }
    }

    async fn perform(
        self,
        service: &Arc<Service>,
        head: &Parts,
        mut body: RequestBody,
    ) -> Result<Response<ReplyBody>, ApiError> {
        if self == Self::PutMedia {
            service.authorize(head, Payload::Streaming)?;
            let request = PutMediaHead::parse(&head.headers)
                .map_err(|error| ApiError::invalid_argument(error.to_string()))?;
            let session = put_media::open(service, &request)?;
            body.begin().await;
            return Ok(respond(StatusCode::OK, JSON, session.run(body)));
        }
        let json = body.collect(MAX_JSON, service.config.limits.body_timeout).await?;
        service.authorize(head, Payload::Whole(&json))?;
        self.perform_json(service, &json).await
    }

    async fn perform_json(
        self,
        service: &Arc<Service>,
        json: &Bytes,
    ) -> Result<Response<ReplyBody>, ApiError> {
        match self {
            Self::CreateStream => {
                output(&control_plane::create_stream(service, input(json)?).await?)
            }
            Self::DeleteStream => {
                output(&control_plane::delete_stream(service, &input(json)?).await?)
            }
            Self::DescribeStream => {
                output(&control_plane::describe_stream(service, &input(json)?)?)
            }
            Self::GetDataEndpoint => {
                output(&control_plane::get_data_endpoint(service, &input(json)?)?)
            }
            Self::GetMedia => media(get_media::open(service, input(json)?)?),
            Self::GetMediaForFragmentList => {
                media(archived::get_media_for_fragment_list(service, input(json)?)?)
            }
            Self::ListFragments => output(&archived::list_fragments(service, input(json)?)?),
            Self::ListStreams => output(&control_plane::list_streams(service, &input(json)?)?),
            Self::ListTagsForStream => {
                output(&control_plane::list_tags_for_stream(service, &tag_input(json)?)?)
            }
            Self::PutMedia => Err(ApiError::invalid_argument("PutMedia takes no JSON")),
            Self::TagStream => output(&control_plane::tag_stream(service, tag_input(json)?).await?),
            Self::UntagStream => {
                output(&control_plane::untag_stream(service, tag_input(json)?).await?)
            }
            Self::UpdateDataRetention => {
                output(&control_plane::update_data_retention(service, input(json)?).await?)
            }
            Self::UpdateStream => {
                output(&control_plane::update_stream(service, input(json)?).await?)
            }
        }
    }
}

/// Reads a request. No body at all is the same as no members.
fn input<T: DeserializeOwned>(json: &[u8]) -> Result<T, ApiError> {
    let json = if json.trim_ascii().is_empty() { b"{}" } else { json };
    serde_json::from_slice(json).map_err(|error| {
        if error.is_data() {
            ApiError::invalid_argument(error.to_string())
        } else {
            ApiError::serialization(format!("the request body is no JSON: {error}"))
        }
    })
}

/// Reads a request of the tag operations, which have an error of their own for a malformed ARN.
fn tag_input<T: DeserializeOwned>(json: &[u8]) -> Result<T, ApiError> {
    input(json).map_err(|error| {
        let members: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let arn = members.get("StreamARN").and_then(|arn| arn.as_str());
        match arn.map(str::parse::<StreamArn>) {
            Some(Err(malformed)) => ApiError::invalid_resource_format(malformed.to_string()),
            _ => error,
        }
    })
}

fn output(members: &impl Serialize) -> Result<Response<ReplyBody>, ApiError> {
    let json = serde_json::to_vec(members).map_err(ApiError::internal)?;
    Ok(respond(StatusCode::OK, JSON, full(json)))
}

fn media(body: ReplyBody) -> Result<Response<ReplyBody>, ApiError> {
    Ok(respond(StatusCode::OK, MATROSKA, body))
}

fn refusal(operation: Operation, error: &ApiError) -> Response<ReplyBody> {
    let body = ErrorBody { message: error.message.clone() };
    let mut reply =
        respond(error.status, JSON, full(serde_json::to_vec(&body).unwrap_or_default()));
    reply.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(error.code));
    let too_much = [StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE];
    if operation == Operation::PutMedia || too_much.contains(&error.status) {
        // The client is still sending: it shall stop.
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

fn respond(status: StatusCode, content: HeaderValue, body: ReplyBody) -> Response<ReplyBody> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content);
    reply
}

/// A random UUID, as AWS's request ids are.
fn request_id() -> String {
    let random = fastrand::u128(..) & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{random:032x}");
    let part = |range| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_by_method_and_path_in_any_form() {
        let of = |method: &str, target: &str| {
            let request = http::Request::builder().method(method).uri(target).body(()).unwrap();
            Operation::of(&request.into_parts().0)
        };
        assert_eq!(of("POST", "/putMedia"), Some(Operation::PutMedia));
        assert_eq!(of("POST", "https://host:1/putMedia"), Some(Operation::PutMedia));
        assert_eq!(of("POST", "/listTagsForStream"), Some(Operation::ListTagsForStream));
        assert_eq!(of("GET", "/putMedia"), None);
        assert_eq!(of("POST", "/PutMedia"), None);
        assert_eq!(of("POST", "/"), None);
    }

    #[test]
    fn request_ids_are_random_uuids() {
        let id = request_id();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(id.chars().nth(14), Some('4'));
        assert!("89ab".contains(id.chars().nth(19).unwrap()));
        assert_ne!(id, request_id());
    }

    #[test]
    fn malformed_json_and_wrong_members_differ() {
        let code = |json: &str| input::<DescribeStreamInput>(json.as_bytes()).unwrap_err().code;
        assert_eq!(code("{"), "SerializationException");
        assert_eq!(code(""), "InvalidArgumentException");
        assert_eq!(code(r#"{"StreamName":7}"#), "InvalidArgumentException");
        let arn = br#"{"StreamARN":"arn:x","Tags":{"a":"b"}}"#;
        let error = tag_input::<TagStreamInput>(arn).unwrap_err();
        assert_eq!(error.code, "InvalidResourceFormatException");
    }
}
