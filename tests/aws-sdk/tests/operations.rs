// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the AWS SDK for Rust makes of every answer of kvs-server.

use aws_sdk_kinesisvideo::{
    error::{ProvideErrorMetadata, SdkError},
    types::{
        ApiName, ComparisonOperator, Status, StreamNameCondition, UpdateDataRetentionOperation,
    },
};
use aws_sdk_kinesisvideoarchivedmedia::{
    primitives::DateTime,
    types::{FragmentSelector, FragmentSelectorType, TimestampRange},
};
use aws_sdk_kinesisvideomedia::types::{StartSelector, StartSelectorType};
use aws_sdk_outsider::{START_MS, Server, archived, control, count, media, upload};

const EBML: &[u8] = b"\x1A\x45\xDF\xA3";

/// The error that the SDK recognised, and the status that came with it.
fn refusal<T, E>(
    result: Result<T, SdkError<E, aws_sdk_kinesisvideo::config::http::HttpResponse>>,
) -> (u16, E)
where
    T: std::fmt::Debug,
    E: ProvideErrorMetadata,
{
    match result {
        Err(SdkError::ServiceError(error)) => {
            let status = error.raw().status().as_u16();
            let error = error.into_err();
            assert!(error.message().is_some_and(|message| !message.is_empty()));
            (status, error)
        }
        Err(_) => panic!("no answer of the service"),
        Ok(output) => panic!("accepted: {output:?}"),
    }
}

/// The call is refused with this status and this exception of the service's model.
macro_rules! refused {
    ($call:expr, $status:literal, $is:ident) => {{
        let (status, error) = refusal($call.send().await);
        assert_eq!(status, $status);
        assert!(error.$is(), "{:?}", error.code());
    }};
}

fn unsigned() -> (Server, aws_sdk_kinesisvideo::Client) {
    let server = Server::start(None);
    let client = control(server.url(), "any", "any");
    (server, client)
}

#[tokio::test]
async fn streams_are_created_described_updated_and_deleted() {
    let (_server, client) = unsigned();
    refused!(client.describe_stream().stream_name("cam"), 404, is_resource_not_found_exception);
    let created = client
        .create_stream()
        .stream_name("cam")
        .data_retention_in_hours(24)
        .media_type("video/h264")
        .device_name("porch")
        .tags("a", "b")
        .send()
        .await
        .unwrap();
    let arn = created.stream_arn().unwrap();
    refused!(client.create_stream().stream_name("cam"), 400, is_resource_in_use_exception);
    refused!(client.create_stream().stream_name("a b"), 400, is_invalid_argument_exception);

    let describe = || async {
        let described = client.describe_stream().stream_arn(arn).send().await.unwrap();
        described.stream_info.unwrap()
    };
    let info = describe().await;
    assert_eq!((info.stream_name(), info.stream_arn()), (Some("cam"), Some(arn)));
    assert_eq!(info.status(), Some(&Status::Active));
    assert_eq!((info.media_type(), info.device_name()), (Some("video/h264"), Some("porch")));
    assert_eq!(info.data_retention_in_hours(), Some(24));
    assert!(info.creation_time().unwrap().secs() > 1_700_000_000);
    assert!(info.kms_key_id().is_some());

    let version = info.version().unwrap();
    let update = client.update_stream().stream_name("cam").current_version(version);
    update.clone().media_type("video/h265").send().await.unwrap();
    assert_eq!(describe().await.media_type(), Some("video/h265"));
    refused!(update.media_type("video/h264"), 400, is_version_mismatch_exception);
    refused!(
        client.update_stream().stream_name("nobody").current_version(version),
        404,
        is_resource_not_found_exception
    );

    let info = describe().await;
    let retain = |operation, hours| {
        client
            .update_data_retention()
            .stream_name("cam")
            .current_version(info.version().unwrap())
            .operation(operation)
            .data_retention_change_in_hours(hours)
    };
    refused!(
        retain(UpdateDataRetentionOperation::DecreaseDataRetention, 25),
        400,
        is_invalid_argument_exception
    );
    retain(UpdateDataRetentionOperation::IncreaseDataRetention, 6).send().await.unwrap();
    assert_eq!(describe().await.data_retention_in_hours(), Some(30));
    refused!(
        retain(UpdateDataRetentionOperation::DecreaseDataRetention, 1),
        400,
        is_version_mismatch_exception
    );

    refused!(
        client.delete_stream().stream_arn(arn).current_version("old"),
        400,
        is_version_mismatch_exception
    );
    client.delete_stream().stream_arn(arn).send().await.unwrap();
    refused!(client.delete_stream().stream_arn(arn), 404, is_resource_not_found_exception);
}

