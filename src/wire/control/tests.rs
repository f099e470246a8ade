// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shapes against texts that the service and its clients are known to send.

use std::fmt::Debug;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:kinesisvideo:us-west-2:123456789012:stream/cam/1705489836421";

fn name(text: &str) -> StreamRef {
    StreamRef::Name(text.parse().unwrap())
}

#[test]
fn reads_a_real_describe_stream_answer() {
    let text = format!(
        r#"{{"StreamInfo":{{"CreationTime":1.705489836421E9,"DataRetentionInHours":2,
        "DeviceName":null,"IngestionConfiguration":null,"KmsKeyId":"alias/aws/kinesisvideo",
        "MediaType":null,"Status":"ACTIVE","StreamARN":"{ARN}","StreamName":"cam",
        "Version":"qn3GPy7rrTmh0j6xYYHs"}}}}"#
    );
    let info = serde_json::from_str::<DescribeStreamOutput>(&text).unwrap().stream_info;
    assert_eq!(info.creation_time, Timestamp::from_millis(1_705_489_836_421));
    assert_eq!(info.status, Some(StreamStatus::Active));
    assert_eq!(info.data_retention_in_hours, Some(2));
    assert_eq!(info.stream_arn.unwrap().as_str(), ARN);
    assert_eq!((info.device_name, info.media_type), (None, None));
}

#[test]
fn writes_exactly_one_stream_member() {
    let input = GetDataEndpointInput { stream: name("cam"), api_name: ApiName::PutMedia };
    let value = serde_json::to_value(&input).unwrap();
    assert_eq!(value, json!({"StreamName": "cam", "APIName": "PUT_MEDIA"}));
    assert_eq!(serde_json::from_value::<GetDataEndpointInput>(value).unwrap(), input);

    let input = DescribeStreamInput { stream: StreamRef::Arn(ARN.parse().unwrap()) };
    assert_eq!(serde_json::to_value(&input).unwrap(), json!({"StreamARN": ARN}));
}

#[test]
fn refuses_none_both_and_invalid_stream_members() {
    for text in ["{}", &format!(r#"{{"StreamName":"a","StreamARN":"{ARN}"}}"#)] {
        let error = serde_json::from_str::<DescribeStreamInput>(text).unwrap_err();
        assert!(error.to_string().contains("exactly one"), "{error}");
    }
    let error = serde_json::from_str::<DescribeStreamInput>(r#"{"StreamName":"a b"}"#).unwrap_err();
    assert!(error.to_string().contains("no stream name"), "{error}");
    let null = r#"{"StreamName":"a","StreamARN":null,"New":{"x":[1]}}"#;
    assert_eq!(serde_json::from_str::<DescribeStreamInput>(null).unwrap().stream, name("a"));
}

#[test]
fn api_names_are_the_services() {
    for (api, text) in [
        (ApiName::GetClip, "GET_CLIP"),
        (ApiName::GetDashStreamingSessionUrl, "GET_DASH_STREAMING_SESSION_URL"),
        (ApiName::GetHlsStreamingSessionUrl, "GET_HLS_STREAMING_SESSION_URL"),
        (ApiName::GetMediaForFragmentList, "GET_MEDIA_FOR_FRAGMENT_LIST"),
        (ApiName::ListFragments, "LIST_FRAGMENTS"),
    ] {
        assert_eq!(serde_json::to_value(api).unwrap(), json!(text));
    }
}

#[test]
fn times_are_read_in_every_form_a_client_writes() {
    for text in ["1767225600", "1767225600.0", "1.7672256E9", "1767225600.0004"] {
        let text = format!(
            r#"{{"FragmentSelectorType":"PRODUCER_TIMESTAMP",
            "TimestampRange":{{"StartTimestamp":{text},"EndTimestamp":{text}}}}}"#
        );
        let selector: FragmentSelector = serde_json::from_str(&text).unwrap();
        assert_eq!(selector.timestamp_range.start_timestamp.as_millis(), 1_767_225_600_000);
    }
    for text in ["-1", "1e300", "\"2026-01-01T00:00:00Z\"", "true"] {
        let text = format!(r#"{{"StartTimestamp":{text},"EndTimestamp":0}}"#);
        assert!(serde_json::from_str::<TimestampRange>(&text).is_err(), "{text}");
    }
}

#[test]
fn unknown_status_is_no_error() {
    let info: StreamInfo = serde_json::from_str(r#"{"Status":"MIGRATING"}"#).unwrap();
    assert_eq!(info.status, Some(StreamStatus::Unknown));
}

#[test]
fn error_bodies_have_two_spellings() {
    for text in [r#"{"Message":"no"}"#, r#"{"message":"no","x":1}"#] {
        assert_eq!(serde_json::from_str::<ErrorBody>(text).unwrap().message, "no");
    }
}

#[test]
fn fragment_numbers_travel_as_strings() {
    let input = GetMediaForFragmentListInput {
        stream: name("cam"),
        fragments: vec!["91343852333181432392682062607743920442264000000".parse().unwrap()],
    };
    let value = serde_json::to_value(&input).unwrap();
    assert_eq!(value["Fragments"][0], "91343852333181432392682062607743920442264000000");
    assert_eq!(serde_json::from_value::<GetMediaForFragmentListInput>(value).unwrap(), input);
}

fn any_stream() -> impl Strategy<Value = StreamRef> {
    prop_oneof![
        "[a-zA-Z0-9_.-]{1,256}".prop_map(|text| StreamRef::Name(text.parse().unwrap())),
        any_arn().prop_map(StreamRef::Arn),
    ]
}

fn any_arn() -> impl Strategy<Value = StreamArn> {
    "arn:aws(-cn)?:kinesisvideo:[a-z0-9-]{1,20}:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,60}/[0-9]{13}"
        .prop_map(|text| text.parse().unwrap())
}

fn any_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{0,20}")
}

/// Up to the year 2106: from then on JSON numbers do not tell all microseconds apart.
fn any_time() -> impl Strategy<Value = Timestamp> {
    (0u64..4_294_967_296_000).prop_map(|ms| Timestamp::from_millis(ms).unwrap())
}

fn any_tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(".{1,9}", ".{0,9}", 0..4)
}

