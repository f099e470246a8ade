# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs a pipeline like gst-launch-1.0 and notes every frame on the pads of one element.

    /usr/bin/python3 launch.py ELEMENT FILE PIPELINE...

ELEMENT is the name of a kvssink or kvssrc in the pipeline. FILE gets a line per frame, in the order
in which each pad saw them: v or a, running time in seconds, SHA-256 of the payload. Standard
output gets what the shell wants to know, as NAME=VALUE lines. Exits with 1 after an ERROR.
"""
import hashlib
import os
import signal
import sys
import time
import traceback

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

element_name, frames_file, words = sys.argv[1], sys.argv[2], sys.argv[3:]
Gst.init(None)
sys.excepthook = lambda *error: give_up(*error)
pipeline = Gst.parse_launchv(words)
element = pipeline if pipeline.get_name() == element_name else pipeline.get_by_name(element_name)
loop = GLib.MainLoop()
frames, acks = [], {"RECEIVED": 0, "PERSISTED": 0}
first, failed = None, False


def note(pad, info):
    """One buffer on its way: what it holds and when it is due."""
    global first
    first = first or time.monotonic()
    buffer = info.get_buffer()
    segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0).parse_segment()
    # Frames before the segment's start, such as AAC priming, have a negative running time.
    sign, due = segment.to_running_time_full(Gst.Format.TIME, buffer.pts)
    kind = pad.get_current_caps().get_structure(0).get_name()[0]
    digest = hashlib.sha256(buffer.extract_dup(0, buffer.get_size())).hexdigest()
    frames.append(f"{kind},{sign * due / 1e9:.9f},{digest}")
    return Gst.PadProbeReturn.OK


def give_up(*error):
    """A bug in a callback must not pass as a frame that was not there."""
    traceback.print_exception(*error)
    os._exit(1)


def watch(pad):
    # On the application's side of either element: what enters kvssink, what leaves kvssrc.
    pad.add_probe(Gst.PadProbeType.BUFFER, note)


def heard(_, message):
    global failed
    kind = message.type
    if kind == Gst.MessageType.EOS:
        loop.quit()
    elif kind == Gst.MessageType.ERROR:
        error, debug = message.parse_error()
        print(f"ERROR: {error.message}\n{debug}", file=sys.stderr)
        failed = True
        loop.quit()
    elif kind == Gst.MessageType.WARNING:
        print(f"WARNING: {message.parse_warning()[0].message}", file=sys.stderr)
    elif kind == Gst.MessageType.ELEMENT and message.get_structure():
        structure = message.get_structure()
        if structure.get_name() == "kvs-fragment-ack":
            event = structure.get_string("event-type")
            acks[event] = acks.get(event, 0) + 1
        elif structure.get_name() == "progress":
            seconds = structure.get_int64("current")[1]
            print(f"  {seconds} of {structure.get_int64('total')[1]} s", file=sys.stderr)


def interrupted():
    pipeline.send_event(Gst.Event.new_eos())
    return GLib.SOURCE_REMOVE


for pad in element.pads:
    watch(pad)
element.connect("pad-added", lambda _, pad: watch(pad))
pipeline.get_bus().add_signal_watch()
pipeline.get_bus().connect("message", heard)
GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, interrupted)

start = time.monotonic()
if pipeline.set_state(Gst.State.PLAYING) == Gst.StateChangeReturn.FAILURE:
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    sys.exit(f"ERROR: {message.parse_error()[0].message if message else 'cannot start'}")
loop.run()
seconds = time.monotonic() - start
pipeline.set_state(Gst.State.NULL)

with open(frames_file, "w") as out:
    out.writelines(f"{frame}\n" for frame in frames)
print(f"frames={len(frames)}")
print(f"seconds={seconds:.3f}")
print(f"first_s={(first or start) - start:.3f}")
print(f"received={acks['RECEIVED']}")
print(f"persisted={acks['PERSISTED']}")
sys.exit(failed)
