// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matroska track descriptions into caps.
//!
//! | codec id | caps |
//! | --- | --- |
//! | `V_MPEG4/ISO/AVC`, also as `V_MPEG/ISO/AVC` | `video/x-h264`: avc with codec_data, else byte-stream |
//! | `V_MPEGH/ISO/HEVC` | `video/x-h265`: hvc1 with codec_data, else byte-stream |
//! | `A_AAC` | `audio/mpeg`: raw with codec_data, else adts |
//! | any other | `application/x-kvs-track` with `codec-id`, and `codec-data` when there is any |
//!
//! Private data of H.264 and H.265 that does not begin with version 1 is Annex B, and so are the
//! frames: the service does not check what producers send. Width, height and frame rate are
//! Matroska's; profile and level are read from codec_data where they stand at a fixed place.

use std::time::Duration;

use bytes::Bytes;

use crate::track::{AudioFormat, Track, TrackKind, VideoFormat};

/// Caps name of what GStreamer has no caps for.
pub(super) const UNKNOWN: &str = "application/x-kvs-track";

/// Samples per channel of an AAC frame.
const AAC_FRAME_SAMPLES: f64 = 1024.0;

/// The element's pad templates.
pub(super) fn templates() -> Vec<gst::PadTemplate> {
    let unknown = || gst::Structure::new_empty(UNKNOWN);
    let all = |known: &[&str]| {
        let mut caps = gst::Caps::new_empty();
        let known = known.iter().map(|name| gst::Structure::new_empty(*name));
        known.chain([unknown()]).for_each(|structure| caps.make_mut().append_structure(structure));
        caps
    };
    let video = all(&["video/x-h264", "video/x-h265"]);
    let audio = all(&["audio/mpeg"]);
    [("video_%u", video), ("audio_%u", audio), ("data_%u", all(&[]))]
        .into_iter()
        .filter_map(|(name, caps)| {
            let (direction, presence) = (gst::PadDirection::Src, gst::PadPresence::Sometimes);
            gst::PadTemplate::new(name, direction, presence, &caps).ok()
        })
        .collect()
}

/// The caps of a track's frames.
pub(super) fn from_track(track: &Track) -> gst::Caps {
    let private = track.codec_private.as_ref();
    match (track.codec_id.as_str(), &track.kind) {
        ("V_MPEG4/ISO/AVC" | "V_MPEG/ISO/AVC", TrackKind::Video(video)) => {
            picture(h264(private), video, track.default_duration_ns)
        }
        ("V_MPEGH/ISO/HEVC", TrackKind::Video(video)) => {
            picture(h265(private), video, track.default_duration_ns)
        }
        ("A_AAC", TrackKind::Audio(audio)) => aac(private, audio),
        _ => unknown(track),
    }
    .build()
}

/// How long a frame lasts when its block does not say.
pub(super) fn frame_duration(track: &Track) -> Option<Duration> {
    let declared = track.default_duration_ns.filter(|&ns| ns > 0).map(Duration::from_nanos);
    declared.or_else(|| match &track.kind {
        TrackKind::Audio(audio) if track.codec_id == "A_AAC" && audio.sampling_hz >= 1.0 => {
            Some(Duration::from_secs_f64(AAC_FRAME_SAMPLES / audio.sampling_hz))
        }
        TrackKind::Audio(_) | TrackKind::Data(_) | TrackKind::Video(_) => None,
    })
}

type Builder = gst::caps::Builder<gst::caps::NoFeature>;

fn unknown(track: &Track) -> Builder {
    gst::Caps::builder(UNKNOWN)
        .field("codec-id", track.codec_id.as_str())
        .field_if_some("codec-data", track.codec_private.as_ref().map(buffer))
}

fn buffer(data: &Bytes) -> gst::Buffer {
    gst::Buffer::from_slice(data.clone())
}

/// Private data that is a configuration record of version 1.
fn record(private: Option<&Bytes>) -> Option<&Bytes> {
    private.filter(|data| data.first() == Some(&1))
}

