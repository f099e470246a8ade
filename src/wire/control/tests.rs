// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shapes against texts that the service and its clients are known to send.

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
