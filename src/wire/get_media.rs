// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetMedia: where to start, and the tags that the service puts around each fragment.
//!
//! Every fragment comes as a document of its own: header, head tags, Cluster, tail tags. A failed
//! one has error tags. Source: KVS API GetMedia and GetMediaForFragmentList, and captures.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContinuationToken, FragmentNumber},
    mkv::SimpleTag,
    time::Timestamp,
    wire::json,
};

/// Where GetMedia starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SelectorMembers", into = "SelectorMembers")]
pub enum StartSelector {
    /// At what this token points to.
    ContinuationToken(ContinuationToken),
    /// At the oldest fragment that is kept.
    Earliest,
    /// At the fragment after this one.
    FragmentNumber(FragmentNumber),
    /// At the newest fragment.
    Now,
    /// At the fragment that holds this producer time, or the next later one.
    ProducerTimestamp(Timestamp),
    /// At the fragment that holds this server time, or the next later one.
    ServerTimestamp(Timestamp),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum SelectorType {
    ContinuationToken,
    Earliest,
    FragmentNumber,
    Now,
    ProducerTimestamp,
    ServerTimestamp,
}

/// The selector as JSON has it: a type, and the one member that this type needs.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SelectorMembers {
    start_selector_type: SelectorType,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::optional_text")]
    after_fragment_number: Option<FragmentNumber>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "json::optional_epoch_seconds"
    )]
    start_timestamp: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::optional_text")]
    continuation_token: Option<ContinuationToken>,
}

impl From<StartSelector> for SelectorMembers {
    fn from(selector: StartSelector) -> Self {
        let bare = |start_selector_type| Self {
            start_selector_type,
            after_fragment_number: None,
            start_timestamp: None,
            continuation_token: None,
        };
        match selector {
            StartSelector::ContinuationToken(token) => {
                Self { continuation_token: Some(token), ..bare(SelectorType::ContinuationToken) }
            }
            StartSelector::Earliest => bare(SelectorType::Earliest),
            StartSelector::FragmentNumber(number) => {
                Self { after_fragment_number: Some(number), ..bare(SelectorType::FragmentNumber) }
            }
            StartSelector::Now => bare(SelectorType::Now),
            StartSelector::ProducerTimestamp(time) => {
                Self { start_timestamp: Some(time), ..bare(SelectorType::ProducerTimestamp) }
            }
            StartSelector::ServerTimestamp(time) => {
                Self { start_timestamp: Some(time), ..bare(SelectorType::ServerTimestamp) }
            }
        }
    }
}

/// A selector without the member that its type needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("StartSelectorType {selector_type} needs {member}")]
pub struct SelectorError {
    selector_type: &'static str,
    member: &'static str,
}

impl TryFrom<SelectorMembers> for StartSelector {
    type Error = SelectorError;

    fn try_from(members: SelectorMembers) -> Result<Self, SelectorError> {
        let missing = |selector_type, member| SelectorError { selector_type, member };
        let time = |selector_type| {
            members.start_timestamp.ok_or_else(|| missing(selector_type, "StartTimestamp"))
        };
        Ok(match members.start_selector_type {
            SelectorType::ContinuationToken => {
                let token = members.continuation_token;
                let error = || missing("CONTINUATION_TOKEN", "ContinuationToken");
                Self::ContinuationToken(token.ok_or_else(error)?)
            }
            SelectorType::Earliest => Self::Earliest,
            SelectorType::FragmentNumber => {
                let number = members.after_fragment_number;
                let error = || missing("FRAGMENT_NUMBER", "AfterFragmentNumber");
                Self::FragmentNumber(number.ok_or_else(error)?)
            }
            SelectorType::Now => Self::Now,
            SelectorType::ProducerTimestamp => Self::ProducerTimestamp(time("PRODUCER_TIMESTAMP")?),
            SelectorType::ServerTimestamp => Self::ServerTimestamp(time("SERVER_TIMESTAMP")?),
        })
    }
}

/// Number of the fragment.
pub const FRAGMENT_NUMBER: &str = "AWS_KINESISVIDEO_FRAGMENT_NUMBER";
/// When the service began to receive it, in seconds with three decimals.
pub const SERVER_TIMESTAMP: &str = "AWS_KINESISVIDEO_SERVER_TIMESTAMP";
/// When its first frame was made, in seconds with three decimals.
pub const PRODUCER_TIMESTAMP: &str = "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP";
/// [`SERVER_TIMESTAMP`] as the GetMediaForFragmentList page spells it.
pub const SERVER_SIDE_TIMESTAMP: &str = "AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP";
/// [`PRODUCER_TIMESTAMP`] as the GetMediaForFragmentList page spells it.
pub const PRODUCER_SIDE_TIMESTAMP: &str = "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP";
/// How far the fragment is behind the live edge, in milliseconds.
pub const MILLIS_BEHIND_NOW: &str = "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW";
/// Where to go on after this fragment.
pub const CONTINUATION_TOKEN: &str = "AWS_KINESISVIDEO_CONTINUATION_TOKEN";
/// Why GetMedia failed, as a number.
pub const ERROR_ID: &str = "AWS_KINESISVIDEO_ERROR_ID";
/// Why GetMedia failed, as a name.
pub const ERROR_CODE: &str = "AWS_KINESISVIDEO_ERROR_CODE";
/// Why GetMediaForFragmentList failed for this fragment, as a number.
pub const EXCEPTION_ERROR_CODE: &str = "AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE";
/// Why GetMediaForFragmentList failed for this fragment, in words.
pub const EXCEPTION_MESSAGE: &str = "AWS_KINESISVIDEO_EXCEPTION_MESSAGE";

