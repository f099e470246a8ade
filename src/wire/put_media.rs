// SPDX-License-Identifier: MIT OR Apache-2.0
//! PutMedia's request: the headers that say which stream and whose times. The body is Matroska.
//!
//! Source: KVS API PutMedia.

use http::{HeaderMap, HeaderName, HeaderValue, header::USER_AGENT};

use crate::{
    ids::{ParseIdError, StreamRef},
    time::{ParseTimestampError, Timestamp},
};

/// Which stream, by name.
pub const STREAM_NAME: HeaderName = HeaderName::from_static("x-amzn-stream-name");
/// Which stream, by ARN.
pub const STREAM_ARN: HeaderName = HeaderName::from_static("x-amzn-stream-arn");
/// Whether cluster timestamps count from the epoch or from the start of the session.
pub const TIMECODE_TYPE: HeaderName = HeaderName::from_static("x-amzn-fragment-timecode-type");
/// When the session starts, for relative timestamps.
pub const START_TIMESTAMP: HeaderName = HeaderName::from_static("x-amzn-producer-start-timestamp");
/// `1` or `0`: whether acks are wanted.
pub const ACKS_REQUIRED: HeaderName =
    HeaderName::from_static("x-amzn-fragment-acknowledgment-required");

/// What cluster timestamps count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimecodeType {
    /// From the Unix epoch.
    Absolute,
    /// From the producer start timestamp.
    Relative,
}

impl TimecodeType {
    /// As it travels on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "ABSOLUTE",
            Self::Relative => "RELATIVE",
        }
    }
}

/// What the headers of one PutMedia request say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutMediaHead {
    /// Which stream.
    pub stream: StreamRef,
    /// What cluster timestamps count from.
    pub timecode_type: TimecodeType,
    /// When the session starts; needed when timestamps are relative.
    pub start: Option<Timestamp>,
    /// Whether acks are wanted; they are unless the producer says no.
    pub acks: bool,
}

/// Headers that make no PutMedia request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A header has a value that it cannot have.
    #[error("header {name}: \"{value}\" is none of {allowed}")]
    Choice {
        /// The header.
        name: HeaderName,
        /// Its value.
        value: String,
        /// What it could be.
        allowed: &'static str,
    },
    /// A header that must be there is not.
    #[error("header {0} is missing")]
    Missing(HeaderName),
    /// Both headers for the stream, or none of them.
    #[error("give exactly one of {STREAM_NAME} and {STREAM_ARN}")]
    OneStream,
    /// The name or ARN is none.
    #[error(transparent)]
    Stream(#[from] ParseIdError),
    /// The start is no time.
    #[error("header {START_TIMESTAMP}: {0}")]
    Start(#[from] ParseTimestampError),
}

impl PutMediaHead {
    /// The headers, to be sent and signed.
    pub fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        let mut put = |name, value: &str| {
            // Names, ARNs and numbers are ASCII without control characters.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        match &self.stream {
            StreamRef::Arn(arn) => put(STREAM_ARN, arn.as_str()),
            StreamRef::Name(name) => put(STREAM_NAME, name.as_str()),
        }
        put(TIMECODE_TYPE, self.timecode_type.as_str());
        if let Some(start) = self.start {
            put(START_TIMESTAMP, &start.to_decimal_seconds());
        }
        put(ACKS_REQUIRED, if self.acks { "1" } else { "0" });
        headers
    }

    /// Reads the headers of a request.
    ///
    /// # Errors
    /// [`HeadError`] names the header and what it should be.
    pub fn parse(headers: &HeaderMap) -> Result<Self, HeadError> {
        let stream = match (text(headers, &STREAM_NAME)?, text(headers, &STREAM_ARN)?) {
            (Some(name), None) => StreamRef::Name(name.parse()?),
            (None, Some(arn)) => StreamRef::Arn(arn.parse()?),
            _ => return Err(HeadError::OneStream),
        };
        let timecode_type = match text(headers, &TIMECODE_TYPE)? {
            Some("ABSOLUTE") => TimecodeType::Absolute,
            Some("RELATIVE") => TimecodeType::Relative,
            Some(other) => return Err(choice(TIMECODE_TYPE, other, "ABSOLUTE, RELATIVE")),
            None => return Err(HeadError::Missing(TIMECODE_TYPE)),
        };
        let start = match text(headers, &START_TIMESTAMP)? {
            Some(start) => Some(parse_start(start, is_awss_c_producer(headers))?),
            None if timecode_type == TimecodeType::Relative => {
                return Err(HeadError::Missing(START_TIMESTAMP));
            }
            None => None,
        };
        let acks = match text(headers, &ACKS_REQUIRED)? {
            None | Some("1" | "true") => true,
            Some("0" | "false") => false,
            Some(other) => return Err(choice(ACKS_REQUIRED, other, "1, 0")),
        };
        Ok(Self { stream, timecode_type, start, acks })
    }
}

