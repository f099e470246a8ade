// SPDX-License-Identifier: MIT OR Apache-2.0
//! The index: which streams and fragments there are, and where their bytes lie.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | streams | stream id | metadata as JSON |
//! | fragments | stream id, number | place and metadata |
//! | by_producer, by_server | stream id, time in ns, number | |
//! | segments | stream id, segment | end of what is indexed, fragments alive |
//! | highest | stream id | highest number ever indexed |
//!
//! A [`Batch`] is one transaction: on stable storage when [`Batch::commit`] returns, or without any
//! effect. Everything in it but the streams can be made again from the segment files.

use std::{collections::BTreeMap, io, ops::RangeInclusive, path::Path};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageError, TableDefinition, WriteTransaction,
};

use super::{
    StoreError,
    number::{NUMBER_LEN, Number},
    record::FragmentMeta,
};
use crate::time::Timestamp;

type NumberKey = &'static [u8; NUMBER_LEN];
/// segment, offset, server ns, producer ns, timecode, length ms, head, body
type FragmentRow = (u64, u64, u64, u64, u64, u32, u32, u32);

const STREAMS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("streams");
const FRAGMENTS: TableDefinition<'_, (u64, NumberKey), FragmentRow> =
    TableDefinition::new("fragments");
const BY_PRODUCER: TableDefinition<'_, (u64, u64, NumberKey), ()> =
    TableDefinition::new("by_producer");
const BY_SERVER: TableDefinition<'_, (u64, u64, NumberKey), ()> = TableDefinition::new("by_server");
const SEGMENTS: TableDefinition<'_, (u64, u64), (u64, u64)> = TableDefinition::new("segments");
const HIGHEST: TableDefinition<'_, u64, NumberKey> = TableDefinition::new("highest");

/// The index needs little: a node is looked up per fragment read or written.
const CACHE_BYTES: usize = 32 << 20;

/// Which of a fragment's times is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// The producer's time of its Cluster.
    Producer,
    /// When its first byte arrived.
    Server,
}

impl TimeKind {
    /// This time of a fragment.
    pub fn of(self, meta: &FragmentMeta) -> Timestamp {
        match self {
            Self::Producer => meta.producer,
            Self::Server => meta.server,
        }
    }

    fn table(self) -> TableDefinition<'static, (u64, u64, NumberKey), ()> {
        match self {
            Self::Producer => BY_PRODUCER,
            Self::Server => BY_SERVER,
        }
    }
}

/// Where a fragment's record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What is known of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentRow {
    /// Everything before this offset is indexed, or was once.
    pub(super) end: u64,
    /// Fragments in it that are indexed.
    pub(super) live: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    db: Database,
}

