// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where frames go: fragments, tracks, time.

use super::*;

#[test]
fn one_track_is_sent_as_it_arrives_and_cut_at_key_frames() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    assert_eq!(b.push(v, 0, false), PushOutcome::Dropped(DropCause::BeforeKeyFrame));
    assert_eq!(b.out(), "<key 0> <1 BeforeKeyFrame>");
    b.push(v, 40, true);
    assert_eq!(b.out(), "open 1@40 1:V 1:[40 1:40k");
    b.push(v, 80, false);
    assert_eq!(b.out(), "1:80");
    // a key frame within 1 s of the cut does not cut
    b.push(v, 1039, true);
    assert_eq!(b.out(), "1:1039k");
    b.push(v, 1040, true);
    assert_eq!(b.out(), "1:[1040 1:1040k");
    // B-frames of an open GOP lie before their key frame
    b.push(v, 1100, false);
    b.push(v, 1070, false);
    assert_eq!(b.out(), "1:1100 1:1070");
}

#[test]
fn without_key_frame_fragmentation_the_duration_counts() {
    let mut b = Bench::new(Config { key_frame_fragmentation: false, ..Config::default() });
    let v = b.video();
    b.play(v, 0..2600, 500, 1);
    assert_eq!(b.out(), "open 1@0 1:V 1:[0 1:0k 1:500k 1:1000k 1:1500k 1:[2000 1:2000k 1:2500k");
}

#[test]
fn audio_alone_is_cut_by_duration() {
    let mut b = Bench::new(Config::default());
    let a = b.audio();
    b.play(a, 0..3000, 700, 1);
    assert_eq!(b.out(), "open 1@0 1:A 1:[0 1:0k 1:700k 1:1400k 1:[2100 1:2100k 1:2800k");
}

#[test]
fn a_cut_waits_for_the_other_track() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    assert_eq!(b.out(), "", "gathering");
    b.push(a, 10, true);
    assert_eq!(b.out(), "open 1@0 1:V,A 1:[0 1:0k 2:10k");
    b.push(v, 500, false);
    b.push(v, 1000, true);
    b.push(v, 1040, false);
    assert_eq!(b.out(), "1:500", "the cut waits");
    b.push(a, 990, true);
    assert_eq!(b.out(), "2:990k");
    b.push(a, 1010, true);
    assert_eq!(b.out(), "1:[1000 1:1000k 1:1040 2:1010k");
}

#[test]
fn audio_ahead_of_video_waits_for_it() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(a, 0, true);
    b.push(v, 0, true);
    b.push(a, 900, true);
    assert_eq!(b.out(), "open 1@0 1:V,A 1:[0 2:0k 1:0k 2:900k", "no cut can come before 1 s");
    b.push(a, 1100, true);
    b.push(a, 1300, true);
    b.push(v, 500, false);
    assert_eq!(b.out(), "1:500");
    b.push(v, 1200, true);
    assert_eq!(b.out(), "2:1100k 1:[1200 1:1200k 2:1300k");
}

#[test]
fn audio_goes_on_when_video_stalls() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    b.play(a, 1000..10_000, 1000, 1);
    assert_eq!(b.out(), "open 1@0 1:V,A 1:[0 1:0k 2:0k");
    b.play(a, 10_000..12_000, 1000, 1);
    assert_eq!(
        b.out(),
        "<key 0> 2:1000k 2:2000k 2:3000k 2:4000k 2:5000k 2:6000k 2:7000k 2:8000k 2:9000k 2:10000k \
         <key 0> 2:11000k"
    );
    b.play(a, 12_000..60_000, 1000, 1);
    let out = b.out();
    assert!(out.contains("<silent 0>") && out.contains(":A "), "{out}");
    assert!(out.ends_with("2:59000k"), "without video nothing waits: {out}");
    b.ack(2, "P", 0);
    assert_eq!(b.out(), "2:end");
    b.end(2, Ok(()));
    b.push(v, 60_000, true);
    assert_eq!(b.out(), "3:] open 4@60000 4:V,A 4:[60000 1:60000k", "and video comes back");
}

