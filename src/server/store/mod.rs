// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where streams and fragments are kept: append-only segment files and an index over them.
//!
//! **The law: [`Stored::Durable`] means that the fragment's bytes and its index entry are on
//! stable storage.** After `kill -9` or a power cut at any moment, opening the folder again gives
//! exactly these fragments, and at most newer whole ones; a torn tail is cut off and logged. Bytes
//! that are not those that were stored are never given out.
//!
//! ```text
//! append -> writer thread: records of all streams -> fdatasync -> index commit -> Durable
//! read   -> index -> segment file -> checksum -> bytes
//! ```
//!
//! Streams without retention never touch the disk but for their metadata: their newest fragments
//! are held in memory ([`Stored::Memory`]). Records are never rewritten; a segment file goes when
//! the last fragment in it has.
//!
//! Looking things up is done in place and takes microseconds; [`Store::read_fragment`] uses the
//! runtime's blocking threads. The store reads no clock.

mod error;
mod index;
mod memory;
mod number;
mod record;
mod recovery;
mod retention;
mod segment;
mod stream;
mod timeline;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, TryLockError},
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::{
    error::StoreError,
    index::TimeKind,
    number::Number,
    record::FragmentMeta,
    retention::MemoryBounds,
    stream::{Stream, StreamMeta},
};
use self::{
    index::Index,
    memory::Memory,
    number::Sequence,
    segment::Folder,
    writer::{Append, Command, Writer},
};
use crate::{ids::StreamRef, time::Timestamp};

/// How the store lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A segment file of this size or more is not appended to any more.
    pub segment_bytes: u64,
    /// A segment file whose first fragment is older than this is not appended to any more.
    pub segment_age: Duration,
    /// What streams without retention hold in memory.
    pub memory: MemoryBounds,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(3600),
            memory: MemoryBounds::default(),
        }
    }
}

/// Where an appended fragment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// On stable storage, index included.
    Durable,
    /// Into the memory buffer of a stream without retention.
    Memory,
}

/// A fragment with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFragment {
    /// What is known of it.
    pub meta: FragmentMeta,
    /// Its head and then its body, in pieces that know nothing of the border.
    pub pieces: Vec<Bytes>,
}

/// Where a listing goes on. `Display` and [`PageKey::parse`] are its wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    time: Timestamp,
    number: Number,
}

impl std::fmt::Display for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}T{}", self.time.as_nanos(), self.number)
    }
}

impl PageKey {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, number) = text.split_once('T')?;
        let time = Timestamp::from_nanos(time.parse().ok()?);
        Some(Self { time, number: Number::parse(&number.parse().ok()?) })
    }
}

/// Some fragments of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of the listing's time.
    pub fragments: Vec<FragmentMeta>,
    /// Where the next page starts; `None` after the last one.
    pub next: Option<PageKey>,
}

