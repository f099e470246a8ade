// SPDX-License-Identifier: MIT OR Apache-2.0
//! The measured processes of `benches/run.sh`: each run does one job and prints one line of JSON.
//!
//! ```text
//! upload SINK ENDPOINT STREAM FRAMES BYTES STORAGE_MIB   push frames as fast as the sink takes them
//! sinks SINK ENDPOINT STREAM COUNT SECONDS               COUNT paced sinks in one process
//! read ENDPOINT STREAM FRAGMENTS                         read fragments back to the last frame
//! latency ENDPOINT STREAM FRAMES                         frame in to frame out at 30 fps
//! ```
//! SINK is `kvssink`, or `fakesink` for what the same process costs without it. CPU time and peak
//! memory are the caller's to read from the ended process.
#![expect(clippy::disallowed_methods, reason = "measuring needs the clock and paces frames")]
#![allow(missing_docs, reason = "a program")]

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

type Outcome<T> = Result<T, Box<dyn Error>>;

const FPS: u64 = 30;
/// Two seconds per fragment.
const KEY_EVERY: u64 = 2 * FPS;
/// `avcC` of a 1280x720 High stream.
const CODEC_DATA: &str =
    "0164001fffe100176764001facb602802dd080000003008000001e478c197001000568eac272c0";

fn main() -> Outcome<()> {
    // Cargo adds `--bench` when it runs this itself.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    gst::init()?;
    gstkvs::plugin_register_static()?;
    match args[..] {
        ["upload", sink, endpoint, stream, frames, bytes, storage] => {
            let target = Target { sink, endpoint, stream, storage: storage.parse()? };
            upload(&target, frames.parse()?, bytes.parse()?)
        }
        ["sinks", sink, endpoint, stream, count, seconds] => {
            let target = Target { sink, endpoint, stream, storage: 4 };
            sinks(&target, count.parse()?, seconds.parse()?)
        }
        ["read", endpoint, stream, fragments] => read(endpoint, stream, fragments.parse()?),
        ["latency", endpoint, stream, frames] => latency(endpoint, stream, frames.parse()?),
        _ => {
            println!("run benches/run.sh: it starts what this program measures");
            Ok(())
        }
    }
}

/// Where frames go.
struct Target<'a> {
    sink: &'a str,
    endpoint: &'a str,
    stream: &'a str,
    storage: u32,
}

impl Target<'_> {
    fn make(&self, stream: &str, streaming_type: &str) -> Outcome<gst::Element> {
        let sink = gst::ElementFactory::make(self.sink).build()?;
        if self.sink == "kvssink" {
            sink.set_property("stream-name", stream);
            sink.set_property("endpoint", self.endpoint);
            sink.set_property("storage-size", self.storage);
            sink.set_property_from_str("streaming-type", streaming_type);
        }
        Ok(sink)
    }
}

fn source(live: bool) -> gst_app::AppSrc {
    let nibbles: Vec<u8> = CODEC_DATA
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap_or(0))
        .collect();
    let codec_data: Vec<u8> = nibbles.chunks_exact(2).map(|n| n[0] << 4 | n[1]).collect();
    let caps = gst::Caps::builder("video/x-h264")
        .field("stream-format", "avc")
        .field("alignment", "au")
        .field("profile", "high")
        .field("width", 1280)
        .field("height", 720)
        .field("framerate", gst::Fraction::new(FPS as i32, 1))
        .field("codec_data", gst::Buffer::from_slice(codec_data))
        .build();
    gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Time).is_live(live).build()
}

