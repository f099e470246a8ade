// SPDX-License-Identifier: MIT OR Apache-2.0
//! The acks that PutMedia answers with while the upload runs.
//!
//! ```text
//! {"EventType":"RECEIVED","FragmentTimecode":1711124585823,"FragmentNumber":"9134..."}\n
//! {"EventType":"ERROR","FragmentTimecode":5,"FragmentNumber":"9134...","ErrorCode":"...","ErrorId":4500}\n
//! {"EventType":"IDLE"}\n
//! ```
//!
//! **The law: after every [`AckParser::push`], call [`AckParser::pull`] until it gives
//! `Ok(None)`.** After an error the response is of no use any more.
//!
//! Reading is tolerant, because the documentation and the service disagree in places: bytes between
//! objects are passed over, numbers may be strings and the other way round, unknown members are
//! passed over, and so are events of an unknown type. One ack is 1024 bytes at the most, the bound
//! of AWS's own parser.

use std::{fmt, mem};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::ids::FragmentNumber;

/// Bytes of one ack at the most, from `{` to `}`. Source: PIC `AckParser.h`.
pub const MAX_ACK_BYTES: usize = 1024;

/// What the service says about a fragment, or about the session.
///
/// `timecode` is the Cluster's timestamp exactly as it was sent, in ticks of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckEvent {
    /// The fragment begins to arrive.
    Buffering {
        /// The Cluster's timestamp in ticks.
        timecode: u64,
        /// The number the service gave it.
        number: FragmentNumber,
    },
    /// Something is wrong; the service ends the session.
    Error {
        /// The Cluster's timestamp in ticks, when it is about a fragment.
        timecode: Option<u64>,
        /// The fragment's number, when it is about one that has a number.
        number: Option<FragmentNumber>,
        /// What: see `wire::error_id`.
        id: u32,
        /// The name of `id`.
        code: String,
    },
    /// The session is open and nothing arrives.
    Idle {
        /// The Cluster's timestamp in ticks, when the service names one.
        timecode: Option<u64>,
    },
    /// The fragment is stored for as long as the stream keeps fragments.
    Persisted {
        /// The Cluster's timestamp in ticks.
        timecode: u64,
        /// The number the service gave it.
        number: FragmentNumber,
    },
    /// The fragment has arrived as a whole.
    Received {
        /// The Cluster's timestamp in ticks.
        timecode: u64,
        /// The number the service gave it.
        number: FragmentNumber,
    },
}

/// An answer that is no ack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// It is no JSON object, or a member has the wrong type.
    #[error("ack \"{text}\" is not valid: {reason}")]
    Invalid {
        /// What came, cut to 128 characters.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is longer than [`MAX_ACK_BYTES`].
    #[error("ack is longer than {MAX_ACK_BYTES} bytes")]
    TooLong,
}

/// An ack as one line of JSON, newline included. One line is one write and one HTTP chunk.
pub fn encode(event: &AckEvent) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Members::from(event)).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The members of an ack, in the order in which the service writes them.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Members<'a> {
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment_timecode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<u32>,
}

impl<'a> From<&'a AckEvent> for Members<'a> {
    fn from(event: &'a AckEvent) -> Self {
        let of_fragment = |event_type, timecode, number: &'a FragmentNumber| Self {
            event_type,
            fragment_timecode: Some(timecode),
            fragment_number: Some(number.as_str()),
            ..Self::default()
        };
        match event {
            AckEvent::Buffering { timecode, number } => of_fragment("BUFFERING", *timecode, number),
            AckEvent::Error { timecode, number, id, code } => Self {
                event_type: "ERROR",
                fragment_timecode: *timecode,
                fragment_number: number.as_ref().map(FragmentNumber::as_str),
                error_code: Some(code),
                error_id: Some(*id),
            },
            AckEvent::Idle { timecode } => {
                Self { event_type: "IDLE", fragment_timecode: *timecode, ..Self::default() }
            }
            AckEvent::Persisted { timecode, number } => of_fragment("PERSISTED", *timecode, number),
            AckEvent::Received { timecode, number } => of_fragment("RECEIVED", *timecode, number),
        }
    }
}

