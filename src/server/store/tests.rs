// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store against a real folder: what was made durable is there after any reopening.

use std::path::PathBuf;

use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

fn at(secs: u64) -> Timestamp {
    NOW.checked_add(Duration::from_secs(secs)).unwrap()
}

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreConfig::default(), NOW).unwrap()
}

fn meta_of(name: &str, hours: u32) -> StreamMeta {
    let arn = format!("arn:aws:kinesisvideo:us-west-2:000000000000:stream/{name}/1");
    let mut meta = StreamMeta::new(name.parse().unwrap(), arn.parse().unwrap(), NOW);
    meta.retention_hours = hours;
    meta
}

fn find(store: &Store, name: &str) -> Option<Stream> {
    store.stream(&StreamRef::Name(name.parse().unwrap()))
}

fn payload(seed: u64, len: usize) -> Vec<Bytes> {
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
    let (a, b) = bytes.split_at(len / 3);
    vec![Bytes::copy_from_slice(a), Bytes::new(), Bytes::copy_from_slice(b)]
}

/// Metadata of a fragment that arrived `secs` after [`NOW`].
fn fragment(stream: &Stream, secs: u64, pieces: &[Bytes]) -> FragmentMeta {
    let len: usize = pieces.iter().map(Bytes::len).sum();
    FragmentMeta {
        number: stream.next_number(at(secs)),
        server: at(secs),
        producer: at(secs * 2),
        length_ms: 900,
        timecode: secs,
        head_len: 0,
        body_len: len as u32,
    }
}

async fn put(store: &Store, stream: &Stream, secs: u64, len: usize) -> FragmentMeta {
    let pieces = payload(secs, len);
    let meta = fragment(stream, secs, &pieces);
    assert_eq!(store.append(stream, meta, pieces).await, Ok(Stored::Durable));
    meta
}

async fn bytes_of(store: &Store, stream: &Stream, meta: FragmentMeta) -> Vec<u8> {
    let read = store.read_fragment(stream, meta.number).await.unwrap().unwrap();
    assert_eq!(read.meta, meta);
    read.pieces.concat()
}

fn all(store: &Store, stream: &Stream) -> Vec<FragmentMeta> {
    let mut number = Number::MIN;
    std::iter::from_fn(|| {
        let next = store.next_after(stream, number).unwrap();
        number = next.map_or(Number::MAX, |meta| meta.number);
        next
    })
    .collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let streams = fs::read_dir(dir.join("streams")).unwrap();
    let mut found: Vec<_> = streams
        .flat_map(|stream| fs::read_dir(stream.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn streams_and_fragments_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut meta = meta_of("cam", 1);
    meta.tags.insert("k".into(), "v".into());
    let stream = store.create_stream(meta.clone()).await.unwrap();
    assert_eq!(store.create_stream(meta.clone()).await.unwrap_err(), StoreError::Exists);
    let mut put_in = Vec::new();
    for secs in 0..20 {
        put_in.push(put(&store, &stream, secs, 1000 * secs as usize).await);
    }
    drop((store, stream));

    let store = open(dir.path());
    let stream = find(&store, "cam").unwrap();
    assert_eq!(*stream.meta(), meta);
    assert_eq!(all(&store, &stream), put_in);
    for (secs, meta) in put_in.iter().enumerate() {
        let expect = payload(secs as u64, 1000 * secs).concat();
        assert_eq!(bytes_of(&store, &stream, *meta).await, expect);
    }
    let more = put(&store, &stream, 30, 10).await;
    assert!(more.number > put_in[19].number);
}

#[tokio::test]
async fn many_streams_are_committed_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut streams = Vec::new();
    for n in 0..8 {
        streams.push(store.create_stream(meta_of(&format!("cam-{n}"), 1)).await.unwrap());
    }
    let mut waiting = Vec::new();
    for secs in 0..25 {
        for stream in &streams {
            let pieces = payload(secs, 500);
            let meta = fragment(stream, secs, &pieces);
            waiting.push((stream, meta, store.append(stream, meta, pieces)));
        }
    }
    for (stream, meta, durable) in waiting {
        assert_eq!(durable.await, Ok(Stored::Durable));
        assert_eq!(bytes_of(&store, stream, meta).await, payload(meta.timecode, 500).concat());
    }
    let names: Vec<_> =
        store.streams("cam-", Some("cam-2"), 3).iter().map(|s| s.meta().name.to_string()).collect();
    assert_eq!(names, ["cam-3", "cam-4", "cam-5"]);
}

#[tokio::test]
async fn a_second_server_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let second = Store::open(dir.path(), StoreConfig::default(), NOW);
    assert!(matches!(second, Err(StoreError::Locked(_))), "{second:?}");
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn lists_by_either_time_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stream = store.create_stream(meta_of("cam", 1)).await.unwrap();
    let mut put_in = Vec::new();
    for secs in 0..10 {
        put_in.push(put(&store, &stream, secs, 10).await);
    }
    for (kind, step) in [(TimeKind::Server, 1), (TimeKind::Producer, 2)] {
        let range = at(2 * step)..=at(8 * step);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.list_fragments(&stream, kind, range.clone(), after, 3).unwrap();
            assert!(page.fragments.len() <= 3);
            found.extend(page.fragments);
            let Some(next) = page.next else { break };
            assert_eq!(PageKey::parse(&next.to_string()), Some(next));
            after = Some(next);
        }
        assert_eq!(found, put_in[2..=8]);
        let middle = at(5 * step).checked_add(Duration::from_millis(900)).unwrap();
        assert_eq!(store.first_containing(&stream, middle, kind).unwrap(), Some(put_in[5]));
        assert_eq!(store.first_containing(&stream, at(100), kind).unwrap(), None);
    }
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stream = store.create_stream(meta_of("cam", 1)).await.unwrap();
    let meta = put(&store, &stream, 1, 40).await;
    let path = segments(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        let read = store.read_fragment(&stream, meta.number).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "byte {at}: {read:?}");
    }
}

