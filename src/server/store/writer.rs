// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one thread that changes the data folder.
//!
//! Whatever waits when the thread comes round is done together (group commit): the records of all
//! streams are written, each touched segment file is synced once, and one index transaction makes
//! them visible. **Only then is anybody told that a fragment is durable.** A segment in which
//! anything failed is never appended to again.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs, io,
    path::Path,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    StoreConfig, StoreError,
    index::Index,
    record::{FragmentMeta, crc_of},
    segment::{Folder, Segment, replace_file, sync_folder},
    stream::Stream,
};
use crate::time::Timestamp;

/// Bytes written in one commit at the most, so that the first of them does not wait for ever.
const BATCH_BYTES: u64 = 64 << 20;
/// Fragments removed in one commit at the most, so that appends come through.
const EXPIRE_BATCH: usize = 4096;

pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

pub(super) enum Command {
    Append(Append),
    /// Creates or changes a stream's metadata.
    PutStream {
        id: u64,
        json: Vec<u8>,
        done: Reply,
    },
    DropStream {
        id: u64,
        done: Reply,
    },
    /// Removes the fragments of a stream that arrived before a time.
    Expire {
        id: u64,
        cutoff: Timestamp,
        done: Reply,
    },
    Stop {
        done: Reply,
    },
}

pub(super) struct Append {
    pub(super) stream: Stream,
    pub(super) meta: FragmentMeta,
    pub(super) pieces: Vec<Bytes>,
    pub(super) done: Reply,
}

pub(super) struct Writer {
    pub(super) folder: Folder,
    pub(super) index: Arc<Index>,
    pub(super) config: StoreConfig,
    /// The segments that are appended to, by stream.
    pub(super) segments: HashMap<u64, Segment>,
}

/// What one stream has in a batch.
struct Written {
    segment: u64,
    records: Vec<(u64, FragmentMeta)>,
    end: u64,
}