#[test]
fn audio_ahead_of_a_long_gop_stays_with_its_video() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    for time in (500..25_000).step_by(500) {
        b.push(a, time + 2000, true);
        b.push(v, time, false);
        b.pull_all();
    }
    let out = b.out();
    assert!(out.contains("1:[19000 1:19000 "), "{out}");
    assert!(!out.contains("Late") && !out.contains("step"), "{out}");
}

#[test]
fn a_gap_ends_the_wait() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    b.push(v, 2000, true);
    assert_eq!(b.out(), "open 1@0 1:V,A 1:[0 1:0k 2:0k");
    b.producer.gap(b.mono(), a, Timestamp::from_millis(EPOCH + 2000).unwrap());
    assert_eq!(b.out(), "1:[2000 1:2000k");
}

#[test]
fn a_silent_track_is_given_up_and_comes_back() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    b.play(v, 1000..12_000, 1000, 1);
    assert_eq!(
        b.out(),
        "open 1@0 1:V,A 1:[0 1:0k 2:0k 1:[1000 1:1000k 1:2000k 1:3000k 1:4000k 1:5000k 1:6000k \
         1:7000k 1:8000k 1:9000k 1:10000k abort 1 open 2@0 <silent 1> 2:V,A 2:[0 1:0k 2:0k 2:] \
         open 3@1000 3:V 3:[1000 1:1000k 1:2000k 1:3000k 1:4000k 1:5000k 1:6000k 1:7000k 1:8000k \
         1:9000k 1:10000k 3:[11000 1:11000k",
        "the first cut waits for audio to the limit; the second fragment is declared anew"
    );
    b.play(v, 12_000..14_000, 1000, 1);
    assert_eq!(b.out(), "3:[12000 1:12000k 3:[13000 1:13000k");
    b.ack(2, "P", 0);
    assert_eq!(b.out(), "2:end");
    b.end(2, Ok(()));
    b.push(a, 13_500, true);
    b.play(v, 14_000..21_000, 1000, 1);
    assert!(!b.out().contains("open"), "at most one switch in 10 s");
    b.play(v, 21_000..23_000, 1000, 1);
    let out = b.out();
    assert!(out.contains("V,A") && out.contains("2:13500k"), "{out}");
}

#[test]
fn asks_for_a_key_frame_and_cuts_anyway() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.play(v, 0..10_000, 500, 1000);
    assert!(!b.out().contains('<'));
    for time in [10_000, 10_500, 11_000, 11_500, 12_000] {
        b.push(v, time, false);
    }
    assert_eq!(b.out(), "<key 0> <key 0> 1:10000 1:10500 1:11000 1:11500 1:12000");
    b.push(v, 12_500, true);
    assert_eq!(b.out(), "1:[12500 1:12500k");
}

#[test]
fn the_limit_cuts_at_a_delta_frame_and_warns_once() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.push(v, 0, true);
    for time in (1000..40_000).step_by(1000) {
        b.wait_until(time);
        b.push(v, time, false);
    }
    let out = b.out();
    let words: Vec<_> = out.split(' ').filter(|w| w.contains(['<', '[', '>'])).collect();
    assert_eq!(words.iter().filter(|w| w.contains('[')).count(), 3, "{out}");
    assert!(out.contains("1:[19000 1:19000") && out.contains("1:[38000 1:38000"), "{out}");
    assert_eq!(out.matches("<no key 0>").count(), 1, "{out}");
    assert!(out.matches("<key 0>").count() >= 4, "{out}");
}

#[test]
fn silence_ends_the_fragment_and_delta_frames_go_on_in_a_new_one() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.push(v, 0, true);
    b.wait_until(1999);
    assert_eq!(b.out(), "open 1@0 1:V 1:[0 1:0k");
    b.wait_until(2000);
    assert_eq!(b.out(), "1:]");
    b.wait_until(7000);
    b.push(v, 7000, false);
    assert_eq!(b.out(), "<key 0> 1:[7000 1:7000");
}

#[test]
fn new_caps_start_a_new_session() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.push(v, 0, true);
    b.push(v, 500, false);
    b.describe(v, "W", TrackKind::Video(VideoFormat::default()), false);
    assert_eq!(b.push(v, 600, false), PushOutcome::Dropped(DropCause::BeforeKeyFrame));
    b.push(v, 1000, true);
    assert_eq!(
        b.out(),
        "open 1@0 <key 0> <1 BeforeKeyFrame> 1:V 1:[0 1:0k 1:500 1:] open 2@1000 2:W 2:[1000 \
         1:1000k"
    );
    b.ack(1, "P", 0);
    assert_eq!(b.out(), "1:end");
}

