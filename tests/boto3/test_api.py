# SPDX-License-Identifier: MIT OR Apache-2.0
"""What boto3 makes of every answer of kvs-server."""

import datetime
import unittest

import botocore.exceptions

import kvs


class ApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = kvs.Server("--consumer-idle", "0.5")
        cls.control = cls.server.client("kinesisvideo")
        cls.media = kvs.media()
        cls.frames = kvs.hashes(cls.media)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def create(self, retention=24, **members):
        """A stream named after the test."""
        name = self.id().rpartition(".")[2]
        arn = self.control.create_stream(
            StreamName=name, DataRetentionInHours=retention, **members)["StreamARN"]
        return name, arn

    def endpoint_client(self, service, name, api):
        url = self.control.get_data_endpoint(StreamName=name, APIName=api)["DataEndpoint"]
        return self.server.client(service, url=url)

    def upload(self, name):
        """One document; gives the numbers of its fragments."""
        status, _, acks = kvs.put_media(self.server.url, name, self.media)
        self.assertEqual(status, 200)
        numbers = [ack["FragmentNumber"] for ack in acks if ack["EventType"] == "PERSISTED"]
        self.assertEqual(len(numbers), 2, acks)
        return numbers

    def refused(self, code, status, call, *args, **members):
        """The call fails with an exception of the service's model, or of its edge."""
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(*args, **members)
        answer = caught.exception.response
        self.assertEqual(answer["Error"]["Code"], code)
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], status)
        self.assertTrue(answer["Error"]["Message"])
        self.assertTrue(answer["ResponseMetadata"]["RequestId"])
        return caught.exception

    # -- streams

    def test_create_and_describe(self):
        name, arn = self.create(MediaType="video/h264", DeviceName="door", Tags={"a": "b"})
        for which in ({"StreamName": name}, {"StreamARN": arn}):
            info = self.control.describe_stream(**which)["StreamInfo"]
            self.assertEqual(
                (info["StreamName"], info["StreamARN"], info["Status"]), (name, arn, "ACTIVE"))
            self.assertEqual((info["MediaType"], info["DeviceName"]), ("video/h264", "door"))
            self.assertEqual(info["DataRetentionInHours"], 24)
            age = datetime.datetime.now(datetime.timezone.utc) - info["CreationTime"]
            self.assertLess(abs(age), datetime.timedelta(minutes=1))
        error = self.refused("ResourceInUseException", 400, self.control.create_stream,
                             StreamName=name)
        self.assertIsInstance(error, self.control.exceptions.ResourceInUseException)
        error = self.refused("ResourceNotFoundException", 404, self.control.describe_stream,
                             StreamName="nobody")
        self.assertIsInstance(error, self.control.exceptions.ResourceNotFoundException)
        error = self.refused("InvalidArgumentException", 400, self.control.describe_stream)
        self.assertIsInstance(error, self.control.exceptions.InvalidArgumentException)
        self.refused("InvalidArgumentException", 400, self.control.create_stream, StreamName="a b")

    def test_list_streams(self):
        prefix, names = "listed-", {f"listed-{n}" for n in range(5)}
        for name in names:
            self.control.create_stream(StreamName=name)
        condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": prefix}
        pages = list(self.control.get_paginator("list_streams").paginate(
            StreamNameCondition=condition, PaginationConfig={"PageSize": 2}))
        self.assertEqual(len(pages), 3)
        listed = [info["StreamName"] for page in pages for info in page["StreamInfoList"]]
        self.assertEqual(sorted(listed), sorted(names))
        self.assertNotIn("NextToken", pages[-1])
        self.refused("InvalidArgumentException", 400, self.control.list_streams, NextToken="zz")

    def test_update_stream(self):
        name, _ = self.create()
        version = self.control.describe_stream(StreamName=name)["StreamInfo"]["Version"]
        update = {"StreamName": name, "CurrentVersion": version, "MediaType": "video/h265"}
        self.control.update_stream(**update)
        info = self.control.describe_stream(StreamName=name)["StreamInfo"]
        self.assertEqual(info["MediaType"], "video/h265")
        error = self.refused(
            "VersionMismatchException", 400, self.control.update_stream, **update)
        self.assertIsInstance(error, self.control.exceptions.VersionMismatchException)

    def test_update_data_retention(self):
        name, _ = self.create()

        def change(operation, hours):
            version = self.control.describe_stream(StreamName=name)["StreamInfo"]["Version"]
            self.control.update_data_retention(
                StreamName=name, CurrentVersion=version, Operation=operation,
                DataRetentionChangeInHours=hours)
            return self.control.describe_stream(StreamName=name)["StreamInfo"][
                "DataRetentionInHours"]

        self.assertEqual(change("INCREASE_DATA_RETENTION", 6), 30)
        self.assertEqual(change("DECREASE_DATA_RETENTION", 10), 20)
        self.refused("InvalidArgumentException", 400, change, "DECREASE_DATA_RETENTION", 21)
        self.refused("VersionMismatchException", 400, self.control.update_data_retention,
                     StreamName=name, CurrentVersion="old", Operation="INCREASE_DATA_RETENTION",
                     DataRetentionChangeInHours=1)

    def test_delete_stream(self):
        name, arn = self.create()
        self.refused("VersionMismatchException", 400, self.control.delete_stream,
                     StreamARN=arn, CurrentVersion="old")
        self.control.delete_stream(StreamARN=arn)
        for call in (self.control.delete_stream, self.control.describe_stream):
            self.refused("ResourceNotFoundException", 404, call, StreamARN=arn)
        _, again = self.create()
        self.assertNotEqual(arn, again)

    def test_tags(self):
        name, arn = self.create()
        self.control.tag_stream(StreamARN=arn, Tags={"a": "1", "b": "2"})
        self.control.tag_stream(StreamName=name, Tags={"b": "3 \u00e4"})
        self.control.untag_stream(StreamName=name, TagKeyList=["a", "never"])
        tags = self.control.list_tags_for_stream(StreamName=name)["Tags"]
        self.assertEqual(tags, {"b": "3 \u00e4"})
        many = {f"k{n}": "" for n in range(50)}
        error = self.refused("TagsPerResourceExceededLimitException", 400,
                             self.control.tag_stream, StreamName=name, Tags=many)
        self.assertIsInstance(error, self.control.exceptions.TagsPerResourceExceededLimitException)
        error = self.refused("InvalidResourceFormatException", 400, self.control.tag_stream,
                             StreamARN="arn:x", Tags={"a": "b"})
        self.assertIsInstance(error, self.control.exceptions.InvalidResourceFormatException)
        for call, members in ((self.control.tag_stream, {"Tags": {"a": "b"}}),
                              (self.control.untag_stream, {"TagKeyList": ["a"]}),
                              (self.control.list_tags_for_stream, {})):
            self.refused("ResourceNotFoundException", 404, call, StreamName="nobody", **members)

    def test_get_data_endpoint(self):
        name, arn = self.create()
        for api in ("PUT_MEDIA", "GET_MEDIA", "LIST_FRAGMENTS", "GET_MEDIA_FOR_FRAGMENT_LIST"):
            answer = self.control.get_data_endpoint(StreamARN=arn, APIName=api)
            self.assertEqual(answer["DataEndpoint"], self.server.url)
        self.refused("InvalidArgumentException", 400, self.control.get_data_endpoint,
                     StreamName=name, APIName="PUT_OUT")
        self.refused("ResourceNotFoundException", 404, self.control.get_data_endpoint,
                     StreamName="nobody", APIName="PUT_MEDIA")

    # -- media

    def test_get_media(self):
        name, _ = self.create()
        numbers = self.upload(name)
        client = self.endpoint_client("kinesis-video-media", name, "GET_MEDIA")

        def get(**selector):
            answer = client.get_media(StreamName=name, StartSelector=selector)
            self.assertEqual(answer["ContentType"], "video/webm")
            body = b"".join(answer["Payload"].iter_chunks(777))
            return [n for n in numbers if n.encode() in body], body

        found, body = get(StartSelectorType="EARLIEST")
        self.assertEqual(found, numbers)
        self.assertEqual(body.count(b"AWS_KINESISVIDEO_CONTINUATION_TOKEN"), 2)
        for selector, index in (
                ({"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": numbers[0]}, 1),
                ({"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": numbers[0]}, 1),
                ({"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": kvs.START + 2}, 1),
                ({"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": kvs.START}, 0)):
            with self.subTest(**selector):
                self.assertEqual(get(**selector)[1].count(b"\x1a\x45\xdf\xa3"), 2 - index)
        error = self.refused("ResourceNotFoundException", 404, client.get_media,
                             StreamName="nobody", StartSelector={"StartSelectorType": "NOW"})
        self.assertIsInstance(error, client.exceptions.ResourceNotFoundException)
        error = self.refused("InvalidArgumentException", 400, client.get_media, StreamName=name,
                             StartSelector={"StartSelectorType": "FRAGMENT_NUMBER"})
        self.assertIsInstance(error, client.exceptions.InvalidArgumentException)

    def test_list_fragments(self):
        name, arn = self.create()
        numbers = self.upload(name) + self.upload(name)
        client = self.endpoint_client("kinesis-video-archived-media", name, "LIST_FRAGMENTS")
        everything = {
            "FragmentSelectorType": "PRODUCER_TIMESTAMP",
            "TimestampRange": {"StartTimestamp": kvs.START, "EndTimestamp": kvs.START + 2}}
        pages = list(client.get_paginator("list_fragments").paginate(
            StreamName=name, FragmentSelector=everything, PaginationConfig={"PageSize": 3}))
        self.assertEqual([len(page["Fragments"]) for page in pages], [3, 1])
        fragments = [fragment for page in pages for fragment in page["Fragments"]]
        self.assertEqual(sorted(f["FragmentNumber"] for f in fragments), sorted(numbers))
        for fragment in fragments:
            self.assertIn(fragment["ProducerTimestamp"].timestamp(), (kvs.START, kvs.START + 2))
            self.assertEqual(fragment["FragmentLengthInMilliseconds"], 1933)
            self.assertGreater(fragment["FragmentSizeInBytes"], 1000)
            server_time = fragment["ServerTimestamp"]
            found = client.list_fragments(StreamARN=arn, FragmentSelector={
                "FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": {"StartTimestamp": server_time, "EndTimestamp": server_time}})
            self.assertIn(fragment, found["Fragments"])
        error = self.refused("InvalidArgumentException", 400, client.list_fragments,
                             StreamName=name)
        self.assertIsInstance(error, client.exceptions.InvalidArgumentException)
        error = self.refused("ResourceNotFoundException", 404, client.list_fragments,
                             StreamName="nobody", FragmentSelector=everything)
        self.assertIsInstance(error, client.exceptions.ResourceNotFoundException)

    def test_get_media_for_fragment_list(self):
        name, _ = self.create()
        numbers = self.upload(name)
        client = self.endpoint_client(
            "kinesis-video-archived-media", name, "GET_MEDIA_FOR_FRAGMENT_LIST")

        def get(*fragments):
            answer = client.get_media_for_fragment_list(StreamName=name, Fragments=fragments)
            self.assertEqual(answer["ContentType"], "video/webm")
            return answer["Payload"].read()

        frames = [frame for number in numbers for frame in kvs.hashes(get(number))]
        self.assertEqual(frames, self.frames)
        both = get(*reversed(numbers))
        self.assertLess(both.index(numbers[1].encode()), both.index(numbers[0].encode()))
        self.assertIn(b"AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", get("1"))
        self.refused("ResourceNotFoundException", 404, client.get_media_for_fragment_list,
                     StreamName="nobody", Fragments=["1"])
        self.refused("InvalidArgumentException", 400, client.get_media_for_fragment_list,
                     StreamName=name, Fragments=["1"] * 1001)

    # -- who asks

    def test_put_media_is_accepted_however_its_client_signs(self):
        name, _ = self.create()
        literal = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        for label, how in {
                "C": {"port_in_host": False},
                "Java producer": {"port_in_host": False, "payload_hash": "UNSIGNED-PAYLOAD",
                                  "hash_header": "UNSIGNED-PAYLOAD"},
                "Java SDK": {"payload_hash": literal, "hash_header": literal},
                "Go": {}}.items():
            with self.subTest(label):
                status, headers, acks = kvs.put_media(self.server.url, name, self.media, **how)
                self.assertEqual(status, 200)
                self.assertTrue(headers["x-amzn-RequestId"])
                kinds = [ack["EventType"] for ack in acks]
                self.assertEqual(sorted(kinds), ["BUFFERING"] * 2 + ["PERSISTED"] * 2
                                 + ["RECEIVED"] * 2)
        status, headers, _ = kvs.put_media(self.server.url, name, self.media, secret="guess")
        self.assertEqual((status, headers["x-amzn-ErrorType"]), (403, "InvalidSignatureException"))
        status, headers, _ = kvs.put_media(self.server.url, "nobody", self.media)
        self.assertEqual((status, headers["x-amzn-ErrorType"]), (404, "ResourceNotFoundException"))

    def test_credentials(self):
        client = self.server.client
        self.assertIn("StreamInfoList", client("kinesisvideo", token="session").list_streams())
        self.refused("InvalidSignatureException", 403,
                     client("kinesisvideo", secret="guess").list_streams)
        self.refused("UnrecognizedClientException", 403,
                     client("kinesisvideo", key="OTHER").list_streams)


if __name__ == "__main__":
    unittest.main()
