// SPDX-License-Identifier: MIT OR Apache-2.0
//! The operations on streams themselves: create, describe, list, update, delete, tag, and where
//! their media goes.
//!
//! A stream is ACTIVE from its creation and gone from its deletion: what the service does in the
//! background is done here before the answer. Source: KVS API, kinesisvideo.

use std::collections::BTreeMap;

use super::{
    error::ApiError,
    service::Service,
    store::{Stream, StreamMeta},
    token, validate,
};
use crate::{
    ids::{StreamArn, StreamName, StreamRef},
    io::clock,
    time::Timestamp,
    wire::control::{
        CreateStreamInput, CreateStreamOutput, DeleteStreamInput, DescribeStreamInput,
        DescribeStreamOutput, Empty, GetDataEndpointInput, GetDataEndpointOutput, ListStreamsInput,
        ListStreamsOutput, ListTagsForStreamInput, ListTagsForStreamOutput, RetentionOperation,
        StreamInfo, StreamStatus, TagStreamInput, UntagStreamInput, UpdateDataRetentionInput,
        UpdateStreamInput,
    },
};

/// Streams per page of ListStreams, and the most that may be asked for.
const MAX_PAGE: u32 = 10_000;

/// CreateStream.
pub(super) async fn create_stream(
    service: &Service,
    input: CreateStreamInput,
) -> Result<CreateStreamOutput, ApiError> {
    input.device_name.as_deref().map_or(Ok(()), validate::device_name)?;
    input.media_type.as_deref().map_or(Ok(()), validate::media_type)?;
    input.kms_key_id.as_deref().map_or(Ok(()), validate::kms_key_id)?;
    let retention_hours = input.data_retention_in_hours.unwrap_or(0);
    validate::retention_hours(retention_hours)?;
    input.tags.as_ref().map_or(Ok(()), validate::tags)?;
    let max_streams = service.config.limits.max_streams;
    if service.store.streams("", None, max_streams).len() >= max_streams {
        return Err(ApiError::stream_limit(format!("this account may hold {max_streams} streams")));
    }

    let name = input.stream_name;
    let now = clock::wall();
    let arn = arn_of(service, &name, now)?;
    let meta = StreamMeta {
        retention_hours,
        media_type: input.media_type,
        device_name: input.device_name,
        kms_key_id: input.kms_key_id,
        tags: input.tags.unwrap_or_default(),
        ..StreamMeta::new(name, arn.clone(), now)
    };
    service.store.create_stream(meta).await?;
    Ok(CreateStreamOutput { stream_arn: Some(arn) })
}

/// DescribeStream.
pub(super) fn describe_stream(
    service: &Service,
    input: &DescribeStreamInput,
) -> Result<DescribeStreamOutput, ApiError> {
    let stream = service.stream(&input.stream)?;
    Ok(DescribeStreamOutput { stream_info: stream_info(service, &stream.meta()) })
}

/// ListStreams: in the order of names, so that a page goes on where the last one ended even when
/// streams come and go in between.
pub(super) fn list_streams(
    service: &Service,
    input: &ListStreamsInput,
) -> Result<ListStreamsOutput, ApiError> {
    let page = input.max_results.unwrap_or(MAX_PAGE);
    validate::range("MaxResults", page.into(), 1, MAX_PAGE.into())?;
    let condition = input.stream_name_condition.as_ref();
    let prefix = condition.and_then(|c| c.comparison_value.as_deref());
    prefix.map_or(Ok(()), validate::comparison_value)?;
    let after: Option<String> = match input.next_token.as_deref() {
        None | Some("") => None,
        Some(token) => Some(token::decode(token)?),
    };

    let page = page as usize;
    let streams = service.store.streams(prefix.unwrap_or(""), after.as_deref(), page + 1);
    let mut metas: Vec<_> = streams.iter().map(Stream::meta).collect();
    let more = metas.len() > page;
    metas.truncate(page);
    let next_token = match metas.last() {
        Some(last) if more => Some(token::encode(&last.name.as_str())?),
        _ => None,
    };
    let stream_info_list = metas.iter().map(|meta| stream_info(service, meta)).collect();
    Ok(ListStreamsOutput { stream_info_list, next_token })
}

/// UpdateStream.
pub(super) async fn update_stream(
    service: &Service,
    input: UpdateStreamInput,
) -> Result<Empty, ApiError> {
    input.device_name.as_deref().map_or(Ok(()), validate::device_name)?;
    input.media_type.as_deref().map_or(Ok(()), validate::media_type)?;
    validate::version(&input.current_version)?;
    change(service, &input.stream, Some(&input.current_version), |meta| {
        if input.device_name.is_some() {
            meta.device_name.clone_from(&input.device_name);
        }
        if input.media_type.is_some() {
            meta.media_type.clone_from(&input.media_type);
        }
        meta.renew_version();
        Ok(())
    })
    .await
}