/// What the service says about a fragment in one Tags element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkTags {
    /// The fragment, or the whole response, failed.
    Failed {
        /// Which fragment, when that is known.
        number: Option<FragmentNumber>,
        /// Number of the error; 0 when the service gave none.
        id: u32,
        /// Name of the error, or its description.
        message: String,
    },
    /// Before the Cluster.
    Head {
        /// Number of the fragment.
        number: FragmentNumber,
        /// When the service began to receive it.
        server_time: Timestamp,
        /// When its first frame was made.
        producer_time: Timestamp,
    },
    /// After the Cluster.
    Tail {
        /// Where to go on.
        continuation_token: Option<ContinuationToken>,
        /// How far behind the live edge, in milliseconds.
        behind_now_ms: Option<u64>,
    },
}

/// A tag of the service whose value cannot be what its name says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag {name} has the value \"{value}\", which is none")]
pub struct TagError {
    name: &'static str,
    value: String,
}

impl ChunkTags {
    /// Reads a Tags element; `None` when it holds no tag of the service, but the producer's.
    ///
    /// Reading is tolerant: order does not matter, foreign tags are passed over, and of two tags
    /// of one name the first counts. A head with one time alone takes that for both.
    ///
    /// # Errors
    /// [`TagError`] for a value of the wrong form.
    pub fn parse(tags: &[SimpleTag]) -> Result<Option<Self>, TagError> {
        let number = find(tags, FRAGMENT_NUMBER, |v| v.parse().ok())?;
        if let Some(failed) = parse_failed(tags, number.clone())? {
            return Ok(Some(failed));
        }
        let time = |name, side_name| match find(tags, name, |v| Timestamp::parse(v).ok())? {
            Some(time) => Ok(Some(time)),
            None => find(tags, side_name, |v| Timestamp::parse(v).ok()),
        };
        let server_time = time(SERVER_TIMESTAMP, SERVER_SIDE_TIMESTAMP)?;
        let producer_time = time(PRODUCER_TIMESTAMP, PRODUCER_SIDE_TIMESTAMP)?;
        if let (Some(number), Some(some_time)) = (number, server_time.or(producer_time)) {
            return Ok(Some(Self::Head {
                number,
                server_time: server_time.unwrap_or(some_time),
                producer_time: producer_time.unwrap_or(some_time),
            }));
        }
        let continuation_token = find(tags, CONTINUATION_TOKEN, |v| v.parse().ok())?;
        let behind_now_ms = find(tags, MILLIS_BEHIND_NOW, |v| v.parse().ok())?;
        let tail = continuation_token.is_some() || behind_now_ms.is_some();
        Ok(tail.then_some(Self::Tail { continuation_token, behind_now_ms }))
    }

    /// The tags, in the order in which the service writes them.
    pub fn to_simple_tags(&self) -> Vec<SimpleTag> {
        let tag = |name: &str, value: String| SimpleTag { name: name.to_owned(), value };
        match self {
            Self::Failed { number, id, message } => {
                let number = number.iter().map(|number| tag(FRAGMENT_NUMBER, number.to_string()));
                let error = [tag(ERROR_CODE, message.clone()), tag(ERROR_ID, id.to_string())];
                number.chain(error).collect()
            }
            Self::Head { number, server_time, producer_time } => vec![
                tag(FRAGMENT_NUMBER, number.to_string()),
                tag(SERVER_TIMESTAMP, server_time.to_decimal_seconds()),
                tag(PRODUCER_TIMESTAMP, producer_time.to_decimal_seconds()),
            ],
            Self::Tail { continuation_token, behind_now_ms } => {
                let behind = behind_now_ms.iter().map(|ms| tag(MILLIS_BEHIND_NOW, ms.to_string()));
                let token = continuation_token.iter();
                behind.chain(token.map(|t| tag(CONTINUATION_TOKEN, t.to_string()))).collect()
            }
        }
    }
}

/// GetMedia's and GetMediaForFragmentList's two ways of saying that a fragment failed.
fn parse_failed(
    tags: &[SimpleTag],
    number: Option<FragmentNumber>,
) -> Result<Option<ChunkTags>, TagError> {
    let text = |v: &str| Some(v.to_owned());
    let id = find(tags, ERROR_ID, |v| v.parse().ok())?;
    let code = find(tags, ERROR_CODE, text)?;
    let exception = find(tags, EXCEPTION_ERROR_CODE, |v| v.parse().ok())?;
    let message = find(tags, EXCEPTION_MESSAGE, text)?;
    let (id, message) = (id.or(exception), code.or(message));
    Ok((id.is_some() || message.is_some()).then(|| ChunkTags::Failed {
        number,
        id: id.unwrap_or(0),
        message: message.unwrap_or_default(),
    }))
}

fn find<T>(
    tags: &[SimpleTag],
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, TagError> {
    let Some(tag) = tags.iter().find(|tag| tag.name == name) else { return Ok(None) };
    match parse(&tag.value) {
        Some(value) => Ok(Some(value)),
        None => Err(TagError { name, value: tag.value.chars().take(64).collect() }),
    }
}

#[cfg(test)]
mod tests;