prop_compose! {
    fn any_info()(
        texts in [any_text(), any_text(), any_text(), any_text()],
        arn in prop::option::of(any_arn()),
        status in prop::option::of(prop::sample::select(vec![
            StreamStatus::Active,
            StreamStatus::Creating,
            StreamStatus::Deleting,
            StreamStatus::Updating,
        ])),
        creation_time in prop::option::of(any_time()),
        data_retention_in_hours in prop::option::of(any::<u32>()),
    ) -> StreamInfo {
        let [device_name, media_type, kms_key_id, version] = texts;
        let stream_name = arn.as_ref().map(StreamArn::stream_name);
        StreamInfo {
            device_name, stream_name, stream_arn: arn, media_type, kms_key_id, version, status,
            creation_time, data_retention_in_hours,
        }
    }
}

prop_compose! {
    fn any_fragment()(
        number in "[0-9]{1,128}",
        sizes in any::<[u64; 2]>(),
        producer_timestamp in any_time(),
        server_timestamp in any_time(),
    ) -> FragmentInfo {
        let [fragment_size_in_bytes, fragment_length_in_milliseconds] = sizes;
        let fragment_number = number.parse().unwrap();
        FragmentInfo {
            fragment_number, fragment_size_in_bytes, producer_timestamp, server_timestamp,
            fragment_length_in_milliseconds,
        }
    }
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    value: &T,
) -> Result<(), TestCaseError> {
    let text = serde_json::to_string(value).unwrap();
    let again = serde_json::from_str::<T>(&text).ok();
    prop_assert_eq!(again.as_ref(), Some(value), "{}", text);
    Ok(())
}

proptest! {
    #[test]
    fn stream_operations_read_back_as_they_were_written(
        stream in any_stream(),
        stream_arn in any_arn(),
        info in any_info(),
        texts in [any_text(), any_text()],
        tags in any_tags(),
        number in any::<u32>(),
    ) {
        let [some, other] = texts;
        let current_version = some.clone().unwrap_or_default();
        reads_back(&DescribeStreamInput { stream: stream.clone() })?;
        reads_back(&DescribeStreamOutput { stream_info: info.clone() })?;
        reads_back(&CreateStreamInput {
            device_name: some.clone(),
            stream_name: stream_arn.stream_name(),
            media_type: other.clone(),
            kms_key_id: None,
            data_retention_in_hours: Some(number),
            tags: Some(tags.clone()),
        })?;
        reads_back(&CreateStreamOutput { stream_arn: Some(stream_arn.clone()) })?;
        reads_back(&DeleteStreamInput { stream_arn, current_version: some.clone() })?;
        reads_back(&ListStreamsInput {
            max_results: Some(number),
            next_token: some.clone(),
            stream_name_condition: Some(StreamNameCondition {
                comparison_operator: Some(ComparisonOperator::BeginsWith),
                comparison_value: other.clone(),
            }),
        })?;
        reads_back(&ListStreamsOutput {
            stream_info_list: vec![info.clone(), info],
            next_token: some.clone(),
        })?;
        reads_back(&UpdateStreamInput {
            stream: stream.clone(),
            current_version: current_version.clone(),
            device_name: other.clone(),
            media_type: some.clone(),
        })?;
        reads_back(&UpdateDataRetentionInput {
            stream: stream.clone(),
            current_version,
            operation: RetentionOperation::IncreaseDataRetention,
            data_retention_change_in_hours: number,
        })?;
        reads_back(&TagStreamInput { stream: stream.clone(), tags: tags.clone() })?;
        let tag_key_list = tags.keys().cloned().collect();
        reads_back(&UntagStreamInput { stream: stream.clone(), tag_key_list })?;
        reads_back(&ListTagsForStreamInput { stream: stream.clone(), next_token: other })?;
        reads_back(&ListTagsForStreamOutput { next_token: some, tags })?;
        reads_back(&GetDataEndpointInput { stream, api_name: ApiName::GetClip })?;
    }

    #[test]
    fn media_operations_read_back_as_they_were_written(
        stream in any_stream(),
        fragments in prop::collection::vec(any_fragment(), 0..4),
        times in [any_time(), any_time()],
        next_token in any_text(),
        number in any::<u64>(),
    ) {
        let numbers = fragments.iter().map(|fragment| fragment.fragment_number.clone()).collect();
        reads_back(&GetMediaForFragmentListInput { stream: stream.clone(), fragments: numbers })?;
        reads_back(&ListFragmentsOutput { fragments, next_token: next_token.clone() })?;
        let [start_timestamp, end_timestamp] = times;
        reads_back(&ListFragmentsInput {
            stream: stream.clone(),
            max_results: Some(number),
            next_token,
            fragment_selector: Some(FragmentSelector {
                fragment_selector_type: FragmentSelectorType::ServerTimestamp,
                timestamp_range: TimestampRange { start_timestamp, end_timestamp },
            }),
        })?;
        let start_selector = StartSelector::ProducerTimestamp(start_timestamp);
        reads_back(&GetMediaInput { stream, start_selector })?;
    }
}
