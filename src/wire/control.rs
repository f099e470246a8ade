// SPDX-License-Identifier: MIT OR Apache-2.0
//! The JSON bodies of every operation, as both the client writes and the server reads them.
//!
//! Members keep AWS's names and types. Ids are parsed here, once; lengths and ranges of the rest
//! (media types, tags, page sizes) are the server's to check. Unknown members are passed over and
//! `null` is the same as absent. Source: KVS API reference (kinesisvideo, -media,
//! -archived-media).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ids::{FragmentNumber, StreamArn, StreamName, StreamRef},
    time::Timestamp,
    wire::{get_media::StartSelector, json},
};

/// An operation: its request body is the type that implements this.
pub trait Operation: Serialize + DeserializeOwned {
    /// The name in AWS's documentation, in IAM policies and in errors.
    const NAME: &'static str;
    /// The request path; the method is always POST.
    const PATH: &'static str;
    /// The response body.
    type Output: Serialize + DeserializeOwned;
}

/// Path of PutMedia, whose request is made of headers and Matroska: see `wire::put_media`.
pub const PUT_MEDIA_PATH: &str = "/putMedia";

/// Path of GetMedia, whose response is Matroska.
pub const GET_MEDIA_PATH: &str = "/getMedia";

/// Path of GetMediaForFragmentList, whose response is Matroska.
pub const GET_MEDIA_FOR_FRAGMENT_LIST_PATH: &str = "/getMediaForFragmentList";

macro_rules! operation {
    ($input:ty, $name:literal, $path:literal, $output:ty) => {
        impl Operation for $input {
            const NAME: &'static str = $name;
            const PATH: &'static str = $path;
            type Output = $output;
        }
    };
}

operation!(CreateStreamInput, "CreateStream", "/createStream", CreateStreamOutput);
operation!(DeleteStreamInput, "DeleteStream", "/deleteStream", Empty);
operation!(DescribeStreamInput, "DescribeStream", "/describeStream", DescribeStreamOutput);
operation!(GetDataEndpointInput, "GetDataEndpoint", "/getDataEndpoint", GetDataEndpointOutput);
operation!(ListFragmentsInput, "ListFragments", "/listFragments", ListFragmentsOutput);
operation!(ListStreamsInput, "ListStreams", "/listStreams", ListStreamsOutput);
operation!(
    ListTagsForStreamInput,
    "ListTagsForStream",
    "/listTagsForStream",
    ListTagsForStreamOutput
);
operation!(TagStreamInput, "TagStream", "/tagStream", Empty);
operation!(UntagStreamInput, "UntagStream", "/untagStream", Empty);
operation!(UpdateDataRetentionInput, "UpdateDataRetention", "/updateDataRetention", Empty);
operation!(UpdateStreamInput, "UpdateStream", "/updateStream", Empty);

/// What operations without output members answer: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Which data endpoint is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "each is the operation of the same name")]
pub enum ApiName {
    GetClip,
    GetDashStreamingSessionUrl,
    GetHlsStreamingSessionUrl,
    GetImages,
    GetMedia,
    GetMediaForFragmentList,
    ListFragments,
    PutMedia,
}

/// Life cycle of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamStatus {
    /// Ready for use.
    Active,
    /// Not ready yet.
    Creating,
    /// Going away.
    Deleting,
    /// Being changed; usable.
    Updating,
    /// A status that the API did not have when this was written.
    #[serde(other)]
    Unknown,
}

/// What the service knows about a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StreamInfo {
    /// Stored by the service and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none", with = "json::optional_text")]
    pub stream_name: Option<StreamName>,
    /// The ARN.
    #[serde(
        rename = "StreamARN",
        skip_serializing_if = "Option::is_none",
        with = "json::optional_text"
    )]
    pub stream_arn: Option<StreamArn>,
    /// Media types, comma-separated in track order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The key that encrypts at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Changes with every update; updates must name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Life cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StreamStatus>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none", with = "json::optional_epoch_seconds")]
    pub creation_time: Option<Timestamp>,
    /// How long fragments are kept; 0 means that nothing is persisted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_retention_in_hours: Option<u32>,
}

/// CreateStream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateStreamInput {
    /// Stored by the service and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// The name, unique in account and region.
    #[serde(with = "json::text")]
    pub stream_name: StreamName,
    /// Media types, comma-separated in track order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The key that shall encrypt at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// How long fragments are kept; 0, the default, means that nothing is persisted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_retention_in_hours: Option<u32>,
    /// Tags of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// CreateStream's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateStreamOutput {
    /// The new stream's ARN.
    #[serde(
        rename = "StreamARN",
        default,
        skip_serializing_if = "Option::is_none",
        with = "json::optional_text"
    )]
    pub stream_arn: Option<StreamArn>,
}

/// DescribeStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeStreamInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
}

/// DescribeStream's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeStreamOutput {
    /// The stream.
    pub stream_info: StreamInfo,
}

/// ListStreams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListStreamsInput {
    /// Streams per page, 1 to 10 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<u32>,
    /// Where the last page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    /// Which names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_name_condition: Option<StreamNameCondition>,
}

/// A filter of ListStreams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StreamNameCondition {
    /// The only operator there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison_operator: Option<ComparisonOperator>,
    /// What the name begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison_value: Option<String>,
}

/// How ListStreams compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ComparisonOperator {
    /// The value is a prefix of the name.
    BeginsWith,
}

/// ListStreams' answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListStreamsOutput {
    /// One page of streams.
    pub stream_info_list: Vec<StreamInfo>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// UpdateStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStreamInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// The version that the caller has seen.
    pub current_version: String,
    /// New device name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// New media types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// DeleteStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteStreamInput {
    /// Which stream.
    #[serde(rename = "StreamARN", with = "json::text")]
    pub stream_arn: StreamArn,
    /// The version that the caller has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
}

/// UpdateDataRetention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateDataRetentionInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// The version that the caller has seen.
    pub current_version: String,
    /// More or less.
    pub operation: RetentionOperation,
    /// By how much.
    pub data_retention_change_in_hours: u32,
}

/// Which way UpdateDataRetention goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetentionOperation {
    /// Keep less; older fragments are deleted at once.
    DecreaseDataRetention,
    /// Keep more.
    IncreaseDataRetention,
}

/// TagStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagStreamInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// Added, or replaced where the key is there already.
    pub tags: BTreeMap<String, String>,
}

/// UntagStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UntagStreamInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// Removed, where they are there.
    pub tag_key_list: Vec<String>,
}

/// ListTagsForStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTagsForStreamInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// ListTagsForStream's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListTagsForStreamOutput {
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    /// One page of tags.
    pub tags: BTreeMap<String, String>,
}

/// GetDataEndpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDataEndpointInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// For which operation.
    #[serde(rename = "APIName")]
    pub api_name: ApiName,
}

/// GetDataEndpoint's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetDataEndpointOutput {
    /// Scheme and host, to which the operation's path is appended.
    pub data_endpoint: String,
}

/// GetMedia; the answer is Matroska.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMediaInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// Where to start.
    pub start_selector: StartSelector,
}

/// ListFragments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListFragmentsInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// Fragments per page, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_results: Option<u64>,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    /// Which fragments; only together with a token it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_selector: Option<FragmentSelector>,
}

/// A range of fragments, by the time at which each starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FragmentSelector {
    /// Whose clock.
    pub fragment_selector_type: FragmentSelectorType,
    /// From when to when.
    pub timestamp_range: TimestampRange,
}

/// Whose clock a [`FragmentSelector`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FragmentSelectorType {
    /// When its first frame was made.
    ProducerTimestamp,
    /// When the service began to receive it.
    ServerTimestamp,
}

/// From when to when, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TimestampRange {
    /// Earliest start.
    #[serde(with = "json::epoch_seconds")]
    pub start_timestamp: Timestamp,
    /// Latest start.
    #[serde(with = "json::epoch_seconds")]
    pub end_timestamp: Timestamp,
}

/// ListFragments' answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListFragmentsOutput {
    /// One page of fragments, in no order.
    pub fragments: Vec<FragmentInfo>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// What ListFragments says about one fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FragmentInfo {
    /// Its number.
    #[serde(with = "json::text")]
    pub fragment_number: FragmentNumber,
    /// Stored bytes.
    #[serde(default)]
    pub fragment_size_in_bytes: u64,
    /// When its first frame was made.
    #[serde(with = "json::epoch_seconds")]
    pub producer_timestamp: Timestamp,
    /// When the service began to receive it.
    #[serde(with = "json::epoch_seconds")]
    pub server_timestamp: Timestamp,
    /// From its first frame to its last.
    #[serde(default)]
    pub fragment_length_in_milliseconds: u64,
}

/// GetMediaForFragmentList; the answer is Matroska.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMediaForFragmentListInput {
    /// Which stream.
    #[serde(flatten, with = "json::stream_ref")]
    pub stream: StreamRef,
    /// 1 to 1000 fragment numbers.
    #[serde(with = "json::texts")]
    pub fragments: Vec<FragmentNumber>,
}

/// Body of an error answer; the type is in the header `x-amzn-ErrorType`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ErrorBody {
    /// What was wrong.
    #[serde(alias = "message")]
    pub message: String,
}

#[cfg(test)]
mod tests;
