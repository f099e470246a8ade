// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands before the clusters: EBML header, Info, Tracks, Tags; parsed from whole elements.
//!
//! Unknown children are passed over; numbers out of range are an error.

use crate::{
    ebml::{Children, Element, children::ValueError},
    ids::TrackNumber,
    mkv::ids,
    time::TimestampScale,
    track::{AudioFormat, Track, TrackKind, VideoFormat},
};

/// Tracks of one Tracks element at the most; KVS itself takes 3.
const MAX_TRACKS: usize = 64;
/// SimpleTags of one Tags element at the most; KVS takes 10 per fragment, mkvmerge writes dozens.
const MAX_TAGS: usize = 1024;

/// Why a header element is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A track's frames are compressed or encrypted inside Matroska, which no KVS API plays.
    #[error("track {0} uses ContentEncodings, which are not supported: store frames as they are")]
    ContentEncoding(TrackNumber),
    /// The document is no Matroska that this reader understands.
    #[error("document type \"{doc_type}\", read version {read_version}: expected matroska up to 4")]
    DocType {
        /// What the header says.
        doc_type: String,
        /// Lowest version a reader must understand.
        read_version: u64,
    },
    /// Two tracks have the same number.
    #[error("track {0} is declared twice")]
    Duplicate(TrackNumber),
    /// The EBML itself is of a version that this reader does not understand.
    #[error("EBMLReadVersion is {0}: expected 1")]
    EbmlVersion(u64),
    /// Lengths are announced that Matroska does not have.
    #[error(
        "EBMLMaxIDLength is {max_id_length}, EBMLMaxSizeLength is {max_size_length}: expected 4, \
         and 1 to 8"
    )]
    Lengths {
        /// EBMLMaxIDLength.
        max_id_length: u64,
        /// EBMLMaxSizeLength.
        max_size_length: u64,
    },
    /// More tracks or tags than any real file has.
    #[error("more than {0} entries")]
    TooMany(usize),
    /// TrackNumber 0 or missing, or TimestampScale 0 or more than an hour.
    #[error("element 0x{0:X} is missing, zero or too large")]
    Range(u32),
    /// A child is broken.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// The EBML header (RFC 8794 11.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EbmlHeader {
    /// `matroska` or `webm`, padding removed.
    pub doc_type: String,
    /// DocTypeVersion.
    pub doc_type_version: u64,
    /// Longest size integer that may follow, in bytes.
    pub max_size_length: u64,
}

impl EbmlHeader {
    pub(super) fn parse(header: &Element) -> Result<Self, HeaderError> {
        let (mut doc_type, mut version, mut read_version) = (String::from("matroska"), 1, 1);
        let (mut ebml_version, mut max_id_length, mut max_size_length) = (1, 4, 8);
        for child in header.children() {
            let child = child?;
            match child.id {
                ids::DOC_TYPE => doc_type = child.text(),
                ids::DOC_TYPE_VERSION => version = child.uint()?,
                ids::DOC_TYPE_READ_VERSION => read_version = child.uint()?,
                ids::EBML_READ_VERSION => ebml_version = child.uint()?,
                ids::EBML_MAX_ID_LENGTH => max_id_length = child.uint()?,
                ids::EBML_MAX_SIZE_LENGTH => max_size_length = child.uint()?,
                _ => {}
            }
        }
        if ebml_version > 1 {
            return Err(HeaderError::EbmlVersion(ebml_version));
        }
        if !matches!(doc_type.as_str(), "matroska" | "webm") || read_version > 4 {
            return Err(HeaderError::DocType { doc_type, read_version });
        }
        if max_id_length != 4 || !(1..=8).contains(&max_size_length) {
            return Err(HeaderError::Lengths { max_id_length, max_size_length });
        }
        Ok(Self { doc_type, doc_type_version: version, max_size_length })
    }
}

/// The Info element (RFC 9559 5.1.2): what this project uses of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Nanoseconds per tick of every timestamp in the segment.
    pub scale: TimestampScale,
    /// The program that wrote the file.
    pub writing_app: Option<String>,
}

impl Info {
    pub(super) fn parse(info: &Element) -> Result<Self, HeaderError> {
        let (mut scale, mut writing_app) = (TimestampScale::default(), None);
        for child in info.children() {
            let child = child?;
            match child.id {
                ids::TIMESTAMP_SCALE => {
                    scale = TimestampScale::from_nanos(child.uint()?)
                        .ok_or(HeaderError::Range(ids::TIMESTAMP_SCALE))?;
                }
                ids::WRITING_APP => writing_app = Some(child.text()),
                _ => {}
            }
        }
        Ok(Self { scale, writing_app })
    }
}