/// UpdateDataRetention.
pub(super) async fn update_data_retention(
    service: &Service,
    input: UpdateDataRetentionInput,
) -> Result<Empty, ApiError> {
    validate::version(&input.current_version)?;
    let by = input.data_retention_change_in_hours;
    if by == 0 {
        return Err(ApiError::invalid_argument("DataRetentionChangeInHours must be 1 or more"));
    }
    change(service, &input.stream, Some(&input.current_version), |meta| {
        let old = meta.retention_hours;
        let new = match input.operation {
            RetentionOperation::IncreaseDataRetention => old.checked_add(by),
            RetentionOperation::DecreaseDataRetention => old.checked_sub(by),
        };
        meta.retention_hours =
            new.filter(|hours| validate::retention_hours(*hours).is_ok()).ok_or_else(|| {
                ApiError::invalid_argument(format!(
                    "{old} hours changed by {by} would leave the allowed 0 to {}",
                    validate::MAX_RETENTION_HOURS
                ))
            })?;
        meta.renew_version();
        Ok(())
    })
    .await
}

/// DeleteStream.
pub(super) async fn delete_stream(
    service: &Service,
    input: &DeleteStreamInput,
) -> Result<Empty, ApiError> {
    input.current_version.as_deref().map_or(Ok(()), validate::version)?;
    let stream = service.stream(&StreamRef::Arn(input.stream_arn.clone()))?;
    check_version(&stream.meta(), input.current_version.as_deref())?;
    service.store.delete_stream(&stream).await?;
    Ok(Empty {})
}

/// TagStream.
pub(super) async fn tag_stream(
    service: &Service,
    input: TagStreamInput,
) -> Result<Empty, ApiError> {
    validate::tags(&input.tags)?;
    change(service, &input.stream, None, |meta| {
        meta.tags.extend(input.tags.clone());
        if meta.tags.len() > validate::MAX_TAGS {
            return Err(ApiError::too_many_tags(format!(
                "a stream carries {} tags at most; this would make {}",
                validate::MAX_TAGS,
                meta.tags.len()
            )));
        }
        Ok(())
    })
    .await
}

/// UntagStream.
pub(super) async fn untag_stream(
    service: &Service,
    input: UntagStreamInput,
) -> Result<Empty, ApiError> {
    let keys = &input.tag_key_list;
    validate::range("the length of TagKeyList", keys.len() as u64, 1, validate::MAX_TAGS as u64)?;
    keys.iter().try_for_each(|key| validate::tag_key(key))?;
    change(service, &input.stream, None, |meta| {
        meta.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await
}

/// ListTagsForStream. All tags of a stream fit one page, so no token is ever given out.
pub(super) fn list_tags_for_stream(
    service: &Service,
    input: &ListTagsForStreamInput,
) -> Result<ListTagsForStreamOutput, ApiError> {
    if input.next_token.as_deref().is_some_and(|token| !token.is_empty()) {
        return Err(ApiError::invalid_argument(
            "NextToken is none that this operation has given out",
        ));
    }
    let tags: BTreeMap<_, _> = service.stream(&input.stream)?.meta().tags.clone();
    Ok(ListTagsForStreamOutput { next_token: None, tags })
}

/// GetDataEndpoint: one base URL for every operation, because all paths differ.
pub(super) fn get_data_endpoint(
    service: &Service,
    input: &GetDataEndpointInput,
) -> Result<GetDataEndpointOutput, ApiError> {
    service.stream(&input.stream)?;
    Ok(GetDataEndpointOutput { data_endpoint: service.url.clone() })
}

/// Changes metadata under the version that the caller has seen, if it has to name one.
async fn change(
    service: &Service,
    which: &StreamRef,
    version: Option<&str>,
    edit: impl FnOnce(&mut StreamMeta) -> Result<(), ApiError>,
) -> Result<Empty, ApiError> {
    let stream = service.stream(which)?;
    service
        .store
        .update_stream(&stream, clock::wall(), |meta| {
            check_version(meta, version)?;
            edit(meta)
        })
        .await?;
    Ok(Empty {})
}

fn check_version(meta: &StreamMeta, named: Option<&str>) -> Result<(), ApiError> {
    match named {
        Some(named) if named != meta.version => Err(ApiError::version_mismatch(format!(
            "the stream's version is {}, not {named}: describe it and try again",
            meta.version
        ))),
        _ => Ok(()),
    }
}

fn arn_of(service: &Service, name: &StreamName, now: Timestamp) -> Result<StreamArn, ApiError> {
    let config = &service.config;
    format!(
        "arn:{}:kinesisvideo:{}:{}:stream/{name}/{}",
        config.partition(),
        config.region,
        config.account_id,
        now.as_millis()
    )
    .parse()
    .map_err(ApiError::internal)
}

fn stream_info(service: &Service, meta: &StreamMeta) -> StreamInfo {
    let default_key = || {
        let config = &service.config;
        let (partition, region, account) = (config.partition(), &config.region, &config.account_id);
        format!("arn:{partition}:kms:{region}:{account}:alias/aws/kinesisvideo")
    };
    StreamInfo {
        device_name: meta.device_name.clone(),
        stream_name: Some(meta.name.clone()),
        stream_arn: Some(meta.arn.clone()),
        media_type: meta.media_type.clone(),
        kms_key_id: Some(meta.kms_key_id.clone().unwrap_or_else(default_key)),
        version: Some(meta.version.clone()),
        status: Some(StreamStatus::Active),
        creation_time: Some(meta.created),
        data_retention_in_hours: Some(meta.retention_hours),
    }
}