/// One frame of `bytes` bytes that carries its number: a length-prefixed slice NAL unit.
fn frame(number: u64, bytes: usize) -> gst::Buffer {
    let mut data = vec![0xA5_u8; bytes.max(16)];
    let key = number.is_multiple_of(KEY_EVERY);
    let length = u32::try_from(data.len() - 4).unwrap_or(u32::MAX);
    data[..4].copy_from_slice(&length.to_be_bytes());
    data[4] = if key { 0x65 } else { 0x41 };
    data[5..13].copy_from_slice(&number.to_be_bytes());
    let mut buffer = gst::Buffer::from_mut_slice(data);
    if let Some(buffer) = buffer.get_mut() {
        let pts = gst::ClockTime::from_nseconds(number * 1_000_000_000 / FPS);
        buffer.set_pts(pts);
        buffer.set_dts(pts);
        buffer.set_duration(gst::ClockTime::from_nseconds(1_000_000_000 / FPS));
        if !key {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
    }
    buffer
}

/// The frames are made on the streaming thread, as a demuxer would: a second thread that hands them
/// over would cost more than either sink, and not the same with both.
fn upload(target: &Target, frames: u64, bytes: usize) -> Outcome<()> {
    let pipeline = gst::Pipeline::new();
    let source = source(false);
    let sink = target.make(target.stream, "offline")?;
    pipeline.add_many([source.upcast_ref(), &sink])?;
    source.link(&sink)?;
    let mut number = 0;
    let make = move |source: &gst_app::AppSrc, _| {
        let _ = match number {
            number if number == frames => source.end_of_stream(),
            number => source.push_buffer(frame(number, bytes)),
        };
        number += 1;
    };
    source.set_callbacks(gst_app::AppSrcCallbacks::builder().need_data(make).build());
    // What an application does with a message for each ack is not the sink's cost.
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    bus.set_sync_handler(|_, message| match message.type_() {
        gst::MessageType::Eos | gst::MessageType::Error => gst::BusSyncReply::Pass,
        _ => gst::BusSyncReply::Drop,
    });
    let start = Instant::now();
    pipeline.set_state(gst::State::Playing)?;
    until_eos(&pipeline)?;
    let seconds = start.elapsed().as_secs_f64();
    pipeline.set_state(gst::State::Null)?;
    println!("{{\"bytes\": {}, \"seconds\": {seconds}}}", frames * bytes as u64);
    Ok(())
}

fn until_eos(pipeline: &gst::Pipeline) -> Outcome<()> {
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    for message in bus.iter_timed(gst::ClockTime::from_seconds(300)) {
        match message.view() {
            gst::MessageView::Eos(_) => return Ok(()),
            gst::MessageView::Error(e) => {
                return Err(format!("{} ({:?})", e.error(), e.debug()).into());
            }
            gst::MessageView::Warning(w) => eprintln!("{} ({:?})", w.error(), w.debug()),
            _ => {}
        }
    }
    Err("no EOS within 300 s".into())
}

/// A line `Name: value kB` or `Name: value` of /proc/self/status.
fn status(name: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let value = line.and_then(|l| l.split_whitespace().next()).ok_or("no such line")?;
    Ok(value.parse()?)
}

fn sinks(target: &Target, count: usize, seconds: u64) -> Outcome<()> {
    // 0.1 Mbit/s at 30 fps.
    const BYTES: usize = 100_000 / 8 / FPS as usize;
    let pipeline = gst::Pipeline::new();
    let mut sources = Vec::new();
    for n in 0..count {
        let (source, sink) =
            (source(true), target.make(&format!("{}-{n}", target.stream), "realtime")?);
        pipeline.add_many([source.upcast_ref(), &sink])?;
        source.link(&sink)?;
        sources.push(source);
    }
    pipeline.set_state(gst::State::Playing)?;
    let (start, frames) = (Instant::now(), seconds * FPS);
    let mut peak_threads = 0;
    for number in 0..frames {
        for source in &sources {
            source.push_buffer(frame(number, BYTES))?;
        }
        if number.is_multiple_of(FPS) {
            peak_threads = peak_threads.max(status("Threads")?);
        }
        let due = Duration::from_nanos((number + 1) * 1_000_000_000 / FPS);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let resident_kib = status("VmRSS")?;
    for source in &sources {
        let _ = source.end_of_stream();
    }
    until_eos(&pipeline)?;
    let stopping = Instant::now();
    pipeline.set_state(gst::State::Null)?;
    println!(
        "{{\"threads\": {peak_threads}, \"resident_kib\": {resident_kib}, \"stop_seconds\": {}}}",
        stopping.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A pipeline that reads a stream; `each` sees every buffer on the source pad of kvssrc.
fn reader(
    source: gst::Element,
    each: impl Fn(&gst::BufferRef) + Clone + Send + Sync + 'static,
) -> Outcome<gst::Pipeline> {
    let pipeline = gst::Pipeline::new();
    pipeline.add(&source)?;
    let weak = pipeline.downgrade();
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let each = each.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                each(buffer);
            }
            gst::PadProbeReturn::Ok
        });
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).build();
        let linked = sink.and_then(|sink| {
            pipeline.add(&sink)?;
            sink.sync_state_with_parent()?;
            let into = sink.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("no pad"))?;
            pad.link(&into).map_err(|e| gst::glib::bool_error!("{e}"))
        });
        if let Err(error) = linked {
            gst::element_error!(pipeline, gst::CoreError::Pad, ["{error}"]);
        }
    });
    Ok(pipeline)
}