fn choice(name: HeaderName, value: &str, allowed: &'static str) -> HeadError {
    HeadError::Choice { name, value: value.chars().take(64).collect(), allowed }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, HeadError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => {
            let value = String::from_utf8_lossy(value.as_bytes());
            Err(choice(name.clone(), &value, "ASCII text"))
        }
    }
}

/// AWS's C and C++ producers send `AWS-SDK-KVS-<name>-CLIENT/<version>`.
fn is_awss_c_producer(headers: &HeaderMap) -> bool {
    headers
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|agent| agent.contains("AWS-SDK-KVS-"))
}

/// Tolerance: AWS's C producer writes seconds, a point and milliseconds *without leading zeros*:
/// its `1795352474.8` means .008. From anybody else that is a decimal fraction.
fn parse_start(text: &str, unpadded_millis: bool) -> Result<Timestamp, ParseTimestampError> {
    if unpadded_millis
        && let Some((secs, millis)) = text.split_once('.')
        && matches!(millis.len(), 1 | 2)
    {
        return Timestamp::parse(&format!("{secs}.{millis:0>3}"));
    }
    Timestamp::parse(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn acks_are_on_unless_refused() {
        let mut pairs = vec![
            ("x-amzn-stream-name", "cam"),
            ("x-amzn-fragment-timecode-type", "ABSOLUTE"),
            ("expect", "100-continue"),
        ];
        assert!(PutMediaHead::parse(&headers(&pairs)).unwrap().acks);
        pairs.push(("x-amzn-fragment-acknowledgment-required", "0"));
        assert!(!PutMediaHead::parse(&headers(&pairs)).unwrap().acks);
    }

    #[test]
    fn reads_every_form_of_start() {
        let kvssink = "AWS-SDK-KVS-CPP-CLIENT/3.4.1 GCC/12.2.0 Linux/6.1 x86_64";
        for (agent, start, nanos) in [
            (kvssink, "1795352474.8", 1_795_352_474_008_000_000),
            (kvssink, "1795352476.57", 1_795_352_476_057_000_000),
            (kvssink, "1795352419.354", 1_795_352_419_354_000_000),
            ("aws-sdk-java", "1711124585.823", 1_711_124_585_823_000_000),
            ("aws-sdk-java", "2024-03-22T16:23:05.823Z", 1_711_124_585_823_000_000),
            ("Go-http-client/1.1", "0", 0),
            ("python", "1711124585.8", 1_711_124_585_800_000_000),
            ("python", "1711124585.8231234", 1_711_124_585_823_123_400),
        ] {
            let head = PutMediaHead::parse(&headers(&[
                ("x-amzn-stream-name", "cam"),
                ("x-amzn-fragment-timecode-type", "RELATIVE"),
                ("x-amzn-producer-start-timestamp", start),
                ("user-agent", agent),
            ]))
            .unwrap();
            assert_eq!(head.start, Some(Timestamp::from_nanos(nanos)), "{agent} {start}");
        }
    }

    #[test]
    fn names_the_header_that_is_wrong() {
        let arn = "arn:aws:kinesisvideo:us-west-2:123456789012:stream/cam/1";
        for (pairs, expect) in [
            (vec![("x-amzn-fragment-timecode-type", "ABSOLUTE")], "exactly one of x-amzn-stream"),
            (vec![("x-amzn-stream-name", "a"), ("x-amzn-stream-arn", arn)], "exactly one"),
            (vec![("x-amzn-stream-name", "a")], "x-amzn-fragment-timecode-type is missing"),
            (
                vec![("x-amzn-stream-name", "a"), ("x-amzn-fragment-timecode-type", "LATER")],
                "\"LATER\" is none of ABSOLUTE",
            ),
            (
                vec![("x-amzn-stream-name", "a"), ("x-amzn-fragment-timecode-type", "RELATIVE")],
                "x-amzn-producer-start-timestamp is missing",
            ),
            (vec![("x-amzn-stream-name", "a b")], "no stream name"),
        ] {
            let error = PutMediaHead::parse(&headers(&pairs)).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(
            name in "[a-zA-Z0-9_.-]{1,256}",
            arn in any::<bool>(),
            relative in any::<bool>(),
            start_ms in 0u64..18_000_000_000_000,
            acks in any::<bool>(),
        ) {
            let stream = if arn {
                let arn = format!("arn:aws:kinesisvideo:eu-west-1:1:stream/{name}/{start_ms}");
                StreamRef::Arn(arn.parse().unwrap())
            } else {
                StreamRef::Name(name.parse().unwrap())
            };
            let timecode_type =
                if relative { TimecodeType::Relative } else { TimecodeType::Absolute };
            let start = Timestamp::from_millis(start_ms);
            let head = PutMediaHead { stream, timecode_type, start, acks };
            prop_assert_eq!(PutMediaHead::parse(&head.to_headers()), Ok(head));
        }
    }
}
