// SPDX-License-Identifier: MIT OR Apache-2.0
//! Caps in, a Matroska track description out; and which caps the pads offer.
//!
//! The templates are a superset of AWS's. What a pad answers to a CAPS query is narrower: only the
//! forms that can be stored as they are, so that a parser upstream converts. Fixed caps of any
//! other form are refused with the name of the element to insert.

use std::{fmt, sync::LazyLock};

use bytes::Bytes;

use crate::{
    producer::TrackDescription,
    track::{AudioFormat, TrackKind, VideoFormat},
};

/// The two kinds of request pads.
///
/// In this order tracks are numbered: video first, as AWS's element does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PadKind {
    /// `video_%u`
    Video,
    /// `audio_%u`
    Audio,
}

/// What the templates say: everything AWS's element accepts.
const VIDEO_TEMPLATE: &str = "\
    video/x-h264, stream-format=(string)avc, alignment=(string)au, \
    width=(int)[16, MAX], height=(int)[16, MAX]; \
    video/x-h265, alignment=(string)au, width=(int)[16, MAX], height=(int)[16, MAX]";
const AUDIO_TEMPLATE: &str = "\
    audio/mpeg, mpegversion=(int){ 2, 4 }, stream-format=(string)raw, \
    channels=(int)[1, MAX], rate=(int)[1, MAX]; \
    audio/x-alaw, channels=(int){ 1, 2 }, rate=(int)[8000, 192000]; \
    audio/x-mulaw, channels=(int){ 1, 2 }, rate=(int)[8000, 192000]";
/// What can be stored without conversion, where that is less than the template.
const VIDEO_ACCEPTED: &str = "\
    video/x-h264, stream-format=(string)avc, alignment=(string)au, \
    width=(int)[16, MAX], height=(int)[16, MAX]; \
    video/x-h265, stream-format=(string)hvc1, alignment=(string)au, \
    width=(int)[16, MAX], height=(int)[16, MAX]";

impl PadKind {
    /// The name of the pad template.
    pub(super) fn template_name(self) -> &'static str {
        match self {
            Self::Audio => "audio_%u",
            Self::Video => "video_%u",
        }
    }

    /// The kind whose template has this name.
    pub(super) fn of_template(name: &str) -> Option<Self> {
        [Self::Audio, Self::Video].into_iter().find(|kind| kind.template_name() == name)
    }

    /// The name of a new pad: the wanted one, or the first free one. `None`: the wanted one is
    /// taken or does not fit the template.
    pub(super) fn pad_name(
        self,
        wanted: Option<&str>,
        taken: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let prefix = self.template_name().trim_end_matches("%u");
        match wanted {
            Some(name) if name != self.template_name() => {
                let index = name.strip_prefix(prefix)?.parse::<u32>().ok()?;
                Some(format!("{prefix}{index}")).filter(|name| !taken(name))
            }
            _ => (0..u32::MAX).map(|index| format!("{prefix}{index}")).find(|name| !taken(name)),
        }
    }

    /// The caps of the pad template.
    pub(super) fn template_caps(self) -> gst::Caps {
        match self {
            Self::Audio => parse(AUDIO_TEMPLATE),
            Self::Video => parse(VIDEO_TEMPLATE),
        }
    }

    /// The caps a CAPS query is answered with.
    pub(super) fn accepted_caps(self) -> &'static gst::Caps {
        static AUDIO: LazyLock<gst::Caps> = LazyLock::new(|| parse(AUDIO_TEMPLATE));
        static VIDEO: LazyLock<gst::Caps> = LazyLock::new(|| parse(VIDEO_ACCEPTED));
        match self {
            Self::Audio => &AUDIO,
            Self::Video => &VIDEO,
        }
    }
}

fn parse(text: &str) -> gst::Caps {
    text.parse().expect("caps constants of this file parse; a test reads them all")
}

/// Why caps are refused, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {remedy}")]
pub(super) struct CapsError {
    problem: String,
    remedy: String,
}

fn refuse<T>(problem: impl fmt::Display, remedy: &str) -> Result<T, CapsError> {
    Err(CapsError { problem: problem.to_string(), remedy: remedy.to_owned() })
}

/// The track that fixed caps describe.
///
/// # Errors
/// [`CapsError`] says what cannot be stored and which element makes it storable.
pub(super) fn track(caps: &gst::CapsRef) -> Result<TrackDescription, CapsError> {
    let Some(caps) = caps.structure(0) else {
        return refuse("empty caps", "link an encoder and its parser");
    };
    match caps.name().as_str() {
        "audio/mpeg" => aac(caps),
        "audio/x-alaw" => g711(caps, WAVE_FORMAT_ALAW),
        "audio/x-mulaw" => g711(caps, WAVE_FORMAT_MULAW),
        "video/x-h264" => video(caps, &H264),
        "video/x-h265" => video(caps, &H265),
        other if other.ends_with("/x-raw") => refuse(
            format_args!("{other} is not encoded"),
            "insert an encoder, such as x264enc ! h264parse or avenc_aac ! aacparse",
        ),
        other => refuse(
            format_args!("{other} cannot be stored"),
            "use H.264 (h264parse), H.265 (h265parse), AAC (aacparse), A-law or mu-law",
        ),
    }
}