fn read(endpoint: &str, stream: &str, fragments: u64) -> Outcome<()> {
    let source = gst::ElementFactory::make("kvssrc")
        .property("endpoint", endpoint)
        .property("stream-name", stream)
        .property_from_str("start-selector", "earliest")
        .property_from_str("num-fragments", &fragments.to_string())
        .build()?;
    let count = Arc::new(Mutex::new((0_u64, 0_u64, None)));
    let counter = Arc::clone(&count);
    let pipeline = reader(source, move |buffer| {
        if let Ok(mut count) = counter.lock() {
            count.0 += 1;
            count.1 += buffer.size() as u64;
            count.2 = Some(Instant::now());
        }
    })?;
    let start = Instant::now();
    pipeline.set_state(gst::State::Playing)?;
    until_eos(&pipeline)?;
    pipeline.set_state(gst::State::Null)?;
    let (frames, bytes, last) = *count.lock().map_err(|_| "a probe panicked")?;
    let seconds = last.ok_or("no frame")?.duration_since(start).as_secs_f64();
    println!("{{\"frames\": {frames}, \"bytes\": {bytes}, \"seconds\": {seconds}}}");
    Ok(())
}

fn latency(endpoint: &str, stream: &str, frames: u64) -> Outcome<()> {
    // 4 Mbit/s; the first 2 s settle connections and are left out.
    const BYTES: usize = 4_000_000 / 8 / FPS as usize;
    const SETTLE: u64 = 2 * FPS;
    let pushed = Arc::new(Mutex::new(HashMap::<u64, Instant>::new()));
    let seen = Arc::new(Mutex::new(Vec::<(u64, f64)>::new()));

    let target = Target { sink: "kvssink", endpoint, stream, storage: 64 };
    let (source, sink) = (source(true), target.make(stream, "realtime")?);
    let upload = gst::Pipeline::new();
    upload.add_many([source.upcast_ref(), &sink])?;
    source.link(&sink)?;
    upload.set_state(gst::State::Playing)?;

    let (from, into) = (Arc::clone(&pushed), Arc::clone(&seen));
    let kvssrc = gst::ElementFactory::make("kvssrc")
        .property("endpoint", endpoint)
        .property("stream-name", stream)
        .build()?;
    let download = reader(kvssrc, move |buffer| {
        let now = Instant::now();
        let mut number = [0_u8; 8];
        if buffer.copy_to_slice(5, &mut number).is_err() {
            return;
        }
        let number = u64::from_be_bytes(number);
        if let (Ok(from), Ok(mut into)) = (from.lock(), into.lock())
            && let Some(then) = from.get(&number)
        {
            into.push((number, (now - *then).as_secs_f64() * 1e3));
        }
    })?;
    download.set_state(gst::State::Playing)?;

    let start = Instant::now();
    for number in 0..frames + SETTLE {
        let buffer = frame(number, BYTES);
        pushed.lock().map_err(|_| "a probe panicked")?.insert(number, Instant::now());
        source.push_buffer(buffer)?;
        let due = Duration::from_nanos((number + 1) * 1_000_000_000 / FPS);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    source.end_of_stream()?;
    until_eos(&upload)?;
    download.set_state(gst::State::Null)?;
    upload.set_state(gst::State::Null)?;

    let seen = seen.lock().map_err(|_| "a probe panicked")?;
    let mut ms: Vec<f64> = seen.iter().filter(|s| s.0 >= SETTLE).map(|s| s.1).collect();
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| ms.get((ms.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "{{\"frames\": {}, \"median_ms\": {}, \"p99_ms\": {}, \"max_ms\": {}}}",
        ms.len(),
        at(0.5),
        at(0.99),
        ms.last().copied().unwrap_or(f64::NAN)
    );
    Ok(())
}
