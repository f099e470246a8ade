// SPDX-License-Identifier: MIT OR Apache-2.0
//! Acks as the service, its documentation and its imitations write them.

use proptest::prelude::*;

use super::*;

fn read(input: &[u8], chunk: usize) -> Result<Vec<AckEvent>, AckError> {
    let (mut parser, mut events) = (AckParser::default(), Vec::new());
    for chunk in input.chunks(chunk) {
        parser.push(chunk);
        while let Some(event) = parser.pull()? {
            events.push(event);
        }
    }
    Ok(events)
}

fn number(text: &str) -> FragmentNumber {
    text.parse().unwrap()
}

#[test]
fn writes_what_the_service_writes() {
    let received = AckEvent::Received { timecode: 1_711_124_585_823, number: number("913") };
    assert_eq!(
        encode(&received),
        b"{\"EventType\":\"RECEIVED\",\"FragmentTimecode\":1711124585823,\"FragmentNumber\":\"913\"}\n"
    );
    let error =
        AckEvent::Error { timecode: None, number: None, id: 4006, code: "INVALID_MKV_DATA".into() };
    assert_eq!(
        encode(&error),
        b"{\"EventType\":\"ERROR\",\"ErrorCode\":\"INVALID_MKV_DATA\",\"ErrorId\":4006}\n"
    );
    assert_eq!(encode(&AckEvent::Idle { timecode: None }), b"{\"EventType\":\"IDLE\"}\n");
}

#[test]
fn reads_the_documents_spelling_and_what_surrounds_acks() {
    let input = br#"
        { "AckEventType" : "PERSISTED", "FragmentTimecode": "12", "FragmentNumber": 345, "New": {"a": "}"} },,
        {"EventType":"ERROR","ErrorId":"4500","ErrorCode":"KMS_KEY_ACCESS_DENIED"}
        {"EventType":"SOMETHING_NEW"}{"EventType":"IDLE","FragmentTimecode":null}"#;
    let expect = [
        AckEvent::Persisted { timecode: 12, number: number("345") },
        AckEvent::Error {
            timecode: None,
            number: None,
            id: 4500,
            code: "KMS_KEY_ACCESS_DENIED".into(),
        },
        AckEvent::Idle { timecode: None },
    ];
    for chunk in [1, 2, 7, input.len()] {
        assert_eq!(read(input, chunk).unwrap(), expect, "in pieces of {chunk}");
    }
}

#[test]
fn refuses_what_is_no_ack() {
    for input in [
        "{}",
        r#"{"EventType":"RECEIVED","FragmentTimecode":1}"#,
        r#"{"EventType":"RECEIVED","FragmentTimecode":-1,"FragmentNumber":"1"}"#,
        r#"{"EventType":"RECEIVED","FragmentTimecode":1.5,"FragmentNumber":"1"}"#,
        r#"{"EventType":"RECEIVED","FragmentTimecode":1,"FragmentNumber":"x"}"#,
        r#"{"EventType":"ERROR"}"#,
        r#"{"EventType":"IDLE","EventType":"IDLE"}"#,
        "{nonsense}",
    ] {
        let result = read(input.as_bytes(), 5);
        assert!(matches!(result, Err(AckError::Invalid { .. })), "{input}: {result:?}");
    }
}

#[test]
fn an_ack_without_end_is_refused_and_not_kept() {
    let mut parser = AckParser::default();
    parser.push(b"{\"");
    for _ in 0..MAX_ACK_BYTES / 64 {
        parser.push(&[b'x'; 64]);
        if let Err(error) = parser.pull() {
            assert_eq!(error, AckError::TooLong);
            return;
        }
    }
    panic!("no error after {MAX_ACK_BYTES} bytes");
}

#[test]
fn an_ack_of_the_longest_length_is_read() {
    let head = r#"{"EventType":"IDLE","New":""#;
    let pad = "x".repeat(MAX_ACK_BYTES - head.len() - 2);
    let input = format!("{head}{pad}\"}}");
    assert_eq!(read(input.as_bytes(), 100).unwrap(), [AckEvent::Idle { timecode: None }]);
    let longer = format!("{head}{pad}x\"}}");
    assert_eq!(read(longer.as_bytes(), 100), Err(AckError::TooLong));
}

fn any_event() -> impl Strategy<Value = AckEvent> {
    let number = || "[0-9]{1,128}".prop_map(|text| number(&text));
    prop_oneof![
        (any::<u64>(), number())
            .prop_map(|(timecode, number)| AckEvent::Buffering { timecode, number }),
        (any::<u64>(), number())
            .prop_map(|(timecode, number)| AckEvent::Received { timecode, number }),
        (any::<u64>(), number())
            .prop_map(|(timecode, number)| AckEvent::Persisted { timecode, number }),
        prop::option::of(any::<u64>()).prop_map(|timecode| AckEvent::Idle { timecode }),
        (prop::option::of(any::<u64>()), prop::option::of(number()), any::<u32>(), ".{0,40}")
            .prop_map(|(timecode, number, id, code)| AckEvent::Error {
                timecode,
                number,
                id,
                code
            }),
    ]
}

proptest! {
    #[test]
    fn reads_back_what_was_written(
        events in prop::collection::vec(any_event(), 0..8),
        chunk in 1usize..300,
    ) {
        let input: Vec<u8> = events.iter().flat_map(encode).collect();
        prop_assert_eq!(read(&input, chunk).unwrap(), events);
    }
}
