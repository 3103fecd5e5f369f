"""AWS's events out of bytes: whole, split anywhere, and broken."""

import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from sagemaker_support import exception, frame, framed, part

from backends.event_stream import HEADERS_BYTES, PAYLOAD_BYTES, Decoder

ONE = part(b"data: 1\n\n")


def decoded(*parts):
    decoder = Decoder()
    found = [message for raw in parts for message in decoder.feed(raw)]
    return decoder, found


def test_a_message_made_by_hand_is_read():
    raw = struct.pack(">II", 16 + 7 + 1, 7)
    raw += struct.pack(">I", zlib.crc32(raw)) + b"\x01a\x07\x00\x02bc" + b"!"
    (message,) = Decoder().feed(raw + struct.pack(">I", zlib.crc32(raw)))
    assert (dict(message.headers), message.payload) == ({"a": "bc"}, b"!")


def test_messages_come_as_soon_as_they_are_whole():
    decoder = Decoder()
    assert decoder.feed(ONE[:-1]) == []
    assert decoder.partial
    assert [m.payload for m in decoder.feed(ONE[-1:] + ONE)] == [b"data: 1\n\n"] * 2
    assert not decoder.partial


def test_every_type_of_header_is_gone_over_and_only_texts_are_kept():
    raw = b""
    for kind, value in [
        (0, b""),
        (1, b""),
        (2, b"\x01"),
        (3, b"\x00\x01"),
        (4, b"\x00" * 4),
        (5, b"\x00" * 8),
        (6, b"\x00\x03abc"),
        (8, b"\x00" * 8),
        (9, b"\x00" * 16),
        (7, b"\x00\x06\xe6\x9c\xba\xe5\x99\xa8"),
    ]:
        raw += b"\x02h%d" % kind + bytes([kind]) + value
    buffer = EventStreamBuffer()
    buffer.add_data(framed(raw, b""))
    (theirs,) = buffer
    (ours,) = decoded(framed(raw, b""))[1]
    assert dict(ours.headers) == {"h7": "机器"}
    assert theirs.headers["h7"] == "机器"


@pytest.mark.parametrize("at", range(len(ONE)))
def test_a_bit_that_fell_over_is_noticed(at):
    broken = bytearray(ONE)
    broken[at] ^= 0x10
    decoder, found = decoded(part(b"before"), bytes(broken), part(b"after"))
    assert [m.payload for m in found] == [b"before"]
    assert decoder.failure or decoder.partial  # a length that grew waits for more


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ((15, 0), "shorter than its headers"),
        ((0, 0), "shorter than its headers"),
        ((20, 5), "shorter than its headers"),
        ((HEADERS_BYTES + 17, HEADERS_BYTES + 1), "longer than the format allows"),
        ((PAYLOAD_BYTES + 17, 0), "longer than the format allows"),
        ((2**32 - 1, 0), "longer than the format allows"),
    ],
)
def test_lengths_that_cant_be_are_told_before_anything_is_waited_for(lengths, said):
    prelude = struct.pack(">II", *lengths)
    decoder, found = decoded(prelude + struct.pack(">I", zlib.crc32(prelude)))
    assert (found, decoder.partial) == ([], False)
    assert said in decoder.failure


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01a\x0a",  # no such type
        b"\x01a\x07\x00\x05bc",  # a text beyond the headers
        b"\x01a\x07\x00",
        b"\x01a",
        b"\x05a",
        b"\x01a\x05\x00",  # half a number
        b"\x01a\x07\x00\x01\xff",  # not UTF-8
    ],
)
def test_headers_that_cant_be_read_are_told(raw):
    decoder, found = decoded(framed(raw, b"x"))
    assert (found, decoder.failure) == ([], "the headers of an event can't be read")


def test_lengths_with_a_wrong_checksum_are_not_waited_for():
    decoder, found = decoded(struct.pack(">III", 1000, 0, 1))
    assert found == []
    assert "checksum of an event's lengths" in decoder.failure


def test_an_event_as_long_as_the_format_allows_is_read():
    payload = b"x" * PAYLOAD_BYTES
    (message,) = decoded(frame({}, payload))[1]
    assert message.payload == payload


def test_after_a_failure_nothing_comes():
    decoder, _ = decoded(b"\x00" * 12)
    assert decoder.failure
    assert decoder.feed(ONE) == []


def test_an_exceptions_name_is_read():
    (message,) = decoded(exception("ModelStreamError", ErrorCode="StreamBroken"))[1]
    assert message.headers[":exception-type"] == "ModelStreamError"
    assert "StreamBroken" not in repr(message)
