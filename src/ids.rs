// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names of things, parsed once and opaque afterwards.

use std::{cmp::Ordering, fmt, str::FromStr};

/// A text that is not the identifier it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no {what}: {rule}")]
pub struct ParseIdError {
    what: &'static str,
    rule: &'static str,
    text: String,
}

impl ParseIdError {
    fn new(what: &'static str, rule: &'static str, text: &str) -> Self {
        Self { what, rule, text: text.chars().take(64).collect() }
    }
}

fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Declares a newtype over a validated `String`.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as it travels on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseIdError::new($what, $rule, text))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// The name of a KVS stream: 1 to 256 of `[a-zA-Z0-9_.-]`. Source: KVS API, CreateStream.
    StreamName, "stream name", "1 to 256 characters of a-z A-Z 0-9 _ . -", |t| is_name(t, 256)
}

text_id! {
    /// `arn:<partition>:kinesisvideo:<region>:<account>:stream/<name>/<creation epoch ms>`.
    /// Source: KVS API, StreamInfo.
    StreamArn, "stream ARN", "arn:<partition>:kinesisvideo:<region>:<account>:stream/<name>/<epoch ms>",
    |t| split_arn(t).is_some()
}

text_id! {
    /// A resume point given out by the service: 1 to 128 of `[a-zA-Z0-9_.-]`, opaque.
    /// Source: KVS API, StartSelector.
    ContinuationToken, "continuation token", "1 to 128 characters of a-z A-Z 0-9 _ . -", |t| is_name(t, 128)
}

text_id! {
    /// A fragment number: 1 to 128 decimal digits, unique and ascending in the order of ingestion.
    /// Ordered as a number, without ever being turned into one. Source: KVS API, Fragment.
    FragmentNumber, "fragment number", "1 to 128 decimal digits",
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit())
}

impl FragmentNumber {
    fn significant(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl Ord for FragmentNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.significant(), other.significant());
        (a.len(), a, &self.0).cmp(&(b.len(), b, &other.0))
    }
}

impl PartialOrd for FragmentNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The parts of a stream ARN that mean something to a client.
fn split_arn(text: &str) -> Option<(&str, &str)> {
    if text.len() > 1024 {
        return None;
    }
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let lower = |t: &str| {
        !t.is_empty()
            && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mut resource = resource.split('/');
    let (kind, name, created) = (resource.next()?, resource.next()?, resource.next()?);
    let valid = arn == "arn"
        && service == "kinesisvideo"
        && lower(partition)
        && lower(region)
        && digits(account)
        && kind == "stream"
        && is_name(name, 256)
        && digits(created)
        && resource.next().is_none();
    valid.then_some((region, name))
}

impl StreamArn {
    /// The stream's name inside the ARN.
    pub fn stream_name(&self) -> StreamName {
        StreamName(self.parts().1.to_owned())
    }

    /// The region inside the ARN.
    pub fn region(&self) -> &str {
        self.parts().0
    }

    fn parts(&self) -> (&str, &str) {
        split_arn(&self.0).unwrap_or(("", ""))
    }
}

/// Which stream an operation is about: every operation takes exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamRef {
    /// By ARN.
    Arn(StreamArn),
    /// By name, in the caller's account and region.
    Name(StreamName),
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn(arn) => arn.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A Matroska track number, 1 or more (RFC 9559 5.1.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackNumber(pub u64);

impl fmt::Display for TrackNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> FragmentNumber {
        text.parse().unwrap()
    }

    #[test]
    fn fragment_numbers_order_as_numbers() {
        assert!(number("9") < number("10"));
        assert!(number("010") > number("9"));
        assert!(number("91343852333181432392682062607743920442264000000") > number("913438523"));
        assert_ne!(number("01"), number("1"));
        assert_ne!(number("01").cmp(&number("1")), Ordering::Equal);
    }

    #[test]
    fn refuses_what_the_service_refuses() {
        for bad in ["", "a b", "a/b", "\u{e9}"] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
        assert!("x".repeat(257).parse::<StreamName>().is_err());
        assert!("12a".parse::<FragmentNumber>().is_err());
        assert!("arn:aws:kinesisvideo:us-west-2:1:channel/x/1".parse::<StreamArn>().is_err());
    }

    #[test]
    fn arn_gives_name_and_region() {
        let arn: StreamArn =
            "arn:aws-cn:kinesisvideo:cn-north-1:123456789012:stream/cam-1/1795352474008"
                .parse()
                .unwrap();
        assert_eq!(arn.stream_name().as_str(), "cam-1");
        assert_eq!(arn.region(), "cn-north-1");
    }
}