fn h264(private: Option<&Bytes>) -> Builder {
    let caps = gst::Caps::builder("video/x-h264").field("alignment", "au");
    let Some(record) = record(private) else { return caps.field("stream-format", "byte-stream") };
    let at = |index: usize| record.get(index).copied();
    let constraints = at(2).unwrap_or(0);
    let profile = match at(1) {
        Some(66) if constraints & 0x40 != 0 => Some("constrained-baseline"),
        Some(66) => Some("baseline"),
        Some(77) => Some("main"),
        Some(88) => Some("extended"),
        Some(100) if constraints & 0x0C == 0x0C => Some("constrained-high"),
        Some(100) if constraints & 0x08 != 0 => Some("progressive-high"),
        Some(100) => Some("high"),
        Some(110) => Some("high-10"),
        Some(122) => Some("high-4:2:2"),
        Some(244) => Some("high-4:4:4"),
        _ => None,
    };
    // Level 1b of the old profiles is written as 1.1 with constraint flag 3 (H.264 A.3.1).
    let level = at(3).map(|level| match (level, at(1)) {
        (11, Some(66 | 77 | 88)) if constraints & 0x10 != 0 => "1b".to_owned(),
        (9, _) => "1b".to_owned(),
        (level, _) => tenths(level),
    });
    caps.field("stream-format", "avc")
        .field("codec_data", buffer(record))
        .field_if_some("profile", profile)
        .field_if_some("level", level)
}

fn h265(private: Option<&Bytes>) -> Builder {
    let caps = gst::Caps::builder("video/x-h265").field("alignment", "au");
    let Some(record) = record(private) else { return caps.field("stream-format", "byte-stream") };
    // general_profile_space, general_tier_flag and general_profile_idc share the second byte.
    let profile_byte = record.get(1).copied().filter(|byte| byte >> 6 == 0);
    let profile = profile_byte.and_then(|byte| match byte & 0x1F {
        1 => Some("main"),
        2 => Some("main-10"),
        3 => Some("main-still-picture"),
        _ => None,
    });
    let tier = profile_byte.map(|byte| if byte & 0x20 == 0 { "main" } else { "high" });
    let level = record.get(12).copied().filter(|level| level % 3 == 0).map(|l| tenths(l / 3));
    caps.field("stream-format", "hvc1")
        .field("codec_data", buffer(record))
        .field_if_some("profile", profile)
        .field_if_some("tier", tier)
        .field_if_some("level", level)
}