impl Index {
    /// Opens the index, or creates it.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file cannot be reached, [`StoreError::Index`] when it can and is
    /// no sound index.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let db = builder.create(path).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(error)) if !is_damage(&error) => {
                StoreError::io("open", path)(error)
            }
            DatabaseError::DatabaseAlreadyOpen => StoreError::Locked(path.display().to_string()),
            error => StoreError::index(error),
        })?;
        let index = Self { db };
        let batch = index.begin()?;
        batch.create_tables()?;
        batch.commit()?;
        Ok(index)
    }

    /// Starts a transaction that is on stable storage once it is committed.
    pub(super) fn begin(&self) -> Result<Batch, StoreError> {
        let mut tx = self.db.begin_write().map_err(StoreError::index)?;
        tx.set_durability(Durability::Immediate).map_err(StoreError::index)?;
        Ok(Batch { tx })
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        self.db.begin_read().map_err(StoreError::index)
    }

    pub(super) fn streams(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let table = self.read()?.open_table(STREAMS).map_err(StoreError::index)?;
        let rows = table.iter().map_err(StoreError::index)?;
        rows.map(|row| Ok(row.map_err(StoreError::index)?.1.value().to_vec())).collect()
    }

    /// The highest number that was ever indexed.
    pub(super) fn highest(&self, stream: u64) -> Result<Option<Number>, StoreError> {
        let table = self.read()?.open_table(HIGHEST).map_err(StoreError::index)?;
        let row = table.get(stream).map_err(StoreError::index)?;
        Ok(row.map(|row| Number::from_bytes(*row.value())))
    }

    pub(super) fn segments(&self, stream: u64) -> Result<BTreeMap<u64, SegmentRow>, StoreError> {
        let table = self.read()?.open_table(SEGMENTS).map_err(StoreError::index)?;
        let rows = table.range((stream, 0)..=(stream, u64::MAX)).map_err(StoreError::index)?;
        rows.map(|row| {
            let (key, value) = row.map_err(StoreError::index)?;
            let (end, live) = value.value();
            Ok((key.value().1, SegmentRow { end, live }))
        })
        .collect()
    }

    pub(super) fn find(
        &self,
        stream: u64,
        number: Number,
    ) -> Result<Option<(Place, FragmentMeta)>, StoreError> {
        let table = self.read()?.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let row = table.get((stream, number.as_bytes())).map_err(StoreError::index)?;
        Ok(row.map(|row| decode(number, row.value())))
    }

    /// The first fragment with a number above `number`.
    pub(super) fn next_after(
        &self,
        stream: u64,
        number: Number,
    ) -> Result<Option<FragmentMeta>, StoreError> {
        let table = self.read()?.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let from = (stream, number.as_bytes());
        let to = (stream, Number::MAX.as_bytes());
        for row in table.range(from..=to).map_err(StoreError::index)? {
            let (key, value) = row.map_err(StoreError::index)?;
            let found = Number::from_bytes(*key.value().1);
            if found > number {
                return Ok(Some(decode(found, value.value()).1));
            }
        }
        Ok(None)
    }

    /// Fragments whose time lies in `range`, in the order of that time, at most `max`; those up to
    /// and including `after` are left out.
    pub(super) fn in_range(
        &self,
        stream: u64,
        kind: TimeKind,
        range: RangeInclusive<Timestamp>,
        after: Option<(Timestamp, Number)>,
        max: usize,
    ) -> Result<Vec<FragmentMeta>, StoreError> {
        let (start, end) = range.into_inner();
        let (start, number) =
            after.filter(|after| after.0 >= start).unwrap_or((start, Number::MIN));
        if start > end {
            return Ok(Vec::new());
        }
        let tx = self.read()?;
        let times = tx.open_table(kind.table()).map_err(StoreError::index)?;
        let fragments = tx.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let from = (stream, start.as_nanos(), number.as_bytes());
        let to = (stream, end.as_nanos(), Number::MAX.as_bytes());
        let mut found = Vec::new();
        for row in times.range(from..=to).map_err(StoreError::index)? {
            let row = row.map_err(StoreError::index)?;
            let (_, ns, key) = row.0.value();
            let number = Number::from_bytes(*key);
            if after == Some((Timestamp::from_nanos(ns), number)) {
                continue;
            }
            if found.len() == max {
                break;
            }
            if let Some(row) = fragments.get((stream, key)).map_err(StoreError::index)? {
                found.push(decode(number, row.value()).1);
            }
        }
        Ok(found)
    }

    /// The fragment that starts last at or before `time`.
    pub(super) fn last_before(
        &self,
        stream: u64,
        kind: TimeKind,
        time: Timestamp,
    ) -> Result<Option<FragmentMeta>, StoreError> {
        let tx = self.read()?;
        let times = tx.open_table(kind.table()).map_err(StoreError::index)?;
        let fragments = tx.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let from = (stream, 0, Number::MIN.as_bytes());
        let to = (stream, time.as_nanos(), Number::MAX.as_bytes());
        let Some(row) = times.range(from..=to).map_err(StoreError::index)?.next_back() else {
            return Ok(None);
        };
        let row = row.map_err(StoreError::index)?;
        let (_, _, key) = row.0.value();
        let found = fragments.get((stream, key)).map_err(StoreError::index)?;
        Ok(found.map(|row| decode(Number::from_bytes(*key), row.value()).1))
    }

    /// Fragments that arrived before `cutoff`, at most `max`.
    pub(super) fn expired(
        &self,
        stream: u64,
        cutoff: Timestamp,
        max: usize,
    ) -> Result<Vec<Number>, StoreError> {
        let table = self.read()?.open_table(BY_SERVER).map_err(StoreError::index)?;
        let from = (stream, 0, Number::MIN.as_bytes());
        let to = (stream, cutoff.as_nanos(), Number::MIN.as_bytes());
        let rows = table.range(from..to).map_err(StoreError::index)?.take(max);
        rows.map(|row| {
            let row = row.map_err(StoreError::index)?;
            let (_, _, key) = row.0.value();
            Ok(Number::from_bytes(*key))
        })
        .collect()
    }

    /// All fragments of one segment. Walks the whole stream: for repair only.
    pub(super) fn of_segment(&self, stream: u64, segment: u64) -> Result<Vec<Number>, StoreError> {
        let table = self.read()?.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let from = (stream, Number::MIN.as_bytes());
        let to = (stream, Number::MAX.as_bytes());
        let mut found = Vec::new();
        for row in table.range(from..=to).map_err(StoreError::index)? {
            let (key, value) = row.map_err(StoreError::index)?;
            if value.value().0 == segment {
                found.push(Number::from_bytes(*key.value().1));
            }
        }
        Ok(found)
    }
}