/// How one video codec is stored.
struct VideoCodec {
    codec_id: &'static str,
    stream_format: &'static str,
    parser: &'static str,
}

const H264: VideoCodec =
    VideoCodec { codec_id: "V_MPEG4/ISO/AVC", stream_format: "avc", parser: "h264parse" };
const H265: VideoCodec =
    VideoCodec { codec_id: "V_MPEGH/ISO/HEVC", stream_format: "hvc1", parser: "h265parse" };

fn video(caps: &gst::StructureRef, codec: &VideoCodec) -> Result<TrackDescription, CapsError> {
    let insert = format!("insert {} before kvssink", codec.parser);
    expect_text(caps, "stream-format", codec.stream_format, &insert)?;
    expect_text(caps, "alignment", "au", &insert)?;
    let format = VideoFormat { width: positive(caps, "width"), height: positive(caps, "height") };
    Ok(TrackDescription {
        kind: TrackKind::Video(format),
        codec_id: codec.codec_id.to_owned(),
        codec_private: Some(codec_data(caps, &insert)?),
        name: None,
        default_duration_ns: frame_duration_ns(caps),
        intra_only: false,
    })
}

fn aac(caps: &gst::StructureRef) -> Result<TrackDescription, CapsError> {
    let insert = "insert aacparse before kvssink";
    if !matches!(caps.get::<i32>("mpegversion"), Ok(2 | 4)) {
        return refuse("MPEG audio other than AAC cannot be stored", "encode to AAC (avenc_aac)");
    }
    expect_text(caps, "stream-format", "raw", insert)?;
    Ok(audio(caps, "A_AAC", codec_data(caps, insert)?, None))
}

const WAVE_FORMAT_ALAW: u16 = 6;
const WAVE_FORMAT_MULAW: u16 = 7;

/// A-law and mu-law travel as `A_MS/ACM`, whose private data is a WAVEFORMATEX (18 bytes, LE).
fn g711(caps: &gst::StructureRef, tag: u16) -> Result<TrackDescription, CapsError> {
    let (rate, channels) = (positive(caps, "rate"), positive(caps, "channels"));
    let Some(channels) = u16::try_from(channels).ok().filter(|&n| n > 0 && rate > 0) else {
        return refuse("caps without rate or channels", "insert audioparse or an encoder");
    };
    let wave: Vec<u8> = [
        &tag.to_le_bytes()[..],
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &rate.saturating_mul(u32::from(channels)).to_le_bytes(),
        &channels.to_le_bytes(),
        &8u16.to_le_bytes(),
        &0u16.to_le_bytes(),
    ]
    .concat();
    Ok(audio(caps, "A_MS/ACM", wave.into(), Some(8)))
}

fn audio(
    caps: &gst::StructureRef,
    codec_id: &str,
    codec_private: Bytes,
    bit_depth: Option<u32>,
) -> TrackDescription {
    let format = AudioFormat {
        sampling_hz: f64::from(positive(caps, "rate")),
        channels: positive(caps, "channels"),
        bit_depth,
    };
    TrackDescription {
        kind: TrackKind::Audio(format),
        codec_id: codec_id.to_owned(),
        codec_private: Some(codec_private),
        name: None,
        default_duration_ns: None,
        intra_only: true,
    }
}

fn expect_text(
    caps: &gst::StructureRef,
    field: &str,
    expected: &str,
    insert: &str,
) -> Result<(), CapsError> {
    match caps.get::<&str>(field) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => refuse(
            format_args!("{} with {field}={found} cannot be stored, {expected} can", caps.name()),
            insert,
        ),
        Err(_) => refuse(
            format_args!("{} without {field} cannot be stored, {expected} can", caps.name()),
            insert,
        ),
    }
}

fn codec_data(caps: &gst::StructureRef, insert: &str) -> Result<Bytes, CapsError> {
    let data = caps
        .get::<gst::Buffer>("codec_data")
        .ok()
        .and_then(|buffer| Some(Bytes::copy_from_slice(&buffer.map_readable().ok()?)))
        .filter(|data| !data.is_empty());
    data.map_or_else(
        || refuse(format_args!("{} without codec_data cannot be decoded", caps.name()), insert),
        Ok,
    )
}