/// What a crash can leave: an index that knows two fragments, and a segment with a third one, of
/// which any part has reached the disk.
#[tokio::test]
async fn a_tail_behind_the_index_is_found_again_or_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index.redb");
    let (mut put_in, mut old_index) = (Vec::new(), Vec::new());
    {
        let store = open(dir.path());
        let stream = store.create_stream(meta_of("cam", 1)).await.unwrap();
        for secs in 0..3 {
            if secs == 2 {
                old_index = fs::read(&index).unwrap();
            }
            put_in.push(put(&store, &stream, secs, 12).await);
        }
    }
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let record = whole.len() / 3;
    for cut in 2 * record..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        fs::write(&index, &old_index).unwrap();
        let store = open(dir.path());
        let stream = find(&store, "cam").unwrap();
        assert_eq!(all(&store, &stream), put_in[..cut / record], "cut at {cut}");
        assert_eq!(fs::metadata(&path).unwrap().len(), (cut / record * record) as u64);
    }
    // The whole tail with a flipped bit, as if its last block had not reached the disk.
    for at in [2 * record + 3, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        fs::write(&index, &old_index).unwrap();
        let store = open(dir.path());
        let stream = find(&store, "cam").unwrap();
        assert_eq!(all(&store, &stream), put_in[..2], "flip at {at}");
        let more = put(&store, &stream, 9, 30).await;
        assert!(more.number > put_in[1].number);
        assert_eq!(bytes_of(&store, &stream, more).await, payload(9, 30).concat());
        drop((store, stream));
        fs::remove_file(&segments(dir.path())[1]).unwrap();
    }
}

#[tokio::test]
async fn a_lost_index_is_made_again_from_what_the_segments_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut put_in = Vec::new();
    {
        let store = open(dir.path());
        let stream = store.create_stream(meta_of("cam", 1)).await.unwrap();
        for secs in 0..3 {
            put_in.push(put(&store, &stream, secs, 12).await);
        }
    }
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for cut in [whole.len(), whole.len() - 1, whole.len() / 2, whole.len() / 3] {
        fs::write(&path, &whole[..cut]).unwrap();
        fs::remove_file(dir.path().join("index.redb")).unwrap();
        let store = open(dir.path());
        let stream = find(&store, "cam").unwrap();
        let expect = &put_in[..cut / (whole.len() / 3)];
        assert_eq!(all(&store, &stream), expect, "cut at {cut}");
        for meta in expect {
            let expect = payload(meta.timecode, 12).concat();
            assert_eq!(bytes_of(&store, &stream, *meta).await, expect);
        }
    }
}

#[tokio::test]
async fn expired_fragments_go_and_take_their_files_along() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes: 250, ..StoreConfig::default() };
    let store = Store::open(dir.path(), config, NOW).unwrap();
    let stream = store.create_stream(meta_of("cam", 2)).await.unwrap();
    let mut put_in = Vec::new();
    for hour in 0..6 {
        put_in.push(put(&store, &stream, hour * 1200, 100).await);
    }
    assert_eq!(segments(dir.path()).len(), 3);
    store.expire(at(7200)).await.unwrap();
    assert_eq!(all(&store, &stream), put_in);
    store.expire(at(7200 + 1201)).await.unwrap();
    assert_eq!(all(&store, &stream), put_in[2..]);
    assert_eq!(segments(dir.path()).len(), 2);
    let gone = store.read_fragment(&stream, put_in[0].number).await;
    assert_eq!(gone, Ok(None));

    let shorter = |meta: &mut StreamMeta| {
        meta.retention_hours = 1;
        Ok::<_, StoreError>(())
    };
    store.update_stream(&stream, at(7800), shorter).await.unwrap();
    assert_eq!(all(&store, &stream), put_in[4..]);
    drop((store, stream));
    let store = open(dir.path());
    let stream = find(&store, "cam").unwrap();
    assert_eq!(all(&store, &stream), put_in[4..]);
    assert_eq!(stream.meta().retention_hours, 1);
}

