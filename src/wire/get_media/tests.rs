// SPDX-License-Identifier: MIT OR Apache-2.0
//! Selectors and tags as the service and its clients write them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tags(pairs: &[(&str, &str)]) -> Vec<SimpleTag> {
    let tag = |&(name, value): &(&str, &str)| SimpleTag { name: name.into(), value: value.into() };
    pairs.iter().map(tag).collect()
}

#[test]
fn selectors_have_the_services_json() {
    for (selector, value) in [
        (StartSelector::Now, json!({"StartSelectorType": "NOW"})),
        (StartSelector::Earliest, json!({"StartSelectorType": "EARLIEST"})),
        (
            StartSelector::FragmentNumber("123".parse().unwrap()),
            json!({"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "123"}),
        ),
        (
            StartSelector::ProducerTimestamp(Timestamp::from_millis(1500).unwrap()),
            json!({"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": 1.5}),
        ),
        (
            StartSelector::ServerTimestamp(Timestamp::from_millis(2500).unwrap()),
            json!({"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": 2.5}),
        ),
        (
            StartSelector::ContinuationToken("a.b".parse().unwrap()),
            json!({"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": "a.b"}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&selector).unwrap(), value);
        assert_eq!(serde_json::from_value::<StartSelector>(value).unwrap(), selector);
    }
}

#[test]
fn a_selector_without_its_member_is_refused() {
    let error = serde_json::from_value::<StartSelector>(
        json!({"StartSelectorType": "SERVER_TIMESTAMP", "AfterFragmentNumber": "1"}),
    )
    .unwrap_err();
    assert!(error.to_string().contains("SERVER_TIMESTAMP needs StartTimestamp"), "{error}");
}

#[test]
fn head_and_tail_round_trip() {
    let head = ChunkTags::Head {
        number: "91343852333181432392682062607743920442264000000".parse().unwrap(),
        server_time: Timestamp::from_millis(1_517_789_296_298).unwrap(),
        producer_time: Timestamp::default(),
    };
    let written = head.to_simple_tags();
    assert_eq!(written[1].value, "1517789296.298");
    assert_eq!(written[2].value, "0.000");
    assert_eq!(ChunkTags::parse(&written), Ok(Some(head)));
    let tail =
        ChunkTags::Tail { continuation_token: Some("91".parse().unwrap()), behind_now_ms: Some(7) };
    assert_eq!(ChunkTags::parse(&tail.to_simple_tags()), Ok(Some(tail)));
}

#[test]
fn reads_the_side_spelling() {
    let found = ChunkTags::parse(&tags(&[
        (SERVER_SIDE_TIMESTAMP, "2.000"),
        ("mine", "x"),
        (FRAGMENT_NUMBER, "9"),
        (PRODUCER_SIDE_TIMESTAMP, "1.500"),
    ]));
    let (server_time, producer_time) =
        (Timestamp::from_millis(2000).unwrap(), Timestamp::from_millis(1500).unwrap());
    let number = "9".parse().unwrap();
    assert_eq!(found, Ok(Some(ChunkTags::Head { number, server_time, producer_time })));
}

#[test]
fn reads_both_kinds_of_failure() {
    let get_media = tags(&[(FRAGMENT_NUMBER, "9"), (ERROR_CODE, "GONE"), (ERROR_ID, "4000")]);
    let list = tags(&[
        (FRAGMENT_NUMBER, "9"),
        (EXCEPTION_ERROR_CODE, "4000"),
        (EXCEPTION_MESSAGE, "GONE"),
    ]);
    for tags in [get_media, list] {
        let number = Some("9".parse().unwrap());
        let failed = ChunkTags::Failed { number, id: 4000, message: "GONE".into() };
        assert_eq!(ChunkTags::parse(&tags), Ok(Some(failed)));
    }
}

#[test]
fn a_producers_tags_are_none_of_the_services() {
    assert_eq!(ChunkTags::parse(&tags(&[("ENCODER", "x"), ("DURATION", "1")])), Ok(None));
    assert_eq!(ChunkTags::parse(&[]), Ok(None));
}

#[test]
fn refuses_values_of_the_wrong_form() {
    let error = ChunkTags::parse(&tags(&[(FRAGMENT_NUMBER, "x1")])).unwrap_err();
    assert!(error.to_string().contains("FRAGMENT_NUMBER"), "{error}");
    assert!(ChunkTags::parse(&tags(&[(MILLIS_BEHIND_NOW, "soon")])).is_err());
}

/// Up to the year 2106: from then on JSON numbers do not tell all microseconds apart.
fn any_time() -> impl Strategy<Value = Timestamp> {
    (0u64..4_294_967_296_000).prop_map(|ms| Timestamp::from_millis(ms).unwrap())
}

fn any_number() -> impl Strategy<Value = FragmentNumber> {
    "[0-9]{1,128}".prop_map(|text| text.parse().unwrap())
}

fn any_token() -> impl Strategy<Value = ContinuationToken> {
    "[a-zA-Z0-9_.-]{1,128}".prop_map(|text| text.parse().unwrap())
}

fn any_tags() -> impl Strategy<Value = ChunkTags> {
    prop_oneof![
        (any_number(), any_time(), any_time()).prop_map(|(number, server_time, producer_time)| {
            ChunkTags::Head { number, server_time, producer_time }
        }),
        (any_token(), any::<u64>()).prop_map(|(token, ms)| ChunkTags::Tail {
            continuation_token: Some(token),
            behind_now_ms: Some(ms),
        }),
        (prop::option::of(any_number()), any::<u32>(), ".{0,30}")
            .prop_map(|(number, id, message)| ChunkTags::Failed { number, id, message }),
    ]
}

fn any_selector() -> impl Strategy<Value = StartSelector> {
    prop_oneof![
        Just(StartSelector::Now),
        Just(StartSelector::Earliest),
        any_number().prop_map(StartSelector::FragmentNumber),
        any_token().prop_map(StartSelector::ContinuationToken),
        any_time().prop_map(StartSelector::ProducerTimestamp),
        any_time().prop_map(StartSelector::ServerTimestamp),
    ]
}

proptest! {
    #[test]
    fn tags_read_back_as_they_were_written(tags in any_tags()) {
        prop_assert_eq!(ChunkTags::parse(&tags.to_simple_tags()), Ok(Some(tags)));
    }

    #[test]
    fn selectors_read_back_as_they_were_written(selector in any_selector()) {
        let text = serde_json::to_string(&selector).unwrap();
        prop_assert_eq!(serde_json::from_str::<StartSelector>(&text).unwrap(), selector);
    }
}