/// 31 as "3.1", 40 as "4".
fn tenths(level: u8) -> String {
    match (level / 10, level % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

fn picture(caps: Builder, video: &VideoFormat, frame_ns: Option<u64>) -> Builder {
    let pixels = |pixels: u32| i32::try_from(pixels).ok().filter(|&pixels| pixels > 0);
    let rate = frame_ns.filter(|&ns| ns > 0);
    let rate = rate.and_then(|ns| gst_video::guess_framerate(gst::ClockTime::from_nseconds(ns)));
    caps.field_if_some("width", pixels(video.width))
        .field_if_some("height", pixels(video.height))
        .field_if_some("framerate", rate)
}

fn aac(private: Option<&Bytes>, audio: &AudioFormat) -> Builder {
    let rate = audio.sampling_hz.round();
    let rate = (1.0..=f64::from(i32::MAX)).contains(&rate).then_some(rate as i32);
    let channels = i32::try_from(audio.channels).ok().filter(|&channels| channels > 0);
    let config = private.filter(|data| data.len() >= 2);
    let format = if config.is_some() { "raw" } else { "adts" };
    // The object type is the first five bits (ISO 14496-3 1.6.2.1).
    let profile = config.and_then(|data| match data.first().map(|byte| byte >> 3) {
        Some(1) => Some("main"),
        Some(2) => Some("lc"),
        Some(3) => Some("ssr"),
        Some(4) => Some("ltp"),
        _ => None,
    });
    gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 4)
        .field("framed", true)
        .field("stream-format", format)
        .field_if_some("profile", profile)
        .field_if_some("rate", rate)
        .field_if_some("channels", channels)
        .field_if_some("codec_data", config.map(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TrackNumber;

    fn track(codec_id: &str, kind: TrackKind, private: Option<&'static [u8]>) -> Track {
        Track {
            number: TrackNumber(1),
            kind,
            codec_id: codec_id.into(),
            codec_private: private.map(Bytes::from_static),
            name: None,
            default_duration_ns: None,
        }
    }

    fn video() -> TrackKind {
        TrackKind::Video(VideoFormat { width: 1280, height: 720 })
    }

    fn caps(track: &Track) -> String {
        gst::init().unwrap();
        from_track(track).to_string()
    }

    #[test]
    fn h264_has_all_that_its_record_says() {
        let mut track = track("V_MPEG4/ISO/AVC", video(), Some(&[1, 100, 0, 31, 0xFF]));
        track.default_duration_ns = Some(33_366_666);
        assert_eq!(
            caps(&track),
            "video/x-h264, alignment=(string)au, stream-format=(string)avc, \
             codec_data=(buffer)0164001fff, profile=(string)high, level=(string)3.1, \
             width=(int)1280, height=(int)720, framerate=(fraction)30000/1001"
        );
    }

    #[test]
    fn profiles_and_levels() {
        for (record, profile, level) in [
            (&[1u8, 66, 0xC0, 30][..], "constrained-baseline", "3"),
            (&[1, 66, 0, 11], "baseline", "1.1"),
            (&[1, 77, 0x10, 11], "main", "1b"),
            (&[1, 100, 0x0C, 40], "constrained-high", "4"),
            (&[1, 110, 0, 51], "high-10", "5.1"),
        ] {
            let caps = caps(&track("V_MPEG4/ISO/AVC", video(), Some(record)));
            let expect = format!("profile=(string){profile}, level=(string){level}");
            assert!(caps.contains(&expect), "{caps}");
        }
        let mut record = [0u8; 23];
        (record[0], record[1], record[12]) = (1, 0x22, 123);
        let caps = caps(&track("V_MPEGH/ISO/HEVC", video(), Some(record.to_vec().leak())));
        for expect in ["hvc1", "profile=(string)main-10, tier=(string)high, level=(string)4.1"] {
            assert!(caps.contains(expect), "{caps}");
        }
    }

    #[test]
    fn private_data_that_is_no_record_means_annex_b() {
        for private in [None, Some(&[0u8, 0, 0, 1, 0x67][..])] {
            let caps = caps(&track("V_MPEG/ISO/AVC", video(), private));
            assert!(caps.contains("byte-stream") && !caps.contains("codec_data"), "{caps}");
        }
    }

    #[test]
    fn aac_has_rate_channels_and_config() {
        let format = AudioFormat { sampling_hz: 44_100.0, channels: 1, bit_depth: None };
        let track = track("A_AAC", TrackKind::Audio(format), Some(&[0x12, 0x08]));
        assert_eq!(
            caps(&track),
            "audio/mpeg, mpegversion=(int)4, framed=(boolean)true, stream-format=(string)raw, \
             profile=(string)lc, rate=(int)44100, channels=(int)1, codec_data=(buffer)1208"
        );
        assert_eq!(frame_duration(&track), Some(Duration::from_secs_f64(1024.0 / 44_100.0)));
    }

    #[test]
    fn anything_else_names_its_codec() {
        let expect = "application/x-kvs-track, codec-id=(string)M_X, codec-data=(buffer)07";
        assert_eq!(caps(&track("M_X", TrackKind::Data(33), Some(&[7]))), expect);
        let odd = track("V_MPEG4/ISO/AVC", TrackKind::Data(17), None);
        assert!(caps(&odd).starts_with(UNKNOWN), "a codec of another kind");
    }

    #[test]
    fn short_or_absurd_descriptions_do_not_panic() {
        for len in 0..4 {
            caps(&track("V_MPEG4/ISO/AVC", video(), Some(&[1, 1, 1, 1][..len])));
            caps(&track("V_MPEGH/ISO/HEVC", video(), Some(&[1, 1, 1, 1][..len])));
        }
        let huge = VideoFormat { width: u32::MAX, height: 0 };
        assert!(!caps(&track("V_MPEG4/ISO/AVC", TrackKind::Video(huge), None)).contains("width"));
        for sampling_hz in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
            let format = AudioFormat { sampling_hz, channels: u32::MAX, bit_depth: None };
            let track = track("A_AAC", TrackKind::Audio(format), None);
            assert!(!caps(&track).contains("rate"), "{sampling_hz}");
            frame_duration(&track);
        }
    }
}