#[tokio::test]
async fn without_retention_the_newest_are_readable_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stream = store.create_stream(meta_of("cam", 0)).await.unwrap();
    let pieces = payload(1, 50);
    let meta = fragment(&stream, 1, &pieces);
    assert_eq!(store.append(&stream, meta, pieces.clone()).await, Ok(Stored::Memory));
    assert_eq!(bytes_of(&store, &stream, meta).await, pieces.concat());
    assert_eq!(store.earliest(&stream).unwrap(), Some(meta));
    let listed = store.list_fragments(&stream, TimeKind::Server, NOW..=at(9), None, 9).unwrap();
    assert_eq!(listed.fragments, []);
    assert_eq!(segments(dir.path()), Vec::<PathBuf>::new());
    store.expire(at(302)).await.unwrap();
    assert_eq!(store.earliest(&stream).unwrap(), None);
}

#[tokio::test]
async fn a_deleted_stream_is_gone_for_good_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = store.create_stream(meta_of("cam", 1)).await.unwrap();
    let meta = put(&store, &old, 1, 10).await;
    let waiting = tokio::spawn({
        let old = old.clone();
        async move { old.deleted().await }
    });
    store.delete_stream(&old).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(store.delete_stream(&old).await, Err(StoreError::NoStream));
    assert_eq!(store.read_fragment(&old, meta.number).await, Ok(None));
    let late = store.append(&old, meta, payload(1, 10)).await;
    assert_eq!(late, Err(StoreError::NoStream));
    assert_eq!(segments(dir.path()), Vec::<PathBuf>::new());
    let new = store.create_stream(meta_of("cam", 1)).await.unwrap();
    assert_eq!(all(&store, &new), []);
    put(&store, &new, 2, 10).await;
}

#[tokio::test]
async fn a_deletion_that_was_cut_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let stream = store.create_stream(meta_of("cam", 1)).await.unwrap();
        put(&store, &stream, 1, 10).await;
    }
    let streams = dir.path().join("streams");
    fs::rename(streams.join(format!("{:016x}", 1)), streams.join(format!("{:016x}.deleted", 1)))
        .unwrap();
    let store = open(dir.path());
    assert!(find(&store, "cam").is_none());
    assert_eq!(fs::read_dir(streams).unwrap().count(), 0);
}

#[tokio::test]
async fn a_lost_segment_costs_its_fragments_and_a_broken_index_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes: 1, ..StoreConfig::default() };
    let mut put_in = Vec::new();
    {
        let store = Store::open(dir.path(), config, NOW).unwrap();
        let stream = store.create_stream(meta_of("cam", 1)).await.unwrap();
        for secs in 0..3 {
            put_in.push(put(&store, &stream, secs, 10).await);
        }
    }
    fs::write(dir.path().join("index.redb"), b"this is no index").unwrap();
    {
        let store = open(dir.path());
        let stream = find(&store, "cam").unwrap();
        assert_eq!(all(&store, &stream), put_in);
    }
    fs::remove_file(&segments(dir.path())[1]).unwrap();
    let store = open(dir.path());
    let stream = find(&store, "cam").unwrap();
    put_in.remove(1);
    assert_eq!(all(&store, &stream), put_in);
}

#[tokio::test]
async fn what_somebody_else_wrote_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        for name in ["a", "b"] {
            let stream = store.create_stream(meta_of(name, 1)).await.unwrap();
            put(&store, &stream, 1, 10).await;
        }
    }
    let ours = segments(dir.path()).remove(0);
    let folder = dir.path().join("streams").join(format!("{:016x}", 2));
    let astray = folder.join(format!("{:016x}.seg", 7));
    fs::copy(&ours, &astray).unwrap();
    let store = open(dir.path());
    let stream = find(&store, "b").unwrap();
    assert_eq!(all(&store, &stream).len(), 1);
    assert_eq!(fs::read(&astray).unwrap(), fs::read(&ours).unwrap());
    put(&store, &stream, 2, 10).await;
    assert_eq!(all(&store, &stream).len(), 2);
}
