// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segment files: records of one stream in a row, appended and never changed.
//!
//! ```text
//! <data folder>/lock                      held while a server runs
//! <data folder>/index.redb                see the index
//! <data folder>/streams/<id>/stream.json  metadata, for the day the index is lost
//! <data folder>/streams/<id>/<n>.seg      records; id and n are 16 hexadecimal digits
//! <data folder>/streams/<id>.deleted/     a stream whose deletion is under way
//! ```

use std::{
    fs::{self, File},
    io::{self, IoSlice, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    StoreError,
    record::{FragmentMeta, HEADER_LEN, Header},
};
use crate::time::Timestamp;

/// Pieces of one gathering write (`IOV_MAX` of Linux).
const MAX_SLICES: usize = 1024;

/// The paths of a data folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn streams(&self) -> PathBuf {
        self.0.join("streams")
    }

    pub(super) fn stream(&self, id: u64) -> PathBuf {
        self.streams().join(format!("{id:016x}"))
    }

    pub(super) fn deleted(&self, id: u64) -> PathBuf {
        self.streams().join(format!("{id:016x}.deleted"))
    }

    pub(super) fn stream_json(&self, id: u64) -> PathBuf {
        self.stream(id).join("stream.json")
    }

    pub(super) fn segment(&self, stream: u64, segment: u64) -> PathBuf {
        self.stream(stream).join(format!("{segment:016x}.seg"))
    }

    /// The segment files of a stream, in order.
    pub(super) fn segments(&self, stream: u64) -> Result<Vec<u64>, StoreError> {
        let path = self.stream(stream);
        let entries = match fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(StoreError::io("list", &path))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(StoreError::io("list", &path))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".seg"));
            found.extend(id.and_then(|id| u64::from_str_radix(id, 16).ok()));
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Makes the entries of a folder durable: files created, renamed or removed in it.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", path))
}

/// Writes a small file so that it is either the old or the new one after any crash.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(StoreError::io("write", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The segment file that a stream's next records go to. It is opened for each write, so that any
/// number of streams costs no file handles.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    /// Bytes in it.
    pub(super) end: u64,
    /// Server time of its first record.
    pub(super) since: Timestamp,
    path: PathBuf,
}

impl Segment {
    /// Creates segment `id` of a stream; durable as an entry of its folder.
    pub(super) fn create(
        folder: &Folder,
        stream: u64,
        id: u64,
        since: Timestamp,
    ) -> Result<Self, StoreError> {
        let path = folder.segment(stream, id);
        File::create_new(&path).map_err(StoreError::io("create", &path))?;
        sync_folder(&folder.stream(stream))?;
        Ok(Self { id, end: 0, since, path })
    }

    /// Appends pieces in a row and gives the open file, still to be synced. After an error the
    /// segment must not be appended to any more.
    pub(super) fn append(&mut self, pieces: &[Bytes]) -> Result<File, StoreError> {
        let open = || {
            let file = File::options().append(true).open(&self.path)?;
            if file.metadata()?.len() != self.end {
                return Err(io::Error::other("it does not end where it was left"));
            }
            Ok(file)
        };
        let mut file = open().map_err(StoreError::io("append to", &self.path))?;
        for some in pieces.chunks(MAX_SLICES) {
            let mut slices: Vec<IoSlice<'_>> = some.iter().map(|p| IoSlice::new(p)).collect();
            write_all_vectored(&mut file, &mut slices)
                .map_err(StoreError::io("write to", &self.path))?;
        }
        self.end += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(file)
    }
}

fn write_all_vectored(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads one record's payload and checks that it is the one that was written; `None` when the file
/// is gone, which is how expired fragments end.
pub(super) fn read_record(
    path: &Path,
    stream: u64,
    offset: u64,
    meta: &FragmentMeta,
) -> Result<Option<Bytes>, StoreError> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StoreError::io("open", path))?,
    };
    let corrupt = |reason: String| StoreError::Corrupt { number: meta.number, reason };
    file.seek(SeekFrom::Start(offset)).map_err(StoreError::io("seek in", path))?;
    let len = meta.record_len();
    let mut record = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(len).read_to_end(&mut record).map_err(StoreError::io("read", path))?;
    if record.len() as u64 != len {
        return Err(corrupt(format!("{} ends inside it", path.display())));
    }
    let mut record = Bytes::from(record);
    let payload = record.split_off(HEADER_LEN);
    let header: &[u8; HEADER_LEN] = record.first_chunk().unwrap_or(&[0; HEADER_LEN]);
    let header = Header::decode(header, stream).map_err(|fault| corrupt(fault.to_string()))?;
    if header.meta != *meta {
        return Err(corrupt("another record lies in its place".to_owned()));
    }
    if crc32c::crc32c(&payload) != header.payload_crc {
        return Err(corrupt("the payload's checksum is wrong".to_owned()));
    }
    Ok(Some(payload))
}
