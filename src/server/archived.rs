// SPDX-License-Identifier: MIT OR Apache-2.0
//! The operations on stored fragments: ListFragments and GetMediaForFragmentList.
//!
//! Source: KVS API, kinesis-video-archived-media.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    body::{BodyError, ReplyBody, channel},
    error::ApiError,
    get_media::tags::{Failure, document},
    service::Service,
    store::{FragmentMeta, Number, PageKey, StoreError, StoredFragment, Stream, TimeKind},
    token, validate,
};
use crate::{
    ebml::SizeWidth,
    ids::FragmentNumber,
    mkv::{SimpleTag, writer::tags},
    time::Timestamp,
    wire::{
        control::{
            FragmentInfo, FragmentSelector, FragmentSelectorType, GetMediaForFragmentListInput,
            ListFragmentsInput, ListFragmentsOutput,
        },
        get_media::{
            ChunkTags, EXCEPTION_ERROR_CODE, EXCEPTION_MESSAGE, FRAGMENT_NUMBER,
            PRODUCER_SIDE_TIMESTAMP, SERVER_SIDE_TIMESTAMP,
        },
    },
};

/// Fragments per page unless the caller says otherwise, and the most that may be asked for.
const DEFAULT_PAGE: u64 = 100;
const MAX_PAGE: u64 = 1000;
/// Fragments of one GetMediaForFragmentList.
const MAX_FRAGMENTS: u64 = 1000;
/// Pieces of media read ahead of the client.
const READ_AHEAD: usize = 2;

/// Where a listing goes on: its selector, and the last fragment that was listed.
#[derive(Serialize, Deserialize)]
struct Position {
    selector: FragmentSelector,
    after: String,
}

/// ListFragments, in the order of the selected time. Times have milliseconds, as clients see them:
/// a range of one printed time finds the fragment that was printed with it.
pub(super) fn list_fragments(
    service: &Service,
    input: ListFragmentsInput,
) -> Result<ListFragmentsOutput, ApiError> {
    let page = input.max_results.unwrap_or(DEFAULT_PAGE);
    validate::range("MaxResults", page, 1, MAX_PAGE)?;
    let (selector, after) = match (input.next_token, input.fragment_selector) {
        (Some(token), _) => {
            let Position { selector, after } = token::decode(&token)?;
            let after = PageKey::parse(&after)
                .ok_or_else(|| ApiError::invalid_argument("NextToken is damaged"))?;
            (selector, Some(after))
        }
        (None, Some(selector)) => (selector, None),
        (None, None) => {
            return Err(ApiError::invalid_argument(
                "FragmentSelector must be given unless NextToken is",
            ));
        }
    };
    let range = selected(&selector)?;
    let stream = service.stream(&input.stream)?;
    let kind = match selector.fragment_selector_type {
        FragmentSelectorType::ProducerTimestamp => TimeKind::Producer,
        FragmentSelectorType::ServerTimestamp => TimeKind::Server,
    };
    let found = service.store.list_fragments(&stream, kind, range, after, page as usize)?;
    let next_token = match found.next {
        Some(key) => Some(token::encode(&Position { selector, after: key.to_string() })?),
        None => None,
    };
    Ok(ListFragmentsOutput { fragments: found.fragments.iter().map(info).collect(), next_token })
}

/// The stored times, in ns, that print as milliseconds between the selector's, both inclusive.
fn selected(selector: &FragmentSelector) -> Result<RangeInclusive<Timestamp>, ApiError> {
    const MS: u64 = 1_000_000;
    let range = selector.timestamp_range;
    if range.start_timestamp > range.end_timestamp {
        return Err(ApiError::invalid_argument(format!(
            "TimestampRange starts at {}, after its end {}",
            range.start_timestamp, range.end_timestamp
        )));
    }
    let start = range.start_timestamp.as_nanos().div_ceil(MS).saturating_mul(MS);
    let end = range.end_timestamp.as_millis().saturating_mul(MS).saturating_add(MS - 1);
    Ok(Timestamp::from_nanos(start)..=Timestamp::from_nanos(end))
}

fn info(meta: &FragmentMeta) -> FragmentInfo {
    FragmentInfo {
        fragment_number: meta.number.to_fragment_number(),
        fragment_size_in_bytes: meta.size(),
        producer_timestamp: meta.producer,
        server_timestamp: meta.server,
        fragment_length_in_milliseconds: meta.length_ms.into(),
    }
}

/// GetMediaForFragmentList: whole fragments in the order of the request, each a document of its
/// own. A fragment that cannot be given is a document with exception tags in its place.
pub(super) fn get_media_for_fragment_list(
    service: &Arc<Service>,
    input: GetMediaForFragmentListInput,
) -> Result<ReplyBody, ApiError> {
    let asked = input.fragments.len() as u64;
    validate::range("the length of Fragments", asked, 1, MAX_FRAGMENTS)?;
    let stream = service.stream(&input.stream)?;
    let (sender, body) = channel(READ_AHEAD);
    let service = Arc::clone(service);
    tokio::spawn(async move {
        for number in &input.fragments {
            if send_fragment(&service, &stream, number, &sender).await.is_err() {
                return;
            }
        }
    });
    Ok(body)
}