/// Whether an error of reading is about what the file holds.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn encode(place: Place, meta: &FragmentMeta) -> FragmentRow {
    (
        place.segment,
        place.offset,
        meta.server.as_nanos(),
        meta.producer.as_nanos(),
        meta.timecode,
        meta.length_ms,
        meta.head_len,
        meta.body_len,
    )
}

fn decode(number: Number, row: FragmentRow) -> (Place, FragmentMeta) {
    let (segment, offset, server, producer, timecode, length_ms, head_len, body_len) = row;
    let meta = FragmentMeta {
        number,
        server: Timestamp::from_nanos(server),
        producer: Timestamp::from_nanos(producer),
        length_ms,
        timecode,
        head_len,
        body_len,
    };
    (Place { segment, offset }, meta)
}

/// One transaction on the index.
pub(super) struct Batch {
    tx: WriteTransaction,
}

impl Batch {
    fn create_tables(&self) -> Result<(), StoreError> {
        self.tx.open_table(STREAMS).map_err(StoreError::index)?;
        self.tx.open_table(FRAGMENTS).map_err(StoreError::index)?;
        self.tx.open_table(BY_PRODUCER).map_err(StoreError::index)?;
        self.tx.open_table(BY_SERVER).map_err(StoreError::index)?;
        self.tx.open_table(SEGMENTS).map_err(StoreError::index)?;
        self.tx.open_table(HIGHEST).map_err(StoreError::index)?;
        Ok(())
    }

    pub(super) fn put_stream(&self, id: u64, json: &[u8]) -> Result<(), StoreError> {
        let mut table = self.tx.open_table(STREAMS).map_err(StoreError::index)?;
        table.insert(id, json).map_err(StoreError::index)?;
        Ok(())
    }

    /// Indexes the fragments of records in one segment, which is indexed up to `end` then.
    pub(super) fn insert(
        &self,
        stream: u64,
        segment: u64,
        records: &[(u64, FragmentMeta)],
        end: u64,
    ) -> Result<(), StoreError> {
        let mut fragments = self.tx.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let mut by_producer = self.tx.open_table(BY_PRODUCER).map_err(StoreError::index)?;
        let mut by_server = self.tx.open_table(BY_SERVER).map_err(StoreError::index)?;
        let mut segments = self.tx.open_table(SEGMENTS).map_err(StoreError::index)?;
        let mut highest = self.tx.open_table(HIGHEST).map_err(StoreError::index)?;
        let mut top = highest
            .get(stream)
            .map_err(StoreError::index)?
            .map_or(Number::MIN, |row| Number::from_bytes(*row.value()));
        let mut live = 0;
        for &(offset, meta) in records {
            let key = meta.number.as_bytes();
            if fragments.get((stream, key)).map_err(StoreError::index)?.is_some() {
                continue;
            }
            let row = encode(Place { segment, offset }, &meta);
            fragments.insert((stream, key), row).map_err(StoreError::index)?;
            let (producer, server) = (meta.producer.as_nanos(), meta.server.as_nanos());
            by_producer.insert((stream, producer, key), ()).map_err(StoreError::index)?;
            by_server.insert((stream, server, key), ()).map_err(StoreError::index)?;
            top = top.max(meta.number);
            live += 1;
        }
        highest.insert(stream, top.as_bytes()).map_err(StoreError::index)?;
        let before = segments.get((stream, segment)).map_err(StoreError::index)?.map(|r| r.value());
        let (old_end, old_live) = before.unwrap_or((0, 0));
        let row = (old_end.max(end), old_live + live);
        segments.insert((stream, segment), row).map_err(StoreError::index)?;
        Ok(())
    }

