// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every JSON operation, what it refuses, and with which error.

use std::collections::BTreeSet;

use gstkvs::server::{Config, Server};
use serde_json::{Value, json};

use crate::client::{Fixture, Raw};

fn invalid() -> (u16, String) {
    (400, "InvalidArgumentException".to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_stream_is_created_described_and_deleted() {
    let fixture = Fixture::new();
    let missing = fixture.err("/describeStream", json!({"StreamName": "cam"}));
    assert_eq!(missing, refused(404, "ResourceNotFoundException"));
    let created = fixture.ok(
        "/createStream",
        json!({"StreamName": "cam", "DataRetentionInHours": 24, "MediaType": "video/h264",
            "DeviceName": "porch", "Tags": {"room": "hall"}, "Unknown": 1}),
    );
    let arn = created["StreamARN"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:kinesisvideo:us-west-2:000000000000:stream/cam/"), "{arn}");
    let again = fixture.err("/createStream", json!({"StreamName": "cam"}));
    assert_eq!(again, refused(400, "ResourceInUseException"));

    let info = &fixture.ok("/describeStream", json!({"StreamARN": arn}))["StreamInfo"];
    assert_eq!(info["StreamName"], "cam");
    assert_eq!(info["StreamARN"], arn);
    assert_eq!(info["Status"], "ACTIVE");
    assert_eq!(info["DataRetentionInHours"], 24);
    assert_eq!(info["MediaType"], "video/h264");
    assert_eq!(info["DeviceName"], "porch");
    assert_eq!(info["KmsKeyId"], "arn:aws:kms:us-west-2:000000000000:alias/aws/kinesisvideo");
    assert!(info["CreationTime"].as_f64().is_some_and(|secs| secs > 1.7e9));
    let version = info["Version"].as_str().unwrap();

    let other = json!({"StreamARN": arn, "CurrentVersion": "other"});
    assert_eq!(fixture.err("/deleteStream", other), refused(400, "VersionMismatchException"));
    assert_eq!(fixture.err("/deleteStream", json!({"StreamName": "cam"})), invalid());
    let deleted = fixture.ok("/deleteStream", json!({"StreamARN": arn, "CurrentVersion": version}));
    assert_eq!(deleted, json!({}));
    let gone = fixture.err("/describeStream", json!({"StreamName": "cam"}));
    assert_eq!(gone, refused(404, "ResourceNotFoundException"));
}

#[test]
fn an_arn_names_one_creation() {
    let fixture = Fixture::new();
    let arn = fixture.create("cam", 0);
    let (prefix, _) = arn.rsplit_once('/').unwrap();
    let earlier = format!("{prefix}/1");
    let answer = fixture.err("/describeStream", json!({"StreamARN": earlier}));
    assert_eq!(answer, refused(404, "ResourceNotFoundException"));
    assert_eq!(
        fixture.err("/deleteStream", json!({"StreamARN": earlier})),
        refused(404, "ResourceNotFoundException")
    );
}

#[test]
fn members_out_of_range_are_refused() {
    let fixture = Fixture::new();
    let arn = fixture.create("cam", 1);
    let long = "x".repeat(257);
    for (path, members) in [
        ("/createStream", json!({})),
        ("/createStream", json!({"StreamName": "a b"})),
        ("/createStream", json!({"StreamName": long})),
        ("/createStream", json!({"StreamName": "b", "DataRetentionInHours": -1})),
        ("/createStream", json!({"StreamName": "b", "DataRetentionInHours": 87_601})),
        ("/createStream", json!({"StreamName": "b", "MediaType": "video"})),
        ("/createStream", json!({"StreamName": "b", "DeviceName": ""})),
        ("/createStream", json!({"StreamName": "b", "KmsKeyId": ""})),
        ("/createStream", json!({"StreamName": "b", "Tags": {"": ""}})),
        ("/describeStream", json!({})),
        ("/describeStream", json!({"StreamName": "cam", "StreamARN": arn})),
        ("/describeStream", json!({"StreamARN": "arn:aws:s3:::x"})),
        ("/listStreams", json!({"MaxResults": 0})),
        ("/listStreams", json!({"MaxResults": 10_001})),
        ("/listStreams", json!({"NextToken": "zz"})),
        ("/listStreams", json!({"StreamNameCondition": {"ComparisonOperator": "ENDS_WITH"}})),
        ("/listStreams", json!({"StreamNameCondition": {"ComparisonValue": "a b"}})),
        ("/updateStream", json!({"StreamName": "cam"})),
        ("/updateStream", json!({"StreamName": "cam", "CurrentVersion": "-"})),
        ("/getDataEndpoint", json!({"StreamName": "cam"})),
        ("/getDataEndpoint", json!({"StreamName": "cam", "APIName": "PUT_OUT"})),
        ("/tagStream", json!({"StreamName": "cam"})),
        ("/tagStream", json!({"StreamName": "cam", "Tags": {}})),
        ("/untagStream", json!({"StreamName": "cam", "TagKeyList": []})),
        ("/listTagsForStream", json!({"StreamName": "cam", "NextToken": "00"})),
        ("/listFragments", json!({"StreamName": "cam"})),
        ("/getMedia", json!({"StreamName": "cam"})),
        ("/getMedia", json!({"StreamName": "cam", "StartSelector": {}})),
        (
            "/getMedia",
            json!({"StreamName": "cam", "StartSelector": {"StartSelectorType": "FRAGMENT_NUMBER"}}),
        ),
        ("/getMediaForFragmentList", json!({"StreamName": "cam", "Fragments": []})),
        ("/getMediaForFragmentList", json!({"StreamName": "cam", "Fragments": ["x"]})),
        ("/getMediaForFragmentList", json!({"StreamName": "cam", "Fragments": vec!["1"; 1001]})),
    ] {
        assert_eq!(fixture.err(path, members.clone()), invalid(), "{path} {members}");
    }
    assert!(fixture.ok("/listStreams", json!({}))["StreamInfoList"].as_array().unwrap().len() == 1);
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let fixture = Fixture::new();
    for body in ["{", "{]", "\u{0}"] {
        let mut raw = Raw::connect(fixture.addr());
        let length = body.len();
        raw.send(&format!(
            "POST /describeStream HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        let answer = raw.answer();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("x-amzn-errortype"), Some("SerializationException"));
    }
}

#[test]
fn streams_are_listed_by_prefix_and_page() {
    let fixture = Fixture::new();
    for n in 0..7 {
        fixture.create(&format!("cam-{n}"), 0);
    }
    fixture.create("door", 0);
    let condition = json!({"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "cam-"});
    let mut seen = BTreeSet::new();
    let (mut token, mut pages) = (Value::Null, 0);
    loop {
        let page = fixture.ok(
            "/listStreams",
            json!({"MaxResults": 3, "NextToken": token, "StreamNameCondition": condition}),
        );
        let list = page["StreamInfoList"].as_array().unwrap();
        assert!(list.len() <= 3);
        for info in list {
            assert!(seen.insert(info["StreamName"].as_str().unwrap().to_owned()));
        }
        pages += 1;
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 7));
    let all = fixture.ok("/listStreams", json!({}));
    assert_eq!(all["StreamInfoList"].as_array().unwrap().len(), 8);
}

#[test]
fn updates_need_the_version_and_give_a_new_one() {
    let fixture = Fixture::new();
    fixture.create("cam", 2);
    let describe =
        || fixture.ok("/describeStream", json!({"StreamName": "cam"}))["StreamInfo"].clone();
    let first = describe();
    let update = json!({"StreamName": "cam", "CurrentVersion": first["Version"],
        "DeviceName": "d", "MediaType": "video/h265"});
    assert_eq!(fixture.ok("/updateStream", update.clone()), json!({}));
    let second = describe();
    assert_ne!(first["Version"], second["Version"]);
    assert_eq!(second["DeviceName"], "d");
    assert_eq!(second["MediaType"], "video/h265");
    assert_eq!(fixture.err("/updateStream", update), refused(400, "VersionMismatchException"));

    let change = |operation: &str, hours: u32, version: &Value| {
        json!({"StreamName": "cam", "Operation": operation, "CurrentVersion": version,
            "DataRetentionChangeInHours": hours})
    };
    let path = "/updateDataRetention";
    let version = &second["Version"];
    fixture.ok(path, change("INCREASE_DATA_RETENTION", 5, version));
    let third = describe();
    assert_eq!(third["DataRetentionInHours"], 7);
    let stale = fixture.err(path, change("DECREASE_DATA_RETENTION", 1, version));
    assert_eq!(stale, refused(400, "VersionMismatchException"));
    let version = &third["Version"];
    assert_eq!(fixture.err(path, change("DECREASE_DATA_RETENTION", 8, version)), invalid());
    assert_eq!(fixture.err(path, change("INCREASE_DATA_RETENTION", 87_600, version)), invalid());
    assert_eq!(fixture.err(path, change("INCREASE_DATA_RETENTION", 0, version)), invalid());
    assert_eq!(fixture.err(path, change("DOUBLE", 1, version)), invalid());
    fixture.ok(path, change("DECREASE_DATA_RETENTION", 7, version));
    assert_eq!(describe()["DataRetentionInHours"], 0);
}

#[test]
fn tags_are_set_replaced_removed_and_limited() {
    let fixture = Fixture::new();
    let arn = fixture.create("cam", 0);
    let list = || fixture.ok("/listTagsForStream", json!({"StreamARN": arn}))["Tags"].clone();
    assert_eq!(list(), json!({}));
    fixture.ok("/tagStream", json!({"StreamARN": arn, "Tags": {"a": "1", "b": "2"}}));
    fixture.ok("/tagStream", json!({"StreamName": "cam", "Tags": {"b": "3"}}));
    assert_eq!(list(), json!({"a": "1", "b": "3"}));
    fixture.ok("/untagStream", json!({"StreamName": "cam", "TagKeyList": ["a", "never"]}));
    assert_eq!(list(), json!({"b": "3"}));

    let many: serde_json::Map<_, _> = (0..50).map(|n| (format!("k{n}"), json!(""))).collect();
    let over = fixture.err("/tagStream", json!({"StreamName": "cam", "Tags": many}));
    assert_eq!(over, refused(400, "TagsPerResourceExceededLimitException"));
    assert_eq!(list(), json!({"b": "3"}));
    let malformed = fixture.err("/tagStream", json!({"StreamARN": "arn:x", "Tags": {"a": "b"}}));
    assert_eq!(malformed, refused(400, "InvalidResourceFormatException"));
    let missing = fixture.err("/listTagsForStream", json!({"StreamName": "nobody"}));
    assert_eq!(missing, refused(404, "ResourceNotFoundException"));
}

#[test]
fn the_data_endpoint_is_the_servers_own_address() {
    let fixture = Fixture::new();
    fixture.create("cam", 0);
    for api in ["PUT_MEDIA", "GET_MEDIA", "LIST_FRAGMENTS", "GET_MEDIA_FOR_FRAGMENT_LIST"] {
        let body = json!({"StreamName": "cam", "APIName": api}).to_string();
        let mut raw = Raw::connect(fixture.addr());
        let length = body.len();
        raw.send(&format!(
            "POST /getDataEndpoint HTTP/1.1\r\nHost: evil.example\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(raw.answer().json()["DataEndpoint"], fixture.server.url());
    }
    assert_eq!(fixture.server.url(), format!("http://{}", fixture.addr()));

    let public = Fixture::with(|c| c.public_url = Some("https://kvs.example:8443/".to_owned()));
    public.create("cam", 0);
    let members = json!({"StreamName": "cam", "APIName": "PUT_MEDIA"});
    let answer = public.ok("/getDataEndpoint", members);
    assert_eq!(answer["DataEndpoint"], "https://kvs.example:8443");
}

#[test]
fn the_account_holds_so_many_streams() {
    let fixture = Fixture::with(|config| config.limits.max_streams = 2);
    fixture.create("a", 0);
    fixture.create("b", 0);
    let over = fixture.err("/createStream", json!({"StreamName": "c"}));
    assert_eq!(over, refused(400, "AccountStreamLimitExceededException"));
}

#[test]
fn streams_outlive_the_server_and_the_folder_has_one_server() {
    let fixture = Fixture::new();
    let arn = fixture.create("cam", 3);
    fixture.ok("/tagStream", json!({"StreamName": "cam", "Tags": {"k": "v"}}));
    let busy = Server::start(Config::new(fixture.dir.path())).unwrap_err();
    assert!(busy.to_string().contains("in use by another server"), "{busy}");

    let Fixture { server, dir } = fixture;
    drop(server);
    let server = Server::start(Config::new(dir.path())).unwrap();
    let fixture = Fixture { server, dir };
    let info = &fixture.ok("/describeStream", json!({"StreamName": "cam"}))["StreamInfo"];
    assert_eq!(info["StreamARN"], arn);
    assert_eq!(info["DataRetentionInHours"], 3);
    let tags = fixture.ok("/listTagsForStream", json!({"StreamName": "cam"}));
    assert_eq!(tags["Tags"], json!({"k": "v"}));
}