/// The store. Cloning it clones a reference; the folder is released with the last one.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    index: Arc<Index>,
    streams: RwLock<BTreeMap<String, Stream>>,
    /// Serializes creation and deletion of streams.
    creating: tokio::sync::Mutex<()>,
    next_id: AtomicU64,
    memory: MemoryBounds,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    /// Held for as long as the folder is in use.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        *self.commands.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Store {
    /// Opens a data folder, creating it when there is none, and repairs what a crash left.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another server has it; otherwise what the disk says.
    pub fn open(dir: &Path, config: StoreConfig, now: Timestamp) -> Result<Self, StoreError> {
        let folder = Folder(dir.to_owned());
        let path = folder.streams();
        fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        let lock = lock(dir)?;
        let index = Arc::new(recovery::open_index(&folder)?);
        let mut streams = BTreeMap::new();
        let mut next_id = 1;
        for (id, meta) in recovery::recover(&folder, &index)? {
            next_id = next_id.max(id + 1);
            let highest = index.highest(id)?.map(|number| number.sequence());
            let numbers = Sequence::reopened(highest, meta.created, now);
            let name = meta.name.as_str().to_owned();
            streams.insert(name, Stream::new(id, meta, numbers, Memory::new(config.memory)));
        }
        let (commands, receiver) = mpsc::channel();
        let writer = Writer {
            folder: folder.clone(),
            index: index.clone(),
            config,
            segments: HashMap::new(),
        };
        let thread = thread::Builder::new()
            .name("kvs-store".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(StoreError::io("start the writer of", dir))?;
        Ok(Self(Arc::new(Inner {
            folder,
            index,
            streams: RwLock::new(streams),
            creating: tokio::sync::Mutex::new(()),
            next_id: AtomicU64::new(next_id),
            memory: config.memory,
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
            _lock: lock,
        })))
    }

    /// Finishes what was begun and takes nothing more. Reading goes on.
    pub async fn close(&self) {
        let stopped = self.command(|done| Command::Stop { done }).await;
        *self.0.commands.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = stopped {
            tracing::debug!(%error, "the store was closed already");
        }
    }

    /// The stream that is meant, if there is one.
    pub fn stream(&self, which: &StreamRef) -> Option<Stream> {
        let streams = self.0.streams.read().unwrap_or_else(PoisonError::into_inner);
        let stream = match which {
            StreamRef::Arn(arn) => streams.get(arn.stream_name().as_str()),
            StreamRef::Name(name) => streams.get(name.as_str()),
        };
        stream.filter(|stream| stream.is(which)).cloned()
    }

    /// The streams whose names start with `prefix` and come after `after`, in the order of their
    /// names, at most `max`.
    pub fn streams(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<Stream> {
        let streams = self.0.streams.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(prefix, |after| after.max(prefix));
        streams
            .range(from.to_owned()..)
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| Some(name.as_str()) != after)
            .take(max)
            .map(|(_, stream)| stream.clone())
            .collect()
    }

    /// Creates a stream. Durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name; otherwise what the disk says.
    pub async fn create_stream(&self, meta: StreamMeta) -> Result<Stream, StoreError> {
        let _creating = self.0.creating.lock().await;
        if self.stream(&StreamRef::Name(meta.name.clone())).is_some() {
            return Err(StoreError::Exists);
        }
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let json = meta.encode(id)?;
        self.command(|done| Command::PutStream { id, json, done }).await?;
        let name = meta.name.as_str().to_owned();
        let stream = Stream::new(id, meta, Sequence::default(), Memory::new(self.0.memory));
        let mut streams = self.0.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(name, stream.clone());
        Ok(stream)
    }

    /// Changes a stream's metadata as `change` says, unless it refuses. Durable when this returns;
    /// when retention became shorter, what it no longer covers is gone then too.
    ///
    /// # Errors
    /// What `change` gives, [`StoreError::NoStream`], or what the disk says.
    pub async fn update_stream<E: From<StoreError>>(
        &self,
        stream: &Stream,
        now: Timestamp,
        change: impl FnOnce(&mut StreamMeta) -> Result<(), E>,
    ) -> Result<Arc<StreamMeta>, E> {
        let _updating = stream.0.updating.lock().await;
        let old = stream.meta();
        let mut meta = StreamMeta::clone(&old);
        change(&mut meta)?;
        if stream.is_deleted() {
            return Err(StoreError::NoStream.into());
        }
        let (id, json) = (stream.id(), meta.encode(stream.id())?);
        self.command(|done| Command::PutStream { id, json, done }).await?;
        let meta = stream.set_meta(meta);
        if meta.retention_hours < old.retention_hours {
            let cutoff = retention::cutoff(now, meta.retention());
            self.command(|done| Command::Expire { id, cutoff, done }).await?;
        }
        Ok(meta)
    }

    /// Deletes a stream. Its data is unreadable at once and gone when this returns.
    ///
    /// # Errors
    /// [`StoreError::NoStream`] when it is deleted already; otherwise what the disk says.
    pub async fn delete_stream(&self, stream: &Stream) -> Result<(), StoreError> {
        let _creating = self.0.creating.lock().await;
        let _updating = stream.0.updating.lock().await;
        if stream.is_deleted() {
            return Err(StoreError::NoStream);
        }
        stream.set_deleted();
        stream.memory().clear();
        let name = stream.meta().name.as_str().to_owned();
        self.0.streams.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
        let id = stream.id();
        self.command(|done| Command::DropStream { id, done }).await
    }

    /// Lets go of everything whose retention has passed at `now`. To be called now and then.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn expire(&self, now: Timestamp) -> Result<(), StoreError> {
        for stream in self.streams("", None, usize::MAX) {
            stream.memory().expire(now);
            let (id, cutoff) = (stream.id(), retention::cutoff(now, stream.meta().retention()));
            if !self.0.index.expired(id, cutoff, 1)?.is_empty() {
                self.command(|done| Command::Expire { id, cutoff, done }).await?;
            }
        }
        Ok(())
    }

    /// Appends a whole fragment. The order of calls is the order on disk; the future tells when
    /// it is durable, and need not be polled for that.
    pub fn append(
        &self,
        stream: &Stream,
        meta: FragmentMeta,
        pieces: Vec<Bytes>,
    ) -> impl Future<Output = Result<Stored, StoreError>> + Send + use<> {
        let retained = stream.meta().retention().is_some();
        let durable = if retained {
            let stream = stream.clone();
            Some(self.send(|done| Command::Append(Append { stream, meta, pieces, done })))
        } else {
            stream.memory().insert(meta, pieces, meta.server);
            None
        };
        async {
            match durable {
                Some(durable) => replied(durable).await.map(|()| Stored::Durable),
                None => Ok(Stored::Memory),
            }
        }
    }

    /// Durable fragments whose time lies in `range`, at most `max`, in the order of that time.
    ///
    /// # Errors
    /// [`StoreError::Index`].
    pub fn list_fragments(
        &self,
        stream: &Stream,
        kind: TimeKind,
        range: RangeInclusive<Timestamp>,
        after: Option<PageKey>,
        max: usize,
    ) -> Result<Page, StoreError> {
        let after = after.map(|key| (key.time, key.number));
        let ask = max.saturating_add(1);
        let mut fragments = self.0.index.in_range(stream.id(), kind, range, after, ask)?;
        let more = fragments.len() > max;
        fragments.truncate(max);
        let last = fragments.last().filter(|_| more);
        let next = last.map(|meta| PageKey { time: kind.of(meta), number: meta.number });
        Ok(Page { fragments, next })
    }

    /// The first fragment after `number` in the order of numbers, durable or in memory.
    ///
    /// # Errors
    /// [`StoreError::Index`].
    pub fn next_after(
        &self,
        stream: &Stream,
        number: Number,
    ) -> Result<Option<FragmentMeta>, StoreError> {
        let memory = stream.memory().next_after(number);
        let disk = self.0.index.next_after(stream.id(), number)?;
        Ok(memory.into_iter().chain(disk).min_by_key(|meta| meta.number))
    }

    /// The fragment with the lowest number.
    ///
    /// # Errors
    /// [`StoreError::Index`].
    pub fn earliest(&self, stream: &Stream) -> Result<Option<FragmentMeta>, StoreError> {
        self.next_after(stream, Number::MIN)
    }

    /// The highest number that was ever stored.
    ///
    /// # Errors
    /// [`StoreError::Index`].
    pub fn highest(&self, stream: &Stream) -> Result<Option<Number>, StoreError> {
        let memory = stream.memory().highest();
        Ok(self.0.index.highest(stream.id())?.max(memory))
    }

    /// The fragment that contains `time`; in a gap the next later one.
    ///
    /// # Errors
    /// [`StoreError::Index`].
    pub fn first_containing(
        &self,
        stream: &Stream,
        time: Timestamp,
        kind: TimeKind,
    ) -> Result<Option<FragmentMeta>, StoreError> {
        let (id, index) = (stream.id(), &self.0.index);
        let before = index.last_before(id, kind, time)?;
        let end = Timestamp::from_nanos(u64::MAX);
        let later = Timestamp::from_nanos(time.as_nanos().saturating_add(1));
        let after = index.in_range(id, kind, later..=end, None, 1)?;
        let memory: Vec<_> = stream.memory().metas().collect();
        Ok(timeline::containing(memory.into_iter().chain(before).chain(after), kind, time))
    }

    /// A fragment with its bytes; `None` when there is none of that number, or no longer.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the stored bytes are not those that were stored; otherwise
    /// what the disk says.
    pub async fn read_fragment(
        &self,
        stream: &Stream,
        number: Number,
    ) -> Result<Option<StoredFragment>, StoreError> {
        if let Some((meta, pieces)) = stream.memory().get(number) {
            return Ok(Some(StoredFragment { meta, pieces }));
        }
        if stream.is_deleted() {
            return Ok(None);
        }
        let Some((place, meta)) = self.0.index.find(stream.id(), number)? else { return Ok(None) };
        let (id, path) = (stream.id(), self.0.folder.segment(stream.id(), place.segment));
        let read = move || segment::read_record(&path, id, place.offset, &meta);
        let payload = tokio::task::spawn_blocking(read).await;
        let payload = payload.map_err(|error| StoreError::Io(error.to_string()))??;
        Ok(payload.map(|payload| StoredFragment { meta, pieces: vec![payload] }))
    }

    /// Hands a command to the writer at once; the receiver gets its reply.
    fn send(&self, command: impl FnOnce(writer::Reply) -> Command) -> Replied {
        let (done, reply) = oneshot::channel();
        let commands = self.0.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = commands.as_ref() {
            // A writer that has gone drops the command, and with it the sender of the reply.
            drop(commands.send(command(done)));
        }
        reply
    }

    async fn command(
        &self,
        command: impl FnOnce(writer::Reply) -> Command,
    ) -> Result<(), StoreError> {
        replied(self.send(command)).await
    }
}

type Replied = oneshot::Receiver<Result<(), StoreError>>;

async fn replied(reply: Replied) -> Result<(), StoreError> {
    reply.await.unwrap_or(Err(StoreError::Closed))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.display().to_string())),
        Err(TryLockError::Error(e)) => Err(StoreError::io("lock", &path)(e)),
    }
}

#[cfg(test)]
mod tests;
