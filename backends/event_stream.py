"""AWS's binary event stream (application/vnd.amazon.eventstream), split anywhere. Pure.

A message is: total length, length of the headers, CRC-32 of these eight bytes | headers | payload |
CRC-32 of all before it. A header is a name, a type and a value; numbers are big-endian.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

HEADERS_BYTES = 128 * 1024  # what the format allows
PAYLOAD_BYTES = 24 * 1024 * 1024  # as botocore: what is longer is no event of AWS's

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_FRAME_BYTES = _PRELUDE.size + _CRC.size  # of a message without headers and payload

_STRING = 7
_COUNTED = frozenset({6, _STRING})  # bytes and text: two bytes of length before the value
_VALUE_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # flags, numbers, times, ids


@dataclass(frozen=True, slots=True)
class Message:
    """One event. `headers` are those that are texts: no others mean anything to us."""

    headers: Mapping[str, str] = field(repr=False)
    payload: bytes = field(repr=False)


class Decoder:
    """Takes bytes as they come and gives back whole messages.

    `failure` says what was wrong with the stream; then nothing more comes of it. `partial`: the
    stream must not end here.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self._held = bytearray()
        self._needed = _PRELUDE.size
        self._raw_headers = b""  # a stream's parts have the same headers, one after the other
        self._headers: Mapping[str, str] = MappingProxyType({})

    @property
    def partial(self) -> bool:
        return bool(self._held)

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are whole with this, up to the first that can't be right."""
        if self.failure is not None:
            return []
        held = self._held
        held += data
        found: list[Message] = []
        at = 0
        try:
            while len(held) - at >= self._needed:
                total, length, crc = _PRELUDE.unpack_from(held, at)
                if self._needed == _PRELUDE.size:  # of the message that begins here
                    self._needed = _checked_length(held, at, total, length, crc)
                    continue
                found.append(self._message(held, at, total, length))
                at += total
                self._needed = _PRELUDE.size
        except ValueError as exc:
            self.failure = str(exc)
            held.clear()
            return found
        del held[:at]
        return found

    def _message(self, held: bytearray, at: int, total: int, length: int) -> Message:
        end = at + total - _CRC.size
        with memoryview(held) as view:
            if zlib.crc32(view[at:end]) != _CRC.unpack_from(held, end)[0]:
                raise ValueError("an event's checksum is wrong")
            start = at + _PRELUDE.size
            raw = bytes(view[start : start + length])
            payload = bytes(view[start + length : end])
        if raw != self._raw_headers:
            self._headers = _texts(raw)
            self._raw_headers = raw
        return Message(self._headers, payload)


def _checked_length(held: bytearray, at: int, total: int, length: int, crc: int) -> int:
    if zlib.crc32(held[at : at + 8]) != crc:
        raise ValueError("the checksum of an event's lengths is wrong")
    if length > HEADERS_BYTES or total - length > PAYLOAD_BYTES + _FRAME_BYTES:
        raise ValueError("an event is longer than the format allows")
    if total < length + _FRAME_BYTES:
        raise ValueError("an event is shorter than its headers")
    return total


def _texts(raw: bytes) -> Mapping[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            name_at = at + 1
            kind_at = name_at + raw[at]
            name, kind = raw[name_at:kind_at].decode(), raw[kind_at]
            at = kind_at + 1
            if kind in _COUNTED:
                (size,) = _LENGTH.unpack_from(raw, at)
                at += _LENGTH.size
            else:
                size = _VALUE_BYTES[kind]
            if kind == _STRING:
                found[name] = raw[at : at + size].decode()
            at += size
    except (IndexError, KeyError, struct.error, ValueError):
        at = -1
    if at != len(raw):  # or a value that goes on beyond the headers
        raise ValueError("the headers of an event can't be read")
    return MappingProxyType(found)