#[tokio::test]
async fn streams_are_listed_in_pages() {
    let (_server, client) = unsigned();
    for n in 0..5 {
        client.create_stream().stream_name(format!("cam-{n}")).send().await.unwrap();
    }
    client.create_stream().stream_name("door").send().await.unwrap();
    let condition = StreamNameCondition::builder()
        .comparison_operator(ComparisonOperator::BeginsWith)
        .comparison_value("cam-")
        .build();
    let mut pages =
        client.list_streams().stream_name_condition(condition).into_paginator().page_size(2).send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().stream_info_list().len());
    }
    assert_eq!(sizes, [2, 2, 1]);
    refused!(client.list_streams().next_token("zz"), 400, is_invalid_argument_exception);
}

#[tokio::test]
async fn tags_are_set_listed_and_removed() {
    let (_server, client) = unsigned();
    client.create_stream().stream_name("cam").send().await.unwrap();
    let tag = || client.tag_stream().stream_name("cam");
    tag().tags("a", "1").tags("b", "2").send().await.unwrap();
    client.untag_stream().stream_name("cam").tag_key_list("a").send().await.unwrap();
    let listed = client.list_tags_for_stream().stream_name("cam").send().await.unwrap();
    let tags: Vec<_> = listed.tags().unwrap().iter().collect();
    assert_eq!(tags, [(&"b".to_owned(), &"2".to_owned())]);
    let many = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
    refused!(tag().set_tags(Some(many)), 400, is_tags_per_resource_exceeded_limit_exception);
    refused!(
        client.tag_stream().stream_arn("arn:x").tags("a", "b"),
        400,
        is_invalid_resource_format_exception
    );
    refused!(
        client.untag_stream().stream_name("nobody").tag_key_list("a"),
        404,
        is_resource_not_found_exception
    );
    refused!(
        client.list_tags_for_stream().stream_name("nobody"),
        404,
        is_resource_not_found_exception
    );
}

#[tokio::test]
async fn data_endpoints_are_the_servers_url() {
    let (server, client) = unsigned();
    client.create_stream().stream_name("cam").send().await.unwrap();
    let ask = |name| client.get_data_endpoint().stream_name(name).api_name(ApiName::PutMedia);
    let answer = ask("cam").send().await.unwrap();
    assert_eq!(answer.data_endpoint(), Some(server.url()));
    refused!(ask("nobody"), 404, is_resource_not_found_exception);
    refused!(
        client.get_data_endpoint().stream_name("cam").api_name(ApiName::from("PUT_OUT")),
        400,
        is_invalid_argument_exception
    );
}