fn positive(caps: &gst::StructureRef, field: &str) -> u32 {
    caps.get::<i32>(field).ok().and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
}

/// Nanoseconds per frame; `None` when the rate is variable or unknown.
fn frame_duration_ns(caps: &gst::StructureRef) -> Option<u64> {
    let rate = caps.get::<gst::Fraction>("framerate").ok()?;
    let (frames, seconds) = (u64::try_from(rate.numer()).ok()?, u64::try_from(rate.denom()).ok()?);
    (seconds * 1_000_000_000).checked_div(frames).filter(|&ns| ns > 0)
}

/// A track's media type, as CreateStream takes it.
pub(super) fn media_type(track: &TrackDescription) -> &'static str {
    match (track.codec_id.as_str(), track.codec_private.as_deref()) {
        ("V_MPEG4/ISO/AVC", _) => "video/h264",
        ("V_MPEGH/ISO/HEVC", _) => "video/h265",
        ("A_AAC", _) => "audio/aac",
        ("A_MS/ACM", Some(&[6, ..])) => "audio/alaw",
        ("A_MS/ACM", _) => "audio/mulaw",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(caps: &str) -> Result<TrackDescription, CapsError> {
        gst::init().unwrap();
        track(&caps.parse::<gst::Caps>().unwrap())
    }

    #[test]
    fn templates_hold_what_is_accepted() {
        gst::init().unwrap();
        for kind in [PadKind::Audio, PadKind::Video] {
            assert!(kind.accepted_caps().is_subset(&kind.template_caps()), "{kind:?}");
        }
    }

    #[test]
    fn h264_becomes_an_avc_track() {
        let track = read(
            "video/x-h264, stream-format=avc, alignment=au, width=640, height=480, \
             framerate=30/1, codec_data=(buffer)0142c00d",
        )
        .unwrap();
        assert_eq!(track.codec_id, "V_MPEG4/ISO/AVC");
        assert_eq!(track.kind, TrackKind::Video(VideoFormat { width: 640, height: 480 }));
        assert_eq!(track.codec_private.as_deref(), Some(&[1, 0x42, 0xC0, 0x0D][..]));
        assert_eq!(track.default_duration_ns, Some(33_333_333));
    }

    #[test]
    fn h265_and_audio_become_tracks() {
        let hevc = read("video/x-h265, stream-format=hvc1, alignment=au, codec_data=(buffer)01");
        assert_eq!(hevc.unwrap().codec_id, "V_MPEGH/ISO/HEVC");
        let aac = read(
            "audio/mpeg, mpegversion=4, stream-format=raw, rate=48000, channels=2, \
             codec_data=(buffer)1190",
        )
        .unwrap();
        let format = AudioFormat { sampling_hz: 48000.0, channels: 2, bit_depth: None };
        assert_eq!((aac.codec_id.as_str(), aac.kind), ("A_AAC", TrackKind::Audio(format)));
    }

    #[test]
    fn g711_gets_a_waveformatex() {
        let track = read("audio/x-mulaw, rate=8000, channels=2").unwrap();
        let expect = [7, 0, 2, 0, 0x40, 0x1F, 0, 0, 0x80, 0x3E, 0, 0, 2, 0, 8, 0, 0, 0];
        assert_eq!(track.codec_private.as_deref(), Some(&expect[..]));
        assert_eq!(track.codec_id, "A_MS/ACM");
    }

    #[test]
    fn refusals_name_the_element_to_insert() {
        for (caps, remedy) in [
            ("video/x-h264, stream-format=byte-stream, alignment=au", "h264parse"),
            ("video/x-h264, stream-format=avc, alignment=nal", "h264parse"),
            ("video/x-h264, stream-format=avc, alignment=au", "h264parse"),
            ("video/x-h265, alignment=au", "h265parse"),
            ("audio/mpeg, mpegversion=4, stream-format=adts", "aacparse"),
            ("audio/mpeg, mpegversion=4, stream-format=raw", "aacparse"),
            ("audio/mpeg, mpegversion=1, layer=3", "avenc_aac"),
            ("video/x-raw, format=I420", "x264enc"),
            ("video/x-vp8", "H.264"),
            ("audio/x-alaw", "rate"),
        ] {
            let error = read(caps).unwrap_err().to_string();
            assert!(error.contains(remedy), "{caps}: {error}");
        }
    }

    #[test]
    fn unusual_frame_rates_do_no_harm() {
        for (rate, expect) in
            [("0/1", None), ("30000/1001", Some(33_366_666)), ("2147483647/1", None)]
        {
            let caps = format!(
                "video/x-h264, stream-format=avc, alignment=au, framerate={rate}, \
                 codec_data=(buffer)01"
            );
            assert_eq!(read(&caps).unwrap().default_duration_ns, expect, "{rate}");
        }
    }
}