#[test]
fn equal_caps_change_nothing() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.push(v, 0, true);
    b.describe(v, "V", TrackKind::Video(VideoFormat { width: 16, height: 16 }), false);
    b.push(v, 40, false);
    assert_eq!(b.out(), "open 1@0 1:V 1:[0 1:0k 1:40");
}

#[test]
fn a_step_back_goes_on_until_a_key_frame_takes_it_over() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    for (time, key) in [(20_000, true), (21_000, true), (21_500, false)] {
        b.push(v, time, key);
    }
    b.out();
    b.push(v, 5000, false);
    b.push(v, 5100, false);
    assert_eq!(b.out(), "<step 0 16500> 1:22000 1:22100");
    b.push(v, 5200, true);
    assert_eq!(b.out(), "1:] open 2@5200 2:V 2:[5200 1:5200k");
}

#[test]
fn slightly_late_frames_move_up_to_the_cut() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    b.push(v, 1000, true);
    b.producer.gap(b.mono(), a, Timestamp::from_millis(EPOCH + 1000).unwrap());
    b.push(v, 1500, false);
    b.out();
    b.push(a, 990, true);
    b.push(v, 2000, true);
    b.push(a, 2000, true);
    b.push(a, 1200, true);
    assert_eq!(b.out(), "2:990k 1:[2000 1:2000k 2:2000k 2:1501k");
}

#[test]
fn a_track_far_behind_comes_back_in_a_new_session() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    b.producer.gap(b.mono(), a, Timestamp::from_millis(EPOCH + 3000).unwrap());
    b.push(v, 3000, true);
    b.push(v, 3500, false);
    b.out();
    b.push(a, 3400, true);
    b.push(v, 5500, false);
    b.push(v, 6000, true);
    b.producer.gap(b.mono(), a, Timestamp::from_millis(EPOCH + 6000).unwrap());
    b.out();
    b.push(a, 3800, true);
    assert_eq!(b.out(), "", "waits for a session that can take it");
    b.push(v, 7500, true);
    assert_eq!(
        b.out(),
        "abort 1 open 2@0 2:V,A 2:[0 1:0k 2:0k 2:[3000 1:3000k 1:3500 2:3400k 1:5500 2:] open 3@6000 3:V 3:[6000 1:6000k 3:]"
    );
}

#[test]
fn flush_maps_time_anew() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.push(v, 9000, true);
    b.producer.flush(b.mono(), v);
    b.push(v, 500, true);
    assert_eq!(b.out(), "open 1@9000 1:V 1:[9000 1:9000k 1:] open 2@500 2:V 2:[500 1:500k");
}

#[test]
fn a_frame_larger_than_a_fragment_is_refused() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.payload = limit::FRAGMENT_BYTES + 1;
    assert_eq!(b.push(v, 0, true), PushOutcome::Dropped(DropCause::FrameTooLarge));
}

#[test]
fn a_fragment_is_cut_before_it_is_too_large() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.payload = 20_000_000;
    for time in 0..4 {
        b.push(v, time, time == 0);
    }
    assert_eq!(b.out(), "open 1@0 <no key 0> <key 0> 1:V 1:[0 1:0k 1:1 1:[2 1:2 1:3");
}

#[test]
fn no_more_tracks_than_the_service_takes() {
    let mut b = Bench::new(Config::default());
    let first = b.video();
    b.audio();
    b.audio();
    assert_eq!(b.producer.add_pad(b.mono()), None);
    b.producer.remove_pad(b.mono(), first);
    assert!(b.producer.add_pad(b.mono()).is_some());
}

#[test]
fn unpaced_input_is_noticed_once() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    for time in [0, 61_000, 62_000] {
        let frame = InputFrame {
            time: Timestamp::from_millis(EPOCH + time),
            arrival: Timestamp::from_millis(EPOCH).unwrap(),
            duration: None,
            key: true,
            payload: Payload::Copy(&[1]),
            pinned: 0,
        };
        b.producer.push_frame(b.mono(), v, &frame);
    }
    assert_eq!(b.out().matches("<ahead>").count(), 1);
}
