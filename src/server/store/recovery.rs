// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a data folder before a server works on it: index and segment files are made to
//! agree, whatever the last server was doing when it stopped.
//!
//! | found | done |
//! | --- | --- |
//! | a stream folder named `.deleted` | its deletion is finished |
//! | a stream folder the index does not know | adopted from its `stream.json` |
//! | a segment longer than its indexed part | whole records behind it are indexed, the rest is cut off |
//! | a segment the index does not know | whole records are indexed |
//! | records of another version or another stream | left as they are, logged |
//! | an indexed segment without a file | its fragments leave the index |
//! | an index that cannot be opened | put aside, made again from the segment files |
//!
//! What was acked PERSISTED was synced and indexed before, so none of this touches it.

use std::{
    fs::{self, File},
    io::{BufReader, Seek, SeekFrom},
    path::Path,
};

use super::{
    StoreError,
    index::Index,
    record::{self, Scan},
    segment::{Folder, sync_folder},
    stream::StreamMeta,
    writer::{finish_drop, remove_file},
};

/// Opens the index, or puts it aside and starts with an empty one.
pub(super) fn open_index(folder: &Folder) -> Result<Index, StoreError> {
    let path = folder.0.join("index.redb");
    match Index::open(&path) {
        Err(error @ StoreError::Index(_)) if path.exists() => {
            let aside = folder.0.join("index.broken");
            tracing::error!(%error, aside = %aside.display(), "the index is made again");
            fs::rename(&path, &aside).map_err(StoreError::io("rename", &path))?;
            Index::open(&path)
        }
        index => index,
    }
}

/// Makes index and segment files agree; gives the streams.
pub(super) fn recover(
    folder: &Folder,
    index: &Index,
) -> Result<Vec<(u64, StreamMeta)>, StoreError> {
    let mut known = Vec::new();
    for json in index.streams()? {
        known.push(StreamMeta::decode(&json)?);
    }
    for (id, deleted) in stream_folders(folder)? {
        if deleted {
            tracing::info!(stream = id, "finishing the deletion of a stream");
            finish_drop(folder, index, id)?;
            known.retain(|(other, _)| *other != id);
        } else if !known.iter().any(|(other, _)| *other == id) {
            known.extend(adopt(folder, index, id)?);
        }
    }
    for (id, meta) in &known {
        let path = folder.stream(*id);
        if !path.exists() {
            tracing::error!(stream = %meta.name, path = %path.display(), "its folder is gone");
            fs::create_dir(&path).map_err(StoreError::io("create", &path))?;
            sync_folder(&folder.streams())?;
        }
        recover_stream(folder, index, *id)?;
    }
    Ok(known)
}

/// The ids of the stream folders, and whether they are being deleted.
fn stream_folders(folder: &Folder) -> Result<Vec<(u64, bool)>, StoreError> {
    let path = folder.streams();
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).map_err(StoreError::io("list", &path))? {
        let name = entry.map_err(StoreError::io("list", &path))?.file_name();
        let Some(name) = name.to_str() else { continue };
        let (id, deleted) = match name.strip_suffix(".deleted") {
            Some(id) => (id, true),
            None => (name, false),
        };
        if let Ok(id) = u64::from_str_radix(id, 16) {
            found.push((id, deleted));
        }
    }
    Ok(found)
}

/// Takes a stream into the index that has a folder only.
fn adopt(folder: &Folder, index: &Index, id: u64) -> Result<Option<(u64, StreamMeta)>, StoreError> {
    let path = folder.stream_json(id);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) => {
            // Its creation was cut before anybody was told of it, or the folder is somebody else's.
            tracing::warn!(path = %path.display(), %error, "passing over a folder without metadata");
            return Ok(None);
        }
    };
    let (_, meta) = StreamMeta::decode(&json)?;
    tracing::warn!(stream = %meta.name, "the index does not know this stream: adopted");
    let batch = index.begin()?;
    batch.put_stream(id, &json)?;
    batch.commit()?;
    Ok(Some((id, meta)))
}

fn recover_stream(folder: &Folder, index: &Index, stream: u64) -> Result<(), StoreError> {
    let mut rows = index.segments(stream)?;
    for segment in folder.segments(stream)? {
        let row = rows.remove(&segment);
        let path = folder.segment(stream, segment);
        let len = fs::metadata(&path).map_err(StoreError::io("look at", &path))?.len();
        let end = row.map_or(0, |row| row.end);
        if len < end {
            tracing::error!(path = %path.display(), len, end, "a segment lost its end");
        } else if len > end || row.is_none() {
            recover_segment(index, &path, (stream, segment), end, len)?;
        }
    }
    for segment in rows.into_keys() {
        let numbers = index.of_segment(stream, segment)?;
        if !numbers.is_empty() {
            tracing::error!(stream, segment, fragments = numbers.len(), "a segment is gone");
        }
        let batch = index.begin()?;
        batch.remove(stream, &numbers)?;
        batch.remove_segment(stream, segment)?;
        batch.commit()?;
    }
    Ok(())
}

/// Indexes the whole records from `from` on and cuts off what follows the last one.
fn recover_segment(
    index: &Index,
    path: &Path,
    (stream, segment): (u64, u64),
    from: u64,
    len: u64,
) -> Result<(), StoreError> {
    let scan = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        record::scan(BufReader::with_capacity(1 << 20, file), stream, from)
    };
    let Scan { records, end, faults } = scan().map_err(StoreError::io("read", path))?;
    for (offset, fault) in &faults {
        tracing::warn!(path = %path.display(), offset, %fault, "cut off or passed over");
    }
    let foreign = faults.iter().any(|(_, fault)| fault.is_foreign());
    if foreign {
        tracing::error!(path = %path.display(), "holds what is not ours: left as it is");
    } else if end == 0 {
        return remove_file(path);
    } else if end < len {
        let cut = || {
            let file = File::options().write(true).open(path)?;
            file.set_len(end)?;
            file.sync_all()
        };
        cut().map_err(StoreError::io("cut", path))?;
    }
    if records.is_empty() {
        return Ok(());
    }
    tracing::info!(path = %path.display(), fragments = records.len(), "fragments found again");
    let batch = index.begin()?;
    batch.insert(stream, segment, &records, end)?;
    batch.commit()
}