/// Finds acks in a response body that comes in pieces of any size. See the module for its law.
#[derive(Debug, Default)]
pub struct AckParser {
    input: Vec<u8>,
    /// Bytes of `input` that belong to acks already given out.
    taken: usize,
    /// How far the object that starts at `taken` was looked through.
    scan: Scan,
}

#[derive(Debug, Default)]
struct Scan {
    /// Bytes looked at, from the object's `{` on; 0 while that was not found.
    len: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl AckParser {
    /// Hands over the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..mem::take(&mut self.taken));
        self.input.extend_from_slice(bytes);
    }

    /// The next ack; `None` when more input is needed.
    ///
    /// # Errors
    /// [`AckError`] when what comes next is no ack.
    pub fn pull(&mut self) -> Result<Option<AckEvent>, AckError> {
        while let Some(object) = self.next_object()? {
            let event = parse(self.input.get(object).unwrap_or_default())?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The range of the next whole object in `input`, now taken.
    fn next_object(&mut self) -> Result<Option<std::ops::Range<usize>>, AckError> {
        if self.scan.len == 0 {
            let rest = self.input.get(self.taken..).unwrap_or_default();
            match rest.iter().position(|&byte| byte == b'{') {
                Some(skipped) => self.taken += skipped,
                None => {
                    self.taken = self.input.len();
                    return Ok(None);
                }
            }
        }
        let start = self.taken;
        for &byte in self.input.get(start + self.scan.len..).unwrap_or_default() {
            if self.scan.len == MAX_ACK_BYTES {
                return Err(AckError::TooLong);
            }
            if self.scan.step(byte) {
                self.taken = start + mem::take(&mut self.scan).len;
                return Ok(Some(start..self.taken));
            }
        }
        Ok(None)
    }
}

impl Scan {
    /// Looks at one more byte; true when it closes the object.
    fn step(&mut self, byte: u8) -> bool {
        self.len += 1;
        if self.in_string {
            let ends = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_string = !ends;
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' => self.depth += 1,
            b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parsed {
    /// The prose of the PutMedia page calls it `AckEventType`.
    #[serde(alias = "AckEventType")]
    event_type: String,
    #[serde(default)]
    fragment_timecode: Option<Loose<u64>>,
    #[serde(default)]
    fragment_number: Option<Loose<FragmentNumber>>,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    error_id: Option<Loose<u32>>,
}

/// The event of one object; `None` for a type of event that is not known.
fn parse(object: &[u8]) -> Result<Option<AckEvent>, AckError> {
    let invalid = |reason: &dyn fmt::Display| AckError::Invalid {
        text: String::from_utf8_lossy(object).chars().take(128).collect(),
        reason: reason.to_string(),
    };
    let parsed: Parsed = serde_json::from_slice(object).map_err(|error| invalid(&error))?;
    let timecode = parsed.fragment_timecode.map(|loose| loose.0);
    let number = parsed.fragment_number.map(|loose| loose.0);
    let fragment = || match (timecode, number.clone()) {
        (Some(timecode), Some(number)) => Ok((timecode, number)),
        _ => Err(invalid(&"FragmentTimecode or FragmentNumber is missing")),
    };
    Ok(Some(match parsed.event_type.as_str() {
        "BUFFERING" => {
            fragment().map(|(timecode, number)| AckEvent::Buffering { timecode, number })?
        }
        "RECEIVED" => {
            fragment().map(|(timecode, number)| AckEvent::Received { timecode, number })?
        }
        "PERSISTED" => {
            fragment().map(|(timecode, number)| AckEvent::Persisted { timecode, number })?
        }
        "IDLE" => AckEvent::Idle { timecode },
        "ERROR" => {
            let id = parsed.error_id.ok_or_else(|| invalid(&"ErrorId is missing"))?.0;
            AckEvent::Error { timecode, number, id, code: parsed.error_code.unwrap_or_default() }
        }
        _ => return Ok(None),
    }))
}

/// A value that may come as a JSON string or as a JSON number.
struct Loose<T>(T);

impl<'de, T: std::str::FromStr<Err: fmt::Display>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<T: std::str::FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
            type Value = Loose<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or a string of one")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Loose<T>, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Loose<T>, E> {
                text.parse().map(Loose).map_err(E::custom)
            }
        }

        d.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests;