    /// Removes fragments; gives the segments in which none is left.
    pub(super) fn remove(&self, stream: u64, numbers: &[Number]) -> Result<Vec<u64>, StoreError> {
        let mut fragments = self.tx.open_table(FRAGMENTS).map_err(StoreError::index)?;
        let mut by_producer = self.tx.open_table(BY_PRODUCER).map_err(StoreError::index)?;
        let mut by_server = self.tx.open_table(BY_SERVER).map_err(StoreError::index)?;
        let mut segments = self.tx.open_table(SEGMENTS).map_err(StoreError::index)?;
        let mut gone = BTreeMap::new();
        for &number in numbers {
            let key = number.as_bytes();
            let row = fragments.remove((stream, key)).map_err(StoreError::index)?;
            let Some((place, meta)) = row.map(|row| decode(number, row.value())) else { continue };
            let (producer, server) = (meta.producer.as_nanos(), meta.server.as_nanos());
            by_producer.remove((stream, producer, key)).map_err(StoreError::index)?;
            by_server.remove((stream, server, key)).map_err(StoreError::index)?;
            *gone.entry(place.segment).or_insert(0) += 1;
        }
        let mut empty = Vec::new();
        for (segment, count) in gone {
            let row =
                segments.get((stream, segment)).map_err(StoreError::index)?.map(|r| r.value());
            let Some((end, live)) = row else { continue };
            let live = live.saturating_sub(count);
            segments.insert((stream, segment), (end, live)).map_err(StoreError::index)?;
            if live == 0 {
                empty.push(segment);
            }
        }
        Ok(empty)
    }

    /// Forgets a segment whose file is gone.
    pub(super) fn remove_segment(&self, stream: u64, segment: u64) -> Result<(), StoreError> {
        let mut segments = self.tx.open_table(SEGMENTS).map_err(StoreError::index)?;
        segments.remove((stream, segment)).map_err(StoreError::index)?;
        Ok(())
    }

    /// Forgets a stream and all its fragments.
    pub(super) fn remove_stream(&self, stream: u64) -> Result<(), StoreError> {
        let (min, max) = (Number::MIN, Number::MAX);
        let (min, max) = (min.as_bytes(), max.as_bytes());
        let mut streams = self.tx.open_table(STREAMS).map_err(StoreError::index)?;
        streams.remove(stream).map_err(StoreError::index)?;
        let mut fragments = self.tx.open_table(FRAGMENTS).map_err(StoreError::index)?;
        fragments
            .retain_in((stream, min)..=(stream, max), |_, _| false)
            .map_err(StoreError::index)?;
        for table in [BY_PRODUCER, BY_SERVER] {
            let mut times = self.tx.open_table(table).map_err(StoreError::index)?;
            times
                .retain_in((stream, 0, min)..=(stream, u64::MAX, max), |_, ()| false)
                .map_err(StoreError::index)?;
        }
        let mut segments = self.tx.open_table(SEGMENTS).map_err(StoreError::index)?;
        segments
            .retain_in((stream, 0)..=(stream, u64::MAX), |_, _| false)
            .map_err(StoreError::index)?;
        let mut highest = self.tx.open_table(HIGHEST).map_err(StoreError::index)?;
        highest.remove(stream).map_err(StoreError::index)?;
        Ok(())
    }

    /// Makes all of it durable.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().map_err(StoreError::index)
    }
}
