# SPDX-License-Identifier: MIT OR Apache-2.0
"""A kvs-server process, its boto3 clients, and PutMedia, which boto3 does not know."""

import hashlib
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials

ACCESS_KEY, SECRET_KEY, REGION = "AKIDBOTO", "a/secret+of=boto", "us-west-2"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
# Media of the tests begins here.
START = 1_795_352_474.25


class Server:
    """A server with a data folder of its own, which accepts one access key."""

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        keys = pathlib.Path(self.folder.name, "keys")
        keys.write_text(f"{ACCESS_KEY} {SECRET_KEY}\n")
        self.log = open(pathlib.Path(self.folder.name, "log"), "w+b")
        self.process = subprocess.Popen(
            [os.environ["KVS_SERVER"], "--listen", "127.0.0.1:0", "--credentials", keys,
             "--data-dir", pathlib.Path(self.folder.name, "data"), *options],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.url = self.process.stdout.readline().strip()
        if not self.url.startswith("http://"):
            self.log.seek(0)
            raise RuntimeError(f"kvs-server did not start: {self.log.read().decode()}")

    def client(self, service, secret=SECRET_KEY, key=ACCESS_KEY, token=None, url=None):
        return boto3.client(
            service, region_name=REGION, endpoint_url=url or self.url, aws_access_key_id=key,
            aws_secret_access_key=secret, aws_session_token=token,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, proxies={}))

    def stop(self):
        """Drains the server; gives its exit status."""
        self.process.terminate()
        status = self.process.wait(20)
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()
        return status


def media():
    """Four seconds of video by ffmpeg, one Cluster per two seconds."""
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=15:duration=4",
         "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "30", "-keyint_min", "30",
         "-sc_threshold", "0", "-bf", "0", "-f", "matroska", "-cluster_time_limit", "5000",
         "-flags", "+bitexact", "-"],
        check=True, stdout=subprocess.PIPE).stdout


def hashes(matroska):
    """The payload hashes of all frames."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-show_packets", "-show_data_hash", "sha256", "-of", "json", "-"],
        check=True, input=matroska, stdout=subprocess.PIPE)
    return [packet["data_hash"] for packet in json.loads(probe.stdout)["packets"]]


class Signer(botocore.auth.SigV4Auth):
    """Signs with a payload hash of the caller's choice, as the producers of this API do."""

    def __init__(self, credentials, payload_hash):
        super().__init__(credentials, "kinesisvideo", REGION)
        self.payload_hash = payload_hash

    def payload(self, request):
        return self.payload_hash


def put_media(url, stream, body, payload_hash=EMPTY_HASH, port_in_host=True, hash_header=None,
              secret=SECRET_KEY, **headers):
    """Posts Matroska as a producer does; gives status, headers and acks (or the error body)."""
    host = urllib.parse.urlsplit(url)
    headers = {
        "Connection": "keep-alive", "Transfer-Encoding": "chunked", "User-Agent": "kvs test",
        "x-amzn-stream-name": stream, "x-amzn-fragment-timecode-type": "RELATIVE",
        "x-amzn-producer-start-timestamp": f"{START:.3f}",
        "x-amzn-fragment-acknowledgment-required": "1", **headers}
    signed_host = host.netloc if port_in_host else host.hostname
    request = botocore.awsrequest.AWSRequest(
        "POST", f"http://{signed_host}/putMedia", headers=dict(headers))
    credentials = botocore.credentials.Credentials(ACCESS_KEY, secret)
    Signer(credentials, payload_hash).add_auth(request)
    headers["Host"] = signed_host
    for name in ("X-Amz-Date", "Authorization"):
        headers[name] = request.headers[name]
    if hash_header:
        headers["x-amz-content-sha256"] = hash_header
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=20)
    try:
        # `body` in pieces that know nothing of Matroska.
        pieces = (body[at:at + 1000] for at in range(0, len(body), 1000))
        connection.request("POST", "/putMedia", body=pieces, headers=headers, encode_chunked=True)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            return answer.status, answer.headers, text
        return answer.status, answer.headers, [json.loads(line) for line in text.splitlines()]
    finally:
        connection.close()