impl Writer {
    /// Works until told to stop or until nobody can send any more.
    pub(super) fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match commands.recv() {
                    Ok(command) => waiting.push_back(command),
                    Err(mpsc::RecvError) => return,
                }
            }
            waiting.extend(commands.try_iter());
            let batch = take_appends(&mut waiting);
            if !batch.is_empty() {
                self.append(batch);
                continue;
            }
            let Some(command) = waiting.pop_front() else { continue };
            match command {
                Command::Append(append) => self.append(vec![append]),
                Command::PutStream { id, json, done } => reply(done, self.put_stream(id, &json)),
                Command::DropStream { id, done } => reply(done, self.drop_stream(id)),
                Command::Expire { id, cutoff, done } => reply(done, self.expire(id, cutoff)),
                Command::Stop { done } => {
                    reply(done, Ok(()));
                    return;
                }
            }
        }
    }

    fn append(&mut self, batch: Vec<Append>) {
        let mut groups: BTreeMap<u64, Vec<Append>> = BTreeMap::new();
        for append in batch {
            if append.stream.is_deleted() {
                reply(append.done, Err(StoreError::NoStream));
            } else {
                groups.entry(append.stream.id()).or_default().push(append);
            }
        }
        let mut written = Vec::new();
        let mut files = Vec::new();
        for (stream, appends) in groups {
            match self.write(stream, &appends) {
                Ok((what, file)) => {
                    written.push((stream, what, appends));
                    files.push(file);
                }
                Err(error) => self.fail(stream, appends, &error),
            }
        }
        let synced: Vec<_> = files.iter().map(fs::File::sync_data).collect();
        let mut durable = Vec::new();
        for ((stream, what, appends), synced) in written.into_iter().zip(synced) {
            match synced {
                Ok(()) => durable.push((stream, what, appends)),
                Err(error) => {
                    let error = StoreError::Io(format!("cannot sync a segment: {error}"));
                    self.fail(stream, appends, &error);
                }
            }
        }
        let indexed = self.index(&durable);
        for (stream, _, appends) in durable {
            match &indexed {
                Ok(()) => appends.into_iter().for_each(|append| reply(append.done, Ok(()))),
                Err(error) => self.fail(stream, appends, error),
            }
        }
    }

    /// Writes one stream's records; gives the file, which is not synced yet.
    fn write(
        &mut self,
        stream: u64,
        appends: &[Append],
    ) -> Result<(Written, fs::File), StoreError> {
        let first = appends.first().map(|append| append.meta.server).unwrap_or_default();
        let segment = self.segment(stream, first)?;
        let (mut records, mut pieces, mut offset) = (Vec::new(), Vec::new(), segment.end);
        for Append { meta, pieces: payload, .. } in appends {
            records.push((offset, *meta));
            pieces.push(meta.encode(stream, crc_of(payload)));
            pieces.extend(payload.iter().cloned());
            offset += meta.record_len();
        }
        let file = segment.append(&pieces)?;
        Ok((Written { segment: segment.id, records, end: segment.end }, file))
    }

    /// The segment that takes a stream's next record, a new one when it is time.
    fn segment(&mut self, stream: u64, now: Timestamp) -> Result<&mut Segment, StoreError> {
        let full = |segment: &Segment| {
            segment.end >= self.config.segment_bytes
                || now.saturating_since(segment.since) >= self.config.segment_age
        };
        if self.segments.get(&stream).is_none_or(full) {
            let last = self.folder.segments(stream)?.last().copied().unwrap_or(0);
            let segment = Segment::create(&self.folder, stream, last + 1, now)?;
            self.segments.insert(stream, segment);
        }
        self.segments.get_mut(&stream).ok_or(StoreError::NoStream)
    }

    fn index(&self, written: &[(u64, Written, Vec<Append>)]) -> Result<(), StoreError> {
        if written.is_empty() {
            return Ok(());
        }
        let batch = self.index.begin()?;
        for (stream, what, _) in written {
            batch.insert(*stream, what.segment, &what.records, what.end)?;
        }
        batch.commit()
    }

    fn fail(&mut self, stream: u64, appends: Vec<Append>, error: &StoreError) {
        tracing::error!(stream, %error, "fragments were not stored");
        self.segments.remove(&stream);
        for append in appends {
            reply(append.done, Err(error.clone()));
        }
    }

    fn put_stream(&self, id: u64, json: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.stream(id);
        match fs::create_dir(&path) {
            Ok(()) => sync_folder(&self.folder.streams())?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(StoreError::io("create", &path)(e)),
        }
        replace_file(&self.folder.stream_json(id), json)?;
        let batch = self.index.begin()?;
        batch.put_stream(id, json)?;
        batch.commit()
    }

    fn drop_stream(&mut self, id: u64) -> Result<(), StoreError> {
        self.segments.remove(&id);
        let (path, deleted) = (self.folder.stream(id), self.folder.deleted(id));
        match fs::rename(&path, &deleted) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("rename", &path)(e));
            }
            _ => sync_folder(&self.folder.streams())?,
        }
        finish_drop(&self.folder, &self.index, id)
    }

    fn expire(&mut self, id: u64, cutoff: Timestamp) -> Result<(), StoreError> {
        loop {
            let numbers = self.index.expired(id, cutoff, EXPIRE_BATCH)?;
            if numbers.is_empty() {
                return Ok(());
            }
            let batch = self.index.begin()?;
            for segment in batch.remove(id, &numbers)? {
                self.remove_segment(id, segment)?;
                batch.remove_segment(id, segment)?;
            }
            batch.commit()?;
            tracing::debug!(stream = id, fragments = numbers.len(), "retention passed");
        }
    }

    /// Removes a segment's file before the index forgets it: a file that the index does not know
    /// would be taken for one that was to be indexed.
    fn remove_segment(&mut self, stream: u64, segment: u64) -> Result<(), StoreError> {
        if self.segments.get(&stream).is_some_and(|open| open.id == segment) {
            self.segments.remove(&stream);
        }
        remove_file(&self.folder.segment(stream, segment))?;
        sync_folder(&self.folder.stream(stream))
    }
}

/// Takes the appends at the front that go into one commit.
fn take_appends(waiting: &mut VecDeque<Command>) -> Vec<Append> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(command) = waiting.pop_front()
    {
        match command {
            Command::Append(append) => {
                bytes += append.meta.record_len();
                batch.push(append);
            }
            other => {
                waiting.push_front(other);
                break;
            }
        }
    }
    batch
}

/// Removes a stream whose folder is renamed already.
pub(super) fn finish_drop(folder: &Folder, index: &Index, id: u64) -> Result<(), StoreError> {
    let batch = index.begin()?;
    batch.remove_stream(id)?;
    batch.commit()?;
    let path = folder.deleted(id);
    match fs::remove_dir_all(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &path)(e)),
        _ => Ok(()),
    }
}

/// Removes a file, or finds it gone.
pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

fn reply(done: Reply, result: Result<(), StoreError>) {
    // Whoever asked may have gone; the work is done all the same.
    drop(done.send(result));
}
