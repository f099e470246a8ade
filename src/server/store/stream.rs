// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of a stream besides its fragments.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    StoreError,
    memory::Memory,
    number::{Number, Sequence},
};
use crate::{
    ids::{StreamArn, StreamName, StreamRef},
    time::Timestamp,
};

/// A stream's metadata, as DescribeStream tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMeta {
    /// Unique in the store.
    pub name: StreamName,
    /// Holds the name and the time of creation, so that a stream created anew has another one.
    pub arn: StreamArn,
    /// Guards updates; see [`Self::renew_version`].
    pub version: String,
    /// When it was created.
    pub created: Timestamp,
    /// How long fragments are kept; 0 keeps them in a bounded memory buffer only.
    pub retention_hours: u32,
    /// As CreateStream gave it.
    pub media_type: Option<String>,
    /// As CreateStream gave it.
    pub device_name: Option<String>,
    /// As CreateStream gave it.
    pub kms_key_id: Option<String>,
    /// The stream's tags.
    pub tags: BTreeMap<String, String>,
}

impl StreamMeta {
    /// Metadata of a stream that is created now, with a fresh version and nothing optional.
    pub fn new(name: StreamName, arn: StreamArn, created: Timestamp) -> Self {
        let mut meta = Self {
            name,
            arn,
            version: String::new(),
            created,
            retention_hours: 0,
            media_type: None,
            device_name: None,
            kms_key_id: None,
            tags: BTreeMap::new(),
        };
        meta.renew_version();
        meta
    }

    /// Gives the metadata another version: 20 random letters and digits.
    pub fn renew_version(&mut self) {
        self.version = std::iter::repeat_with(fastrand::alphanumeric).take(20).collect();
    }

    /// How long fragments are kept, and whether on disk at all.
    pub fn retention(&self) -> Option<Duration> {
        (self.retention_hours > 0)
            .then(|| Duration::from_secs(3600 * u64::from(self.retention_hours)))
    }

    pub(super) fn encode(&self, id: u64) -> Result<Vec<u8>, StoreError> {
        let row = StreamRow {
            id,
            name: self.name.as_str().to_owned(),
            arn: self.arn.as_str().to_owned(),
            version: self.version.clone(),
            created_ns: self.created.as_nanos(),
            retention_hours: self.retention_hours,
            media_type: self.media_type.clone(),
            device_name: self.device_name.clone(),
            kms_key_id: self.kms_key_id.clone(),
            tags: self.tags.clone(),
        };
        serde_json::to_vec_pretty(&row).map_err(|e| StoreError::Metadata(e.to_string()))
    }

    pub(super) fn decode(json: &[u8]) -> Result<(u64, Self), StoreError> {
        let metadata = |e: &dyn std::fmt::Display| StoreError::Metadata(e.to_string());
        let row: StreamRow = serde_json::from_slice(json).map_err(|e| metadata(&e))?;
        let meta = Self {
            name: row.name.parse().map_err(|e| metadata(&e))?,
            arn: row.arn.parse().map_err(|e| metadata(&e))?,
            version: row.version,
            created: Timestamp::from_nanos(row.created_ns),
            retention_hours: row.retention_hours,
            media_type: row.media_type,
            device_name: row.device_name,
            kms_key_id: row.kms_key_id,
            tags: row.tags,
        };
        Ok((row.id, meta))
    }
}

/// [`StreamMeta`] as it lies in the index and in `stream.json`.
#[derive(Serialize, Deserialize)]
struct StreamRow {
    id: u64,
    name: String,
    arn: String,
    version: String,
    created_ns: u64,
    retention_hours: u32,
    media_type: Option<String>,
    device_name: Option<String>,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// A stream of the store. Cloning it clones a reference; it outlives the stream's deletion.
#[derive(Clone, Debug)]
pub struct Stream(pub(super) Arc<StreamState>);

#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) id: u64,
    pub(super) meta: RwLock<Arc<StreamMeta>>,
    /// Serializes metadata updates from reading to durable.
    pub(super) updating: tokio::sync::Mutex<()>,
    pub(super) numbers: Mutex<Sequence>,
    pub(super) memory: Mutex<Memory>,
    deleted: AtomicBool,
    on_delete: Notify,
}

impl Stream {
    pub(super) fn new(id: u64, meta: StreamMeta, numbers: Sequence, memory: Memory) -> Self {
        Self(Arc::new(StreamState {
            id,
            meta: RwLock::new(Arc::new(meta)),
            updating: tokio::sync::Mutex::new(()),
            numbers: Mutex::new(numbers),
            memory: Mutex::new(memory),
            deleted: AtomicBool::new(false),
            on_delete: Notify::new(),
        }))
    }

    /// Distinguishes streams, also those of the same name after each other.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The metadata as of now.
    pub fn meta(&self) -> Arc<StreamMeta> {
        self.0.meta.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.0.deleted.load(Ordering::Acquire)
    }

    /// Waits until it is deleted.
    pub async fn deleted(&self) {
        loop {
            let notified = self.0.on_delete.notified();
            if self.is_deleted() {
                return;
            }
            notified.await;
        }
    }

    /// The number of a fragment whose first byte arrived at `server`.
    pub fn next_number(&self, server: Timestamp) -> Number {
        let mut numbers = self.0.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.next(server, fastrand::u32(..))
    }

    /// Whether `which` means this stream.
    pub fn is(&self, which: &StreamRef) -> bool {
        let meta = self.meta();
        match which {
            StreamRef::Arn(arn) => *arn == meta.arn,
            StreamRef::Name(name) => *name == meta.name,
        }
    }

    pub(super) fn set_meta(&self, meta: StreamMeta) -> Arc<StreamMeta> {
        let meta = Arc::new(meta);
        *self.0.meta.write().unwrap_or_else(PoisonError::into_inner) = meta.clone();
        meta
    }

    pub(super) fn set_deleted(&self) {
        self.0.deleted.store(true, Ordering::Release);
        self.0.on_delete.notify_waiters();
    }

    pub(super) fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_its_encoding() {
        let arn = "arn:aws:kinesisvideo:us-west-2:1:stream/cam/5".parse().unwrap();
        let mut meta =
            StreamMeta::new("cam".parse().unwrap(), arn, Timestamp::from_nanos(5_000_001));
        meta.retention_hours = 7;
        meta.tags.insert("a b".into(), "\u{e4}".into());
        meta.media_type = Some("video/h264".into());
        assert_eq!(StreamMeta::decode(&meta.encode(9).unwrap()).unwrap(), (9, meta.clone()));
        let version = meta.version.clone();
        assert!(version.len() == 20 && version.bytes().all(|b| b.is_ascii_alphanumeric()));
        meta.renew_version();
        assert_ne!(meta.version, version);
    }
}