/// The client has gone.
struct Gone;

async fn send_fragment(
    service: &Service,
    stream: &Stream,
    number: &FragmentNumber,
    to: &mpsc::Sender<Result<Bytes, BodyError>>,
) -> Result<(), Gone> {
    let pieces = match service.store.read_fragment(stream, Number::parse(number)).await {
        Ok(Some(fragment)) => with_tags(fragment),
        Ok(None) => vec![exception(number, Failure::NotFound, "the fragment does not exist")],
        Err(error) => {
            tracing::error!(%number, %error, "a stored fragment cannot be read");
            let message = match error {
                StoreError::Corrupt { .. } => "the fragment is corrupt",
                _ => "the fragment cannot be read",
            };
            vec![exception(number, Failure::Internal, message)]
        }
    };
    for piece in pieces {
        to.send(Ok(piece)).await.map_err(|_| Gone)?;
    }
    Ok(())
}

/// The fragment with the service's tags between its head and its Cluster.
fn with_tags(fragment: StoredFragment) -> Vec<Bytes> {
    let meta = fragment.meta;
    let number = meta.number.to_fragment_number();
    let head = ChunkTags::Head { number, server_time: meta.server, producer_time: meta.producer };
    let mut simple = head.to_simple_tags();
    // The API page spells these names, production clients read the short ones.
    simple.push(tag(SERVER_SIDE_TIMESTAMP, meta.server.to_decimal_seconds()));
    simple.push(tag(PRODUCER_SIDE_TIMESTAMP, meta.producer.to_decimal_seconds()));
    let service_tags = tags(&simple, SizeWidth::Four);

    let mut left = meta.head_len as usize;
    let mut out = Vec::with_capacity(fragment.pieces.len() + 2);
    let mut service_tags = Some(service_tags);
    for mut piece in fragment.pieces {
        if service_tags.is_some() && left <= piece.len() {
            out.push(piece.split_to(left));
            out.extend(service_tags.take());
        } else {
            left = left.saturating_sub(piece.len());
        }
        out.push(piece);
    }
    out.extend(service_tags);
    out.retain(|piece| !piece.is_empty());
    out
}

/// A document of its own that says why the fragment is missing.
fn exception(number: &FragmentNumber, failure: Failure, message: &str) -> Bytes {
    let simple = [
        tag(FRAGMENT_NUMBER, number.to_string()),
        tag(EXCEPTION_ERROR_CODE, failure.id().to_string()),
        tag(EXCEPTION_MESSAGE, message.to_owned()),
    ];
    document(&tags(&simple, SizeWidth::Four))
}

fn tag(name: &str, value: String) -> SimpleTag {
    SimpleTag { name: name.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::TimestampRange;

    fn ms(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    #[test]
    fn a_printed_time_finds_its_fragment() {
        let stored = Timestamp::from_nanos(1_500_000_700);
        let printed = Timestamp::from_secs_f64(stored.as_secs_f64()).unwrap();
        let range = |start_timestamp, end_timestamp| {
            selected(&FragmentSelector {
                fragment_selector_type: FragmentSelectorType::ServerTimestamp,
                timestamp_range: TimestampRange { start_timestamp, end_timestamp },
            })
        };
        assert!(range(printed, printed).unwrap().contains(&stored));
        assert!(!range(ms(1501), ms(1502)).unwrap().contains(&stored));
        assert!(!range(ms(1498), ms(1499)).unwrap().contains(&stored));
        assert!(range(ms(2), ms(1)).is_err());
    }

    #[test]
    fn tags_go_between_head_and_body_wherever_the_pieces_end() {
        let bytes = Bytes::from_static(b"headBODY");
        for cuts in [vec![8], vec![4, 4], vec![1, 7], vec![3, 2, 3], vec![4, 0, 4]] {
            let mut rest = bytes.clone();
            let pieces: Vec<_> = cuts.iter().map(|&n| rest.split_to(n)).collect();
            let meta = FragmentMeta {
                number: Number::from_parts(1, 2, 3),
                server: ms(1500),
                producer: ms(2000),
                length_ms: 0,
                timecode: 0,
                head_len: 4,
                body_len: 4,
            };
            let whole = with_tags(StoredFragment { meta, pieces }).concat();
            let text = String::from_utf8_lossy(&whole);
            assert!(text.starts_with("head") && text.ends_with("BODY"), "{cuts:?}");
            assert_eq!(text.matches("AWS_KINESISVIDEO_").count(), 5, "{cuts:?}");
        }
    }
}