pub(super) fn parse_tracks(tracks: &Element) -> Result<Vec<Track>, HeaderError> {
    let mut entries: Vec<Track> = Vec::new();
    for child in tracks.children() {
        let child = child?;
        if child.id == ids::TRACK_ENTRY {
            if entries.len() == MAX_TRACKS {
                return Err(HeaderError::TooMany(MAX_TRACKS));
            }
            let track = parse_track(&child)?;
            if entries.iter().any(|other| other.number == track.number) {
                return Err(HeaderError::Duplicate(track.number));
            }
            entries.push(track);
        }
    }
    Ok(entries)
}

fn parse_track(entry: &Element) -> Result<Track, HeaderError> {
    let (mut number, mut track_type, mut encoded) = (0, 0, false);
    let (mut codec_id, mut codec_private, mut name) = (String::new(), None, None);
    let (mut default_duration_ns, mut video, mut audio) = (None, None, None);
    for child in entry.children() {
        let child = child?;
        match child.id {
            ids::TRACK_NUMBER => number = child.uint()?,
            ids::TRACK_TYPE => track_type = child.uint()?,
            ids::CODEC_ID => codec_id = child.text(),
            ids::CODEC_PRIVATE => codec_private = Some(child.data),
            ids::TRACK_NAME => name = Some(child.text()),
            ids::DEFAULT_DURATION => default_duration_ns = Some(child.uint()?),
            ids::VIDEO => video = Some(parse_video(child.children())?),
            ids::AUDIO => audio = Some(parse_audio(child.children())?),
            ids::CONTENT_ENCODINGS => encoded = true,
            _ => {}
        }
    }
    if number == 0 {
        return Err(HeaderError::Range(ids::TRACK_NUMBER));
    }
    let number = TrackNumber(number);
    if encoded {
        return Err(HeaderError::ContentEncoding(number));
    }
    let kind = match track_type {
        1 => TrackKind::Video(video.unwrap_or_default()),
        2 => TrackKind::Audio(audio.unwrap_or_else(default_audio)),
        other => TrackKind::Data(u8::try_from(other).unwrap_or(0)),
    };
    Ok(Track { number, kind, codec_id, codec_private, name, default_duration_ns })
}

fn parse_video(children: Children) -> Result<VideoFormat, HeaderError> {
    let mut video = VideoFormat::default();
    for child in children {
        let child = child?;
        let pixels = || child.uint().map(|v| u32::try_from(v).unwrap_or(u32::MAX));
        match child.id {
            ids::PIXEL_WIDTH => video.width = pixels()?,
            ids::PIXEL_HEIGHT => video.height = pixels()?,
            _ => {}
        }
    }
    Ok(video)
}

/// The values RFC 9559 5.1.4.1.29 gives to what a producer leaves out.
fn default_audio() -> AudioFormat {
    AudioFormat { sampling_hz: 8000.0, channels: 1, bit_depth: None }
}

fn parse_audio(children: Children) -> Result<AudioFormat, HeaderError> {
    let mut audio = default_audio();
    for child in children {
        let child = child?;
        let count = || child.uint().map(|v| u32::try_from(v).unwrap_or(u32::MAX));
        match child.id {
            ids::SAMPLING_FREQUENCY => {
                // Tolerance: RFC 9559 wants more than 0; what is no frequency counts as not given.
                let hz = child.float()?;
                if hz.is_finite() && hz > 0.0 {
                    audio.sampling_hz = hz;
                }
            }
            ids::CHANNELS => audio.channels = count()?,
            ids::BIT_DEPTH => audio.bit_depth = Some(count()?),
            _ => {}
        }
    }
    Ok(audio)
}

/// A SimpleTag: a name and a text (RFC 9559 5.1.8.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimpleTag {
    /// TagName.
    pub name: String,
    /// TagString; empty when the tag is binary or has none.
    pub value: String,
}

/// All SimpleTags of a Tags element, in order; nested ones are passed over.
pub(super) fn parse_tags(tags: &Element) -> Result<Vec<SimpleTag>, HeaderError> {
    let mut found = Vec::new();
    for tag in tags.children() {
        let tag = tag?;
        if tag.id != ids::TAG {
            continue;
        }
        for simple in tag.children() {
            let simple = simple?;
            if simple.id != ids::SIMPLE_TAG {
                continue;
            }
            if found.len() == MAX_TAGS {
                return Err(HeaderError::TooMany(MAX_TAGS));
            }
            let mut parsed = SimpleTag::default();
            for child in simple.children() {
                let child = child?;
                match child.id {
                    ids::TAG_NAME => parsed.name = child.text(),
                    ids::TAG_STRING => parsed.value = child.text(),
                    _ => {}
                }
            }
            found.push(parsed);
        }
    }
    Ok(found)
}