#[tokio::test]
async fn media_is_read_live_and_from_the_archive() {
    let (server, client) = unsigned();
    client.create_stream().stream_name("cam").data_retention_in_hours(1).send().await.unwrap();
    let numbers = upload(server.url(), "cam");

    let live = media(server.url());
    let get = |name: &str, selector| {
        let selector = StartSelector::builder().start_selector_type(selector);
        live.get_media().stream_name(name).start_selector(selector.build().unwrap())
    };
    let answer = get("cam", StartSelectorType::Earliest).send().await.unwrap();
    assert_eq!(answer.content_type(), Some("video/webm"));
    let body = answer.payload.collect().await.unwrap().into_bytes();
    assert_eq!(count(&body, EBML), 2);
    assert_eq!(count(&body, b"AWS_KINESISVIDEO_CONTINUATION_TOKEN"), 2);
    refused!(get("nobody", StartSelectorType::Now), 404, is_resource_not_found_exception);
    refused!(get("cam", StartSelectorType::FragmentNumber), 400, is_invalid_argument_exception);

    let archive = archived(server.url());
    let selector = |kind, start: DateTime, end: DateTime| {
        let range =
            TimestampRange::builder().start_timestamp(start).end_timestamp(end).build().unwrap();
        FragmentSelector::builder()
            .fragment_selector_type(kind)
            .timestamp_range(range)
            .build()
            .unwrap()
    };
    let at = |ms: u64| DateTime::from_millis(ms as i64);
    let all =
        || selector(FragmentSelectorType::ProducerTimestamp, at(START_MS), at(START_MS + 2000));
    let mut pages = archive
        .list_fragments()
        .stream_name("cam")
        .fragment_selector(all())
        .into_paginator()
        .page_size(1)
        .send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        listed.extend(page.unwrap().fragments.unwrap_or_default());
    }
    let found: Vec<_> = listed.iter().map(|f| f.fragment_number().unwrap()).collect();
    assert_eq!(found, numbers);
    for (n, fragment) in listed.iter().enumerate() {
        let producer_ms = fragment.producer_timestamp().unwrap().to_millis().unwrap();
        assert_eq!(producer_ms as u64, START_MS + 2000 * n as u64);
        assert_eq!(fragment.fragment_length_in_milliseconds(), 1933);
        assert!(fragment.fragment_size_in_bytes() > 1000);
        let server_time = *fragment.server_timestamp().unwrap();
        let by_server = selector(FragmentSelectorType::ServerTimestamp, server_time, server_time);
        let same = archive.list_fragments().stream_name("cam").fragment_selector(by_server);
        let same = same.send().await.unwrap();
        assert!(same.fragments().contains(fragment));
    }
    refused!(archive.list_fragments().stream_name("cam"), 400, is_invalid_argument_exception);
    refused!(
        archive.list_fragments().stream_name("nobody").fragment_selector(all()),
        404,
        is_resource_not_found_exception
    );

    let get = |name: &str| archive.get_media_for_fragment_list().stream_name(name);
    let answer = get("cam").fragments(&numbers[1]).fragments(&numbers[0]).send().await.unwrap();
    assert_eq!(answer.content_type(), Some("video/webm"));
    let body = answer.payload.collect().await.unwrap().into_bytes();
    let place = |number: &str| body.windows(47).position(|window| window == number.as_bytes());
    assert!(place(&numbers[1]).unwrap() < place(&numbers[0]).unwrap());
    assert_eq!(count(&body, EBML), 2);
    refused!(get("nobody").fragments("1"), 404, is_resource_not_found_exception);
    refused!(
        get("cam").set_fragments(Some(vec!["1".to_owned(); 1001])),
        400,
        is_invalid_argument_exception
    );
}

#[tokio::test]
async fn signatures_of_the_sdk_are_verified() {
    let server = Server::start(Some("AKIDSDK the/secret+key=\n"));
    let right = control(server.url(), "AKIDSDK", "the/secret+key=");
    right.create_stream().stream_name("cam").send().await.unwrap();
    assert_eq!(right.list_streams().send().await.unwrap().stream_info_list().len(), 1);
    for (key, secret, code) in [
        ("AKIDSDK", "guess", "InvalidSignatureException"),
        ("OTHER", "the/secret+key=", "UnrecognizedClientException"),
    ] {
        let client = control(server.url(), key, secret);
        let (status, error) = refusal(client.list_streams().send().await);
        assert_eq!((status, error.code()), (403, Some(code)));
    }
}
