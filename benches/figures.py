# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the measured processes and prints one table of figures beside their peers.

Called by benches/run.sh: figures.py KVS_SERVER WORKER [--quick]

CPU time and peak memory are what the kernel counted for one process (wait4). Net means less the
same process with fakesink in the place of kvssink. Where runs are repeated, the median counts.
"""
import http.server
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SERVER, WORKER = sys.argv[1:3]
QUICK = "--quick" in sys.argv
RUNS = 1 if QUICK else 5
BIG = dict(frames=1_800 if QUICK else 18_000, size=83_600)
SMALL = dict(frames=60_000, size=417)
MIB = 1 << 20


class Ended:
    """What a process printed and cost."""

    def __init__(self, argv, **kwargs):
        start = time.monotonic()
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, **kwargs)
        self.text = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.wall = time.monotonic() - start
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak_mib = usage.ru_maxrss / 1024
        if process.returncode != 0:
            sys.exit(f"{' '.join(argv)} ended with {process.returncode}: {self.text}")

    @property
    def report(self):
        return json.loads(self.text.strip().splitlines()[-1])


class Server:
    """A kvs-server in a folder of its own."""

    def __init__(self, folder, *options):
        self.data = os.path.join(folder, "data")
        self.log = open(os.path.join(folder, "server.log"), "w+b")
        self.process = subprocess.Popen(
            [SERVER, "--listen", "127.0.0.1:0", "--data-dir", self.data, *options],
            stdout=self.log, stderr=subprocess.STDOUT)
        deadline, options_text = time.monotonic() + 20, " ".join(options)
        while True:
            with open(self.log.name) as log:
                text = log.read()
            # Its log names the public URL as well as the bound address.
            found = [a for a in re.findall(r"127\.0\.0\.1:\d+", text) if a not in options_text]
            if found:
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"kvs-server does not listen: {text}")
            time.sleep(0.02)
        self.address = found[0]
        self.url = "http://" + self.address

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.data, ignore_errors=True)

    def call(self, operation, **members):
        answer = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "-H", "content-type: application/json",
             "--data", json.dumps(members), f"{self.url}/{operation}"],
            stdout=subprocess.PIPE, check=True)
        return json.loads(answer.stdout or b"{}")

    def create(self, stream):
        self.call("createStream", StreamName=stream, DataRetentionInHours=1)

    def delete(self, stream):
        info = self.call("describeStream", StreamName=stream)["StreamInfo"]
        self.call("deleteStream", StreamARN=info["StreamARN"])

    def fragments(self, stream):
        """Number and bytes of the persisted fragments."""
        count = size = 0
        ever = dict(FragmentSelectorType="SERVER_TIMESTAMP",
                    TimestampRange=dict(StartTimestamp=0, EndTimestamp=4102444800))
        members = dict(StreamName=stream, MaxResults=1000, FragmentSelector=ever)
        while True:
            answer = self.call("listFragments", **members)
            count += len(answer["Fragments"])
            size += sum(f["FragmentSizeInBytes"] for f in answer["Fragments"])
            if not answer.get("NextToken"):
                return count, size
            members["NextToken"] = answer["NextToken"]


class Recorder:
    """A TCP relay that keeps the body of the PutMedia request that passes through it."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.saved = threading.Event()

    def serve(self, upstream):
        host, port = upstream.split(":")
        def accept():
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((host, int(port)))
                threading.Thread(target=self.requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self.answers, args=(server, client), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()

    def requests(self, client, server):
        raw = tempfile.NamedTemporaryFile(dir=os.path.dirname(self.path))
        head = b""
        while data := client.recv(MIB):
            server.sendall(data)
            head = head or data
            if head.startswith(b"POST /putMedia"):
                raw.write(data)
        try:
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if head.startswith(b"POST /putMedia"):
            raw.seek(0)
            with open(self.path, "wb") as body:
                dechunk(raw, body)
            self.saved.set()

    @staticmethod
    def answers(server, client):
        try:
            while data := server.recv(MIB):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def dechunk(request, body):
    """Copies the body of one chunked HTTP request."""
    while request.readline().strip():
        pass
    while size := int(request.readline().split(b";")[0], 16):
        body.write(request.read(size))
        request.readline()


def put_media(server, stream, body):
    """curl posts a body to PutMedia, its answer read to the end."""
    return Ended([
        "curl", "-sS", "--fail", "-o", os.devnull, "-X", "POST", "-T", body,
        "-H", "transfer-encoding: chunked", "-H", "expect:", "-H", f"x-amzn-stream-name: {stream}",
        "-H", "x-amzn-fragment-timecode-type: ABSOLUTE",
        "-H", "x-amzn-producer-start-timestamp: %.3f" % time.time(),
        f"{server.url}/putMedia"])


def median(values):
    return statistics.median(list(values))


def upload(server, stream, sink, shape, storage=128):
    return Ended([WORKER, "upload", sink, server.url, stream, str(shape["frames"]),
                  str(shape["size"]), str(storage)])


def capture(folder, shape):
    """What kvssink sends as one PutMedia body, in a file."""
    path = os.path.join(folder, "body-%d.mkv" % shape["size"])
    recorder = Recorder(path)
    with Server(folder, "--public-url", recorder.url) as server:
        recorder.serve(server.address)
        server.create("capture")
        upload(server, "capture", "kvssink", shape)
        if not recorder.saved.wait(60):
            sys.exit("no PutMedia request passed the relay")
    return path


def upload_cost(folder, shape, body):
    """CPU seconds: kvssink net of fakesink, and curl posting the same bytes."""
    with Server(folder) as server:
        ours, none, curl = [], [], []
        for n in range(RUNS):
            for stream in (f"sink-{n}", f"curl-{n}"):
                server.create(stream)
            ours.append(upload(server, f"sink-{n}", "kvssink", shape).cpu)
            none.append(upload(server, f"none-{n}", "fakesink", shape).cpu)
            curl.append(put_media(server, f"curl-{n}", body).cpu)
            for stream in (f"sink-{n}", f"curl-{n}"):
                server.delete(stream)
        return median(ours) - median(none), median(curl)


def read_cost(folder, body, rows):
    with Server(folder, "--consumer-idle", "1") as server:
        server.create("read")
        put_media(server, "read", body)
        count, size = server.fragments("read")
        request = ["curl", "-sS", "--data", json.dumps(
            dict(StreamName="read", StartSelector=dict(StartSelectorType="EARLIEST")))]
        url = f"{server.url}/getMedia"
        saved = os.path.join(folder, "get-media.mkv")
        subprocess.run([*request, "-o", saved, url], check=True)
        total = os.path.getsize(saved)
        ours, curl, reader = [], [], []
        for _ in range(RUNS):
            ours.append(Ended([WORKER, "read", server.url, "read", str(count)]))
            # curl stays until the service ends the response: time it up to the last bytes, whose
            # number differs by some digits in the tags.
            start = time.monotonic()
            get = subprocess.Popen([*request, url], stdout=subprocess.PIPE, bufsize=0,
                                   stderr=subprocess.DEVNULL)
            subprocess.run(["head", "-c", str(total - 4096)], stdin=get.stdout, stdout=subprocess.DEVNULL)
            curl.append(time.monotonic() - start)
            get.stdout.close()
            get.wait()
        web = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0),
            lambda *a: Quiet(*a, directory=folder))
        threading.Thread(target=web.serve_forever, daemon=True).start()
        location = "http://127.0.0.1:%d/get-media.mkv" % web.server_port
        for _ in range(RUNS):
            reader.append(Ended(["gst-launch-1.0", "-q", "souphttpsrc", f"location={location}",
                                 "!", "matroskademux", "!", "fakesink", "sync=false"]))
        web.shutdown()
    ours_rate = median(r.report["bytes"] / r.report["seconds"] for r in ours) / 1e6
    curl_rate = total / median(curl) / 1e6
    rows.append(("kvssrc, MB/s", ours_rate, "curl", curl_rate, ">= 0.7"))
    rows.append(("kvssrc, ms CPU per MB", median(r.cpu for r in ours) / total * 1e9,
                 "souphttpsrc ! matroskademux", median(r.cpu for r in reader) / total * 1e9,
                 "<= 1"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def persist_rate(folder, body, rows):
    """Both write the same bytes, one after the other, and give their pages back after each run."""
    size, target = os.path.getsize(body), os.path.join(folder, "dd")
    ours, plain = [], []
    with Server(folder) as server:
        for n in range(RUNS):
            stream = f"persist-{n}"
            server.create(stream)
            ours.append(size / put_media(server, stream, body).wall / 1e6)
            if server.fragments(stream)[0] == 0:
                sys.exit("nothing was persisted")
            server.delete(stream)
            start = time.monotonic()
            subprocess.run(["dd", f"if={body}", f"of={target}", "bs=1M", "oflag=dsync",
                            "status=none"], check=True)
            plain.append(size / (time.monotonic() - start) / 1e6)
            os.remove(target)
    rows.append(("kvs-server persists, MB/s", median(ours), "dd oflag=dsync bs=1M",
                 median(plain), ">= 0.5"))


def many_sinks(folder, notes):
    seconds = "5" if QUICK else "20"
    with Server(folder) as server:
        def run(sink, count):
            return Ended([WORKER, "sinks", sink, server.url, f"many-{sink}-{count}", str(count),
                          seconds]).report
        one, many = run("kvssink", 1), run("kvssink", 50)
        none_one, none_many = run("fakesink", 1), run("fakesink", 50)
    threads = (many["threads"] - one["threads"]) - (none_many["threads"] - none_one["threads"])
    kib = (many["resident_kib"] - one["resident_kib"]
           - none_many["resident_kib"] + none_one["resident_kib"]) / 49
    notes.append(f"50 sinks of 0.1 Mbit/s: {threads} further threads (target 0), "
                 f"{kib / 1024:.2f} MiB each beyond the first (target 0.3 + two fragments), "
                 f"stopped in {many['stop_seconds']:.2f} s")


def main():
    rows, notes = [], []
    with tempfile.TemporaryDirectory(prefix="kvs-bench-", dir=os.environ.get("TMPDIR")) as folder:
        for name, shape, unit, per in (
                ("upload, ms CPU per MB", BIG, 1e9, BIG["frames"] * BIG["size"]),
                ("upload, us CPU per 417 B frame", SMALL, 1e6, SMALL["frames"])):
            body = capture(folder, shape)
            ours, curl = upload_cost(folder, shape, body)
            rows.append((name, ours / per * unit, "curl", curl / per * unit, "<= 2"))
            say(rows[-1])
        body = os.path.join(folder, "body-%d.mkv" % BIG["size"])
        read_cost(folder, body, rows)
        persist_rate(folder, body, rows)
        with Server(folder) as server:
            server.create("memory")
            peak = upload(server, "memory", "kvssink", BIG, storage=16).peak_mib
            notes.append(f"peak memory of the {BIG['frames'] * BIG['size'] / 1e6:.0f} MB upload at "
                         f"storage-size=16: {peak:.1f} MiB (target 46)")
            server.create("latency")
            frames = "150" if QUICK else "900"
            late = Ended([WORKER, "latency", server.url, "latency", frames]).report
            notes.append("frame in to frame out at 30 fps: median {median_ms:.2f} ms, p99 "
                         "{p99_ms:.2f} ms (target 20), worst {max_ms:.2f} ms, {frames} frames"
                         .format(**late))
        many_sinks(folder, notes)
    print(f"\n{'figure':34} {'ours':>10}   {'peer':28} {'peer has':>10} {'ratio':>7}  target")
    for row in rows:
        print("%-34s %10.3f   %-28s %10.3f %7.2f  %s" %
              (row[0], row[1], row[2], row[3], row[1] / row[3], row[4]))
    print()
    print("\n".join(notes))


def say(row):
    print(f"... {row[0]}: {row[1]:.3f}, {row[2]} {row[3]:.3f}", file=sys.stderr)


main()
